"""Batches packed in a room: the bits of batches packed without, by the same calls at the same addresses."""

from pathlib import Path

import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from kernel_steps import STEPS

import pcs_augment as pa
from pcs_augment import rooms
from pcs_augment.packing import pack
from pcs_augment.rooms import Room
from pcs_augment.targets import landed

pytest.importorskip("triton", reason="there is no Triton for this system")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [pytest.mark.gpu] if DEVICE.type == "cuda" else []
SIZE = (9, 12)
BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "triton")


class Batch:
    """Images with so many objects, drawn in an epoch."""

    def __init__(self, pipeline, counts, epoch=0, size=SIZE):
        self.pipeline = pipeline
        self.images = random_images(len(counts), *size, 2, seed=epoch)
        self.targets = random_targets(counts, *size, seed=epoch)
        self.plan = pipeline.draw(self.images.shape, self.targets, epoch=epoch)

    def packed(self, room=None):
        return pack(self.pipeline, self.images.shape, self.images.dtype, self.targets, self.plan, room)

    def run(self, packed):
        return packed.run(self.images.to(DEVICE, copy=True))


def room_for(*batches):
    room = Room()
    for batch in batches:
        batch.packed(room)
    return room


def assert_same_work(room, *batches):
    """One program for all, and the bits of each without a room: only blocks differ."""
    programs = set()
    for batch in batches:
        mine = batch.packed(room)
        programs.add((mine.program, mine.block.shape))
        for got, want in zip(batch.run(mine), batch.run(batch.packed()), strict=True):
            assert torch.equal(got, want)
    assert len(programs) == 1


@pytest.mark.parametrize("augmentation", STEPS, ids=lambda s: type(s).__name__)
def test_batches_of_different_counts_in_one_room(augmentation):
    batches = [Batch(augmentation, counts, epoch) for epoch, counts in enumerate(([3, 4], [0, 0], [0, 1]))]
    assert_same_work(room_for(*batches), *batches)


def test_a_pipeline_in_one_room():
    """Steps that act on few images or on none, objects that are dropped for their size and for what is seen of them."""
    steps = [pa.MinEdge(2.5), pa.Displace(p=0.2), pa.Contrast(p=0.5), pa.Contrast(p=0.5), pa.Flip(), pa.KeepDetectable(120)]
    pipeline = pa.Pipeline(steps, seed=2)
    batches = [Batch(pipeline, counts, epoch) for epoch, counts in enumerate(([5, 4, 0], [0, 0, 0], [0, 1, 0]))]
    assert_same_work(room_for(*batches), *batches)


def test_a_batch_that_outgrows_its_room_makes_it_larger():
    pipeline = pa.Pipeline([pa.Highlight(fill=1), pa.KeepDetectable(20)], seed=1)
    small, large = Batch(pipeline, [2, 0]), Batch(pipeline, [20, 9])
    room = room_for(small)
    before, sizes = small.packed(room), room.sizes()
    assert large.packed(room).program != before.program
    assert all(room.sizes()[name] >= size for name, size in sizes.items())
    assert room.sizes() != sizes
    assert small.packed(room).program != before.program  # it has room for the large one as well
    assert_same_work(room, small, large)


def test_without_a_room_lists_are_as_long_as_they_are():
    batch = Batch(pa.Pipeline([pa.Highlight(fill=1), pa.Contrast(p=0.5)], seed=1), [2, 3])
    before = batch.packed()
    room_for(batch)
    after = batch.packed()
    assert before.program == after.program
    assert torch.equal(before.block, after.block)
    assert len(batch.packed(Room()).block) > len(before.block)


def test_large_batches_of_the_default_pipeline_settle_in_one_room():
    """At a real size, by what is packed alone."""
    pipeline = pa.default_pipeline(seed=1, min_edge=8)
    batches = [Batch(pipeline, [7 * epoch % 20 + i for i in range(8)], epoch, (384, 384)) for epoch in range(5)]
    room = room_for(*batches)
    packed = [batch.packed(room) for batch in batches]
    assert len({p.program for p in packed}) == 1
    assert len({batch.packed().program for batch in batches}) == 5
    assert len({len(p.block) for p in packed}) == 1


def test_sizes_grow_by_a_quarter_and_never_shrink():
    room = Room({"curves 1": 16})
    for needed, most, want in ((10, None, 16), (17, None, 24), (3, None, 24), (100, 64, 100), (0, None, 100)):
        with room.entered():
            assert rooms.size("curves", needed, most) == want
    with room.entered():
        assert rooms.size("images", 1, 5) == 5
        assert rooms.size("images", 0) == 0  # another list with that name, of which none has been seen
        assert rooms.size("images", 50, 64) == 64
    assert room.sizes() == {"curves 1": 100, "images 1": 5, "images 3": 64}
    assert rooms.size("curves", 7) == 7


class Needing(torch.utils.data.Dataset):
    """A data set in whose workers lists grow."""

    def __init__(self, room):
        self.room = room

    def __len__(self):
        return 2

    def __getitem__(self, i):
        with self.room.entered():
            return rooms.size("curves", 40 * i)


def test_workers_have_one_room():
    room = Room({"curves 1": 8})
    assert list(torch.utils.data.DataLoader(Needing(room), None, num_workers=1)) == [8, 56]
    assert room.sizes() == {"curves 1": 56}


def test_a_ring_gives_the_batches_of_the_pipeline(monkeypatch):
    """More batches than slots, one of which outgrows the room."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from ring import Ring

    pipeline = pa.Pipeline([pa.Contrast(p=0.5), pa.KeepDetectable(100)], seed=1)
    batches = [Batch(pipeline, counts, epoch) for epoch, counts in enumerate(([2, 1], [0, 0], [1, 0], [20, 9], [3, 3]))]
    room = room_for(batches[0])
    ring = Ring((batches[0].images.shape, torch.float32), DEVICE)
    got = ring.over((b.images, b.packed(room)) for b in batches)
    for batch, (images, targets) in zip(batches, got, strict=True):
        want, keep = batch.run(batch.packed())
        assert torch.equal(images, want)
        assert_same_targets(targets, landed(batch.packed().targets, keep.cpu().numpy(), DEVICE))
    assert sum(len(slot.captured) for slot in ring.slots) == 5  # one program before, one after
