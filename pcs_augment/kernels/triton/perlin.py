"""Perlin noise: evaluated, ranked and added up without ever being stored.

What is interpolated along x is kept, for each row of a lattice: few rows for many of pixels, which then only interpolate along
y. That is done twice, once to count a texture's values and once to look up its ranks: recomputing costs less than writing and
reading them. All textures of a batch share a launch; a program adds up one tile of one layer over its textures.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rng import LANE_LATTICE, MASK, device_table
from . import sums
from .launch import TILE_X, TILE_Y, launch, tile_of, tiles
from .rng import half_words

_CALLS = 128  # of Philox in a program
_LINES = 8  # rows of a lattice that a program interpolates along x
_COUNTED, _COUNTED_Y = 9, 64  # tiles that a program counts before it writes, or more, and their rows
_COPIES = 8  # of a texture's histogram, at most
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


@triton.jit(do_not_specialize=["points", "groups"])
def _across(one, two, geometry, gradients, points, width, quads, groups, LINES: tl.constexpr, TX: tl.constexpr):
    """Both components interpolated along x, for each row of a lattice.

    geometry (T, 7): step, shifts, where gradients start, columns, first line of (lines, 4 quads) results, rows.
    """
    t, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    about = geometry + 7 * t
    rows = tl.load(about + 6).to(tl.int32)
    if group * LINES < rows:
        step, shift = tl.load(about), tl.load(about + 1)
        row = group * LINES + tl.arange(0, LINES)[:, None]
        line = (tl.load(about + 5) + row) * (quads * 4)
        start = gradients + tl.load(about + 3) + row * tl.load(about + 4)
        for left in range(0, width, TX):
            x = left + tl.arange(0, TX)[None, :]
            here = (row < rows) & (x < width)
            cell, tx, fade = _axis(x, step, shift)
            near, g = 1.0 - fade, start + cell
            tl.store(one + line + x, tl.load(g, here) * (near * tx) + tl.load(g + 1, here) * (fade * (tx - 1.0)), here)
            g += points
            tl.store(two + line + x, tl.load(g, here) * near + tl.load(g + 1, here) * fade, here)


@triton.jit
def _perlin_bins(geometry, one, two, quads, t, y, x, here, scaling, half_bins):
    """perlin.Lattices.field of texture t at rows y and columns x, where ``here``, as bins; all else as _across has it."""
    about = geometry + 7 * t
    cell, ty, fade = _axis(y, tl.load(about), tl.load(about + 2))
    near = 1.0 - fade
    line = (tl.load(about + 5) + cell) * (quads * 4)
    at, after = line + x, line + quads * 4 + x
    value = tl.load(one + at, here, other=0.0) * near + tl.load(one + after, here, other=0.0) * fade
    value += tl.load(two + at, here, other=0.0) * (near * ty) + tl.load(two + after, here, other=0.0) * (fade * (ty - 1.0))
    return (value * scaling + half_bins).to(tl.int32)


@triton.jit
def _perlin_counts(
    counts, geometry, one, two, quads, scaling, height, width, across, per_image, parts,
    BINS: tl.constexpr, SHARED: tl.constexpr, TILES: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """A histogram over TILES tiles of a texture: in shared memory, each program's by itself, or in global memory."""
    t, part = tl.program_id(0) // parts, tl.program_id(0) % parts
    mine = counts + (tl.program_id(0) if SHARED else t).to(tl.int64) * BINS
    last = tl.minimum((part + 1) * TILES, per_image)
    if tl.load(geometry + 7 * t + 4) == 0:  # absent: no columns; see rooms.py
        last = last * 0
    if SHARED:
        total = tl.zeros((BINS,), tl.int32)
    for tile in range(part * TILES, last):
        y, x = tile_of(tile, across, TX, TY)
        here = (y < height) & (x < width)
        index = _perlin_bins(geometry, one, two, quads, t, tl.minimum(y, height - 1), x, x < width, scaling, BINS * 0.5)
        if SHARED:
            total += tl.histogram(tl.reshape(index, (TX * TY,)), BINS, mask=tl.reshape(here, (TX * TY,)))
        else:
            tl.atomic_add(mine + index, 1, here, sem="relaxed")
    if SHARED:
        tl.store(mine + tl.arange(0, BINS), total)


@triton.jit
def _perlin_sums(
    out, counts, first, table, geometry, one, two, quads, scaling, bins, layer_bins, height, width, across, per_image,
    COUNT: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """COUNT: the sums are counted too, in global memory."""
    layer, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    begin, end = tl.load(first + layer), tl.load(first + layer + 1)
    if begin == end:  # absent
        return
    y, x = tile_of(tile, across, TX, TY)
    here = (y < height) & (x < width)
    inside = tl.minimum(y, height - 1)
    total = tl.zeros((TY, TX), tl.int32)
    for t in range(begin, end):
        index = _perlin_bins(geometry, one, two, quads, t, inside, x, x < width, scaling, bins * 0.5)
        total += tl.load(table + t * bins + index).to(tl.int32)
    place = (layer.to(tl.int64) * height + y) * width + x
    tl.store(out + place, total, here)
    if COUNT:
        tl.atomic_add(counts + layer.to(tl.int64) * layer_bins + total, 1, here, sem="relaxed")


def _shares(height: int, width: int) -> tuple[int, int]:
    """Tiles that a program counts, and programs for a texture."""
    _, tall = tiles(height, width, _COUNTED_Y)
    counted = max(_COUNTED, triton.cdiv(tall, _COPIES))
    return counted, triton.cdiv(tall, counted)


def room_of(textures: int, lines: int, bins: int, height: int, width: int) -> int:
    """Numbers of 32 bits for so many textures: histograms, tables of ranks, and lines that are interpolated along x."""
    copies = _shares(height, width)[1] if sums.IN_SHARED_MEMORY else 1
    return textures * bins * (2 * copies + 1) // 2 + 2 * lines * 4 * triton.cdiv(width, 4)


def perlin_sums(
    first: Tensor, geometry: Tensor, gradients: Tensor, lines: int, most: int, height: int, width: int,
    scaling: float, bins: int, ranks: int, layer_bins: int, equalize: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """(n, H * W) sums of the ranks of textures first[i] .. first[i + 1] - 1; and how often each occurs, if ``equalize``.

    geometry (T, 7) as _across has it, with ``lines`` rows in all and ``most`` in a lattice.
    """
    textures, layers, device = len(geometry), len(first) - 1, geometry.device
    quads, groups = triton.cdiv(width, 4), triton.cdiv(most, _LINES)
    one, two = torch.empty(lines, 4 * quads, device=device), torch.empty(lines, 4 * quads, device=device)
    arguments = (geometry, gradients, gradients.shape[1], width, quads, groups)
    launch(_across, textures * groups, one, two, *arguments, LINES=_LINES, TX=TILE_X)
    shared = sums.IN_SHARED_MEMORY
    across, tall = tiles(height, width, _COUNTED_Y)
    counted, parts = _shares(height, width)
    counts = sums.empty_counts(textures, parts, bins, device)
    field = (geometry, one, two, quads, scaling)
    constants = {"BINS": bins, "SHARED": shared, "TILES": counted, "TX": TILE_X, "TY": _COUNTED_Y}
    sizes = (height, width, across, tall, parts)
    launch(_perlin_counts, textures * parts, counts, *field, *sizes, num_warps=16, **constants)
    table = sums.rank_tables(counts, height * width, ranks)
    out = sums.empty_sums(layers, height * width, layer_bins, device)
    own = sums.empty_counts(layers, 1, layer_bins, device) if equalize and not shared else table
    across, per_image = tiles(height, width)
    own_sizes = (bins, layer_bins, height, width, across, per_image)
    constants = {"COUNT": equalize and not shared, "TX": TILE_X, "TY": TILE_Y}
    launch(_perlin_sums, layers * per_image, out, own, first, table, *field, *own_sizes, **constants)
    if not equalize:
        return out, None
    return out, sums.layer_counts(out, first, layer_bins, ranks) if shared else own
