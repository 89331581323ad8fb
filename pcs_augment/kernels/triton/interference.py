"""Plane waves: looked up in a table of ranks that follows from a closed form, added up without ever being stored."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rng import MASK
from .equalize import equalized
from .launch import TILE_X, TILE_Y, clip, launch, tile_of, tiles

_BLOCK = 1024
_LOW, _TURN = tl.constexpr(MASK), tl.constexpr(MASK + 1)


@triton.jit
def _wave_sums(
    out, first, table, waves, height, width, across, per_image, LEVELS: tl.constexpr, TX: tl.constexpr, TY: tl.constexpr
):
    """waves (T, 3): turns per px along x and y and the phase, in units of 2^-32 turns."""
    layer, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    y, x = tile_of(tile, across, TX, TY)
    drop: tl.constexpr = 32 - LEVELS
    total = tl.zeros((TY, TX), tl.int32)
    for t in range(tl.load(first + layer), tl.load(first + layer + 1)):
        row = waves + 3 * t
        column = ((x.to(tl.int64) * tl.load(row) + tl.load(row + 2)) & _LOW) >> drop
        line = (((y.to(tl.int64) * tl.load(row + 1)) & _LOW) + (1 << (drop - 1))) >> drop
        index = ((column + line) & ((1 << LEVELS) - 1)).to(tl.int32)
        total += tl.load(table + t * (1 << LEVELS) + index).to(tl.int32)
    place = (layer.to(tl.int64) * height + y) * width + x
    tl.store(out + place, total, (y < height) & (x < width))


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
    first: Tensor, waves: Tensor, corners: Tensor, factors: Tensor, counted: Tensor, height: int, width: int,
    nodes: int, levels: int, ranks: int,
) -> Tensor:  # fmt: skip
    """(n, H * W) int32 sums of the ranks of waves first[i] .. first[i + 1] - 1, without those that are ``counted`` (T,)."""
    textures, layers = len(waves), len(first) - 1
    if 8 * nodes != 1 << levels:
        raise ValueError(f"four phase bins lie between two nodes of half a turn, got {nodes} nodes and {levels} bits")
    table = torch.empty(textures, 1 << levels, dtype=torch.int16, device=waves.device)
    launch(_wave_tables, textures, table, corners, factors, counted, ranks, NODES=nodes)
    out = torch.empty(layers, height * width, dtype=torch.int32, device=waves.device)
    across, per_image = tiles(height, width)
    arguments = (first, table, waves, height, width, across, per_image)
    launch(_wave_sums, layers * per_image, out, *arguments, LEVELS=levels, TX=TILE_X, TY=TILE_Y)
    return out


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


@triton.jit
def _add_ranks(sums, values, layers, first, ranks, n, blocks, BLOCK: tl.constexpr):
    """Add values first[i] .. first[i + 1] - 1, in [0, 1], to layer layers[i] as whole ranks."""
    i, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(layers + i) < 0:  # absent: see rooms.py
        return
    place = block * BLOCK + tl.arange(0, BLOCK)
    here = place < n
    at = sums + tl.load(layers + i).to(tl.int64) * n + place
    total = tl.load(at, here, other=0)
    value = values + tl.load(first + i).to(tl.int64) * n + place
    for _ in range(tl.load(first + i), tl.load(first + i + 1)):
        rank = tl.load(value, here, other=0.0) * ranks
        value += n
        total += ((rank + 8388608.0) - 8388608.0).to(tl.int32)  # halves to even, as torch.round has it
    tl.store(at, total, here)


def add_counted(
    sums: Tensor, waves: Tensor, layers: Tensor, first: Tensor, height: int, width: int, ranks: int,
    present: Tensor | None = None,
) -> None:  # fmt: skip
    """Add the ranks of waves (t, 3), found by counting, to (n, H * W) sums: first[i] .. first[i + 1] - 1 to layer layers[i].

    present (t,) int32: above 0 for waves that are there, where some are not.
    """
    n = height * width
    blocks = triton.cdiv(n, _BLOCK)
    values = torch.empty(len(waves), n, device=sums.device)
    launch(_distances, len(waves) * blocks, values, waves, n, width, blocks, BLOCK=_BLOCK)
    ranked = equalized(values, present)
    launch(_add_ranks, len(layers) * blocks, sums, ranked, layers, first, float(ranks), n, blocks, BLOCK=_BLOCK)
