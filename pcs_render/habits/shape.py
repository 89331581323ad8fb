"""A crystal shape in its own axes: long axis, broad face, size and kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull

from ..geometry import hull2d, polygon_area
from .polyhedron import Polyhedron, cross, dot, length, total

Floats = NDArray[np.float64]
Kind = Literal["plate", "rod", "needle", "bipyramid", "block"]
KINDS: tuple[Kind, ...] = ("plate", "rod", "needle", "bipyramid", "block")

DIGITS = 6  # after the point, of a vertex
WAIST = 0.04  # no vertex lies closer to the plane x = 0, of the half length
EVEN = 0.9  # how much less than across it the volume may be spread along x, as a variance
ALONG = 1e-9  # sine of the angle between directions that count as parallel


@dataclass(frozen=True, eq=False)
class Shape:
    """A convex crystal. Its bounding box is centred at the origin; the long axis is x, the crystal is thinnest along z.

    Built-in shapes are scaled so that their half extents along y and z are 1 on average; imported ones keep their size and
    axes.

    Attributes:
        name: of the shape.
        vertices: (V, 3), every one a corner.
        kind: one of ``KINDS``.
        point_group: empty where it is not known.

    Examples:
        >>> (cube,) = habits.shapes(model)
        >>> cube.kind, cube.vertices.shape
        ('block', (8, 3))
    """

    name: str
    vertices: Floats
    kind: Kind
    point_group: str


class Measure(NamedTuple):
    length: float  # along x
    width: float  # across x, perpendicular to the thickness
    thickness: float  # smallest extent across x
    fill: float  # volume over (length times the area of the shadow along x): 1 for a prism, 1/3 for a pyramid

    @property
    def kind(self) -> Kind:
        """Which of the five kinds this is.

        A plate is at most half as thick as wide. Of the others, a bipyramid fills at most 0.55 of the prism around it; a
        needle is at least 3 times as long as wide, a rod at least 1.5 times; the rest are blocks.
        """
        if self.thickness <= self.width / 2:
            return "plate"
        if self.fill <= 0.55:
            return "bipyramid"
        if self.length >= 3 * self.width:
            return "needle"
        return "rod" if self.length >= 1.5 * self.width else "block"


def measure(vertices: ArrayLike) -> Measure:
    """Extents of any convex shape, (V, 3) vertices with the long axis along x."""
    v = np.asarray(vertices, dtype=np.float64)
    shadow = hull2d(v[:, 1:])
    side = np.roll(shadow, -1, axis=0) - shadow
    normal = np.stack((side[:, 1], -side[:, 0]), -1) / np.sqrt((side * side).sum(1))[:, None]
    across = shadow @ normal.T
    thickness = np.ptp(across, axis=0)
    k = int(thickness.argmin())
    width = float(np.ptp(shadow @ np.array([-normal[k, 1], normal[k, 0]])))
    long = float(np.ptp(v[:, 0]))
    return Measure(long, width, float(thickness[k]), ConvexHull(v).volume / (long * polygon_area(shadow)))


class Posed(NamedTuple):
    """A polyhedron in the axes of ``Shape``."""

    vertices: Floats  # (V, 3), rounded
    scale: float  # model units over the polyhedron's
    measure: Measure


def pose(p: Polyhedron) -> Posed | None:
    """Turn, centre and scale a crystal so that it stays one when it is elongated; None where it cannot be.

    A crystal that grows longer keeps the directions of its faces. Moving the halves x > 0 and x < 0 apart does the same if
    every edge that crosses the plane x = 0 is parallel to x: then the faces around the middle are a prism's and grow, all
    others move along with their half. So x is the direction of such edges, a zone axis, if the crystal is longest that way.
    """
    directions = _directions(p)
    along = dot(p.vertices[:, None], directions)  # (V, K)
    half = (along.max(0) - along.min(0)) / 2
    s = along - (along.max(0) + along.min(0)) / 2
    crossing = s[p.edges[:, 0]] * s[p.edges[:, 1]] < 0  # (E, K)
    aside = length(cross(p.edge_vectors[:, None], directions)) > ALONG * length(p.edge_vectors)[:, None]
    good = (np.abs(s).min(0) >= WAIST * half) & ~(crossing & aside).any(0)
    if not good.any():
        return None
    x = directions[np.where(good, half, 0.0).argmax()]
    prism = np.abs(dot(p.normals, x)) < ALONG
    normals = p.normals[prism]
    heights = [dot(p.vertices, n) for n in normals]
    thickness = [h.max() - h.min() for h in heights]
    z = normals[int(np.argmin(thickness))]
    y = cross(z, x)
    points = np.stack([dot(p.vertices, axis) for axis in (x, y, z)], -1)
    low, high = points.min(0), points.max(0)
    size = high - low
    if size[0] < size[1] or not _longest(p, np.stack((x, y, z))):
        return None
    shadow = 0.0  # area: triangles from the middle to each face of the prism
    middle = x * ((low + high) / 2)[0] + y * ((low + high) / 2)[1] + z * ((low + high) / 2)[2]
    for n, on, d in zip(normals, p.on[:, prism].T, p.distances[prism]):
        side = dot(p.vertices[on], cross(n, x))
        shadow += float((side.max() - side.min()) * (d - dot(middle, n)) / 2)
    scale = 4 / float(size[1] + size[2])
    found = Measure(float(size[0]), float(size[1]), float(size[2]), p.volume / (float(size[0]) * shadow))
    return Posed(framed(points, scale), scale, found)


def _longest(p: Polyhedron, axes: Floats) -> bool:
    """Is the volume spread along the first axis as widely as across it, up to ``EVEN``?

    Second moments about the centroid, from tetrahedra between the origin, a point of each face and its edges.
    """
    edge, face = p.sides
    corners = (p.interior[face], p.vertices[p.edges[edge, 0]], p.vertices[p.edges[edge, 1]])
    a, b, c = (np.stack([dot(corner, axis) for axis in axes]) for corner in corners)  # (3, T) each
    weight = np.abs(dot(corners[0], cross(corners[1], corners[2])))
    whole = float(total(weight))
    sums = a + b + c
    mean = [float(total(weight * s)) / whole / 4 for s in sums]

    def moment(i: int, j: int) -> float:
        products = sums[i] * sums[j] + a[i] * a[j] + b[i] * b[j] + c[i] * c[j]
        return float(total(weight * products)) / whole / 20 - mean[i] * mean[j]

    xx, yy, zz, yz = moment(0, 0), moment(1, 1), moment(2, 2), moment(1, 2)
    return xx >= EVEN * ((yy + zz) / 2 + math.sqrt((yy - zz) * (yy - zz) / 4 + yz * yz))


def framed(points: Floats, scale: float) -> Floats:
    """Points in a crystal's axes, scaled, centred by their bounding box and rounded."""
    return np.round((points - (points.max(0) + points.min(0)) / 2) * scale, DIGITS) + 0.0


def _directions(p: Polyhedron) -> Floats:
    """(K, 3) unit vectors along the edges, parallel ones once."""
    u = p.edge_vectors / length(p.edge_vectors)[:, None]
    parallel = length(cross(u[:, None], u[None])) < 1e-6
    return u[parallel.argmax(1) == np.arange(len(u))]
