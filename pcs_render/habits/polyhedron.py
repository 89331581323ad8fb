"""Convex polyhedra as intersections of half-spaces, with the same bits on every machine.

SciPy's half-space intersection goes through Qhull, whose choices may depend on the last bit of a processor's arithmetic; here
every triple of planes is solved by Cramer's rule in IEEE's exactly rounded operations (see ``exact``), and a vertex is known
by the planes that it lies on.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PARALLEL = 1e-6  # determinant of three unit normals below which they meet in no point
TOUCHING = 1e-9  # distance from a plane, of the mean distance of all, at which a point lies on it


def dot(a: Floats, b: Floats) -> Floats:
    """Scalar products of (..., 3) vectors, term by term: a matrix product's last bits depend on the library behind it."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def cross(a: Floats, b: Floats) -> Floats:
    """Vector products of (..., 3) vectors."""
    (a0, a1, a2), (b0, b1, b2) = ((v[..., 0], v[..., 1], v[..., 2]) for v in (a, b))
    return np.stack((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0), -1)


def total(a: Floats) -> Floats:
    """Sum over the first axis, one after the other: a sum's last bits depend on its order, which NumPy leaves open."""
    return np.cumsum(a, axis=0)[-1]


def length(a: Floats) -> Floats:
    """Lengths of (..., 3) vectors."""
    return np.sqrt(dot(a, a))


@dataclass(frozen=True, eq=False)
class Polyhedron:
    """A convex polyhedron around the origin."""

    vertices: Floats  # (V, 3)
    normals: Floats  # (F, 3) outward unit normals of the faces
    distances: Floats  # (F,) of the faces from the origin
    planes: NDArray[np.int64]  # (F,) which half-space each face belongs to
    on: Bools  # (V, F): does the vertex lie on the face?
    edges: NDArray[np.int64]  # (E, 2) vertices

    @functools.cached_property
    def edge_vectors(self) -> Floats:
        """(E, 3)."""
        return self.vertices[self.edges[:, 1]] - self.vertices[self.edges[:, 0]]

    @functools.cached_property
    def bounded_by(self) -> Bools:
        """(E, F): is the edge a side of the face?"""
        return self.on[self.edges[:, 0]] & self.on[self.edges[:, 1]]

    @functools.cached_property
    def interior(self) -> Floats:
        """(F, 3) a point inside each face: the mean of its corners."""
        return total(np.where(self.on[..., None], self.vertices[:, None], 0.0)) / self.on.sum(0)[:, None]

    @functools.cached_property
    def sides(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(S,) edges and (S,) faces: every edge with each of its two faces."""
        edge, face = np.nonzero(self.bounded_by)
        return edge, face

    @functools.cached_property
    def areas(self) -> Floats:
        """(F,) of the faces: triangles between a point inside and the edges."""
        edge, face = self.sides
        start, end, inside = self.vertices[self.edges[edge, 0]], self.vertices[self.edges[edge, 1]], self.interior[face]
        triangles = np.zeros(self.bounded_by.shape)
        triangles[edge, face] = length(cross(start - inside, end - inside)) / 2
        return total(triangles)

    @functools.cached_property
    def volume(self) -> float:
        return float(total(self.areas * self.distances)) / 3


@functools.cache
def _triples(n: int) -> NDArray[np.int64]:
    return np.array(list(itertools.combinations(range(n), 3)), dtype=np.int64).reshape(-1, 3).T


def intersect(normals: Floats, distances: Floats) -> Polyhedron | None:
    """The points x with n . x <= d for all planes: unit ``normals`` (N, 3), ``distances`` (N,) > 0, N <= 62.

    None where they enclose no volume. Planes that do not bound the result in an area are left out.
    """
    mean = float(total(distances)) / len(distances)
    i, j, k = _triples(len(normals))
    pairs = cross(normals[:, None], normals[None])  # (N, N, 3)
    jk = pairs[j, k]
    determinant = dot(normals[i], jk)
    meet = np.abs(determinant) > PARALLEL
    i, j, k, jk, determinant = i[meet], j[meet], k[meet], jk[meet], determinant[meet]
    d = distances[:, None]
    points = (d[i] * jk + d[j] * pairs[k, i] + d[k] * pairs[i, j]) / determinant[:, None]
    x, y, z = points.T[:, :, None]
    a, b, c = normals.T
    above = a * x + b * y + c * z - distances  # (T, N)
    tolerance = TOUCHING * mean
    inside = (above <= tolerance).all(1)
    if not inside.any():
        return None
    points, on = points[inside], np.abs(above[inside]) <= tolerance
    first: dict[bytes, int] = {}
    for row in range(len(on)):
        first.setdefault(on[row].tobytes(), row)
    kept = np.array(list(first.values()))
    points, on = points[kept], on[kept]
    planes = np.flatnonzero(on.astype(np.int64).sum(0) >= 3)
    on = on[:, planes]
    shared = on.astype(np.int64) @ on.astype(np.int64).T  # whole numbers: exact in any order
    edges = np.stack(np.nonzero(np.triu(shared >= 2, 1)), -1)
    sides = on[edges[:, 0]] & on[edges[:, 1]]
    closed = len(planes) >= 4 and (sides.sum(1) == 2).all() and (sides.sum(0) == on.sum(0)).all() and (on.sum(1) >= 3).all()
    if not closed:  # an open face has one corner more than sides
        return None
    return Polyhedron(points, normals[planes], distances[planes], planes, on, edges)
