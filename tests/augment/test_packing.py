"""A batch packed in a worker makes the calls that ``apply`` makes: the same bits; here in Triton's interpreter."""

import marshal
import pickle

import numpy as np
import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from kernel_steps import STEPS
from torch.utils.data import DataLoader

import pcs_augment as pa
from pcs_augment import packing, transfer
from pcs_augment.targets import landed

pytest.importorskip("triton", reason="there is no Triton for this system")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [pytest.mark.gpu] if DEVICE.type == "cuda" else []
COUNTS = [3, 0, 4]


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "triton")


def batch(dtype=torch.float32, size=(12, 17)):
    images = random_images(3, *size, 2)
    return (images * 255).byte() if dtype == torch.uint8 else images.to(dtype), random_targets(COUNTS, *size)


PIPELINE = pa.Pipeline([s for s in pa.default_pipeline(threshold=20).steps if not isinstance(s, pa.InterferenceLayer)], seed=2)


@pytest.mark.parametrize("augmentation", [*STEPS, PIPELINE], ids=lambda s: type(s).__name__)
def test_same_bits_and_targets(augmentation):
    images, targets = batch()
    plan = augmentation.draw(images.shape, targets)
    want, want_targets = augmentation.apply(images.to(DEVICE), targets, plan)
    packed = pickle.loads(pickle.dumps(packing.pack(augmentation, images.shape, images.dtype, targets, plan)))
    given = images.to(DEVICE, copy=True)
    got, keep = packed.run(given)
    assert torch.equal(got, want)
    assert torch.equal(given.cpu(), images)
    assert torch.equal(keep, torch.cat([t.pop("keep") for t in want_targets]))
    assert_same_targets(landed(packed.targets, np.ones(sum(COUNTS), bool), torch.device("cpu")), want_targets)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_other_types_and_no_targets(dtype):
    images, _ = batch(dtype)
    pipeline = pa.Pipeline([pa.GaussianNoise(), pa.Contrast(), pa.Blur(), pa.Flip()], seed=1)
    plan = pipeline.draw(images.shape)
    packed = packing.pack(pipeline, images.shape, images.dtype, None, plan)
    want, _ = pipeline.apply(images.to(DEVICE), None, plan)
    assert torch.equal(packed.run(images.to(DEVICE))[0], want)
    assert packed.targets is None
    assert packed.fits(images.to(DEVICE))
    assert not packed.fits(images[:2].to(DEVICE))
    assert not packed.fits(images.float().to(DEVICE))


class Brightest(pa.Step):
    """A step of a user's that looks at pixels on the host."""

    def draw_tables(self, stream, shape, instances):
        return {}

    def change(self, images, tables):
        return images / float(images.max())


def test_what_looks_at_pixels_is_not_packed():
    images, targets = batch()
    step = Brightest()
    assert packing.pack(step, images.shape, images.dtype, targets, step.draw(images.shape, targets)) is None


def loaded(pipeline, workers, **options):
    images, targets = batch()
    data = [(images[i % 3], targets[i % 3], i) for i in range(5)]
    collate = pa.DrawingCollate(pipeline, **options)
    return pa.AugmentedLoader(DataLoader(data, 2, collate_fn=collate, num_workers=workers), pipeline, DEVICE)


@pytest.fixture
def runs(monkeypatch):
    """The batches that were launched from what a worker packed."""
    seen, run = [], packing.Packed.run
    monkeypatch.setattr(packing.Packed, "run", lambda self, images: seen.append(self) or run(self, images))
    return seen


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_give_the_same_batches(workers, runs):
    pipeline = pa.Pipeline([pa.Highlight(fill=0.5), pa.Contrast(), pa.Flip(), pa.KeepDetectable(150)], seed=3)
    packed = list(loaded(pipeline, workers, pack=True))
    assert len(runs) == 3
    plain = list(loaded(pipeline, 0, pack=False))
    assert len(runs) == 3
    for (got, got_targets), (want, want_targets) in zip(packed, plain, strict=True):
        assert torch.equal(got, want)
        assert_same_targets(got_targets, want_targets)


def test_a_batch_that_cannot_be_launched_is_prepared_again(monkeypatch):
    pipeline = pa.Pipeline([pa.Contrast()], seed=3)
    want = [images for images, _ in loaded(pipeline, 0, pack=False)]

    def fail(self, images):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(packing.Packed, "run", fail)
    monkeypatch.delenv("PCS_AUGMENT_FALLBACK", raising=False)
    with pytest.warns(UserWarning, match="prepared again: no such instruction"):
        got = [images for images, _ in loaded(pipeline, 0, pack=True)]
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    monkeypatch.setenv("PCS_AUGMENT_FALLBACK", "forbidden")
    with pytest.raises(RuntimeError, match="no such instruction"):
        list(loaded(pipeline, 0, pack=True))


@pytest.mark.parametrize("kind", [pa.Highlight, pa.Overlay, pa.Blur, pa.Displace])
def test_memory_between_calls_does_not_grow_with_the_batch(kind):
    """A batch of 64 x 3 x 2048 x 2048 takes 3 GiB itself."""
    shape, step = (64, 3, 2048, 2048), kind()
    targets = random_targets([2] * 64, *shape[2:])
    packed = packing.pack(step, shape, torch.float32, targets, step.draw(shape, targets))
    scratch = marshal.loads(packed.program)[-1]
    assert 0 < scratch <= 2**27


def test_nothing_is_copied_where_the_block_is_on_the_device(monkeypatch):
    images, targets = batch()
    pipeline = pa.Pipeline([pa.Contrast(), pa.Flip(), pa.KeepDetectable(150)], seed=1)
    plan = pipeline.draw(images.shape, targets)
    packed = packing.pack(pipeline, images.shape, images.dtype, targets, plan)
    given, block = images.to(DEVICE), packed.block.to(DEVICE)
    want, want_keep = packed.run(given)
    monkeypatch.setattr(transfer, "send", None)
    got, keep = packed.run(given, block)
    assert torch.equal(got, want)
    assert torch.equal(keep, want_keep)
