"""Noise layers."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...noise.layer import BINS, RANKS, SCALING, LayerSums, counted_ranks
from ...noise.textures import textures_of
from ...statistics import EXP2
from .compiling import compiled
from .statistics import STRIP, clip, deviation
from .threads import run_all

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)
_C0, _C1, _C2, _C3, _C4, _C5 = (F(c) for c in EXP2)


@compiled
def _add_perlin(sums, scaling, bins, ranks, gradients, columns, cell_x, x_near, x_far, cell_y, y_near, y_far):
    """Add the ranks of one Perlin texture to (H * W,) sums: perlin.Lattices.field, then layer.LayerSums._perlin."""
    height, width = cell_y.size, cell_x.size
    rows = gradients.shape[1] // columns
    across = np.empty((2, rows, width), F)
    for c in range(2):
        for j in range(rows):
            g = gradients[c, j * columns : (j + 1) * columns]
            for i in range(width):
                across[c, j, i] = g[cell_x[i]] * x_near[c, i] + g[cell_x[i] + 1] * x_far[c, i]
    index = np.empty(height * width, np.int16)
    offset = F(bins / 2)
    for y in range(height):
        j = cell_y[y]
        a0, a1, b0, b1 = across[0, j], across[1, j], across[0, j + 1], across[1, j + 1]
        n0, n1, f0, f1 = y_near[0, y], y_near[1, y], y_far[0, y], y_far[1, y]
        row = index[y * width : (y + 1) * width]
        for i in range(width):
            value = (a0[i] * n0 + b0[i] * f0) + (a1[i] * n1 + b1[i] * f1)
            row[i] = np.int16(np.int32(value * scaling + offset))
    # neighbours often share a bin: four tables keep their increments apart
    counts = np.zeros((4, bins), np.int32)
    whole = index.size // 4 * 4
    for i in range(0, whole, 4):
        counts[0, index[i]] += 1
        counts[1, index[i + 1]] += 1
        counts[2, index[i + 2]] += 1
        counts[3, index[i + 3]] += 1
    for i in range(whole, index.size):
        counts[0, index[i]] += 1
    table = np.empty(bins, np.int32)
    below, n = np.int64(0), np.int64(index.size)
    for b in range(bins):
        here = np.int64(counts[0, b] + counts[1, b] + counts[2, b] + counts[3, b])
        table[b] = ((2 * below + here) * ranks + n) // (2 * n)
        below += here
    for i in range(index.size):
        sums[i] += table[index[i]]


@compiled
def _add_waves(sums, tables, rows, columns):
    """Add the ranks of several plane waves to (H * W,) sums: layer.LayerSums._interference."""
    height, width = rows.shape[1], columns.shape[1]
    for y in range(height):
        out = sums[y * width : (y + 1) * width]
        for t in range(len(tables)):
            table, column, first = tables[t], columns[t], rows[t, y]
            for i in range(width):
                out[i] += table[first + column[i]]


@compiled
def _layer_ranks(sums, bins):
    """layer._equalize_counts: the table from sums to equalised values."""
    counts = np.zeros(bins, np.int64)
    for s in sums:
        counts[s] += 1
    table = np.empty(bins, F)
    below, step = np.int64(0), F(0.5 / sums.size)
    for b in range(bins):
        table[b] = F(2 * below + counts[b]) * step
        below += counts[b]
    return table


@compiled
def _blend(image, sums, counts, ranks, equalize_layer, c):
    """layers._blend for one image with (2, H * W) sums of ``counts`` textures."""
    strength = deviation(image) * c
    if equalize_layer:
        bins = max(counts[0], counts[1]) * ranks + 1
        first, second = _layer_ranks(sums[0], bins), _layer_ranks(sums[1], bins)
    flat = image.reshape(image.shape[0], -1)
    scale0, scale1 = F(1.0 / (ranks * counts[0])), F(1.0 / (ranks * counts[1]))
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


def add_layers(
    images: Tensor, sample: Tensor, layer: Tensor, item: Tensor, scale: Tensor, first: Tensor, second: Tensor, keys: Tensor,
    kind: str, c: float, equalize_layer: bool,
) -> None:  # fmt: skip
    pixels, table = images.numpy(), textures_of(sample, layer, item, scale, first, second, keys)
    layers = LayerSums(kind, table, images.shape[2], images.shape[3], images.device, None)
    samples, start = np.unique(table["sample"], return_index=True)
    ends = np.append(start, len(table["sample"]))
    middle = start + np.add.reduceat(table["layer"] == 0, start)

    def one(j: int) -> None:
        a, b, end = ends[j], middle[j], ends[j + 1]
        sums = np.stack((_sums(layers, a, b), _sums(layers, b, end)))
        _blend(pixels[samples[j]], sums, np.array([b - a, end - b]), RANKS, equalize_layer, F(c))

    run_all(one, range(len(samples)))


def _sums(layers: LayerSums, a: int, b: int) -> np.ndarray:
    """(H * W,) sums of the ranks of textures a .. b - 1."""
    out = np.zeros(layers.height * layers.width, np.int32)
    if layers.kind == "perlin":
        for t in range(a, b):
            _add_perlin(out, F(SCALING), BINS, RANKS, *layers.lattices.arrays(t))
        return out
    plain = np.flatnonzero(~layers.resonant[a:b]) + a
    if len(plain):
        tables = (layers.wave_tables, layers.short_rows, layers.short_columns)
        _add_waves(out, *(v.numpy()[plain] for v in tables))
    for t in (np.flatnonzero(layers.resonant[a:b]) + a).tolist():
        out += counted_ranks(layers.rows[t : t + 1], layers.columns[t : t + 1])[0].numpy()
    return out
