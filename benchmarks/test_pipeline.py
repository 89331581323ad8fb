"""The default pipeline, step by step and in all, beside one that works as the published code does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pcs_augment as pa
from pcs_augment import published
from pcs_augment.checks import as_float

STEPS = list(enumerate(type(s).__name__ for s in pa.default_pipeline().steps))


def test_default_pipeline(batch, per_image):
    images, targets, index = batch
    pipeline = pa.default_pipeline(seed=1)
    epoch = iter(range(1000))
    per_image(lambda: pipeline(images, targets, index=index, epoch=next(epoch)), len(images))


def test_default_pipeline_without_numba(batch, per_image, monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")
    images, targets, index = batch
    pipeline = pa.default_pipeline(seed=1)
    epoch = iter(range(1000))
    per_image(lambda: pipeline(images, targets, index=index, epoch=next(epoch)), len(images), rounds=3)


def test_as_published(batch, per_image):
    pytest.importorskip("noise", reason="the published textures come from the compiled package `noise`")
    images, targets, _ = batch
    host = [(i[0].numpy(), t) for i, t in zip(images, targets)]
    epoch = iter(range(1000))

    def work():
        rng = np.random.default_rng(next(epoch))
        for image, target in host:
            published.augment(image, target, rng)

    per_image(work, len(host), rounds=3)


@pytest.mark.parametrize("threads", [1])
def test_draw(batch, per_image, threads):
    """The host's share alone; one thread."""
    images, targets, index = batch
    pipeline = pa.default_pipeline(seed=1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        per_image(lambda: pipeline.draw(images.shape, targets, index=index), len(images), rounds=30)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("position", "name"), STEPS, ids=[f"{i:02d}-{n}" for i, n in STEPS])
def test_step(batch, per_image, position, name):
    """One step of the default pipeline with its own chance p, averaged over eight epochs; the pixels it meets are the
    unaugmented ones."""
    images, targets, index = batch
    pipeline = pa.default_pipeline(seed=1)
    step = pipeline.sequence()[position]
    plans = [pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(8)]
    pixels = as_float(images)
    counts = plans[0].objects
    first = np.cumsum(counts) - counts

    def work():
        for plan in plans:
            step._change(pixels, plan.steps[position])
            step._filter(pixels, plan.steps[position], torch.ones(int(counts.sum()), dtype=torch.bool), first)

    per_image(work, len(images) * len(plans), rounds=3)
