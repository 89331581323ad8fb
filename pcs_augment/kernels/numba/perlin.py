"""Perlin textures, evaluated, ranked and added up row by row; noise.perlin and noise.layer are the definitions."""

from __future__ import annotations

import numpy as np

from ...noise.layer import BINS, RANKS, SCALING
from ...rng import LANE_LATTICE
from .compiling import helper, inlined
from .rng import CALLS, block
from .sums import twice_middle

F = np.float32
_UNIT, _SIX, _TEN, _FIFTEEN, _TINY = F(1), F(6), F(10), F(15), F(2.0**-24)
_LANE, _LOW, _32, _8 = np.uint32(LANE_LATTICE), np.int64(0xFFFFFFFF), np.int64(32), np.int64(8)
_SCALING, _MIDDLE, _MOST = F(SCALING), F(BINS / 2), 65535


@inlined
def _gradients(count, item, key, unit):
    """(2, count) unit gradients of one lattice, from the (2, 65536) table of unit vectors."""
    words, out = np.empty(2 * CALLS, np.uint64), np.empty((2, count), F)
    halves = words.view(np.uint16)
    for first in range(0, count, 8 * CALLS):
        block(first // 8, item, _LANE, key, words)
        for i in range(min(8 * CALLS, count - first)):
            out[0, first + i], out[1, first + i] = unit[0, halves[i]], unit[1, halves[i]]
    return out


@helper
def _along(step, shift, length):
    """perlin._along: (length,) cells, and what a gradient's component along and across counts at a cell's near and far end."""
    cell = np.empty(length, np.int64)
    near, near_across, far, far_across = np.empty(length, F), np.empty(length, F), np.empty(length, F), np.empty(length, F)
    for i in range(length):
        at = i * step + shift
        cell[i] = at >> _32
        t = F((at & _LOW) >> _8) * _TINY
        fade = t * t * t * (t * (t * _SIX - _FIFTEEN) + _TEN)
        near_across[i], far_across[i] = _UNIT - fade, fade
        near[i], far[i] = (_UNIT - fade) * t, fade * (t - _UNIT)
    return cell, near, near_across, far, far_across


@helper
def _across(out, gradients, cell, along_near, along_far):
    """One lattice row of one component, interpolated along x."""
    for i in range(out.size):
        out[i] = gradients[cell[i]] * along_near[i] + gradients[cell[i] + 1] * along_far[i]


@inlined
def add_texture(sums, index, counts, step, shift_x, shift_y, columns, rows, item, key, unit, height, width):
    """Add the ranks of one texture to (H * W,) sums; index (H * W,) uint16 and counts (2, BINS) uint16 are room to work in."""
    gradients = _gradients(columns * rows, item, key, unit)
    cell_x, x_near, x_near_1, x_far, x_far_1 = _along(step, shift_x, width)
    cell_y, y_near, y_near_1, y_far, y_far_1 = _along(step, shift_y, height)
    lower, upper = np.empty((2, width), F), np.empty((2, width), F)
    first, second, total = counts[0], counts[1], np.empty(BINS, np.int32)
    for b in range(BINS):
        first[b], second[b], total[b] = 0, 0, 0
    known, half = np.int64(-2), width // 2
    band = max(_MOST // (half + 1), 1)  # rows whose counts 16 bits hold
    for y in range(height):
        if y % band == 0:
            _collect(total, first, second)
        j = cell_y[y]
        if j != known:
            if j == known + 1:
                lower, upper = upper, lower
            else:
                g = gradients[:, j * columns : (j + 1) * columns]
                _across(lower[0], g[0], cell_x, x_near, x_far)
                _across(lower[1], g[1], cell_x, x_near_1, x_far_1)
            g = gradients[:, (j + 1) * columns : (j + 2) * columns]
            _across(upper[0], g[0], cell_x, x_near, x_far)
            _across(upper[1], g[1], cell_x, x_near_1, x_far_1)
            known = j
        a0, a1, b0, b1 = lower[0], lower[1], upper[0], upper[1]
        n0, n1, f0, f1 = y_near_1[y], y_near[y], y_far_1[y], y_far[y]
        row = index[y * width : (y + 1) * width]
        for i in range(width):
            value = (a0[i] * n0 + b0[i] * f0) + (a1[i] * n1 + b1[i] * f1)
            row[i] = np.uint16(np.int32(value * _SCALING + _MIDDLE))
        # neighbours often share a bin: two tables keep their increments apart
        left, right = row[:half], row[half : 2 * half]
        for i in range(half):
            first[left[i]] += 1
            second[right[i]] += 1
        if width % 2:
            first[row[width - 1]] += 1
    _collect(total, first, second)
    table = _rank_table(total, np.int64(index.size))
    # look-ups apart from sums: large arrays often lie at equal places of their pages, where a processor takes a read of one
    # for a read of what was just written to the other, and waits
    ranks = np.empty(width, np.uint16)
    for y in range(height):
        row, out = index[y * width : (y + 1) * width], sums[y * width : (y + 1) * width]
        for i in range(width):
            ranks[i] = table[row[i]]
        for i in range(width):
            out[i] += ranks[i]


@helper
def _collect(total, first, second):
    for b in range(BINS):
        total[b] += np.int32(first[b]) + np.int32(second[b])
    for b in range(BINS):
        first[b] = 0
    for b in range(BINS):
        second[b] = 0


@inlined
def _rank_table(counts, n):
    """layer._rank_table: floor(top / (2 n)), by a float64 quotient that may be one too small or large."""
    twice_middle(counts)
    table, inverse = np.empty(BINS, np.uint16), 0.5 / np.float64(n)
    for b in range(BINS):
        top = np.int64(counts[b]) * RANKS + n
        rank = np.int64(np.float64(top) * inverse)
        rest = top - rank * (2 * n)
        table[b] = rank + np.int64(rest >= 2 * n) - np.int64(rest < 0)
    return table
