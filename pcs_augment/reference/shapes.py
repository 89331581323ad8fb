"""Pixels in and near outlines, by brute force, and the blur."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from .streams import Array


def centres(shape: Sequence[int], window: tuple[slice, slice] = (slice(None), slice(None))) -> tuple[Array, Array]:
    """x (1, w) and y (h, 1) of the centres of the pixels in a window of an image (..., H, W)."""
    x, y = (np.arange(n, dtype=np.float64) + 0.5 for n in shape[:-3:-1])
    return x[None, window[1]], y[window[0], None]


def inside(outline: Array, x: Array, y: Array) -> NDArray[np.bool_]:
    """Even-odd rule: an odd number of edges crosses the row to the left of (x, y)."""
    odd = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, 0)):
        if ay != by:
            odd ^= ((ay <= y) != (by <= y)) & (ax + (y - ay) * (bx - ax) / (by - ay) <= x)
    return odd


def distance(line: Array, x: Array, y: Array) -> Array:
    """Distance in px of (x, y) from the segments between successive points."""
    best = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf)
    for (ax, ay), (bx, by) in pairwise(line):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        best = np.minimum(best, np.hypot(x - ax - t * dx, y - ay - t * dy))
    return best


def near(outline: Array, radius: float, x: Array, y: Array) -> NDArray[np.bool_]:
    """Within ``radius`` of the closed outline."""
    return distance(np.concatenate((outline, outline[:1])), x, y) <= radius


def around(points: Array, margin: float, shape: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of the pixels up to ``margin`` px around some points; a window only saves time."""
    size = np.array(shape[:-3:-1])
    low, high = np.clip((np.floor(points.min(0) - margin), np.ceil(points.max(0) + margin)), 0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def gaussian(image: Array, kernel: int, sigma: float | None) -> Array:
    """cv2.GaussianBlur, mirrored borders; sigma None: 0.3 ((k - 1) / 2 - 1) + 0.8."""
    s = 0.3 * ((kernel - 1) / 2 - 1) + 0.8 if sigma is None else sigma
    return np.stack([cv2.GaussianBlur(c, (kernel, kernel), s, sigmaY=s, borderType=cv2.BORDER_REFLECT_101) for c in image])
