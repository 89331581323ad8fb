"""numba twins of the work lists: outlines and curves to pixels.

Same operations, same order, same float32 rounding as the torch functions they name. No kernel calls one in another file:
numba's cache would not notice when that one changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_jit = njit(nogil=True, cache=True, error_model="numpy")

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@_jit
def object_spread(images, sample, points, first, corners, convex, radius, spread):
    """filters.KeepDetectable._spread: the widest 8-bit range of any channel in and around each outline."""
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
                    at[found] = _crossing(F(a[0]), F(a[1]), F(b[0]), F(b[1]), y)
                    found += 1
            crossings = np.sort(at[:found])
            for i in range(0, found - 1, 2):
                _scan(image, y, crossings[i], crossings[i + 1], width, extremes)
        spread[n] = -1
        for c in range(channels):
            spread[n] = max(spread[n], np.int64(np.rint(extremes[c, 1]) - np.rint(extremes[c, 0])))


@_jit
def _rows_of(a, b, radius, height):
    begin = min(max(np.ceil(min(a[1], b[1]) - radius - 0.5), 0), height)
    end = min(max(np.floor(max(a[1], b[1]) + radius - 0.5) + 1, begin), height)
    return np.int64(begin), np.int64(end)


@_jit
def _scan(image, y, left, right, width, extremes):
    """Widen the extremes by the pixels of row y with left <= x + 1/2 <= right."""
    first = np.int64(min(max(np.ceil(left - _HALF), _ZERO), F(width)))
    last = np.int64(min(max(np.floor(right - _HALF), F(-1)), F(width - 1)))
    for c in range(image.shape[0]):
        row = image[c, y]
        for x in range(first, last + 1):
            grey = row[x] * F(255)
            extremes[c, 0], extremes[c, 1] = min(extremes[c, 0], grey), max(extremes[c, 1], grey)


@_jit
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


@_jit
def _crossing(x0, y0, x1, y1, row):
    """raster.crossing"""
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
    return x0 + (F(row) + _HALF - y0) * ((x1 - x0) / (y1 - y0))


@_jit
def filled(points, corners, shift, twice, rectangles, room):
    """raster.filled: instance, x and y of the hits."""
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


@_jit
def _toggle(toggles, ax, ay, bx, by, x0, y0):
    """One edge of raster.inside: mark the first pixel centre right of it on each row that it crosses."""
    rows, width = toggles.shape[0], toggles.shape[1] - 1
    first = min(max(np.ceil(min(ay, by) - 0.5), y0), y0 + rows)
    last = min(max(np.ceil(max(ay, by) - 0.5), y0), y0 + rows)
    for row in range(np.int64(first), np.int64(last)):
        column = np.ceil(_crossing(F(ax), F(ay), F(bx), F(by), row) - _HALF)
        toggles[row - y0, np.int64(min(max(column, F(x0)), F(x0 + width))) - x0] += 1


@_jit
def strokes(start, delta, steep, first, last, reach, window, height, width, room):
    """raster.strokes: segment, x, y and distance of the hits."""
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


@_jit
def coat(owner, number, instance, xs, ys):
    """highlight._paint: raise (H, W) ``owner`` to the numbers of the hits."""
    for i in range(instance.size):
        here = owner[ys[i], xs[i]]
        owner[ys[i], xs[i]] = max(here, np.int32(number[instance[i]]))


@_jit
def move(points, matrix, counts):
    """targets.Instances.moved: (V, 2) points, ``counts`` of them for each (2, 3) matrix in turn."""
    out = np.empty_like(points)
    first = 0
    for b in range(counts.size):
        m = matrix[b]
        for i in range(first, first + counts[b]):
            x, y = points[i, 0], points[i, 1]
            out[i, 0] = m[0, 0] * x + m[0, 1] * y + m[0, 2]
            out[i, 1] = m[1, 0] * x + m[1, 1] * y + m[1, 2]
        first += counts[b]
    return out


@_jit
def move_boxes(boxes, matrix, sample):
    """boxes.move_boxes: (N, 5) boxes under the (2, 3) matrices of their samples."""
    out = np.empty_like(boxes)
    for n in range(sample.size):
        m, x, y, theta = matrix[sample[n]], boxes[n, 0], boxes[n, 1], boxes[n, 4]
        out[n, 0] = m[0, 0] * x + m[0, 1] * y + m[0, 2]
        out[n, 1] = m[1, 0] * x + m[1, 1] * y + m[1, 2]
        out[n, 2], out[n, 3] = boxes[n, 2], boxes[n, 3]
        determinant, turn = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0], abs(m[1, 0]) * (np.pi / 2)
        if turn != 0 or determinant != 1:
            theta = (theta * determinant + turn + np.pi / 2) % np.pi - np.pi / 2
            theta -= np.pi * (theta >= np.pi / 2)
        out[n, 4] = theta
    return out
