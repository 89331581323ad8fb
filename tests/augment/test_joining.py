"""Steps that follow each other are joined on a GPU: the bits of the steps one by one, with fewer passes over the images.

Without a GPU the kernels run on the CPU, in Triton's interpreter.
"""

import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_steps import kernel_modules

import pcs_augment as pa
from pcs_augment import dispatch, joining
from pcs_augment.packing import pack
from pcs_augment.rooms import Room

pytest.importorskip("triton", reason="there is no Triton for this system")

from pcs_augment.kernels.triton import joining as kernels

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [pytest.mark.gpu] if DEVICE.type == "cuda" else []
MAKE = {
    "noise": lambda: pa.GaussianNoise(p=0.7),
    "impulses": lambda: pa.ImpulseNoise(p=0.7),
    "brightness": lambda: pa.Brightness(p=0.7),
    "contrast": lambda: pa.Contrast(p=0.6),
    "flip": lambda: pa.Flip(p=0.7),
    "layers": lambda: pa.PerlinLayer(p=0.5, textures=(1, 1)),
    "blur": lambda: pa.Blur(p=0.5, kernels=(3,)),
}
POINTS = ["noise", "impulses", "brightness", "contrast"]
ALIGNED, UNALIGNED = (8, 13, 3), (7, 13, 3)  # height, width, channels


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "triton")


@pytest.fixture
def launched(monkeypatch):
    """Names of the kernels in the order of their launches."""
    names = []

    def spying(launch):
        return lambda kernel, *args, **options: (names.append(kernel.fn.__name__), launch(kernel, *args, **options))[1]

    for module in kernel_modules():
        monkeypatch.setattr(module, "launch", spying(module.launch))
    return names


def batch_of(images):
    targets = random_targets([1, 0, 2, 0][: len(images)], *images.shape[2:])
    return images.to(DEVICE), pa.targets.on_device(targets, DEVICE)


def one_by_one(pipeline, images, targets, plan):
    """What torch makes of a batch, a step after the other."""
    dtype, images = images.dtype, pa.checks.as_float(images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCS_AUGMENT_KERNELS", "torch")
        for step, tables in zip(pipeline.sequence(), plan.steps, strict=True):
            images = step.change(images, tables)
    return images.to(dtype) if dtype.is_floating_point else images


@settings(max_examples=8)
@given(
    st.lists(st.sampled_from([*MAKE]), min_size=2, max_size=6),
    st.sampled_from([(5, 7, 1), ALIGNED, UNALIGNED, (33, 32, 2), (61, 67, 1)]),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.uint8]),
    st.integers(0, 10**6),
)
def test_same_bits_as_one_by_one(names, size, dtype, seed):
    """In any order, whatever images they touch; and an image comes out as it does alone."""
    height, width, channels = size
    images = random_images(3, height, width, channels, seed)
    images = (images * 255).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    images, targets = batch_of(images)
    pipeline = pa.Pipeline([MAKE[name]() for name in names], seed=seed)
    plan = pipeline.draw(images.shape, targets)
    out, followed = pipeline.apply(images, targets, plan)
    assert torch.equal(out, one_by_one(pipeline, images, targets, plan))
    for i in range(len(images)):
        image, target = images[i : i + 1], targets[i : i + 1]
        alone, mine = pipeline.apply(image, target, pipeline.draw(image.shape, target, index=[i]))
        assert torch.equal(alone, out[i : i + 1])
        assert_same_targets(mine, followed[i : i + 1])


@pytest.mark.parametrize(("size", "first"), [(ALIGNED, ["_points"]), (UNALIGNED, ["_points", "_add_impulses", "_points"])])
def test_an_image_is_read_once_for_steps_that_are_joined(size, first, launched):
    """As far as a channel begins with a call of Philox; the sums for the contrast are left by the step before it."""
    height, width, channels = size
    images, _ = batch_of(random_images(4, height, width, channels))
    steps = [pa.GaussianNoise(), pa.ImpulseNoise(), pa.Brightness(p=0.5), pa.Contrast(), pa.Contrast()]
    pipeline = pa.Pipeline(steps, seed=3)
    plan = pipeline.draw(images.shape)
    out, _ = pipeline.apply(images, None, plan)
    assert launched == ["_converted", *first, "_stretch", "_stretch"]
    assert torch.equal(out, one_by_one(pipeline, images, None, plan))


@pytest.mark.parametrize("size", [ALIGNED, UNALIGNED])
def test_a_room_holds_batches_that_touch_other_images(size):
    height, width, channels = size
    pipeline = pa.Pipeline([MAKE[name]() for name in (*POINTS, "layers", "contrast")], seed=5)
    images, _ = batch_of(random_images(3, height, width, channels))
    plans = [pipeline.draw(images.shape, epoch=epoch) for epoch in range(6)]
    room = Room()
    for plan in plans:
        pack(pipeline, images.shape, images.dtype, None, plan, room)
    packed = [pack(pipeline, images.shape, images.dtype, None, plan, room) for plan in plans]
    assert len({p.program for p in packed}) == 1
    for plan, mine in zip(plans, packed, strict=True):
        assert torch.equal(mine.run(images)[0], one_by_one(pipeline, images, None, plan))


def test_a_step_with_a_change_of_its_own_is_not_joined():
    class Twice(pa.Brightness):
        def change(self, images, tables):
            return super().change(super().change(images, tables), tables)

    images, _ = batch_of(random_images(2, 6, 7))
    pipeline = pa.Pipeline([pa.GaussianNoise(sigma=(0, 0)), Twice(exponent=(-1, -1)), pa.Contrast(exponent=(0, 0))])
    assert torch.allclose(pipeline(images), images / 4, atol=1e-6)


def test_a_step_that_drops_objects_sees_the_pixels_it_made():
    class Dark(pa.Brightness):
        def drop(self, images, tables, keep, first):
            assert images.max() == 0
            keep.fill_(False)

    images, targets = batch_of(random_images(2, 6, 7))
    _, left = pa.Pipeline([pa.GaussianNoise(), Dark(exponent=(-32, -32), base=32.0)])(images, targets)
    assert [len(t["boxes"]) for t in left] == [0, 0]


def test_operations_are_made_one_by_one_where_joining_fails(monkeypatch):
    def fail(images, *args):
        images.fill_(7)
        raise RuntimeError("no such instruction")

    monkeypatch.delenv("PCS_AUGMENT_KERNELS")
    monkeypatch.setitem(dispatch.WINGS, "CPU", "triton")
    monkeypatch.setattr(dispatch, "run_all", lambda: None)
    monkeypatch.setattr(dispatch, "_off", {})
    monkeypatch.setattr(dispatch, "_proved", set())
    monkeypatch.setattr(kernels, "joined", fail)
    dispatch._implementation.cache_clear()
    images, _ = batch_of(random_images(2, 6, 8))
    pipeline = pa.Pipeline([MAKE[name]() for name in POINTS], seed=1)
    plan = pipeline.draw(images.shape)
    with pytest.warns(UserWarning, match=r"joining\.joined are off"):
        out, _ = pipeline.apply(images, None, plan)
    assert torch.equal(out, one_by_one(pipeline, images, None, plan))
    dispatch._implementation.cache_clear()


def test_operations_travel_as_their_columns_and_names():
    columns = [torch.arange(n) for n in range(3)]
    operations = [joining.Operation("a", columns[:2], ("perlin", 0.1, True)), joining.Operation("b", columns[2:])]
    sent = '[["a", 2, ["perlin", 0.1, true]], ["b", 1, []]]'
    for got, want in zip(joining.operations_of(columns, sent), operations, strict=True):
        assert (got.name, got.rest) == (want.name, want.rest)
        assert all(map(torch.equal, got.columns, want.columns))
