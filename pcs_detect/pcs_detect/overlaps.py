"""Overlaps of oriented boxes (cx, cy, w, h, theta), px and radians, computed for the pairs that can meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def rotated_iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """(M, N) intersection over union of oriented boxes a (M, 5) with b (N, 5): (cx, cy, w, h, theta), px and radians.

    Any equivalent form of a box will do (w < h, any theta). A box without area overlaps nothing. Raises InputError.
    """
    first, second = checked_boxes(a, "a"), checked_boxes(b, "b")
    result = np.zeros((len(first), len(second)))
    i, j, iou = _overlapping(first, second, 0.0)
    result[i, j] = iou
    return result


def overlapping_pairs(a: ArrayLike, b: ArrayLike, at_least: float = 0.0) -> tuple[Indices, Indices, Floats]:
    """i, j, IoU, each (P,), of the pairs a[i], b[j] with IoU >= ``at_least`` and > 0, in no particular order.

    As ``rotated_iou``, for many boxes that mostly lie apart: memory grows with P, not with M N.
    """
    return _overlapping(checked_boxes(a, "a"), checked_boxes(b, "b"), at_least)


def _overlapping(a: Floats, b: Floats, at_least: float) -> tuple[Indices, Indices, Floats]:
    found = []
    for i, j in _candidates(a, b, at_least):
        shared = _intersection(a[i], b[j])
        union = a[i, 2] * a[i, 3] + b[j, 2] * b[j, 3] - shared
        iou = np.minimum(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), 1.0)
        keep = (iou >= at_least) & (iou > 0)
        found.append((i[keep], j[keep], iou[keep]))
    if not found:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    i, j, iou = (np.concatenate(part) for part in zip(*found))
    return i, j, iou


def _candidates(a: Floats, b: Floats, at_least: float) -> Iterator[tuple[Indices, Indices]]:
    """Indices of the pairs whose upright bounding boxes allow the overlap, in portions of bounded size."""
    if not len(a) or not len(b):
        return
    low_a, high_a, low_b, high_b = *_bounds(a), *_bounds(b)
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    order = np.argsort(a[:, 0], kind="stable")  # so that a portion is a narrow strip, which few of b reach
    rows = max(2**18 // len(b), 1)
    for first in range(0, len(a), rows):
        i = order[first : first + rows]
        j = np.flatnonzero((high_b[:, 0] >= low_a[i, 0].min()) & (low_b[:, 0] <= high_a[i, 0].max()))
        width = np.minimum(high_a[i, None, 0], high_b[j, 0]) - np.maximum(low_a[i, None, 0], low_b[j, 0])
        height = np.minimum(high_a[i, None, 1], high_b[j, 1]) - np.maximum(low_a[i, None, 1], low_b[j, 1])
        largest = np.minimum(width * height, np.minimum(area_a[i, None], area_b[j]))
        possible = (width > 0) & (height > 0)
        if at_least > 0:  # rounding must not lose a pair
            possible &= largest * (1 + at_least) >= at_least * (1 - 1e-9) * (area_a[i, None] + area_b[j])
        row, column = np.nonzero(possible)
        for k in range(0, len(row), 2**14):  # whose arrays stay in the cache
            yield i[row[k : k + 2**14]], j[column[k : k + 2**14]]


def _bounds(boxes: Floats) -> tuple[Floats, Floats]:
    """(N, 2) lowest and highest x, y."""
    c, s = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    w, h = boxes[:, 2] / 2, boxes[:, 3] / 2
    reach = np.stack((w * c + h * s, w * s + h * c), -1)
    return boxes[:, :2] - reach, boxes[:, :2] + reach


def _intersection(a: Floats, b: Floats) -> Floats:
    """(P,) shared area of a[p] and b[p].

    Seen from a, which then spans [0, W] x [0, H], the shared area is the integral over 0 <= x <= W of b's upper edge less its
    lower one, both clamped to [0, H]. Walking around b, each edge adds its part with the sign of its direction. Everything
    depends continuously on the boxes, so coinciding edges and touching corners need no special care.
    """
    cos, sin = np.cos(a[:, 4]), np.sin(a[:, 4])
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    width, height = a[:, 2], a[:, 3]
    x, y = dx * cos + dy * sin + width / 2, dy * cos - dx * sin + height / 2
    turn = b[:, 4] - a[:, 4]
    cos, sin = np.cos(turn), np.sin(turn)
    ux, uy, vx, vy = b[:, 2] / 2 * cos, b[:, 2] / 2 * sin, -b[:, 3] / 2 * sin, b[:, 3] / 2 * cos
    xs = np.stack((x - ux - vx, x + ux - vx, x + ux + vx, x - ux + vx))  # (4, P)
    ys = np.stack((y - uy - vy, y + uy - vy, y + uy + vy, y - uy + vy))
    next_xs, next_ys = np.roll(xs, -1, 0), np.roll(ys, -1, 0)
    run, rise = next_xs - xs, next_ys - ys
    upright = np.abs(run) <= 1e-14 * np.abs(rise)  # spans no x and adds nothing; its slope could be infinite
    slope = np.divide(rise, run, out=np.zeros_like(run), where=~upright & (run != 0))
    begin, end = np.clip(xs, 0, width), np.clip(next_xs, 0, width)
    least, most = np.minimum(begin, end), np.maximum(begin, end)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        at_zero, at_height = xs - ys / slope, xs + (height - ys) / slope
    level = slope == 0
    at_zero = np.where(level, begin, np.clip(at_zero, least, most))
    at_height = np.where(level, begin, np.clip(at_height, least, most))
    rising = rise > 0
    stops = (begin, np.where(rising, at_zero, at_height), np.where(rising, at_height, at_zero), end)
    values = [np.clip(ys + (stop - xs) * slope, 0, height) for stop in stops]
    twice = sum((stops[k + 1] - stops[k]) * (values[k + 1] + values[k]) for k in range(3))
    return np.maximum(-np.sum(twice, axis=0) / 2, 0.0)


def checked_boxes(boxes: ArrayLike, name: str) -> Floats:
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 5)
    if array.ndim != 2 or array.shape[1] != 5:
        raise InputError(f"{name} has shape {array.shape}; oriented boxes are (N, 5): cx, cy, w, h, theta")
    bad = ~np.isfinite(array).all(1) | (array[:, 2:4] < 0).any(1)
    if bad.any():
        raise InputError(f"{name} holds the box {array[bad][0].tolist()}; give finite numbers and sides of 0 or more")
    return array
