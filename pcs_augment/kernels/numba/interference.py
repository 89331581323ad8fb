"""Plane waves, ranked and added up row by row; noise.interference and noise.layer are the definitions."""

from __future__ import annotations

import numpy as np

from ...noise.equalize import HEAVY, PARTS, PASSES
from ...noise.interference import LEVELS, NODES
from ...noise.layer import RANKS
from .compiling import helper, inlined
from .equalize import equalize_row

F = np.float32
_ZERO, _UNIT, _TWO, _HALF, _ONE_AND_HALF, _QUARTER = F(0), F(1), F(2), F(0.5), F(1.5), F(0.25)
_STEP, _RANKS, _TURN = F(0.5 / NODES), F(RANKS), F(2.0**-32)
_LOW, _WHOLE = np.int64(0xFFFFFFFF), np.int64(2**32)
_DROP, _ROUND, _PHASES = np.int64(32 - LEVELS), np.int64(1 << (31 - LEVELS)), 1 << LEVELS
_TOGETHER = 4  # textures: their tables of 16 KB share the first-level cache


@helper
def _bernoulli(x):
    x = x - np.floor(x)
    return x * ((x - _ONE_AND_HALF) * x + _HALF)


@inlined
def fill_table(table, corners, factors):
    """layer._wave_tables of interference.share_within: ranks of phase bins, twice around so that a sum needs no modulo."""
    within = np.empty(NODES + 1, F)
    c0, c1, c2, c3 = corners[0], corners[1], corners[2], corners[3]
    f0, f1, f2, f3 = factors[0], factors[1], factors[2], factors[3]
    for i in range(NODES + 1):
        d = F(i) * _STEP
        share = (_bernoulli(d - c0) + _bernoulli(d + c0)) * f0
        share = share + (_bernoulli(d - c1) + _bernoulli(d + c1)) * f1
        share = share + (_bernoulli(d - c2) + _bernoulli(d + c2)) * f2
        share = share + (_bernoulli(d - c3) + _bernoulli(d + c3)) * f3
        within[i] = min(max(_TWO * d - share, _ZERO), _UNIT)
    for level in range(_PHASES // 2):
        fraction = (F(level % 4) + _HALF) * _QUARTER
        half = within[level // 4] * (_UNIT - fraction) + within[level // 4 + 1] * fraction
        rank = np.uint16(np.rint((_UNIT - half) * _RANKS))
        table[level] = table[_PHASES - 1 - level] = rank
    for level in range(_PHASES):
        table[_PHASES + level] = table[level]


@inlined
def _add_counted(sums, fx, fy, phase, height, width):
    """layer.counted_ranks: a wave that the pixel grid shapes, ranked by counting."""
    x, rank = np.empty(height * width, F), np.empty(height * width, F)
    for y in range(height):
        row = x[y * width : (y + 1) * width]
        for i in range(width):
            turn = (((y * fy) & _LOW) + ((i * fx + phase) & _LOW)) & _LOW
            row[i] = -(F(min(turn, _WHOLE - turn)) * _TURN) * _HALF
    equalize_row(x, rank, PARTS, HEAVY * x.size, PASSES)
    for i in range(x.size):
        sums[i] += np.uint16(np.rint(rank[i] * _RANKS))


@inlined
def _add_one(sums, tables, rows, columns, height, width):
    for y in range(height):
        out, table, column = sums[y * width : (y + 1) * width], tables[0, rows[0, y] :], columns[0]
        for i in range(width):
            out[i] += table[column[i]]


@helper  # by itself, as its loop needs every register
def _add_four(sums, tables, rows, columns, height, width):
    c0, c1, c2, c3 = columns[0], columns[1], columns[2], columns[3]
    for y in range(height):
        out = sums[y * width : (y + 1) * width]
        t0, t1, t2, t3 = tables[0, rows[0, y] :], tables[1, rows[1, y] :], tables[2, rows[2, y] :], tables[3, rows[3, y] :]
        for i in range(width):
            out[i] += np.uint32(t0[c0[i]]) + np.uint32(t1[c1[i]]) + np.uint32(t2[c2[i]]) + np.uint32(t3[c3[i]])


@inlined
def add_textures(sums, waves, corners, factors, counted, height, width):
    """Add the ranks of (T, 3) waves to (H * W,) sums: turns per px along x and y and phase, in units of 2^-32 turns."""
    tables = np.empty((_TOGETHER, 2 * _PHASES), np.uint16)
    rows, columns = np.empty((_TOGETHER, height), np.int64), np.empty((_TOGETHER, width), np.uint16)
    filled = 0
    for t in range(len(waves)):
        fx, fy, phase = waves[t, 0], waves[t, 1], waves[t, 2]
        if counted[t]:
            _add_counted(sums, fx, fy, phase, height, width)
            continue
        fill_table(tables[filled], corners[t], factors[t])
        for i in range(width):
            columns[filled, i] = ((i * fx + phase) & _LOW) >> _DROP
        for y in range(height):
            rows[filled, y] = ((((y * fy) & _LOW) + _ROUND) >> _DROP) % _PHASES
        filled += 1
        if filled == _TOGETHER:
            _add_four(sums, tables, rows, columns, height, width)
            filled = 0
    for k in range(filled):
        _add_one(sums, tables[k:], rows[k:], columns[k:], height, width)
