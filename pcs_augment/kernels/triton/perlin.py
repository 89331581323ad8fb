"""Perlin noise: evaluated, ranked and added up without ever being stored.

A texture is evaluated twice, once to count its values and once to look up its ranks: recomputing costs less than
writing and reading it. All textures of a batch share a launch; a program adds up one tile of one layer over its textures.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rng import LANE_LATTICE, MASK, device_table
from .launch import TILE_X, TILE_Y, launch, tile_of, tiles
from .rng import half_words

_CALLS = 128  # of Philox in a program
_CHUNK = 4096  # counts that a program adds up at once
_COUNTED, _COUNTED_Y = 12, 32  # tiles that a program counts before it writes, and their rows
# before, Triton counts in registers, which 8192 bins overflow: counting in global memory is faster by far
_IN_SHARED_MEMORY = tuple(int(n) for n in triton.__version__.split(".")[:2]) >= (3, 8)
_LANE, _LOW = tl.constexpr(LANE_LATTICE), tl.constexpr(MASK)


@triton.jit(do_not_specialize=["points", "blocks"])
def _gradients(out, unit, points, start, calls, items, keys, blocks, CALLS: tl.constexpr):
    t, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    first, count = block * CALLS, tl.load(calls + t)
    if first < count:
        n = first + tl.arange(0, CALLS)
        half = half_words(n, tl.load(items + t), _LANE, tl.load(keys + 2 * t), tl.load(keys + 2 * t + 1), CALLS)
        place = 8 * first + tl.arange(0, 8 * CALLS)
        at = out + tl.load(start + t) + place
        tl.store(at, tl.load(unit + half), place < 8 * count)
        tl.store(at + points, tl.load(unit + 65536 + half), place < 8 * count)


def gradients(start: Tensor, calls: Tensor, items: Tensor, keys: Tensor, most: int, points: int) -> Tensor:
    """(2, points) unit gradients of lattices that begin at ``start`` (T,) and take ``calls`` (T,) <= most of Philox."""
    out = torch.empty(2, points, device=start.device)
    blocks = triton.cdiv(most, _CALLS)
    arguments = (device_table("unit", start.device), points, start, calls, items, keys, blocks)
    launch(_gradients, len(start) * blocks, out, *arguments, CALLS=_CALLS)
    return out


@triton.jit
def _axis(i, step, shift):
    """perlin._along: cell, offset from its near end, fade."""
    at = i.to(tl.int64) * step + shift
    t = ((at & _LOW) >> 8).to(tl.float32) * (2.0**-24)
    return (at >> 32).to(tl.int32), t, t * t * t * (t * (t * 6.0 - 15.0) + 10.0)


@triton.jit
def _perlin_bins(geometry, gradients, points, t, y, x, scaling, half_bins):
    """perlin.Lattices.field of texture t at rows y and columns x, as bins; geometry (T, 5): step, shifts, start, columns."""
    row = geometry + 5 * t
    step, start, columns = tl.load(row), tl.load(row + 3), tl.load(row + 4).to(tl.int32)
    cell_x, tx, fade_x = _axis(x, step, tl.load(row + 1))
    cell_y, ty, fade_y = _axis(y, step, tl.load(row + 2))
    near_x, near_y = 1.0 - fade_x, 1.0 - fade_y
    g = gradients + start + (cell_y * columns + cell_x)
    a0 = tl.load(g) * (near_x * tx) + tl.load(g + 1) * (fade_x * (tx - 1.0))
    b0 = tl.load(g + columns) * (near_x * tx) + tl.load(g + columns + 1) * (fade_x * (tx - 1.0))
    g += points
    a1 = tl.load(g) * near_x + tl.load(g + 1) * fade_x
    b1 = tl.load(g + columns) * near_x + tl.load(g + columns + 1) * fade_x
    value = (a0 * near_y + b0 * fade_y) + (a1 * (near_y * ty) + b1 * (fade_y * (ty - 1.0)))
    return (value * scaling + half_bins).to(tl.int32)


@triton.jit(do_not_specialize=["points"])
def _perlin_counts(
    counts, geometry, gradients, points, scaling, height, width, across, per_image, parts,
    BINS: tl.constexpr, SHARED: tl.constexpr, TILES: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """A histogram over TILES tiles of a texture: in shared memory, then added to the others once, or in global memory."""
    t, part = tl.program_id(0) // parts, tl.program_id(0) % parts
    if tl.load(geometry + 5 * t + 4) == 0:  # absent: no columns
        return
    mine = counts + t.to(tl.int64) * BINS
    if SHARED:
        total = tl.zeros((BINS,), tl.int32)
    for tile in range(part * TILES, tl.minimum((part + 1) * TILES, per_image)):
        y, x = tile_of(tile, across, TX, TY)
        here = (y < height) & (x < width)
        inside_y, inside_x = tl.minimum(y, height - 1), tl.minimum(x, width - 1)
        index = _perlin_bins(geometry, gradients, points, t, inside_y, inside_x, scaling, BINS * 0.5)
        if SHARED:
            total += tl.histogram(tl.reshape(index, (TX * TY,)), BINS, mask=tl.reshape(here, (TX * TY,)))
        else:
            tl.atomic_add(mine + index, 1, here, sem="relaxed")
    if SHARED:
        tl.atomic_add(mine + tl.arange(0, BINS), total, total > 0, sem="relaxed")


@triton.jit
def _rank_table(table, counts, n, ranks, step, bins, WHOLE: tl.constexpr, CHUNK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * bins
    below = tl.zeros((), tl.int64)
    for i in range(0, bins, CHUNK):
        place = i + tl.arange(0, CHUNK)
        here = tl.load(counts + first + place, place < bins, other=0).to(tl.int64)
        middle = 2 * (below + tl.cumsum(here)) - here
        if WHOLE:
            rank = ((middle * ranks + n) // (2 * n)).to(tl.int16)
        else:
            rank = middle.to(tl.float32) * step
        tl.store(table + first + place, rank, place < bins)
        below += tl.sum(here)


def rank_tables(counts: Tensor, n: int, ranks: int | None = None) -> Tensor:
    """Middle ranks of (R, bins) counts of n values: layer._rank_table as int16 in 0 .. ranks, or float32 in [0, 1] without."""
    rows, bins = counts.shape
    table = torch.empty(rows, bins, dtype=torch.float32 if ranks is None else torch.int16, device=counts.device)
    arguments = (counts, n, ranks or 0, 0.5 / n, bins)
    launch(_rank_table, rows, table, *arguments, num_warps=8, WHOLE=ranks is not None, CHUNK=_CHUNK)
    return table


@triton.jit(do_not_specialize=["points"])
def _perlin_sums(
    out, first, table, geometry, gradients, points, scaling, bins, height, width, across, per_image,
    TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    layer, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    y, x = tile_of(tile, across, TX, TY)
    inside_y, inside_x = tl.minimum(y, height - 1), tl.minimum(x, width - 1)
    total = tl.zeros((TY, TX), tl.int32)
    for t in range(tl.load(first + layer), tl.load(first + layer + 1)):
        index = _perlin_bins(geometry, gradients, points, t, inside_y, inside_x, scaling, bins * 0.5)
        total += tl.load(table + t * bins + index).to(tl.int32)
    place = (layer.to(tl.int64) * height + y) * width + x
    tl.store(out + place, total, (y < height) & (x < width))


def perlin_sums(
    first: Tensor, geometry: Tensor, gradients: Tensor, height: int, width: int, scaling: float, bins: int, ranks: int
) -> Tensor:
    """(n, H * W) int32 sums of the ranks of textures first[i] .. first[i + 1] - 1; geometry (T, 5) as _perlin_bins has it."""
    textures, layers, device = len(geometry), len(first) - 1, geometry.device
    counts = torch.zeros(textures, bins, dtype=torch.int32, device=device)
    field = (geometry, gradients, gradients.shape[1], scaling)
    across, tall = tiles(height, width, _COUNTED_Y)
    parts = triton.cdiv(tall, _COUNTED)
    constants = {"BINS": bins, "SHARED": _IN_SHARED_MEMORY, "TILES": _COUNTED, "TX": TILE_X, "TY": _COUNTED_Y}
    sizes = (height, width, across, tall, parts)
    launch(_perlin_counts, textures * parts, counts, *field, *sizes, num_warps=16, **constants)
    table = rank_tables(counts, height * width, ranks)
    out = torch.empty(layers, height * width, dtype=torch.int32, device=device)
    across, per_image = tiles(height, width)
    sizes = (bins, height, width, across, per_image)
    launch(_perlin_sums, layers * per_image, out, first, table, *field, *sizes, TX=TILE_X, TY=TILE_Y)
    return out
