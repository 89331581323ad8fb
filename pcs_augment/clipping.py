"""Outlines cut by straight lines, and the smallest boxes around what is left; NumPy, all objects of a batch at once.

Coordinates are px as everywhere: x right, y down, pixel i spans [i, i + 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import boxes as bx
from .raster import following, is_convex
from .targets import Instances

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def clip(points: Array, corners: Ints, planes: Array) -> tuple[Array, Ints]:
    """The parts of N closed outlines where ``a x + b y <= c`` (Sutherland and Hodgman 1974).

    Args:
        points: (V, 2) corners of all outlines, px.
        corners: (N,) how many belong to each; 0 is allowed.
        planes: (N, 3) rows (a, b, c), one per outline; infinite c cuts nothing.

    Returns:
        Corners and their numbers, 0 where nothing is left. The parts of a concave outline stay joined along the cut.
    """
    owner = np.repeat(np.arange(len(corners)), corners)
    a, b, c = planes[owner].T
    with np.errstate(invalid="ignore"):
        beyond = a * points[:, 0] + b * points[:, 1] - c
    inside = beyond <= 0
    if inside.all():
        return points, corners
    some = np.flatnonzero(corners > 0)
    after = np.zeros(len(points), np.int64) if not len(some) else following(corners[some])
    crosses = inside != inside[after]
    # each corner gives itself if it is inside, then the point where the edge that follows crosses the line
    count = inside.astype(np.int64) + crosses
    start = np.cumsum(count) - count
    out = np.empty((int(count.sum()), 2))
    out[start[inside]] = points[inside]
    k = np.flatnonzero(crosses)
    # from the inner end, so that an edge is cut at the same point whichever way it is walked
    near, far = np.where(inside[k], k, after[k]), np.where(inside[k], after[k], k)
    t = beyond[near] / (beyond[near] - beyond[far])
    out[(start + inside)[k]] = points[near] + t[:, None] * (points[far] - points[near])
    return out, np.bincount(owner, count, len(corners)).astype(np.int64)


def areas(points: Array, corners: Ints) -> Array:
    """(N,) areas of closed outlines, px^2."""
    if not len(points):
        return np.zeros(len(corners))
    owner = np.repeat(np.arange(len(corners)), corners)
    after = following(corners[corners > 0])
    first = (np.cumsum(corners) - corners)[owner]
    own, others = points - points[first], points[after] - points[first]  # from a corner of its own: no cancellation
    cross = own[:, 0] * others[:, 1] - own[:, 1] * others[:, 0]
    return np.abs(np.bincount(owner, cross, len(corners))) / 2


def boxes_around(points: Array, corners: Ints) -> Array:
    """(N, 5) minimum-area boxes around outlines of at least one corner each."""
    out = np.empty((len(corners), 5))
    ends = np.cumsum(corners)
    convex = is_convex(points, corners) if len(corners) else np.zeros(0, bool)
    for k in np.flatnonzero(~convex):  # few are concave
        out[k] = bx.min_area_box(points[ends[k] - corners[k] : ends[k]])
    for size in np.unique(corners[convex]):
        rows = np.flatnonzero(convex & (corners == size))
        hull = points[(ends[rows] - size)[:, None] + np.arange(size)]  # (M, size, 2)
        edge = np.roll(hull, -1, 1) - hull
        angle = np.arctan2(edge[..., 1], edge[..., 0]) % (np.pi / 2)
        c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
        x, y = hull[:, None, :, 0], hull[:, None, :, 1]
        along, across = c * x + s * y, c * y - s * x  # (M, directions, corners)
        low = np.stack((along.min(2), across.min(2)), -1)
        high = np.stack((along.max(2), across.max(2)), -1)
        best = np.argmin(np.prod(high - low, 2) + 1e-9 * (angle + 1), 1)  # of equal ones the smallest angle
        pick = np.arange(len(rows)), best
        middle, side = (low[pick] + high[pick]) / 2, high[pick] - low[pick]
        c, s = c[pick][:, 0], s[pick][:, 0]
        centre = c * middle[:, 0] - s * middle[:, 1], s * middle[:, 0] + c * middle[:, 1]
        out[rows] = bx.le90(np.stack((*centre, side[:, 0], side[:, 1], angle[pick]), -1))
    return out


def visible_parts(instances: Instances, planes: list[Array], share: float) -> tuple[Instances, NDArray[np.bool_]]:
    """Objects cut by half-planes.

    Args:
        instances: N objects.
        planes: (N, 3) rows as ``clip`` takes them, one array per cut.
        share: the least visible share of its area with which an object is kept.

    Returns:
        The same N objects: those that a line cuts and that are kept have the visible part as outline and the minimum-area box
        around it, all others are as they were; and (N,) which to keep. An outline without area is kept whole where its box's
        centre is visible.
    """
    points, corners = instances.points, instances.corners
    for plane in planes:
        points, corners = clip(points, corners, plane)
    whole, left = areas(instances.points, instances.corners), areas(points, corners)
    flat = whole <= 1e-9
    centre = np.ones(len(flat), bool)
    for plane in planes:
        centre &= plane[:, 0] * instances.boxes[:, 0] + plane[:, 1] * instances.boxes[:, 1] <= plane[:, 2]
    keep = np.where(flat, centre, (left >= share * whole) & (left > 0))
    cut = keep & ~flat & (left < whole * (1 - 1e-12))
    new_points = np.where(cut, 1, 0)
    if not new_points.any():
        return instances, keep
    boxes = instances.boxes.copy()
    rows = np.repeat(cut, corners)
    boxes[cut] = boxes_around(points[rows], corners[cut])
    number = np.where(cut, corners, instances.corners)
    out = np.empty((int(number.sum()), 2))
    mine = np.repeat(cut, number)
    out[mine] = points[rows]
    out[~mine] = instances.points[np.repeat(~cut, instances.corners)]
    return Instances(instances.images, instances.sample, instances.object, boxes, out, number), keep
