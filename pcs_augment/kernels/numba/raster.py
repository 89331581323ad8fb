"""Outlines and curves to pixels; unlike the lists of raster, these functions visit hits only."""

from __future__ import annotations

import numpy as np

from .compiling import helper, inlined

F = np.float32
_ZERO, _UNIT, _HALF, _SMALLEST, _BEYOND = F(0), F(1), F(0.5), F(1e-12), F(1.0001)


@helper
def crossing(x0, y0, x1, y1, row):
    """raster.crossing"""
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
    return x0 + (F(row) + _HALF - y0) * ((x1 - x0) / (y1 - y0))


@inlined
def bounds(outline, height, width):
    """raster.bounds of one outline: x0, y0, x1, y1, ends excluded."""
    out = np.empty(4, np.int64)
    for axis in range(2):
        size = height if axis else width
        low, high = outline[0, axis], outline[0, axis]
        for k in range(1, len(outline)):
            low, high = min(low, outline[k, axis]), max(high, outline[k, axis])
        out[axis] = min(max(np.floor(low), 0), size)
        out[2 + axis] = max(min(max(np.floor(high) + 1, 0), size), out[axis])
    return out


@helper
def spans(outline, dx, dy, box, left, right, crossings):
    """The part of each row of a box that lies inside an outline displaced by (dx, dy): from left up to before right.

    Rows are those of the image. Where an outline crosses a row more than twice, crossings of the row are more than two and the
    part is that between the first and the last of them.
    """
    x0, y0, x1, y1 = box
    for y in range(y0, y1):
        left[y], right[y], crossings[y] = x1, x0, 0
    for k in range(len(outline)):
        a, b = outline[k], outline[(k + 1) % len(outline)]
        ax, ay, bx, by = a[0] + dx, a[1] + dy, b[0] + dx, b[1] + dy
        first = np.int64(min(max(np.ceil(min(ay, by) - 0.5), y0), y1))
        last = np.int64(min(max(np.ceil(max(ay, by) - 0.5), y0), y1))
        for y in range(first, last):
            x = column(ax, ay, bx, by, y, x0, x1)
            left[y], right[y] = min(left[y], x), max(right[y], x)
            crossings[y] += 1


@helper
def column(ax, ay, bx, by, y, x0, x1):
    """The first column of a box whose centre lies right of an edge on row y."""
    x = np.ceil(crossing(F(ax), F(ay), F(bx), F(by), y) - _HALF)
    return np.int64(min(max(x, F(x0)), F(x1)))


@helper
def toggled(outline, dx, dy, y, box, odd):
    """One row of raster.inside for any outline: odd (W,) is turned over from every crossing on."""
    x0, _, x1, _ = box
    for k in range(len(outline)):
        a, b = outline[k], outline[(k + 1) % len(outline)]
        ax, ay, bx, by = a[0] + dx, a[1] + dy, b[0] + dx, b[1] + dy
        if np.ceil(min(ay, by) - 0.5) <= y < np.ceil(max(ay, by) - 0.5):
            for x in range(column(ax, ay, bx, by, y, x0, x1), x1):
                odd[x] = not odd[x]


@helper
def near_segment(a, b, reach, height, width, xs, ys, distances):
    """raster.strokes of one segment: how many pixels are within reach, which, and their distances, in lists of ``room``."""
    dx, dy = F(b[0] - a[0]), F(b[1] - a[1])
    steep = abs(b[1] - a[1]) > abs(b[0] - a[0])
    x0, y0, limit = F(a[0]), F(a[1]), F(reach)
    low, high = (min(a[1], b[1]), max(a[1], b[1])) if steep else (min(a[0], b[0]), max(a[0], b[0]))
    size = height if steep else width
    first = np.int64(min(max(np.floor(low - reach), 0), size))
    last = np.int64(min(max(np.floor(high + reach) + 1, first), size))
    side = _side(reach)
    begin, other, rise, run = (y0, x0, dx, dy) if steep else (x0, y0, dy, dx)
    slope = rise / (_UNIT if run == 0 else run)
    length = max(dx * dx + dy * dy, _SMALLEST)
    farthest = limit * limit * _BEYOND
    found = 0
    for along in range(first, last):
        middle = np.int64(np.floor(other + (F(along) + _HALF - begin) * slope))
        breadth = width if steep else height
        for across in range(max(middle - side, 0), min(middle + side + 1, breadth)):
            x, y = (across, along) if steep else (along, across)
            px, py = F(x) + _HALF - x0, F(y) + _HALF - y0
            t = min(max((px * dx + py * dy) / length, _ZERO), _UNIT)
            ex, ey = px - t * dx, py - t * dy
            square = ex * ex + ey * ey
            if square > farthest:  # most are, and need no root
                continue
            distance = F(np.sqrt(np.float64(square)))
            if distance <= limit:
                xs[found], ys[found], distances[found] = x, y, distance
                found += 1
    return found


@helper
def _side(reach):
    """How many pixels each side of the middle a segment is followed with, as in raster.walks."""
    return np.int64(np.ceil(reach * np.sqrt(2) + 0.5))


@helper
def room(reach, height, width):
    """Lists for the pixels near any segment: columns, rows, distances."""
    most = max(height, width) * (2 * _side(reach) + 1)
    return np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, F)
