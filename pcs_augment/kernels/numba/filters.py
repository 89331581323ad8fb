"""Grey ranges in and around outlines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compiling import compiled, helper, inlined
from .raster import crossing
from .threads import for_images

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@compiled
def _object_spread(image, points, first, corners, radius, enough, spread):
    """filters._spread for the objects of one image; the search in an object ends once its range is above ``enough``."""
    extremes = np.empty((len(image), 2), F)
    for n in range(corners.size):
        for c in range(len(image)):
            extremes[c, 0], extremes[c, 1] = F(255), F(0)
        outline = points[first[n] : first[n] + corners[n]]
        spread[n] = _around(image, outline, radius, enough, extremes)
        if spread[n] <= enough:
            spread[n] = _within(image, outline, radius, enough, extremes)


@helper
def _range(extremes):
    """The widest range of any channel."""
    widest = np.int64(-1)
    for c in range(len(extremes)):
        widest = max(widest, np.int64(np.rint(extremes[c, 1]) - np.rint(extremes[c, 0])))
    return widest


@inlined
def _around(image, outline, radius, enough, extremes):
    """Look at the pixels near the edges."""
    for k in range(len(outline)):
        a, b = outline[k], outline[(k + 1) % len(outline)]
        begin, end = _rows_of(min(a[1], b[1]), max(a[1], b[1]), radius, image.shape[1])
        for y in range(begin, end):
            left, right = _near_segment(a, b, F(y) + _HALF, F(radius), F(radius * radius))
            _scan(image, y, left, right, extremes)
            if _range(extremes) > enough:
                return _range(extremes)
    return _range(extremes)


@inlined
def _within(image, outline, radius, enough, extremes):
    """Look at the pixels inside: of a convex outline those between the ends of what is near its edges, row by row."""
    at, convex = np.empty(len(outline), F), _is_convex(outline)
    top, bottom = outline[0, 1], outline[0, 1]
    for k in range(1, len(outline)):
        top, bottom = min(top, outline[k, 1]), max(bottom, outline[k, 1])
    begin, end = _rows_of(top, bottom, radius, image.shape[1])
    for y in range(begin, end):
        found, left, right = 0, F(np.inf), F(-np.inf)
        for k in range(len(outline)):
            a, b = outline[k], outline[(k + 1) % len(outline)]
            if convex:
                first, last = _rows_of(min(a[1], b[1]), max(a[1], b[1]), radius, image.shape[1])
                if first <= y < last:
                    near_left, near_right = _near_segment(a, b, F(y) + _HALF, F(radius), F(radius * radius))
                    left, right = min(left, near_left), max(right, near_right)
            elif (F(a[1]) <= F(y) + _HALF) != (F(b[1]) <= F(y) + _HALF):
                at[found] = crossing(F(a[0]), F(a[1]), F(b[0]), F(b[1]), y)
                found += 1
        if convex:
            _scan(image, y, left, right, extremes)
        for i in range(1, found):  # few are sorted soonest so, and np.sort takes long to compile
            x, k = at[i], i
            while k > 0 and at[k - 1] > x:
                at[k] = at[k - 1]
                k -= 1
            at[k] = x
        for i in range(0, found - 1, 2):
            _scan(image, y, at[i], at[i + 1], extremes)
        if _range(extremes) > enough:
            break
    return _range(extremes)


@inlined
def _is_convex(outline):
    """raster.is_convex"""
    n, left, right, changes = len(outline), True, True, 0
    for k in range(n):
        a, b, c = outline[k], outline[(k + 1) % n], outline[(k + 2) % n]
        turn = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
        left, right = left and turn >= 0, right and turn <= 0
        changes += (b[1] - a[1] >= 0) != (c[1] - b[1] >= 0)
    return (left or right) and changes <= 2


@helper
def _rows_of(low, high, radius, height):
    begin = min(max(np.ceil(low - radius - 0.5), 0), height)
    end = min(max(np.floor(high + radius - 0.5) + 1, begin), height)
    return np.int64(begin), np.int64(end)


@helper
def _scan(image, y, left, right, extremes):
    """Widen the extremes by the pixels of row y with left <= x + 1/2 <= right."""
    first = np.int64(min(max(np.ceil(left - _HALF), _ZERO), F(image.shape[2])))
    last = np.int64(min(max(np.floor(right - _HALF), F(-1)), F(image.shape[2] - 1)))
    for c in range(image.shape[0]):
        low, high = _extent(image[c, y, first : max(last + 1, first)], extremes[c, 0], extremes[c, 1])
        extremes[c, 0], extremes[c, 1] = low, high


@helper(fastmath={"nnan", "nsz"})
def _extent(row, low, high):
    for v in row:
        grey = v * F(255)
        low, high = min(low, grey), max(high, grey)
    return low, high


@helper
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


def object_spread(images: Tensor, sample: Tensor, points: Tensor, corners: Tensor, radius: float, enough: int = 255) -> Tensor:
    outlines, counts, pixels = points.numpy(), corners.numpy(), images.numpy()
    first = np.cumsum(counts) - counts
    spread = np.empty(len(counts), np.int64)
    which, start = np.unique(sample.numpy(), return_index=True)
    ends = np.append(start, len(counts))

    def one(j: int) -> None:
        mine = slice(ends[j], ends[j + 1])
        _object_spread(pixels[which[j]], outlines, first[mine], counts[mine], radius, enough, spread[mine])

    for_images(one, which)
    return torch.from_numpy(spread)
