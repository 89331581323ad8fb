"""Half precision: within one 8-bit grey level of what float32 makes of the same rounded images, in 99.9 % of pixels."""

import pytest
import torch
from batches import random_images, random_targets

import pcs_augment as pa
from pcs_augment.bench import worst_case

HALVES = [torch.float16, torch.bfloat16]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
STEPS = list(enumerate(type(step).__name__ for step in worst_case().steps))
SIZES = [(61, 97), (130, 33), (1, 5)]


def random_batch(height, width):
    counts = [3, 0, 7, 1]
    return random_images(len(counts), height, width, seed=8), random_targets(counts, height, width, seed=9)


def assert_near(pipeline, images, targets, dtype, device, epoch=0):
    """In every batch, not on average over batches; and the same objects are kept."""
    half = images.to(dtype).to(device)
    plan = pipeline.draw(half.shape, targets, epoch=epoch)
    got, got_targets = pipeline.apply(half, targets, plan)
    want, want_targets = pipeline.apply(half.float(), targets, plan)
    assert got.dtype == dtype
    assert want.dtype == torch.float32
    near = (got.float() - want).abs() <= 1 / 255
    assert near.double().mean() >= 0.999
    for a, b in zip(got_targets, want_targets):
        assert torch.equal(a["keep"], b["keep"])
        assert torch.equal(a["boxes"], b["boxes"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [pa.default_pipeline, worst_case])
def test_pipelines_on_random_images(make, size, dtype, device):
    images, targets = random_batch(*size)
    for epoch in range(4):
        assert_near(make(seed=2), images, targets, dtype, device, epoch)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("make", [pa.default_pipeline, worst_case])
def test_pipelines_on_the_bundled_images(sample, make, dtype, device):
    images, targets, _ = sample
    assert_near(make(seed=3), images[:, :, :301, :384] / 255, targets, dtype, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("position", "name"), STEPS, ids=[f"{i:02d}-{n}" for i, n in STEPS])
def test_every_step(sample, position, name, dtype, device):
    step = worst_case().steps[position]
    assert step.p == 1
    images, targets, _ = sample
    assert_near(step, images[:4] / 255, targets[:4], dtype, device)
    for size in SIZES:
        assert_near(step, *random_batch(*size), dtype, device)
