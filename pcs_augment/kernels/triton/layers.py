"""Noise layers: sums of textures become layers, layers are blended with images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ... import rooms
from ...noise.interference import LEVELS, NODES, corner_terms, fixed_point, resonant
from ...noise.layer import BINS, GPU_CHUNK_PX, RANKS, SCALING
from ...noise.perlin import geometry
from ...noise.textures import textures_of
from ...plan import Table
from ...rng import keys_in
from ...sums import EXP2
from ...transfer import all_to_device
from .edges import small
from .interference import add_counted, wave_sums
from .launch import channels_of, clip, launch
from .perlin import gradients, perlin_sums, room_of
from .sums import empty_sums, rank_tables, value_at
from .totals import Totals, leave_sum, mean_of

_BLOCK = 1024
_COUNTED_PX = 2**23  # of waves that are ranked by counting at once, at 12 bytes each
_COUNTED_MORE = 2**17  # what a wave takes besides, for its histograms
_E0, _E1, _E2, _E3, _E4, _E5 = (tl.constexpr(c) for c in EXP2)


@triton.jit(do_not_specialize_on_alignment=["squares"])
def _blend(
    images, sample, layers, table, scales, squares, totals, into, inverse, c, channels, n, blocks, bins,
    EQUALIZE: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """blend.blend_with: the strengths come from the sums of squares, the layers from their sums.

    The sums of what comes out go to totals[into], unless that is negative.
    """
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    image, to = tl.load(sample + a), tl.load(into + a)
    if image < 0:  # absent
        return
    place = block * BLOCK + tl.arange(0, BLOCK)
    here = place < n
    one, two = value_at(layers, 2 * a, n, place, here, WIDE), value_at(layers, 2 * a + 1, n, place, here, WIDE)
    if EQUALIZE:
        layer = tl.load(table + 2 * a.to(tl.int64) * bins + one)
        weight = tl.load(table + (2 * a.to(tl.int64) + 1) * bins + two)
    else:
        layer = one.to(tl.float32) * tl.load(scales + 2 * a)
        weight = two.to(tl.float32) * tl.load(scales + 2 * a + 1)
    strength = tl.sqrt_rn(mean_of(tl.load(squares + image), inverse)) * c
    z = 0.5 - layer
    e = z * _E5
    e = (e + _E4) * z
    e = (e + _E3) * z
    e = (e + _E2) * z
    e = (e + _E1) * z
    e = e + _E0
    w = e * e * weight * strength
    at = images + image.to(tl.int64) * channels * n + place
    for _ in range(channels):
        x = clip(tl.div_rn(w * layer + tl.load(at, here, other=0.0), w + 1.0))
        tl.store(at, x, here)
        leave_sum(totals, to, x, here)
        at += n


def _blend_layers(
    images: Tensor, sample: Tensor, layers: Tensor, counts: Tensor | None, scales: Tensor, c: float, squares: Tensor,
    totals: Totals, into: Tensor,
) -> None:  # fmt: skip
    """Blend image sample[a] with layers 2 a and 2 a + 1, given as (2 A, H * W) sums of ranks.

    scales (2 A,): what turns a sum into a mean, used unless there are counts (2 A, 1, bins) of the sums; squares (B,): their
    sums, which the strengths come from; into (A,): where sums of what comes out are left.
    """
    channels, height, width = channels_of(images)
    n = height * width
    table = scales if counts is None else rank_tables(counts, n)
    blocks = triton.cdiv(n, _BLOCK)
    sums = (squares, totals.rows, into, totals.inverse)
    arguments = (sample, layers, table, scales, *sums, c, channels, n, blocks, table.shape[-1])
    constants = {"EQUALIZE": counts is not None, "WIDE": layers.dtype == torch.int32, "BLOCK": _BLOCK}
    launch(_blend, len(sample) * blocks, images, *arguments, **constants)


def add_layers(
    images: Tensor, sample: Tensor, layer: Tensor, item: Tensor, scale: Tensor, first: Tensor, second: Tensor, keys: Tensor,
    kind: str, c: float, equalize_layer: bool,
) -> None:  # fmt: skip
    table = textures_of(sample, layer, item, scale, first, second, keys)
    add_layers_with(images, table, kind, c, equalize_layer, Totals(images, 1))


def add_layers_with(images: Tensor, table: Table, kind: str, c: float, equalize_layer: bool, totals: Totals) -> None:
    """totals: sums that may be known, and where those of what comes out are left."""
    height, width = images.shape[2:]
    owners, start, counts = np.unique(table["sample"], return_index=True, return_counts=True)
    # an image has two layers and their tables from sums to values
    most = rooms.size("textures of an image", counts.max(initial=0))
    room = 2 * height * width + 2 * 2 * (most * RANKS + 1) * equalize_layer
    if kind == "perlin":
        lines = np.append(0, geometry(table, height, width).rows.cumsum())[np.append(start, len(table["sample"]))]
        room += room_of(most, rooms.size("lines of an image", np.diff(lines).max(initial=0)), BINS, height, width)
    at_once = max(1, int(GPU_CHUNK_PX // room))
    row, count = totals.begin(), rooms.size("images", len(owners), len(images))
    columns = (small(owners), totals.unknown(row, owners), totals.left(owners))
    owners_there, unknown, into = (rooms.filled(values, count, rooms.ABSENT) for values in columns)
    ends = rooms.filled(np.append(start, len(table["sample"])), len(owners_there) + 1, None)
    for a in range(0, len(owners_there), at_once):
        some, missing = owners_there[a : a + at_once], unknown[a : a + at_once]
        rows = slice(ends[a], ends[a + len(some)])
        mine = {name: values[rows] for name, values in table.items()}
        slot = np.searchsorted(some[some >= 0], mine["sample"])
        textures = np.bincount(2 * slot + mine["layer"], minlength=2 * len(some))
        bounds, scales = np.append(0, np.cumsum(textures)), 1.0 / (RANKS * np.maximum(textures, 1))
        bins = rooms.size("textures of a layer", int(textures.max())) * RANKS + 1
        make = _perlin if kind == "perlin" else _waves
        lists = (some, missing, into[a : a + at_once], scales)
        where, to_add, left, layer_scales, summed, tallies = make(images, mine, bounds, bins, equalize_layer, *lists)
        totals.add_up(images, row, missing, to_add)
        squares = totals.squares(images, row, where)
        _blend_layers(images, where, summed, tallies, layer_scales, c, squares, totals, left)


def _perlin(images: Tensor, table: Table, bounds: NDArray, bins: int, equalize: bool, *others: NDArray) -> tuple[Any, ...]:
    """``others`` on the device, the sums of the layers that textures bounds[i] .. bounds[i + 1] - 1 make, and their counts."""
    height, width = images.shape[2:]
    g = geometry(table, height, width)
    rows = np.stack((g.step, g.shift_x, g.shift_y, g.start, g.columns, np.cumsum(g.rows) - g.rows, g.rows), -1)
    count = rooms.size("textures", len(rows))
    lists = [rooms.filled(v, count) for v in (rows, g.start, g.calls, table["item"], keys_in(table))]
    *ready, first, where, start, calls, items, keys = all_to_device(images.device, *others, bounds, *lists)
    largest, all_calls = rooms.size("calls", g.calls.max(initial=0)), rooms.size("all calls", g.calls.sum())
    lattice = gradients(start, calls, items, keys, int(largest), 8 * int(all_calls))
    sizes = (rooms.size("lines", g.rows.sum()), rooms.size("rows", g.rows.max(initial=0)), height, width)
    return *ready, *perlin_sums(first, where, lattice, *sizes, SCALING, BINS, RANKS, bins, equalize)


def _waves(images: Tensor, table: Table, bounds: NDArray, bins: int, equalize: bool, *others: NDArray) -> tuple[Any, ...]:
    """The same for plane waves; the few that the pixel grid shapes are ranked by counting, as torch does it."""
    height, width = images.shape[2:]
    counted = resonant(table, height, width)
    places, at_once = np.flatnonzero(counted), max(1, _COUNTED_PX // (height * width + _COUNTED_MORE))
    layer_of = np.searchsorted(bounds, places, side="right") - 1
    held = small(np.isin(np.arange(len(bounds) - 1), layer_of))
    count = rooms.size("textures", len(counted))
    columns = (np.stack(fixed_point(table), -1), *corner_terms(table, height, width), small(counted))
    lists = [rooms.filled(v, count) for v in columns]
    *ready, first, begun, waves, corners, factors, skipped = all_to_device(images.device, *others, bounds, held, *lists)
    out = empty_sums(len(held), height * width, bins, images.device)
    count = rooms.size("counted waves", len(places))
    for a in range(0, count, at_once):
        some, rows = places[a : a + at_once], min(at_once, count - a)
        layers, starts = np.unique(layer_of[a : a + at_once], return_index=True)
        mine = np.stack(fixed_point({name: values[some] for name, values in table.items()}), -1)
        owners = rooms.size("layers with counted waves", len(layers), min(rows, len(held)))
        lists = [
            rooms.filled(mine, rows),
            rooms.filled(small(layers), owners, rooms.ABSENT),
            rooms.filled(small(np.append(starts, len(some))), owners + 1, None),
            rooms.filled(small(np.isin(layers, layer_of[:a])), owners),
        ]
        if rooms.active():
            lists.append(rooms.filled(np.ones(len(some), np.int32), rows))
        waves_there, layers_there, starts_there, begun_there, *present = all_to_device(images.device, *lists)
        add_counted(out, waves_there, layers_there, starts_there, begun_there, height, width, RANKS, *present)
    arguments = (begun, first, waves, corners, factors, skipped, height, width, NODES, LEVELS, RANKS, bins, equalize)
    return *ready, out, wave_sums(out, *arguments)
