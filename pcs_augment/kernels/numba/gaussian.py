"""Gaussian filters of one image."""

from __future__ import annotations

import numpy as np

from .compiling import compiled, helper

F = np.float32


@helper
def _mirror(i, n):
    """Index i of an axis of n pixels that is mirrored without its edge pixel."""
    if n == 1:
        return 0
    while i < 0 or i >= n:
        i = -i if i < 0 else 2 * (n - 1) - i
    return i


@helper
def _wrapped(i, n):
    """i modulo n for i in (-n, 2 n)."""
    return i + n if i < 0 else i - n if i >= n else i


@helper
def _copy(out, row):
    for i in range(row.size):
        out[i] = row[i]


@helper
def _weighted(out, source, at, taps):
    """Sums of stretches of ``source``: the middle one starts at at[0], the two at distance i at at[2 i - 1] and at[2 i].

    Up to four distances at once, so that what has been summed up seldom travels; all stretches come from one array, so that
    one look tells that none is being written; and their places are unsigned, which do not count from the end.
    """
    reach, m, w0 = min(taps.size - 1, 4), at[0], taps[0]
    if reach == 0:
        for j in range(out.size):
            out[j] = source[m + np.uint64(j)] * w0
        return
    a1, b1, w1 = at[1], at[2], taps[1]
    if reach == 1:
        for j in range(out.size):
            k = np.uint64(j)
            out[j] = source[m + k] * w0 + (source[a1 + k] + source[b1 + k]) * w1
        return
    a2, b2, w2 = at[3], at[4], taps[2]
    if reach == 2:
        for j in range(out.size):
            k = np.uint64(j)
            near = source[m + k] * w0 + (source[a1 + k] + source[b1 + k]) * w1
            out[j] = near + (source[a2 + k] + source[b2 + k]) * w2
        return
    a3, b3, w3 = at[5], at[6], taps[3]
    if reach == 3:
        for j in range(out.size):
            k = np.uint64(j)
            near = source[m + k] * w0 + (source[a1 + k] + source[b1 + k]) * w1
            out[j] = (near + (source[a2 + k] + source[b2 + k]) * w2) + (source[a3 + k] + source[b3 + k]) * w3
        return
    a4, b4, w4 = at[7], at[8], taps[4]
    for j in range(out.size):
        k = np.uint64(j)
        near = source[m + k] * w0 + (source[a1 + k] + source[b1 + k]) * w1
        near = (near + (source[a2 + k] + source[b2 + k]) * w2) + (source[a3 + k] + source[b3 + k]) * w3
        out[j] = near + (source[a4 + k] + source[b4 + k]) * w4
    for i in range(5, taps.size):
        a, b, w = at[2 * i - 1], at[2 * i], taps[i]
        for j in range(out.size):
            k = np.uint64(j)
            out[j] += (source[a + k] + source[b + k]) * w


def blur(x, taps):
    """gaussian.blur"""
    blur_alike(x, taps, np.zeros(x.shape[1], np.int64))


@compiled
def blur_alike(x, taps, alike):
    """The same, row by row, from copies of the rows within reach; alike (H,): how many rows just above a row are its equals.

    A row whose surroundings are those of the row above it comes out like that one.
    """
    reach = taps.size - 1
    channels, height, width = x.shape
    kept = 2 * reach + 1
    rows, padded = np.empty(kept * width, F), np.empty(width + 2 * reach, F)
    column = padded[reach : reach + width]
    down, along = np.empty(kept, np.uint64), np.empty(kept, np.uint64)
    along[0] = reach
    for i in range(1, reach + 1):
        along[2 * i - 1], along[2 * i] = reach - i, reach + i
    for c in range(channels):
        for y in range(min(reach, height)):
            _copy(rows[y * width :], x[c, y])
        slot = 0  # of row y among the 2 reach + 1 that are kept
        for y in range(height):
            lowest = min(y + reach, height - 1)
            if y + reach == lowest:
                _copy(rows[_wrapped(slot + reach, kept) * width :], x[c, y + reach])
            if y > 0 and alike[lowest] >= lowest - max(y - 1 - reach, 0):
                _copy(x[c, y], x[c, y - 1])
                slot = _wrapped(slot + 1, kept)
                continue
            for i in range(reach + 1):
                down[max(2 * i - 1, 0)] = _wrapped(slot + _mirror(y - i, height) - y, kept) * width
                down[2 * i] = _wrapped(slot + _mirror(y + i, height) - y, kept) * width
            slot = _wrapped(slot + 1, kept)
            _weighted(column, rows, down, taps)
            for j in range(reach):
                padded[reach - 1 - j] = column[_mirror(-1 - j, width)]
                padded[reach + width + j] = column[_mirror(width + j, width)]
            _weighted(x[c, y], padded, along, taps)
