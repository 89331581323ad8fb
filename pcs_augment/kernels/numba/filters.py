"""Grey ranges in and around outlines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ... import raster
from .compiling import compiled
from .raster import crossing
from .threads import run_all

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@compiled
def _object_spread(images, sample, points, first, corners, convex, radius, spread):
    """filters._spread: the widest 8-bit range of any channel in and around each outline."""
    _, channels, height, width = images.shape
    reach, square = F(radius), F(radius * radius)
    for n in range(sample.size):
        image, extremes = images[sample[n]], np.empty((channels, 2), F)
        extremes[:, 0], extremes[:, 1] = 255, 0
        outline = points[first[n] : first[n] + corners[n]]
        left, right = np.full(height, F(np.inf)), np.full(height, F(-np.inf))
        at = np.empty(corners[n], F)
        for k in range(corners[n]):
            a, b = outline[k], outline[(k + 1) % corners[n]]
            begin, end = _rows_of(a, b, radius, height)
            for y in range(begin, end):
                near_left, near_right = _near_segment(a, b, F(y) + _HALF, reach, square)
                if convex[n]:
                    left[y], right[y] = min(left[y], near_left), max(right[y], near_right)
                else:
                    _scan(image, y, near_left, near_right, width, extremes)
        for y in range(height):
            if convex[n]:
                _scan(image, y, left[y], right[y], width, extremes)
                continue
            found = 0
            for k in range(corners[n]):
                a, b = outline[k], outline[(k + 1) % corners[n]]
                begin, end = _rows_of(a, b, radius, height)
                if begin <= y < end and (F(a[1]) <= F(y) + _HALF) != (F(b[1]) <= F(y) + _HALF):
                    at[found] = crossing(F(a[0]), F(a[1]), F(b[0]), F(b[1]), y)
                    found += 1
            crossings = np.sort(at[:found])
            for i in range(0, found - 1, 2):
                _scan(image, y, crossings[i], crossings[i + 1], width, extremes)
        spread[n] = -1
        for c in range(channels):
            spread[n] = max(spread[n], np.int64(np.rint(extremes[c, 1]) - np.rint(extremes[c, 0])))


@compiled
def _rows_of(a, b, radius, height):
    begin = min(max(np.ceil(min(a[1], b[1]) - radius - 0.5), 0), height)
    end = min(max(np.floor(max(a[1], b[1]) + radius - 0.5) + 1, begin), height)
    return np.int64(begin), np.int64(end)


@compiled
def _scan(image, y, left, right, width, extremes):
    """Widen the extremes by the pixels of row y with left <= x + 1/2 <= right."""
    first = np.int64(min(max(np.ceil(left - _HALF), _ZERO), F(width)))
    last = np.int64(min(max(np.floor(right - _HALF), F(-1)), F(width - 1)))
    for c in range(image.shape[0]):
        row = image[c, y]
        for x in range(first, last + 1):
            grey = row[x] * F(255)
            extremes[c, 0], extremes[c, 1] = min(extremes[c, 0], grey), max(extremes[c, 1], grey)


@compiled
def _near_segment(a, b, row, radius, square):
    """raster._near_segment"""
    x0, y0, x1, y1 = F(a[0]), F(a[1]), F(b[0]), F(b[1])
    dx, dy = x1 - x0, y1 - y0
    length = max(F(np.sqrt(np.float64(dx * dx + dy * dy))), F(1e-6))
    nx, ny = -dy / length * radius, dx / length * radius
    left, right = F(np.inf), F(-np.inf)
    for end in range(2):
        cx, cy = (x1, y1) if end else (x0, y0)
        rest = square - (row - cy) * (row - cy)
        if rest >= 0:
            half = F(np.sqrt(np.float64(rest)))
            left, right = min(left, cx - half), max(right, cx + half)
    if dy != 0:
        for sign in (_UNIT, -_UNIT):
            t = (row - y0 - sign * ny) / dy
            if t >= 0 and t <= 1:
                x = x0 + sign * nx + t * dx
                left, right = min(left, x), max(right, x)
    return left, right


def object_spread(images: Tensor, sample: Tensor, points: Tensor, corners: Tensor, radius: float) -> Tensor:
    owner, outlines, counts = sample.numpy(), points.numpy(), corners.numpy()
    first, convex = np.cumsum(counts) - counts, raster.is_convex(outlines, counts)
    pixels, spread = images.numpy(), np.empty(len(counts), np.int64)

    def part(rows: np.ndarray) -> None:
        mine = (owner[rows], outlines, first[rows], counts[rows], convex[rows])
        _object_spread(pixels, *mine, radius, spread[rows[0] : rows[-1] + 1])

    run_all(part, (r for r in np.array_split(np.arange(len(counts)), 4 * torch.get_num_threads()) if len(r)))
    return torch.from_numpy(spread)
