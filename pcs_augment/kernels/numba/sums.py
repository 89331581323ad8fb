"""Exact sums of one image; sums.mean and sums.deviation are the definitions."""

from __future__ import annotations

import numpy as np

from .compiling import compiled, helper, inlined

F = np.float32
_ZERO, _UNIT, _TWO16, _16 = F(0), F(1), F(2.0**16), np.int64(16)
STRIP = 2048  # pixels that stay in the first-level cache


@helper
def clip(v):
    return min(max(v, _ZERO), _UNIT)


@compiled
def add_plane(image, plane):
    """Add (H, W) values to every channel and clip."""
    for c in range(len(image)):
        for y in range(len(plane)):
            row, added = image[c, y], plane[y]
            for x in range(row.size):
                row[x] = clip(row[x] + added[x])


# the first 32 binary digits of a value are taken as two 16-bit integers, whose conversion from float32 vectorises best
@inlined
def _sum(strip):
    high, low = np.int64(0), np.int64(0)
    for i in range(strip.size):
        scaled = strip[i] * _TWO16
        whole = np.int32(scaled)
        high += whole
        low += np.int32((scaled - F(whole)) * _TWO16)
    return (high << _16) + low


@inlined
def _sum_of_squares(strip, middle):
    high, low = np.int64(0), np.int64(0)
    for i in range(strip.size):
        d = strip[i] - middle
        scaled = d * d * _TWO16
        whole = np.int32(scaled)
        high += whole
        low += np.int32((scaled - F(whole)) * _TWO16)
    return (high << _16) + low


@helper
def mean(x):
    """sums.mean of one image."""
    return F(_sum(x.reshape(-1))) * F(1.0 / (2.0**32 * x.size))


@inlined
def deviation(x):
    """sums.deviation of one image."""
    middle = mean(x)
    total = _sum_of_squares(x.reshape(-1), middle)
    return F(np.sqrt(np.float64(F(total) * F(1.0 / (2.0**32 * x.size)))))


@helper
def twice_middle(counts):
    """Turn int32 counts into twice the middle rank of each bin; what is done to all of them then vectorises."""
    below = np.int32(0)
    for b in range(counts.size):
        here = counts[b]
        counts[b] = 2 * below + here
        below = np.int32(below + here)
