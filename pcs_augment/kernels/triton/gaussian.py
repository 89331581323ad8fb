"""Gaussian filters."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ... import gaussian
from ...rooms import ABSENT
from .launch import TILE_X, TILE_Y, channels_of, clip, launch, tile_of, tiles


@triton.jit
def _mirror(i, n, ONCE: tl.constexpr):
    """Index i of an axis of n pixels that is mirrored without its edge pixel; ONCE: it is less than n px outside."""
    if ONCE:
        i = tl.abs(i)
        return tl.minimum(i, 2 * (n - 1) - i)
    period = tl.maximum(2 * (n - 1), 1)
    i = (i % period + period) % period
    return tl.minimum(i, period - i) * (n > 1)


@triton.jit(do_not_specialize=["most"])
def _along(
    source, out, from_sample, to_sample, taps, reach, most, channels, height, width, across, per_image,
    ROWS: tl.constexpr, ONCE: tl.constexpr, ADD: tl.constexpr, MULTIPLY: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """One pass of gaussian.blur, along y (ROWS) or x, from image ``from_sample[a]`` of the source to ``to_sample[a]``.

    ADD: what comes out is added to the images there, of whatever channels, and clipped; MULTIPLY: likewise multiplied.
    """
    a, part = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    if tl.load(reach + a) < 0:  # absent
        return
    per_channel = per_image // channels
    c, tile = part // per_channel, part % per_channel
    y, x = tile_of(tile, across, TX, TY)
    here = (y < height) & (x < width)
    n = height * width
    start = source + (tl.load(from_sample + a).to(tl.int64) * channels + c) * n
    result = tl.load(start + y * width + x, here, other=0.0) * tl.load(taps + a * (most + 1))
    for i in range(1, tl.load(reach + a).to(tl.int32) + 1):
        if ROWS:
            low = tl.load(start + _mirror(y - i, height, ONCE) * width + x, here, other=0.0)
            high = tl.load(start + _mirror(y + i, height, ONCE) * width + x, here, other=0.0)
        else:
            low = tl.load(start + y * width + _mirror(x - i, width, ONCE), here, other=0.0)
            high = tl.load(start + y * width + _mirror(x + i, width, ONCE), here, other=0.0)
        result += (low + high) * tl.load(taps + a * (most + 1) + i)
    if ADD > 0:
        into = out + tl.load(to_sample + a).to(tl.int64) * ADD * n + y * width + x
        for _ in range(ADD):
            tl.store(into, clip(tl.load(into, here) + result), here)
            into += n
    elif MULTIPLY > 0:
        into = out + tl.load(to_sample + a).to(tl.int64) * MULTIPLY * n + y * width + x
        for _ in range(MULTIPLY):
            tl.store(into, clip(tl.load(into, here) * result), here)
            into += n
    else:
        tl.store(out + (tl.load(to_sample + a).to(tl.int64) * channels + c) * n + y * width + x, result, here)


def reaches(sample: Tensor, taps: Tensor) -> Tensor:
    """(A,) int32 reach of weights (A, 1 + r) on the host, negative for images that are absent."""
    return gaussian.reach_of(taps).masked_fill_(sample < 0, ABSENT)


def blurred(
    source: Tensor, rows: Tensor, taps: Tensor, reach: Tensor, out: Tensor, sample: Tensor, add: int = 0, multiply: int = 0
) -> None:
    """Blur image rows[a] of the source; store it, add it or multiply by it at image sample[a] of ``out``."""
    channels, height, width = channels_of(source)
    order = torch.arange(len(taps), device=source.device, dtype=sample.dtype)  # of one type, or the kernel compiles twice
    between = torch.empty(len(taps), channels, height, width, device=source.device)
    across, per_channel = tiles(height, width)
    sizes = (taps, reach, taps.shape[1] - 1, channels, height, width, across, per_channel * channels)
    count = len(taps) * per_channel * channels
    tile = {"ONCE": taps.shape[1] <= min(height, width), "TX": TILE_X, "TY": TILE_Y}
    launch(_along, count, source, between, rows, order, *sizes, ROWS=True, ADD=0, MULTIPLY=0, **tile)
    launch(_along, count, between, out, order, sample, *sizes, ROWS=False, ADD=add, MULTIPLY=multiply, **tile)


def add_blurred(images: Tensor, sample: Tensor, maps: Tensor, taps: Tensor, reach: Tensor) -> None:
    """Add blurred maps (A, 1, H, W) to every channel and clip; everything on the device."""
    order = torch.arange(len(sample), device=images.device, dtype=sample.dtype)
    blurred(maps, order, taps, reach, images, sample, add=images.shape[1])
