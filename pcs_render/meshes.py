"""The surfaces that Blender shades: crystals with round edges, and spheres. Plain Python: Blender is not needed for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

KEPT_FLAT = 3  # fewer cuts than this would leave no flat middle in a face


class Mesh(NamedTuple):
    """Points (x, y, z) and faces, each the numbers of its corners, counter-clockwise seen from outside."""

    vertices: list[list[float]]
    faces: list[list[int]]


def ball(radius: float, rings: int = 24) -> Mesh:
    """A sphere around the origin, of quadrilaterals between circles of latitude."""
    points = [[0.0, 0.0, radius], [0.0, 0.0, -radius]]
    faces: list[list[int]] = []
    around = 2 * rings
    for ring in range(1, rings):
        z, r = radius * math.cos(math.pi * ring / rings), radius * math.sin(math.pi * ring / rings)
        points += [[r * math.cos(math.pi * k / rings), r * math.sin(math.pi * k / rings), z] for k in range(around)]
    for k in range(around):
        following = (k + 1) % around
        faces.append([0, 2 + k, 2 + following])
        for ring in range(rings - 2):
            a = 2 + ring * around
            faces.append([a + k, a + around + k, a + around + following, a + following])
        last = 2 + (rings - 2) * around
        faces.append([1, last + following, last + k])
    return Mesh(points, faces)


def rounded(vertices: ArrayLike, faces: Sequence[Sequence[int]], cuts: int) -> Mesh:
    """Points and faces of a convex solid whose faces have a margin, so that smooth shading rounds its edges alone.

    Where every edge of a solid is cut ``cuts`` times and its faces are filled with grids, smooth shading changes the normal
    between the edge and the first line of the grid: the rest is flat. Only these first lines are made here, which gives the
    same normals on triangles and quadrilaterals from a tenth of the faces, and on faces of more corners, which Blender does not
    fill with a grid and shades like a cushion, a margin like that of a quadrilateral.
    """
    points: list[list[float]] = np.asarray(vertices, dtype=np.float64).tolist()
    if not cuts:
        return Mesh(points, [list(face) for face in faces])
    n = max(cuts, KEPT_FLAT) + 1
    near: dict[tuple[int, int], int] = {}

    def along(a: int, b: int) -> int:  # the point on the edge from a to b that is nearest to a
        if (a, b) not in near:
            near[a, b] = len(points)
            points.append([p + (q - p) / n for p, q in zip(points[a], points[b])])
        return near[a, b]

    out: list[list[int]] = []
    for face in faces:
        corners = [points[i] for i in face]
        inside = range(len(points), len(points) + len(face))
        points.extend(_margin(corners, n))
        out.append(list(inside))
        for k, a in enumerate(face):
            following = (k + 1) % len(face)
            b, before = face[following], face[k - 1]
            out.append([along(a, b), along(b, a), inside[following], inside[k]])
            if len(face) == 3:  # a grid of triangles
                out.append([a, along(a, b), along(a, before)])
                out.append([along(a, b), inside[k], along(a, before)])
            else:
                out.append([a, along(a, b), inside[k], along(a, before)])
    return Mesh(points, out)


def _margin(corners: list[list[float]], n: int) -> list[list[float]]:
    """The corners of the flat middle of a face."""
    if len(corners) == 4:
        t = 1 / n
        return [
            [(1 - t) * ((1 - t) * a + t * b) + t * ((1 - t) * d + t * c) for a, b, c, d in zip(*turned)]
            for turned in (corners[k:] + corners[:k] for k in range(4))
        ]
    t = (3 if len(corners) == 3 else 2) / n
    centre = [sum(axis) / len(corners) for axis in zip(*corners)]
    return [[p + t * (q - p) for p, q in zip(corner, centre)] for corner in corners]
