"""Noise layers."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...noise.interference import corner_terms, fixed_point, resonant
from ...noise.layer import BINS, RANKS
from ...noise.perlin import geometry
from ...noise.textures import textures_of
from ...rng import device_table
from ...sums import EXP2
from .compiling import compiled, helper
from .interference import add_textures
from .perlin import add_texture
from .sums import STRIP, clip, deviation, twice_middle
from .threads import for_images, scratch

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)
_C0, _C1, _C2, _C3, _C4, _C5 = (F(c) for c in EXP2)


@helper
def _layer_ranks(sums, bins):
    """layer._equalize_counts: the table from sums to equalised values."""
    counts = np.empty(bins, np.int32)
    for b in range(bins):
        counts[b] = 0
    for s in sums:
        counts[s] += 1
    twice_middle(counts)
    table, step = np.empty(bins, F), F(0.5 / sums.size)
    for b in range(bins):
        table[b] = F(counts[b]) * step
    return table


@compiled
def _blend(image, sums, bounds, equalize_layer, c):
    """layers._blend for one image with (2, H * W) sums of ranks."""
    strength = deviation(image) * c
    counts = bounds[1] - bounds[0], bounds[2] - bounds[1]
    if equalize_layer:
        first, second = _layer_ranks(sums[0], counts[0] * RANKS + 1), _layer_ranks(sums[1], counts[1] * RANKS + 1)
    flat = image.reshape(image.shape[0], -1)
    scale0, scale1 = F(1.0 / (RANKS * counts[0])), F(1.0 / (RANKS * counts[1]))
    layer, w = np.empty(STRIP, F), np.empty(STRIP, F)
    for start in range(0, flat.shape[1], STRIP):
        stop = min(start + STRIP, flat.shape[1])
        one, two = sums[0, start:stop], sums[1, start:stop]
        # look-ups apart from arithmetic, which then vectorises
        if equalize_layer:
            for i in range(stop - start):
                layer[i], w[i] = first[one[i]], second[two[i]]
        else:
            for i in range(stop - start):
                layer[i], w[i] = F(one[i]) * scale0, F(two[i]) * scale1
        for i in range(stop - start):
            z = _HALF - layer[i]
            e = z * _C5
            e = (e + _C4) * z
            e = (e + _C3) * z
            e = (e + _C2) * z
            e = (e + _C1) * z
            e = e + _C0
            w[i] = e * e * w[i] * strength
        for k in range(flat.shape[0]):
            strip = flat[k, start:stop]
            for i in range(stop - start):
                strip[i] = clip((w[i] * layer[i] + strip[i]) / (w[i] + _UNIT))


@compiled
def _perlin(sums, bounds, height, width, geometry, items, keys, unit):
    """Layers of textures bounds[0] .. bounds[1] - 1 and bounds[1] .. bounds[2] - 1, as (2, H * W) sums of ranks."""
    index, counts = np.empty(height * width, np.uint16), np.empty((2, BINS), np.uint16)
    for k in range(2):
        for i in range(height * width):
            sums[k, i] = 0
        for t in range(bounds[k], bounds[k + 1]):
            step, shift_x, shift_y, columns, rows = geometry[t]
            item, key = items[t], keys[t]
            add_texture(sums[k], index, counts, step, shift_x, shift_y, columns, rows, item, key, unit, height, width)


@compiled
def _interference(sums, bounds, height, width, waves, corners, factors, counted):
    for k in range(2):
        for i in range(height * width):
            sums[k, i] = 0
        mine = slice(bounds[k], bounds[k + 1])
        add_textures(sums[k], waves[mine], corners[mine], factors[mine], counted[mine], height, width)


def add_layers(
    images: Tensor, sample: Tensor, layer: Tensor, item: Tensor, scale: Tensor, first: Tensor, second: Tensor, keys: Tensor,
    kind: str, c: float, equalize_layer: bool,
) -> None:  # fmt: skip
    pixels, table = images.numpy(), textures_of(sample, layer, item, scale, first, second, keys)
    height, width = images.shape[2:]
    lists: tuple
    if kind == "perlin":
        g = geometry(table, height, width)
        places = np.stack((g.step, g.shift_x, g.shift_y, g.columns, g.rows), -1)
        work, lists = _perlin, (places, item.numpy(), keys.numpy(), device_table("unit", images.device).numpy())
    else:
        ends = (v.astype(F) for v in corner_terms(table, height, width))
        work, lists = _interference, (np.stack(fixed_point(table), -1), *ends, resonant(table, height, width))
    samples, start = np.unique(table["sample"], return_index=True)
    middle = start + np.add.reduceat(table["layer"] == 0, start)
    bounds = np.stack((start, middle, np.append(start[1:], len(table["sample"]))), -1)

    def one(j: int) -> None:
        most = np.diff(bounds[j]).max()
        short = most * RANKS < 65536
        sums = scratch("short sums" if short else "sums", (2, height * width), np.uint16 if short else np.uint32)
        # called from here, as a compiled function is compiled again in every other that calls it
        work(sums, bounds[j], height, width, *lists)
        _blend(pixels[samples[j]], sums, bounds[j], equalize_layer, F(c))

    for_images(one, samples)
