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


@triton.jit
def _pixel(at, here, values, NUMBERED: tl.constexpr):
    if NUMBERED:
        value = tl.load(values + tl.load(at, here, other=0))
    else:
        value = tl.load(at, here, other=0.0)
    return value


@triton.jit(do_not_specialize=["most"])
def _along(
    source, out, sample, values, taps, reach, most, channels, height, width, across, per_image,
    ROWS: tl.constexpr, MAPS: tl.constexpr, NUMBERED: tl.constexpr, ONCE: tl.constexpr,
    ADD: tl.constexpr, MULTIPLY: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """One pass of gaussian.blur: along y (ROWS) from image sample[a] of the source to image a, or from there along x to it.

    MAPS: the source has an image for each a; NUMBERED: it holds numbers of ``values``. ADD: what comes out is added to the
    images there, of whatever channels, and clipped; MULTIPLY: likewise multiplied.
    """
    a, part = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    if tl.load(reach + a) < 0:  # absent
        return
    per_channel = per_image // channels
    c, tile = part // per_channel, part % per_channel
    y, x = tile_of(tile, across, TX, TY)
    here = (y < height) & (x < width)
    n = height * width
    image, mine = tl.load(sample + a).to(tl.int64), a.to(tl.int64)
    if ROWS and not MAPS:
        start = source + (image * channels + c) * n
    else:
        start = source + (mine * channels + c) * n
    result = _pixel(start + y * width + x, here, values, NUMBERED) * tl.load(taps + a * (most + 1))
    for i in range(1, tl.load(reach + a).to(tl.int32) + 1):
        if ROWS:
            low = _pixel(start + _mirror(y - i, height, ONCE) * width + x, here, values, NUMBERED)
            high = _pixel(start + _mirror(y + i, height, ONCE) * width + x, here, values, NUMBERED)
        else:
            low = tl.load(start + y * width + _mirror(x - i, width, ONCE), here, other=0.0)
            high = tl.load(start + y * width + _mirror(x + i, width, ONCE), here, other=0.0)
        result += (low + high) * tl.load(taps + a * (most + 1) + i)
    if ADD > 0:
        into = out + image * ADD * n + y * width + x
        for _ in range(ADD):
            tl.store(into, clip(tl.load(into, here) + result), here)
            into += n
    elif MULTIPLY > 0:
        into = out + image * MULTIPLY * n + y * width + x
        for _ in range(MULTIPLY):
            tl.store(into, clip(tl.load(into, here) * result), here)
            into += n
    elif ROWS:
        tl.store(out + (mine * channels + c) * n + y * width + x, result, here)
    else:
        tl.store(out + (image * channels + c) * n + y * width + x, result, here)


def reaches(sample: Tensor, taps: Tensor) -> Tensor:
    """(A,) int32 reach of weights (A, 1 + r) on the host, negative for images that are absent."""
    return gaussian.reach_of(taps).masked_fill_(sample < 0, ABSENT)


def blurred(
    source: Tensor, taps: Tensor, reach: Tensor, out: Tensor, sample: Tensor, add: int = 0, multiply: int = 0,
    values: Tensor | None = None,
) -> None:  # fmt: skip
    """Blur images sample[a] of ``out``, or images a of another source; store them at sample[a], add them or multiply by them.

    values: what the integers of the source stand for.
    """
    channels, height, width = channels_of(source)
    between = torch.empty(len(taps), channels, height, width, device=source.device)
    across, per_channel = tiles(height, width)
    sizes = (taps, reach, taps.shape[1] - 1, channels, height, width, across, per_channel * channels)
    count = len(taps) * per_channel * channels
    tile = {"ONCE": taps.shape[1] <= min(height, width), "TX": TILE_X, "TY": TILE_Y}
    first = {"ROWS": True, "MAPS": source is not out, "NUMBERED": values is not None, "ADD": 0, "MULTIPLY": 0}
    then = {"ROWS": False, "MAPS": True, "NUMBERED": False, "ADD": add, "MULTIPLY": multiply}
    launch(_along, count, source, between, sample, taps if values is None else values, *sizes, **first, **tile)
    launch(_along, count, between, out, sample, taps, *sizes, **then, **tile)
