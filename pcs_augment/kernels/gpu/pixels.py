"""Triton twins of the pixel loops: noise, tone, blur, symmetries, masks.

Images are (B, C, H, W) float32 on the device; ``sample`` (A,) names those that change, and every other argument has a row for
each of them, on the host.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ... import gaussian
from ...rng import LANE_PIXEL, device_table
from ...transfer import all_to_device
from .launch import TILE_X, TILE_Y, channels_of, launch, sent, tiles
from .random import half_words

_BLOCK = 1024
_CALLS = 128  # of Philox in a program
_RUN = 16  # blocks that a program of a sum adds up before it writes
ONE = tl.constexpr(2.0**32)
_LANE = tl.constexpr(LANE_PIXEL)


@triton.jit
def clip(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@triton.jit
def _add_noise(images, table, sample, sigma, keys, n, blocks, CALLS: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    first = block * CALLS
    half = half_words(
        first + tl.arange(0, CALLS), tl.zeros((), tl.int32), _LANE, tl.load(keys + 2 * a), tl.load(keys + 2 * a + 1), CALLS
    )
    place = 8 * first.to(tl.int64) + tl.arange(0, 8 * CALLS)
    at = images + tl.load(sample + a).to(tl.int64) * n + place
    x = tl.load(at, place < n)
    tl.store(at, clip(x + tl.load(table + half) * tl.load(sigma + a)), place < n)


def add_noise(images: Tensor, *columns: Tensor) -> None:
    sample, sigma, keys = sent(images, *columns)
    n = images[0].numel()
    blocks = triton.cdiv(n, 8 * _CALLS)
    table = device_table("normal", images.device)
    launch(_add_noise, len(sample) * blocks, images, table, sample, sigma, keys, n, blocks, CALLS=_CALLS)


@triton.jit
def _add_impulses(images, sample, white, black, keys, channels, n, blocks, CALLS: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    first = block * CALLS
    half = half_words(
        first + tl.arange(0, CALLS), tl.zeros((), tl.int32), _LANE, tl.load(keys + 2 * a), tl.load(keys + 2 * a + 1), CALLS
    )
    place = 8 * first + tl.arange(0, 8 * CALLS)
    bright, dark = half < tl.load(white + a), half >= tl.load(black + a)
    value = tl.where(dark, 0.0, 1.0)
    at = images + tl.load(sample + a).to(tl.int64) * channels * n + place
    for _ in range(channels):
        tl.store(at, value, (place < n) & (bright | dark))
        at += n


def add_impulses(images: Tensor, *columns: Tensor) -> None:
    sample, white, black, keys = sent(images, *columns)
    channels, height, width = channels_of(images)
    blocks = triton.cdiv(height * width, 8 * _CALLS)
    arguments = (sample, white, black, keys, channels, height * width, blocks)
    launch(_add_impulses, len(sample) * blocks, images, *arguments, CALLS=_CALLS)


@triton.jit
def _scale(images, sample, factor, n, blocks, BLOCK: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = images + tl.load(sample + a).to(tl.int64) * n + place
    tl.store(at, clip(tl.load(at, place < n) * tl.load(factor + a)), place < n)


def scale(images: Tensor, *columns: Tensor) -> None:
    sample, factor = sent(images, *columns)
    n = images[0].numel()
    blocks = triton.cdiv(n, _BLOCK)
    launch(_scale, len(sample) * blocks, images, sample, factor, n, blocks, BLOCK=_BLOCK)


@triton.jit
def mean_of(total, inverse):
    """The float32 mean or mean square of a sum of multiples of 2^-32."""
    return total.to(tl.float32) * inverse


@triton.jit(do_not_specialize_on_alignment=["totals", "middles"])
def _sum(images, totals, sample, middles, inverse, n, runs, SQUARES: tl.constexpr, RUN: tl.constexpr, BLOCK: tl.constexpr):
    """Add up the values in units of 2^-32, or the squares of their differences from the mean that ``middles`` gives."""
    a, run = tl.program_id(0) // runs, tl.program_id(0) % runs
    start = images + tl.load(sample + a).to(tl.int64) * n
    sums = tl.zeros((BLOCK,), tl.int64)
    for i in range(RUN):
        place = (run.to(tl.int64) * RUN + i) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(start + place, place < n, other=0.0)
        if SQUARES:
            d = x - mean_of(tl.load(middles + a), inverse)
            x = tl.where(place < n, d * d, 0.0)
        sums += (x * ONE).to(tl.int64)
    tl.atomic_add(totals + a, tl.sum(sums), sem="relaxed")


def sums(images: Tensor, sample: Tensor, squares: bool = False) -> tuple[Tensor, float]:
    """(A,) int64 sums of statistics.mean, or of statistics.deviation, and what turns them into float32 means."""
    n = images[0].numel()
    inverse = 1.0 / (2.0**32 * n)
    totals = torch.zeros(2 if squares else 1, len(sample), dtype=torch.int64, device=images.device)
    runs = triton.cdiv(n, _RUN * _BLOCK)
    for i in range(len(totals)):
        arguments = (sample, totals[0], inverse, n, runs)
        launch(_sum, len(sample) * runs, images, totals[i], *arguments, SQUARES=i == 1, RUN=_RUN, BLOCK=_BLOCK)
    return totals[-1], inverse


@triton.jit
def _stretch(images, sample, factor, totals, inverse, n, blocks, BLOCK: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = images + tl.load(sample + a).to(tl.int64) * n + place
    middle = mean_of(tl.load(totals + a), inverse)
    tl.store(at, clip((tl.load(at, place < n) - middle) * tl.load(factor + a) + middle), place < n)


def stretch(images: Tensor, *columns: Tensor) -> None:
    sample, factor = sent(images, *columns)
    n = images[0].numel()
    totals, inverse = sums(images, sample)
    blocks = triton.cdiv(n, _BLOCK)
    launch(_stretch, len(sample) * blocks, images, sample, factor, totals, inverse, n, blocks, BLOCK=_BLOCK)


@triton.jit
def tile_of(tile, across, TX: tl.constexpr, TY: tl.constexpr):
    """(TY, 1) rows and (1, TX) columns of a tile."""
    return (tile // across) * TY + tl.arange(0, TY)[:, None], (tile % across) * TX + tl.arange(0, TX)[None, :]


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


def _blur(
    source: Tensor, rows: Tensor, taps: Tensor, reach: Tensor, out: Tensor, sample: Tensor, add: int = 0, multiply: int = 0
) -> None:
    """Blur image rows[a] of the source; store it, add it or multiply by it at image sample[a] of ``out``."""
    channels, height, width = channels_of(source)
    order = torch.arange(len(taps), device=source.device)
    between = torch.empty(len(taps), channels, height, width, device=source.device)
    across, per_channel = tiles(height, width)
    sizes = (taps, reach, taps.shape[1] - 1, channels, height, width, across, per_channel * channels)
    count = len(taps) * per_channel * channels
    tile = {"ONCE": taps.shape[1] <= min(height, width), "TX": TILE_X, "TY": TILE_Y}
    launch(_along, count, source, between, rows, order, *sizes, ROWS=True, ADD=0, MULTIPLY=0, **tile)
    launch(_along, count, between, out, order, sample, *sizes, ROWS=False, ADD=add, MULTIPLY=multiply, **tile)


def blur(images: Tensor, sample: Tensor, taps: Tensor) -> None:
    where, weights, reach = sent(images, sample, taps, gaussian.reach_of(taps))
    _blur(images, where, weights, reach, images, where)


def add_blurred(images: Tensor, sample: Tensor, maps: Tensor, taps: Tensor, reach: Tensor) -> None:
    """Add blurred maps (A, 1, H, W) to every channel and clip; everything on the device."""
    order = torch.arange(len(sample), device=images.device)
    _blur(maps, order, taps, reach, images, sample, add=images.shape[1])


@triton.jit
def _visible(out, shapes, height, width, across, per_image, TX: tl.constexpr, TY: tl.constexpr):
    a, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    y, x = tile_of(tile, across, TX, TY)
    row = shapes + 8 * a
    px, py = x.to(tl.float32) + 0.5, y.to(tl.float32) + 0.5
    dx, dy, radius = px - tl.load(row + 1), py - tl.load(row + 2), tl.load(row + 3)
    disc = dx * dx + dy * dy <= radius * radius
    window = ((px > tl.load(row + 4)) & (px < tl.load(row + 6))) & ((py > tl.load(row + 5)) & (py < tl.load(row + 7)))
    inside = tl.where(tl.load(row) > 0, disc, window)
    tl.store(out + (a.to(tl.int64) * height + y) * width + x, inside.to(tl.float32), (y < height) & (x < width))


def mask(images: Tensor, sample: Tensor, taps: Tensor, shapes: Tensor) -> None:
    """shapes (A, 8): whether it is a circle, its x, y, radius; left, top, right, bottom of the window."""
    where, weights, reach, rows = sent(images, sample, taps, gaussian.reach_of(taps), shapes)
    channels, height, width = channels_of(images)
    visible = torch.empty(len(where), 1, height, width, device=images.device)
    across, per_image = tiles(height, width)
    launch(_visible, len(where) * per_image, visible, rows, height, width, across, per_image, TX=TILE_X, TY=TILE_Y)
    order = torch.arange(len(where), device=images.device)
    _blur(visible, order, weights, reach, images, where, multiply=channels)


@triton.jit
def _turned(images, out, sample, moves, channels, height, width, across, per_image, TX: tl.constexpr, TY: tl.constexpr):
    a, part = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    per_channel = per_image // channels
    c, tile = part // per_channel, part % per_channel
    y, x = tile_of(tile, across, TX, TY)
    here = (y < height) & (x < width)
    row = moves + 6 * a
    from_y = tl.load(row) * y + tl.load(row + 1) * x + tl.load(row + 2)
    from_x = tl.load(row + 3) * y + tl.load(row + 4) * x + tl.load(row + 5)
    n = height * width
    source = images + (tl.load(sample + a).to(tl.int64) * channels + c) * n + from_y * width + from_x
    tl.store(out + (a.to(tl.int64) * channels + c) * n + y * width + x, tl.load(source, here), here)


def _moves(kind: NDArray[np.int64], flip: bool, height: int, width: int) -> NDArray[np.int64]:
    """(A, 6) integers m: pixel (y, x) comes from (m0 y + m1 x + m2, m3 y + m4 x + m5)."""
    same, right, bottom = (1, 0, 0, 0, 1, 0), width - 1, height - 1
    mirrored, upside_down = (1, 0, 0, 0, -1, right), (-1, 0, bottom, 0, 1, 0)
    turns = [same, (0, 1, 0, -1, 0, right), (-1, 0, bottom, 0, -1, right), (0, -1, bottom, 1, 0, 0)]
    return np.array([same, mirrored, upside_down] if flip else turns)[kind]


def turn(images: Tensor, sample: Tensor, kind: Tensor, flip: bool) -> None:
    channels, height, width = channels_of(images)
    which, kinds = sample.numpy()[kind.numpy() > 0], kind.numpy()[kind.numpy() > 0]
    if len(which):
        where, moves = all_to_device(images.device, which, _moves(kinds, flip, height, width))
        out = torch.empty(len(which), *images.shape[1:], device=images.device)
        across, per_channel = tiles(height, width)
        arguments = (out, where, moves, channels, height, width, across, per_channel * channels)
        launch(_turned, len(which) * per_channel * channels, images, *arguments, TX=TILE_X, TY=TILE_Y)
        images.index_copy_(0, where, out)
