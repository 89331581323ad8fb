"""Exact sums of one image; sums.mean and sums.deviation are the definitions."""

from __future__ import annotations

import numpy as np

from .compiling import compiled

F = np.float32
_ZERO, _UNIT, _TWO32 = F(0), F(1), F(2.0**32)
STRIP = 2048  # pixels that stay in the first-level cache


@compiled
def clip(v):
    return min(max(v, _ZERO), _UNIT)


# sums of whole numbers below 2^53 are exact in float64 in any order, so these loops may be reordered to vectorise
@compiled(fastmath={"reassoc", "nsz"})
def _sum(strip):
    total = 0.0
    for v in strip:
        total += np.floor(np.float64(v * _TWO32))
    return np.int64(total)


@compiled(fastmath={"reassoc", "nsz"})
def _sum_of_squares(strip, middle):
    total = 0.0
    for v in strip:
        d = v - middle
        total += np.floor(np.float64(d * d * _TWO32))
    return np.int64(total)


@compiled
def mean(x):
    """sums.mean of one image."""
    flat, total = x.reshape(-1), np.int64(0)
    for start in range(0, flat.size, STRIP):
        total += _sum(flat[start : start + STRIP])
    return F(total) * F(1.0 / (2.0**32 * x.size))


@compiled
def deviation(x):
    """sums.deviation of one image."""
    middle = mean(x)
    flat, total = x.reshape(-1), np.int64(0)
    for start in range(0, flat.size, STRIP):
        total += _sum_of_squares(flat[start : start + STRIP], middle)
    return F(np.sqrt(np.float64(F(total) * F(1.0 / (2.0**32 * x.size)))))
