"""The default pipeline: whole, in every precision, its drawing, step by step, and inside a data loader."""

from __future__ import annotations

import itertools
import os

import numpy as np
import pytest
import torch
from conftest import cached_batch, imported, turns
from torch.utils.data import DataLoader, Dataset

import pcs_augment as pa
from pcs_augment.bench import EPOCHS, worst_case
from pcs_augment.checks import as_float

GROUP = "pipeline"
STEPS = list(enumerate(type(s).__name__ for s in pa.default_pipeline().steps))
SAMPLES = {"cpu": 256, "cuda": 2048}  # of the data set in memory


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8], ids=lambda d: str(d)[6:])
def test_default_pipeline(batch, clock, dtype):
    """Draw, apply, and remove the undetectable objects."""
    images, targets, index = batch
    inputs = turns((images * 255).round().byte() if dtype == torch.uint8 else images.to(dtype))
    pipeline, epoch = pa.default_pipeline(seed=1), itertools.count()
    call = lambda: pipeline(next(inputs), targets, index=index, epoch=next(epoch))  # noqa: E731
    clock(call, len(images), GROUP, f"default pipeline, {str(dtype)[6:]}")


def test_apply(batch, clock):
    """Its share on the device alone: plans are drawn beforehand."""
    images, targets, index = batch
    pipeline, inputs = pa.default_pipeline(seed=1), turns(images)
    plans = itertools.cycle([pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(2 * EPOCHS)])
    clock(lambda: pipeline.apply(next(inputs), targets, next(plans)), len(images), GROUP, "apply alone")


def test_draw(batch, clock, one_thread):
    """Its share on the host alone."""
    images, targets, index = batch
    pipeline, epoch = pa.default_pipeline(seed=1), itertools.count()
    call = lambda: pipeline.draw(images.shape, targets, index=index, epoch=next(epoch))  # noqa: E731
    clock(call, len(images), GROUP, "drawing alone")


def test_default_pipeline_in_torch(batch, clock, monkeypatch):
    """In plain torch."""
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")
    images, targets, index = batch
    pipeline, epoch, inputs = pa.default_pipeline(seed=1), itertools.count(), turns(images)
    call = lambda: pipeline(next(inputs), targets, index=index, epoch=next(epoch))  # noqa: E731
    clock(call, len(images), GROUP, "default pipeline, kernels off")


def test_worst_case(batch, clock):
    """Every step acts on every image, with ten textures in all four layers."""
    images, targets, index = batch
    count = len(images) if images.is_cuda else 16
    pipeline, epoch, inputs = worst_case(seed=1), itertools.count(), turns(images[:count])
    call = lambda: pipeline(next(inputs), targets[:count], index=index[:count], epoch=next(epoch))  # noqa: E731
    clock(call, count, GROUP, "worst case")


@pytest.mark.parametrize("package", ["pyfastnoisesimd", "noise"])
def test_as_published(clock, monkeypatch, package):
    """One image at a time on the host: OpenCV in 8 bits, Perlin noise from the published code's library, or point by point."""
    module, published = imported(package), imported("pcs_augment.published")
    if package == "pyfastnoisesimd" and not hasattr(np, "product"):
        monkeypatch.setattr(np, "product", np.prod, raising=False)  # the library is older than NumPy 2
    monkeypatch.setattr(published, "noise_package", lambda: module)
    images, targets, _ = cached_batch()
    host, rng = [(i[0].numpy(), t) for i, t in zip(images, targets)], np.random.default_rng(1)
    call = lambda: [published.augment(image, target, rng) for image, target in host]  # noqa: E731
    clock(call, len(host), GROUP, f"as published, on the host, noise from {package}")


@pytest.mark.parametrize(("position", "name"), STEPS, ids=[f"{i + 1:02d}-{n}" for i, n in STEPS])
def test_step(batch, clock, position, name):
    """A step of the default pipeline with its own chance p, averaged over epochs; pixels change in place, again and again."""
    images, targets, index = batch
    pipeline = pa.default_pipeline(seed=1)
    step = pipeline.sequence()[position]
    plans = [pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(EPOCHS)]
    inputs = turns(as_float(images))
    counts = plans[0].objects
    first, keep = np.cumsum(counts) - counts, torch.ones(int(counts.sum()), dtype=torch.bool, device=images.device)

    def call() -> None:
        for plan in plans:
            pixels = next(inputs)
            step.change(pixels, plan.steps[position])
            step.drop(pixels, plan.steps[position], keep, first)

    clock(call, len(images) * len(plans), "steps", f"{position + 1:2} {name}, p = {step.p:g}", batch=len(images))


class InMemory(Dataset):
    """Labelled 8-bit images that take no time to load."""

    def __init__(self, length: int) -> None:
        images, self.targets, _ = cached_batch()
        self.images, self.length = (images * 255).round().byte(), length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int):
        return self.images[i % len(self.images)], self.targets[i % len(self.targets)], i


@pytest.mark.parametrize("workers", [0, min(8, os.cpu_count() or 1)], ids=["no-workers", "workers"])
@pytest.mark.parametrize("augmented", [False, True], ids=["bare", "augmented"])
def test_loader(clock, device, workers, augmented):
    """An epoch over labelled images in memory: what augmentation adds to the loader that makes the batches."""
    data = InMemory(SAMPLES[device.type])
    options = {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": device.type == "cuda"}
    loader = DataLoader(data, batch_size=64, collate_fn=pa.collate, **options)
    batches = pa.AugmentedLoader(loader, pa.default_pipeline(seed=1), device) if augmented else loader
    epoch = itertools.count()

    def call() -> None:
        if augmented:
            batches.set_epoch(next(epoch))
        for images, *_ in batches:
            images.to(device, non_blocking=True)

    what = "AugmentedLoader" if augmented else "bare DataLoader"
    clock(call, len(data), "loader", f"{what}, {workers} workers", batch=64)
