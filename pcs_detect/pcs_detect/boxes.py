"""Oriented boxes as arrays: (cx, cy, w, h, theta) in px and radians.

x to the right, y down, pixel i spanning [i, i + 1); the w axis points along (cos theta, sin theta), so positive angles are
clockwise on screen. "le90": w >= h, theta in [-pi/2, pi/2).

``pcs_augment.boxes`` has some of this too: the photograph half is installed without that package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

Floats = NDArray[np.float64]


def wrap_angle(theta: Floats) -> Floats:
    """Angles modulo pi, in [-pi/2, pi/2)."""
    # rounding in the modulo can reach the open end, so it is folded once more
    wrapped = (theta + math.pi / 2) % math.pi - math.pi / 2
    return wrapped - math.pi * (wrapped >= math.pi / 2)


def to_le90(boxes: ArrayLike) -> Floats:
    """(N, 5) boxes of any equivalent form with w >= h and theta in [-pi/2, pi/2)."""
    out = np.array(boxes, dtype=np.float64).reshape(-1, 5)
    swap = out[:, 2] < out[:, 3]
    out[swap, 2:4] = out[swap, 3:1:-1]
    out[:, 4] = wrap_angle(out[:, 4] + swap * (math.pi / 2))
    return out


def corners(boxes: ArrayLike) -> Floats:
    """(N, 4, 2) corners of (N, 5) boxes, clockwise on screen."""
    b = np.asarray(boxes, dtype=np.float64).reshape(-1, 5)
    c, s = np.cos(b[:, 4]), np.sin(b[:, 4])
    along, across = np.stack((c, s), -1) * b[:, 2:3] / 2, np.stack((-s, c), -1) * b[:, 3:4] / 2
    return b[:, None, :2] + np.stack((-along - across, along - across, along + across, across - along), 1)


def published(boxes: ArrayLike) -> list[list[float]]:
    """[cx, cy, w, h, a] of each of (N, 5) boxes as the published JSON has it: a in degrees, counter-clockwise, w >= h; rounded
    to 1e-4 px and 1e-5 degrees."""
    rows = to_le90(boxes)
    rows[:, 4] = -np.degrees(rows[:, 4])
    return [[*(round(v, 4) for v in row[:4]), round(row[4], 5)] for row in rows.tolist()]


def min_area_box(points: ArrayLike) -> Floats:
    """(5,) the oriented box of least area, le90, around (K, 2) points, K >= 1: one side lies on an edge of the hull."""
    hull = convex_hull(points)
    edges = np.roll(hull, -1, 0) - hull
    angle = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (math.pi / 2))
    axes = np.stack((np.cos(angle), np.sin(angle)), -1)  # (E, 2)
    along = axes @ hull.T
    across = np.stack((-axes[:, 1], axes[:, 0]), -1) @ hull.T
    low, high = np.stack((along.min(1), across.min(1)), -1), np.stack((along.max(1), across.max(1)), -1)
    best = int(np.argmin(np.prod(high - low, 1)))
    middle = (low[best] + high[best]) / 2
    c, s = axes[best]
    box = np.array([c * middle[0] - s * middle[1], s * middle[0] + c * middle[1], *(high[best] - low[best]), angle[best]])
    return to_le90(box)[0]


def outline_box(parts: Sequence[ArrayLike]) -> Floats:
    """(5,) oriented box of least area, w >= h, around all points of the outlines, (K, 2) px each, of one crystal's parts.

    Raises:
        InputError: there is no area between them.
    """
    points = [np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in parts]
    every = np.concatenate(points) if points else np.zeros((0, 2))
    if not len(every) or not np.isfinite(every).all():
        raise InputError(f"an outline of the points {every[:4].tolist()} has no box; give finite points, at least three")
    box = min_area_box(every)
    if box[3] <= 1e-9 * box[2]:
        raise InputError(f"the outline through {every[:4].tolist()} has no area")
    return box


def convex_hull(points: ArrayLike) -> Floats:
    """(M, 2) corners of the convex hull of (K, 2) points in order (Andrew's monotone chain)."""
    ordered = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    if len(ordered) <= 2:
        return ordered

    def chain(sequence: Floats) -> list[Floats]:
        out: list[Floats] = []
        for p in sequence:
            while len(out) >= 2:
                (ax, ay), (bx, by) = out[-2], out[-1]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                out.pop()
            out.append(p)
        return out[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))
