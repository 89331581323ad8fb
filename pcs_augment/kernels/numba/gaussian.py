"""Gaussian filters of one image."""

from __future__ import annotations

import numpy as np

from .compiling import compiled

F = np.float32


@compiled
def _mirror(i, n):
    """Index i of an axis of n pixels that is mirrored without its edge pixel."""
    if n == 1:
        return 0
    i = i % (2 * (n - 1))
    return min(i, 2 * (n - 1) - i)


@compiled
def blur(x, taps):
    """gaussian.blur"""
    reach = taps.size - 1
    channels, height, width = x.shape
    column = np.empty((height, width), F)
    padded = np.empty(width + 2 * reach, F)
    for c in range(channels):
        for y in range(height):
            for j in range(width):
                column[y, j] = x[c, y, j] * taps[0]
            for i in range(1, reach + 1):
                above, below, w = x[c, _mirror(y - i, height)], x[c, _mirror(y + i, height)], taps[i]
                for j in range(width):
                    column[y, j] += (above[j] + below[j]) * w
        for y in range(height):
            for j in range(width + 2 * reach):
                padded[j] = column[y, _mirror(j - reach, width)] if j < reach or j >= width + reach else column[y, j - reach]
            for j in range(width):
                x[c, y, j] = padded[reach + j] * taps[0]
            for i in range(1, reach + 1):
                w = taps[i]
                left, right = padded[reach - i :], padded[reach + i :]
                for j in range(width):
                    x[c, y, j] += (left[j] + right[j]) * w
