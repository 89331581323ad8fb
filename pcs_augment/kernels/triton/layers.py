"""Noise layers: sums of textures become layers, layers are blended with images."""

from __future__ import annotations

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
from .interference import add_counted, wave_sums
from .launch import channels_of, clip, launch
from .perlin import gradients, perlin_sums, rank_tables
from .tone import mean_of, sums

_BLOCK = 1024
_COUNTED_PX = 2**23  # of waves that are ranked by counting at once, at 12 bytes each
_COUNTED_MORE = 2**17  # what a wave takes besides, for its histograms
_E0, _E1, _E2, _E3, _E4, _E5 = (tl.constexpr(c) for c in EXP2)


@triton.jit
def _layer_counts(counts, layers, sample, n, blocks, bins, BLOCK: tl.constexpr):
    layer, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + layer // 2) < 0:  # absent: see rooms.py
        return
    place = block * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(layers + layer.to(tl.int64) * n + place, place < n, other=0)
    tl.atomic_add(counts + layer.to(tl.int64) * bins + value, 1, place < n, sem="relaxed")


@triton.jit(do_not_specialize_on_alignment=["totals"])
def _blend(
    images, sample, layers, table, scales, totals, inverse, c, channels, n, blocks, bins,
    EQUALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """blend.blend_with: the strengths come from the sums of squares, the layers from their sums."""
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + a) < 0:  # absent
        return
    place = block * BLOCK + tl.arange(0, BLOCK)
    here = place < n
    one = tl.load(layers + 2 * a.to(tl.int64) * n + place, here, other=0)
    two = tl.load(layers + (2 * a.to(tl.int64) + 1) * n + place, here, other=0)
    if EQUALIZE:
        layer = tl.load(table + 2 * a.to(tl.int64) * bins + one)
        weight = tl.load(table + (2 * a.to(tl.int64) + 1) * bins + two)
    else:
        layer = one.to(tl.float32) * tl.load(scales + 2 * a)
        weight = two.to(tl.float32) * tl.load(scales + 2 * a + 1)
    strength = tl.sqrt_rn(mean_of(tl.load(totals + a), inverse)) * c
    z = 0.5 - layer
    e = z * _E5
    e = (e + _E4) * z
    e = (e + _E3) * z
    e = (e + _E2) * z
    e = (e + _E1) * z
    e = e + _E0
    w = e * e * weight * strength
    at = images + tl.load(sample + a).to(tl.int64) * channels * n + place
    for _ in range(channels):
        tl.store(at, clip(tl.div_rn(w * layer + tl.load(at, here), w + 1.0)), here)
        at += n


def _blend_layers(images: Tensor, sample: Tensor, layers: Tensor, scales: Tensor, most: int, equalize: bool, c: float) -> None:
    """Blend image sample[a] with layers 2 a and 2 a + 1, given as (2 A, H * W) sums of ranks of at most ``most`` in all.

    scales (2 A,): what turns a sum into a mean, used unless ``equalize``.
    """
    channels, height, width = channels_of(images)
    n, device = height * width, images.device
    table = scales
    if equalize:
        counts = torch.zeros(len(layers), most + 1, dtype=torch.int32, device=device)
        blocks = triton.cdiv(n, _BLOCK)
        launch(_layer_counts, len(layers) * blocks, counts, layers, sample, n, blocks, most + 1, BLOCK=_BLOCK)
        table = rank_tables(counts, n)
    totals, inverse = sums(images, sample, squares=True)
    blocks = triton.cdiv(n, _BLOCK)
    arguments = (sample, layers, table, scales, totals, inverse, c, channels, n, blocks, most + 1)
    launch(_blend, len(sample) * blocks, images, *arguments, EQUALIZE=equalize, BLOCK=_BLOCK)


def add_layers(
    images: Tensor, sample: Tensor, layer: Tensor, item: Tensor, scale: Tensor, first: Tensor, second: Tensor, keys: Tensor,
    kind: str, c: float, equalize_layer: bool,
) -> None:  # fmt: skip
    height, width = images.shape[2:]
    table = textures_of(sample, layer, item, scale, first, second, keys)
    owners, start, counts = np.unique(table["sample"], return_index=True, return_counts=True)
    # an image has two layers and their tables from sums to values; each of its textures a histogram and a table of ranks
    most = rooms.size("textures of an image", counts.max(initial=0))
    tables = 2 * 2 * (most * RANKS + 1) * equalize_layer + most * BINS * 3 // 2 * (kind == "perlin")
    at_once = max(1, int(GPU_CHUNK_PX // (2 * height * width + tables)))
    owners_there = rooms.filled(owners, rooms.size("images", len(owners), len(images)), rooms.ABSENT)
    ends = rooms.filled(np.append(start, len(table["sample"])), len(owners_there) + 1, None)
    for a in range(0, len(owners_there), at_once):
        some = owners_there[a : a + at_once]
        rows = slice(ends[a], ends[a + len(some)])
        mine = {name: values[rows] for name, values in table.items()}
        slot = np.searchsorted(some[some >= 0], mine["sample"])
        textures = np.bincount(2 * slot + mine["layer"], minlength=2 * len(some))
        bounds, scales = np.append(0, np.cumsum(textures)), 1.0 / (RANKS * np.maximum(textures, 1))
        where, layer_scales, summed = (_perlin if kind == "perlin" else _waves)(images, mine, bounds, some, scales)
        longest = rooms.size("textures of a layer", int(textures.max()))
        _blend_layers(images, where, summed, layer_scales, longest * RANKS, equalize_layer, c)


def _perlin(images: Tensor, table: Table, bounds: NDArray, *others: NDArray) -> tuple[Tensor, ...]:
    """``others`` on the device, and the sums of the layers that textures bounds[i] .. bounds[i + 1] - 1 make."""
    height, width = images.shape[2:]
    g = geometry(table, height, width)
    rows = np.stack((g.step, g.shift_x, g.shift_y, g.start, g.columns), -1)
    count = rooms.size("textures", len(rows))
    lists = [rooms.filled(v, count) for v in (rows, g.start, g.calls, table["item"], keys_in(table))]
    *ready, first, where, start, calls, items, keys = all_to_device(images.device, *others, bounds, *lists)
    largest, all_calls = rooms.size("calls", g.calls.max(initial=0)), rooms.size("all calls", g.calls.sum())
    lattice = gradients(start, calls, items, keys, int(largest), 8 * int(all_calls))
    return *ready, perlin_sums(first, where, lattice, height, width, SCALING, BINS, RANKS)


def _waves(images: Tensor, table: Table, bounds: NDArray, *others: NDArray) -> tuple[Tensor, ...]:
    """The same for plane waves; the few that the pixel grid shapes are ranked by counting, as torch does it."""
    height, width = images.shape[2:]
    counted = resonant(table, height, width)
    count = rooms.size("textures", len(counted))
    columns = (np.stack(fixed_point(table), -1), *corner_terms(table, height, width), counted.astype(np.int64))
    lists = [rooms.filled(v, count) for v in columns]
    *ready, first, waves, corners, factors, skipped = all_to_device(images.device, *others, bounds, *lists)
    sums = wave_sums(first, waves, corners, factors, skipped, height, width, NODES, LEVELS, RANKS)
    places, at_once = np.flatnonzero(counted), max(1, _COUNTED_PX // (height * width + _COUNTED_MORE))
    count = rooms.size("counted waves", len(places))
    for a in range(0, count, at_once):
        some, rows = places[a : a + at_once], min(at_once, count - a)
        layers, starts = np.unique(np.searchsorted(bounds, some, side="right") - 1, return_index=True)
        mine = np.stack(fixed_point({name: values[some] for name, values in table.items()}), -1)
        ends = np.append(starts, len(some)).astype(np.int32)
        owners = rooms.size("layers with counted waves", len(layers), min(rows, len(bounds) - 1))
        lists = [rooms.filled(mine, rows), rooms.filled(layers.astype(np.int32), owners, rooms.ABSENT)]
        lists.append(rooms.filled(ends, owners + 1, None))
        if rooms.active():
            lists.append(rooms.filled(np.ones(len(some), np.int32), rows))
        waves_there, layers_there, first, *present = all_to_device(images.device, *lists)
        add_counted(sums, waves_there, layers_there, first, height, width, RANKS, *present)
    return *ready, sums
