"""How the time grows with the batch, the image, the number of textures and of objects."""

from __future__ import annotations

import itertools

import pytest
from conftest import cached_batch, turns

import pcs_augment as pa

PX = {"cpu": 16 * 384**2, "cuda": 64 * 384**2}  # about so many in a batch
LARGEST = 256  # images in a batch
EPOCHS = 8


def timed(clock, device, name, axis, value, count, size=384, objects=50, pipeline=None):
    """Draw and apply to ``count`` images; nothing waits for the device in between."""
    images, targets, index = cached_batch(count, size, objects)
    images = images.to(device)
    pipeline, inputs = pipeline or pa.default_pipeline(seed=1), turns(images)
    # a small batch takes a different time in each epoch, so a call is several of them
    epochs, number = max(1, min(EPOCHS, EPOCHS * 16 // count)), itertools.count()

    def call() -> None:
        for _ in range(epochs):
            plan = pipeline.draw(images.shape, targets, index=index, epoch=next(number))
            pipeline.apply(next(inputs), targets, plan)

    clock(call, count * epochs, "scaling", f"{name}, {axis} {value}", axis=axis, x=value, line=name, batch=count)


@pytest.mark.parametrize("count", [1, 4, 16, 64, 256])
def test_batch_size(clock, device, count):
    timed(clock, device, "default pipeline", "images in a batch", count, count)


@pytest.mark.parametrize("size", [96, 192, 384, 768, 1536, 2048])
def test_image_size(clock, device, size):
    """About the same number of pixels in each batch, as far as 256 images go; 50 objects in every image."""
    count = min(LARGEST, max(1, round(PX[device.type] / size**2)))
    timed(clock, device, "default pipeline", "px a side", size, count, size)


@pytest.mark.parametrize("kind", [pa.InterferenceLayer, pa.PerlinLayer], ids=lambda k: k.__name__)
@pytest.mark.parametrize("count", [1, 3, 10])
def test_textures(clock, device, kind, count):
    """Both layers of every image made of so many textures."""
    images = PX[device.type] // 384**2
    step = pa.Pipeline([kind(textures=(count, count))], seed=1)
    timed(clock, device, kind.__name__, "textures in a layer", count, images, pipeline=step)


@pytest.mark.parametrize("objects", [0, 10, 50, 200])
def test_objects(clock, device, objects):
    timed(clock, device, "default pipeline", "objects in an image", objects, PX[device.type] // 384**2, objects=objects)
