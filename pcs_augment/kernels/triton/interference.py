"""Plane waves: looked up in a table of ranks that follows from a closed form, added up without ever being stored."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...noise.equalize import PARTS
from ...rng import MASK
from . import sums
from .equalize import rank_of, ranked
from .launch import TILE_X, TILE_Y, clip, launch, tile_of, tiles
from .sums import value_at

_BLOCK = 1024
_LOW, _TURN = tl.constexpr(MASK), tl.constexpr(MASK + 1)


@triton.jit
def _wave_sums(
    out, counts, first, begun, table, waves, bins, height, width, across, per_image,
    LEVELS: tl.constexpr, COUNT: tl.constexpr, WIDE: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    """waves (T, 3): turns per px along x and y and the phase, in units of 2^-32 turns; begun (n,): layers with something in
    ``out`` already; COUNT: the sums are counted too, in global memory."""
    layer, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    begin, end = tl.load(first + layer), tl.load(first + layer + 1)
    if begin == end:  # absent: see rooms.py
        return
    y, x = tile_of(tile, across, TX, TY)
    drop: tl.constexpr = 32 - LEVELS
    here = (y < height) & (x < width)
    total = value_at(out, layer, height * width, y * width + x, here & (tl.load(begun + layer) > 0), WIDE)
    for t in range(begin, end):
        row = waves + 3 * t
        column = ((x.to(tl.int64) * tl.load(row) + tl.load(row + 2)) & _LOW) >> drop
        line = (((y.to(tl.int64) * tl.load(row + 1)) & _LOW) + (1 << (drop - 1))) >> drop
        index = ((column + line) & ((1 << LEVELS) - 1)).to(tl.int32)
        total += tl.load(table + t * (1 << LEVELS) + index).to(tl.int32)
    place = (layer.to(tl.int64) * height + y) * width + x
    tl.store(out + place, total, here)
    if COUNT:
        tl.atomic_add(counts + layer.to(tl.int64) * bins + total, 1, here, sem="relaxed")


@triton.jit
def _bernoulli(d, corner):
    below, above = d - corner, d + corner
    below -= tl.floor(below)
    above -= tl.floor(above)
    return below * ((below - 1.5) * below + 0.5) + above * ((above - 1.5) * above + 0.5)


@triton.jit
def _share_within(node, corners, factors, NODES: tl.constexpr):
    """interference.share_within at a node."""
    d = node.to(tl.float32) * (0.5 / NODES)
    share = _bernoulli(d, tl.load(corners)) * tl.load(factors)
    for k in tl.static_range(1, 4):
        share += _bernoulli(d, tl.load(corners + k)) * tl.load(factors + k)
    return clip(2.0 * d - share)


@triton.jit
def _wave_tables(table, corners, factors, counted, ranks, NODES: tl.constexpr):
    """layer._wave_tables, once around; zero for waves that are counted instead."""
    t = tl.program_id(0)
    level = tl.arange(0, 4 * NODES)
    node, fraction = level // 4, ((level % 4).to(tl.float32) + 0.5) * 0.25
    low = _share_within(node, corners + 4 * t, factors + 4 * t, NODES)
    high = _share_within(node + 1, corners + 4 * t, factors + 4 * t, NODES)
    half = low * (1.0 - fraction) + high * fraction
    # halves go to the even neighbour, as torch.round has it
    exact = (1.0 - half) * ranks
    whole = tl.floor(exact)
    odd = (whole.to(tl.int32) & 1) == 1
    rank = whole.to(tl.int32) + ((exact - whole > 0.5) | ((exact - whole == 0.5) & odd)).to(tl.int32)
    rank = tl.where(tl.load(counted + t) > 0, 0, rank).to(tl.int16)
    first = table + t.to(tl.int64) * 8 * NODES
    tl.store(first + level, rank)
    tl.store(first + (8 * NODES - 1) - level, rank)


def wave_sums(
    out: Tensor, begun: Tensor, first: Tensor, waves: Tensor, corners: Tensor, factors: Tensor, counted: Tensor,
    height: int, width: int, nodes: int, levels: int, ranks: int, bins: int, equalize: bool,
) -> Tensor | None:  # fmt: skip
    """Sums (n, H * W) of the ranks of waves first[i] .. first[i + 1] - 1, without those that are ``counted`` (T,).

    begun (n,): layers that start from what ``out`` holds. Returns how often each sum below ``bins`` occurs, if ``equalize``.
    """
    textures, layers, device = len(waves), len(begun), out.device
    if 8 * nodes != 1 << levels:
        raise ValueError(f"four phase bins lie between two nodes of half a turn, got {nodes} nodes and {levels} bits")
    table = torch.empty(textures, 1 << levels, dtype=torch.int16, device=device)
    launch(_wave_tables, textures, table, corners, factors, counted, ranks, NODES=nodes)
    shared = sums.IN_SHARED_MEMORY
    counts = sums.empty_counts(layers, 1, bins, device) if equalize and not shared else begun
    across, per_image = tiles(height, width)
    arguments = (first, begun, table, waves, bins, height, width, across, per_image)
    constants = {"LEVELS": levels, "COUNT": equalize and not shared, "WIDE": out.dtype == torch.int32}
    launch(_wave_sums, layers * per_image, out, counts, *arguments, **constants, TX=TILE_X, TY=TILE_Y)
    if not equalize:
        return None
    return sums.layer_counts(out, first, bins, ranks) if shared else counts


@triton.jit
def _distances(out, waves, n, width, blocks, BLOCK: tl.constexpr):
    """interference.distances of whole waves, negative and halved as equalize takes them."""
    t, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    place = block * BLOCK + tl.arange(0, BLOCK)
    y, x = (place // width).to(tl.int64), (place % width).to(tl.int64)
    row = waves + 3 * t
    phase = ((y * tl.load(row + 1)) & _LOW) + ((x * tl.load(row) + tl.load(row + 2)) & _LOW) & _LOW
    distance = tl.minimum(phase, phase * -1 + _TURN).to(tl.float32) * (2.0**-32)
    tl.store(out + t.to(tl.int64) * n + place, distance * -0.5, place < n)


@triton.jit(do_not_specialize=["textures"])
def _add_ranks(
    out, table, index, taken, layers, first, begun, ranks, n, textures, blocks,
    PARTS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Layer layers[i] becomes the sum of textures first[i] .. first[i + 1] - 1 in whole ranks, and what it is if ``begun``."""
    i, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(layers + i) < 0:  # absent: see rooms.py
        return
    place = block * BLOCK + tl.arange(0, BLOCK)
    here, layer = place < n, tl.load(layers + i)
    total = value_at(out, layer, n, place, here & (tl.load(begun + i) > 0), WIDE)
    for t in range(tl.load(first + i), tl.load(first + i + 1)):
        rank = rank_of(table, index, taken, t, n, place, here, textures, PARTS) * ranks
        total += ((rank + 8388608.0) - 8388608.0).to(tl.int32)  # halves to even, as torch.round has it
    tl.store(out + layer.to(tl.int64) * n + place, total, here)


def add_counted(
    out: Tensor, waves: Tensor, layers: Tensor, first: Tensor, begun: Tensor, height: int, width: int, ranks: int,
    present: Tensor | None = None,
) -> None:  # fmt: skip
    """Add the ranks of waves (t, 3), found by counting, to (n, H * W) sums: first[i] .. first[i + 1] - 1 to layer layers[i].

    begun (l,): whether such a layer holds something before; it starts from 0 otherwise. present (t,) int32: above 0 for waves
    that are there, where some are not.
    """
    n, textures = height * width, len(waves)
    blocks = triton.cdiv(n, _BLOCK)
    values = torch.empty(textures, n, device=out.device)
    launch(_distances, textures * blocks, values, waves, n, width, blocks, BLOCK=_BLOCK)
    arguments = (*ranked(values, present), layers, first, begun, float(ranks), n, textures, blocks)
    constants = {"PARTS": PARTS, "WIDE": out.dtype == torch.int32, "BLOCK": _BLOCK}
    launch(_add_ranks, len(layers) * blocks, out, *arguments, **constants)
