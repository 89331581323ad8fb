"""Convex polyhedra and their projections: solids, hulls, minimum-area rectangles, pixels.

Hulls and rectangles are not those of ``pcs_augment.boxes``: scenes must be the same bits on every machine, so they are made of
what IEEE 754 fixes alone (see ``exact``), and many poses are measured at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, QhullError

from pcs_augment.boxes import polygon_area as polygon_area  # the same bits everywhere as well

from .errors import InputError
from .scene import Camera, Crystal, Scene, rotation_matrix

Floats = NDArray[np.float64]

FLAT = 1e-9  # 1 - cosine between two facets that count as one face


@dataclass(frozen=True)
class Solid:
    """A convex polyhedron."""

    vertices: Floats  # (V, 3), every one a corner
    faces: list[list[int]]  # corners of each face, counter-clockwise seen from outside
    edges: NDArray[np.int64]  # (E, 2) pairs of corners


def _hull(points: ArrayLike) -> tuple[Floats, ConvexHull]:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f"a shape is a list of finite (x, y, z) corners, not an array of shape {points.shape}")
    size = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    if len(points) < 4 or size == 0:
        raise InputError(f"a shape needs at least 4 corners that span a volume; this one has {len(points)} of size {size:g}")
    try:
        return points, ConvexHull(points)
    except QhullError as e:
        raise InputError("a shape must span a volume; the corners of this one lie in a plane") from e


def _creases(hull: ConvexHull) -> NDArray[np.bool_]:
    """(F, 3): is the side of the triangle opposite to its corner k an edge of the solid (not a diagonal of a flat face)?"""
    normals = hull.equations[:, :3]
    return (normals[:, None] * normals[hull.neighbors]).sum(-1) < 1 - FLAT


def hull_edges(points: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Corners (V, 3) and edges (E, 2) of the convex hull of (N, 3) points. Raises InputError for flat or broken points."""
    points, hull = _hull(points)
    triangle, side = np.nonzero(_creases(hull))
    once = triangle < hull.neighbors[triangle, side]
    triangle, side = triangle[once], side[once]
    ends = np.stack((hull.simplices[triangle, (side + 1) % 3], hull.simplices[triangle, (side + 2) % 3]), -1)
    corners, index = np.unique(ends, return_inverse=True)
    return points[corners], index.reshape(ends.shape)


def solid(points: ArrayLike) -> Solid:
    """The convex hull of (N, 3) points with triangles in one plane merged. Raises InputError for flat or broken points."""
    points, hull = _hull(points)
    creases = _creases(hull)
    face = np.arange(len(hull.simplices))
    while True:  # triangles joined by a flat side take the smallest number among them
        joined = np.minimum(face, np.where(creases, len(face), face[hull.neighbors]).min(1))
        joined = joined[joined]
        if (joined == face).all():
            break
        face = joined
    after: dict[int, dict[int, int]] = {}  # of each face: the corner that follows each corner
    for t, triangle in enumerate(hull.simplices):
        a, b, c = points[triangle]
        normal = hull.equations[t, :3]
        outward = float(np.cross(b - a, c - a) @ normal) > 0
        for k in np.flatnonzero(creases[t]):
            i, j = triangle[(k + 1) % 3], triangle[(k + 2) % 3]
            after.setdefault(int(face[t]), {})[int(i if outward else j)] = int(j if outward else i)
    loops = []
    for following in after.values():
        loop = [min(following)]
        while following[loop[-1]] != loop[0]:
            loop.append(following[loop[-1]])
        loops.append(loop)
    corners = np.unique(np.concatenate([np.array(loop) for loop in loops]))
    index = {int(c): i for i, c in enumerate(corners)}
    faces = [[index[c] for c in loop] for loop in loops]
    pairs = np.array([(a, b) for f in faces for a, b in zip(f, f[1:] + f[:1]) if a < b])
    return Solid(points[corners], faces, pairs)


def elongated(vertices: ArrayLike, elongation: float) -> Floats:
    """(V, 3) vertices with the halves x > 0 and x <= 0 moved apart by ``elongation`` each."""
    moved = np.array(vertices, dtype=np.float64)
    moved[:, 0] += np.where(moved[:, 0] > 0, elongation, -elongation)
    return moved


def crystal_points(scene: Scene, crystal: Crystal) -> Floats:
    """(V, 3) vertices of a crystal in the scene; their hull is the crystal."""
    v = elongated(scene.models[crystal.model], crystal.elongation)
    long, wide = crystal.scale
    return placed(v * np.array([long, wide, wide]), crystal)


def placed(v: Floats, crystal: Crystal) -> Floats:
    """(V, 3) scaled vertices, turned and moved to where the crystal is (term by term: the same bits everywhere)."""
    m = rotation_matrix(crystal.rotation)
    x, y, z = v[:, :1], v[:, 1:2], v[:, 2:]
    return x * m[:, 0] + y * m[:, 1] + z * m[:, 2] + np.array(crystal.location)


def crystal_solid(scene: Scene, crystal: Crystal) -> Solid:
    """The crystal in the scene's coordinates."""
    return solid(crystal_points(scene, crystal))


def project(camera: Camera, points: ArrayLike) -> Floats:
    """(..., 3) points to (..., 2) px, x right, y down, pixel i spanning [i, i + 1)."""
    p = np.asarray(points, dtype=np.float64)
    scale = camera.focal / (camera.distance - p[..., 2])
    return np.stack((camera.width / 2 + scale * p[..., 0], camera.height / 2 - scale * p[..., 1]), -1)


def hull2d(points: ArrayLike) -> Floats:
    """(K, 2) corners of the convex hull of (N, 2) points, clockwise on screen, no three in a line."""
    p = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    if len(p) < 3:
        return p
    halves = []
    for ordered in (p, p[::-1]):
        chain: list[Floats] = []
        for q in ordered:
            while len(chain) >= 2 and _cross(chain[-1] - chain[-2], q - chain[-1]) <= 0:
                chain.pop()
            chain.append(q)
        halves.append(chain[:-1])
    return np.array(halves[0] + halves[1])


def _cross(a: Floats, b: Floats) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def clipped(polygon: Floats, width: int, height: int) -> Floats:
    """The part of a (K, 2) convex polygon that lies on the image, (M, 2); the polygon itself where all of it does."""
    if polygon.min() >= 0 and (polygon.max(0) <= (width, height)).all():
        return polygon
    for axis, limit, side in ((0, 0.0, 1.0), (0, float(width), -1.0), (1, 0.0, 1.0), (1, float(height), -1.0)):
        inside = (polygon[:, axis] - limit) * side
        kept: list[Floats] = []
        for k in range(len(polygon)):
            p, q, dp, dq = polygon[k - 1], polygon[k], inside[k - 1], inside[k]
            if dp * dq < 0:
                crossing = p + (q - p) * (dp / (dp - dq))
                crossing[axis] = limit
                kept.append(crossing)
            if dq >= 0:
                kept.append(q)
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def rectangles(points: Floats, edges: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Minimum-area rectangles of projected solids: one side of such a rectangle lies along an edge of the outline
    (Freeman and Shapira), and every edge of the outline is the image of an edge of the solid.

    ``points`` (..., V, 2), ``edges`` (E, 2). Returns the centre (..., 2), the sides (..., 2) long one first, and the unit
    vector (..., 2) along the long side, all in the axes of the points.
    """
    along = points[..., edges[:, 1], :] - points[..., edges[:, 0], :]
    length = np.sqrt(along[..., 0] * along[..., 0] + along[..., 1] * along[..., 1])
    seen = length > 1e-9 * length.max(-1, keepdims=True)
    length = np.where(seen, length, 1.0)
    dx = np.where(seen, along[..., 0] / length, 1.0)[..., None]
    dy = np.where(seen, along[..., 1] / length, 0.0)[..., None]
    x, y = points[..., None, :, 0], points[..., None, :, 1]
    u, v = x * dx + y * dy, y * dx - x * dy
    u0, u1, v0, v1 = u.min(-1), u.max(-1), v.min(-1), v.max(-1)
    area = (u1 - u0) * (v1 - v0)
    best = np.argmin(area, -1) + np.arange(area[..., 0].size).reshape(area.shape[:-1]) * area.shape[-1]
    u0, u1, v0, v1, dx, dy = (a.reshape(-1)[best] for a in (u0, u1, v0, v1, dx, dy))
    u, v, width, height = (u0 + u1) / 2, (v0 + v1) / 2, u1 - u0, v1 - v0
    centre = np.stack((u * dx - v * dy, u * dy + v * dx), -1)
    turned = height > width
    sides = np.stack((np.maximum(width, height), np.minimum(width, height)), -1)
    return centre, sides, np.stack((np.where(turned, -dy, dx), np.where(turned, dx, dy)), -1)


def min_area_rect(points: ArrayLike) -> tuple[float, float, float, float, float]:
    """Oriented box (cx, cy, w, h, theta) of (N, 2) points in px: w >= h, theta in [-pi / 2, pi / 2), clockwise on screen."""
    corners = hull2d(points)
    n = np.arange(len(corners))
    centre, (w, h), (dx, dy) = rectangles(corners, np.stack((n, (n + 1) % len(n)), -1))
    theta = float(np.arctan2(dy, dx))
    theta = (theta + np.pi / 2) % np.pi - np.pi / 2
    return float(centre[0]), float(centre[1]), float(w), float(h), theta


def pixels(polygon: Floats, width: int, height: int) -> tuple[slice, slice, NDArray[np.bool_]]:
    """Which pixel centres lie inside a (K, 2) convex polygon: rows, columns of a window of the image, and the mask there."""
    top, bottom = _range(polygon[:, 1], height)
    left, right = _range(polygon[:, 0], width)
    y = np.arange(top, bottom)[:, None] + 0.5
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crossed = (np.minimum(y0, y1) <= y) & (np.maximum(y0, y1) > y)
    rise = np.where(y0 == y1, 1.0, y1 - y0)
    x = x0 + (y - y0) * ((x1 - x0) / rise)
    start = np.where(crossed, x, np.inf).min(1, initial=np.inf)[:, None]
    stop = np.where(crossed, x, -np.inf).max(1, initial=-np.inf)[:, None]
    column = np.arange(left, right) + 0.5
    return slice(top, bottom), slice(left, right), (column >= start) & (column < stop)


def drawn(polygon: Floats, width: int, height: int) -> tuple[slice, slice, NDArray[np.bool_]]:
    """The pixels of a (K, 2) convex polygon drawn as the published generator draws it: corners rounded to whole pixels,
    filled, and the outline's own pixels with it, so that even the thinnest crystal covers some. As ``pixels`` otherwise.
    """
    corners = np.rint(polygon)
    after = np.roll(corners, -1, axis=0)
    down = (after[:, 1] < corners[:, 1])[:, None]
    (x0, y0), (x1, y1) = np.where(down, after, corners).T, np.where(down, corners, after).T
    top, bottom = int(y0.min()), int(y1.max()) + 1
    left, right = int(corners[:, 0].min()), int(corners[:, 0].max()) + 1
    row = np.arange(top, bottom)[:, None]
    run, rise = x1 - x0, np.where(y1 == y0, 1.0, y1 - y0)
    # a shallow edge has pixels in a row wherever it is nearest to that row, a steep one has one
    half = np.where(np.abs(run) > y1 - y0, 0.5, 0.0)
    upper, lower = np.maximum(row - half, y0), np.minimum(row + half * (1 - 1e-9), y1)  # ties go to one row
    ends = np.stack((x0 + (upper - y0) * run / rise, np.where(y1 == y0, x1, x0 + (lower - y0) * run / rise)))
    met = (y0 <= row) & (row <= y1)
    shallow = half > 0
    start = np.where(shallow, np.ceil(ends.min(0)), np.floor(ends.min(0) + 0.5))
    stop = np.where(shallow, np.floor(ends.max(0)), np.floor(ends.max(0) + 0.5))
    start = np.where(met, start, np.inf).min(1)[:, None]
    stop = np.where(met, stop, -np.inf).max(1)[:, None]
    top, bottom, skip = max(top, 0), min(bottom, height), max(-top, 0)
    start, stop = start[skip : skip + bottom - top], stop[skip : skip + bottom - top]
    column = np.arange(max(left, 0), min(right, width))
    mask = (column >= start) & (column <= stop)
    return slice(top, bottom), slice(max(left, 0), min(right, width)), mask


def _range(values: Floats, size: int) -> tuple[int, int]:
    low, high = float(values.min()), float(values.max())
    return int(min(max(np.floor(low), 0), size)), int(min(max(np.ceil(high), 0), size))
