"""numba twins of the textures: Perlin noise, plane waves, equalisation.

Same operations, same order, same float32 rounding as the torch functions they name. No kernel calls one in another file:
numba's cache would not notice when that one changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_jit = njit(nogil=True, cache=True, error_model="numpy")

F = np.float32


@_jit
def add_perlin(sums, scaling, bins, ranks, gradients, columns, cell_x, x_near, x_far, cell_y, y_near, y_far):
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


@_jit
def add_waves(sums, tables, rows, columns):
    """Add the ranks of several plane waves to (H * W,) sums: layer.LayerSums._interference."""
    height, width = rows.shape[1], columns.shape[1]
    for y in range(height):
        out = sums[y * width : (y + 1) * width]
        for t in range(len(tables)):
            table, column, first = tables[t], columns[t], rows[t, y]
            for i in range(width):
                out[i] += table[first + column[i]]


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _extent(x):
    low, high = x[0], x[0]
    for v in x:
        low, high = min(low, v), max(high, v)
    return low, high


@_jit
def equalize_row(x, out, parts, heavy, passes):
    """equalize.equalize_rows of one row; heavy: how many pixels a bin may hold."""
    n = np.int64(x.size)
    index, counts = np.zeros(x.size, np.int32), np.full(1, n)
    for _ in range(passes):
        bins = counts.size
        low, high = np.full(bins, F(np.inf)), np.full(bins, F(-np.inf))
        if bins == 1:
            low[0], high[0] = _extent(x)
        else:
            for i in range(x.size):
                b = index[i]
                low[b], high[b] = min(low[b], x[i]), max(high[b], x[i])
        share, first, scale = np.zeros(bins, np.int32), np.empty(bins, np.int32), np.zeros(bins, F)
        before, distinct = np.int32(0), False
        for b in range(bins):
            if counts[b] > 0:
                share[b] = (counts[b] * parts + n - 1) // n
            if high[b] > low[b]:
                scale[b] = min(F(share[b]) / (high[b] - low[b]), F(3e38))
                distinct = True
            first[b] = before
            before += share[b]
        counts = np.zeros(bins + parts, np.int64)
        if bins == 1:  # without look-ups it vectorises
            bottom, per_unit, last = low[0], scale[0], share[0] - np.int32(1)
            for i in range(x.size):
                index[i] = min(np.int32((x[i] - bottom) * per_unit), last)
        else:
            for i in range(x.size):
                b = index[i]
                index[i] = min(np.int32((x[i] - low[b]) * scale[b]), share[b] - np.int32(1)) + first[b]
        for part in index:
            counts[part] += 1
        table = np.empty(counts.size, F)
        below, most, step = np.int64(0), np.int64(0), F(0.5 / x.size)
        for b in range(counts.size):
            table[b] = F(2 * below + counts[b]) * step
            below += counts[b]
            most = max(most, counts[b])
        for i in range(x.size):
            out[i] = table[index[i]]
        if not distinct or F(most) <= F(heavy):
            break
