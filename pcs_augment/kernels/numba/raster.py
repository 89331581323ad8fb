"""Outlines and curves to pixels; unlike the lists of raster, these hold hits only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import raster
from .compiling import compiled

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@compiled
def crossing(x0, y0, x1, y1, row):
    """raster.crossing"""
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
    return x0 + (F(row) + _HALF - y0) * ((x1 - x0) / (y1 - y0))


@compiled
def _filled(points, corners, shift, twice, rectangles, room):
    instance, xs, ys = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    found, first = 0, 0
    for n in range(corners.size):
        x0, y0, x1, y1 = rectangles[n]
        width = x1 - x0
        if width > 0 and y1 > y0:
            toggles = np.zeros((2, y1 - y0, width + 1), np.int32)
            for copy in range(2 if twice else 1):
                dx = shift[n, 0] if copy else 0.0
                dy = shift[n, 1] if copy else 0.0
                for k in range(corners[n]):
                    i, j = first + k, first + (k + 1) % corners[n]
                    _toggle(toggles[copy], points[i, 0] + dx, points[i, 1] + dy, points[j, 0] + dx, points[j, 1] + dy, x0, y0)
            for y in range(y1 - y0):
                once, second = np.int32(0), np.int32(0)
                for x in range(width):
                    once += toggles[0, y, x]
                    second += toggles[1, y, x]
                    if once & 1 and (not twice or second & 1):
                        instance[found], xs[found], ys[found] = n, x0 + x, y0 + y
                        found += 1
        first += corners[n]
    return instance[:found], xs[:found], ys[:found]


@compiled
def _toggle(toggles, ax, ay, bx, by, x0, y0):
    """One edge of raster.inside: mark the first pixel centre right of it on each row that it crosses."""
    rows, width = toggles.shape[0], toggles.shape[1] - 1
    first = min(max(np.ceil(min(ay, by) - 0.5), y0), y0 + rows)
    last = min(max(np.ceil(max(ay, by) - 0.5), y0), y0 + rows)
    for row in range(np.int64(first), np.int64(last)):
        column = np.ceil(crossing(F(ax), F(ay), F(bx), F(by), row) - _HALF)
        toggles[row - y0, np.int64(min(max(column, F(x0)), F(x0 + width))) - x0] += 1


def filled(points: Array, corners: Ints, shift: Array | None, height: int, width: int) -> tuple[Ints, Ints, Ints]:
    """raster.filled: outline, x and y of the pixels inside."""
    rectangles = raster.bounds(points, corners, height, width)
    room = int(np.prod(rectangles[:, 2:] - rectangles[:, :2], 1).sum())
    moves = np.zeros((len(corners), 2)) if shift is None else shift
    return _filled(points, corners, moves, shift is not None, rectangles, room)


@compiled
def _strokes(start, delta, steep, first, last, reach, window, height, width, room):
    segment, xs, ys = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    distance = np.empty(room, F)
    found = 0
    for s in range(steep.size):
        x0, y0, dx, dy = start[s, 0], start[s, 1], delta[s, 0], delta[s, 1]
        begin, other, rise, run = (y0, x0, dx, dy) if steep[s] else (x0, y0, dy, dx)
        slope = rise / (_UNIT if run == 0 else run)
        length = max(dx * dx + dy * dy, F(1e-12))
        for along in range(first[s], last[s]):
            middle = np.int64(np.floor(other + (F(along) + _HALF - begin) * slope))
            for across in range(middle - window // 2, middle - window // 2 + window):
                x, y = (across, along) if steep[s] else (along, across)
                if x < 0 or x >= width or y < 0 or y >= height:
                    continue
                px, py = F(x) + _HALF - x0, F(y) + _HALF - y0
                t = min(max((px * dx + py * dy) / length, _ZERO), _UNIT)
                ex, ey = px - t * dx, py - t * dy
                d = F(np.sqrt(np.float64(ex * ex + ey * ey)))
                if d <= reach[s]:
                    segment[found], xs[found], ys[found], distance[found] = s, x, y, d
                    found += 1
    return segment[:found], xs[:found], ys[:found], distance[:found]


def strokes(segments: Array, reach: Array, height: int, width: int) -> tuple[Ints, Ints, Ints, NDArray[np.float32]]:
    """raster.strokes: segment, x, y and distance of the pixels within reach."""
    delta, steep, first, last, window = raster.walks(segments, reach, height, width)
    room = int((last - first).sum()) * window
    lists = (segments[:, :2].astype(F), delta.astype(F), steep, first, last, reach.astype(F))
    return _strokes(*lists, window, height, width, room)
