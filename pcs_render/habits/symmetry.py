"""The point groups, cells and forms of protein crystals.

Protein molecules are chiral, so their crystals have rotations alone: eleven point groups. A rotation is a matrix of whole
numbers that acts on lattice coordinates [uvw]; a form {hkl} is the set of faces that the rotations make of one face (hkl),
the plane perpendicular to the reciprocal vector h a* + k b* + l c*. Trigonal and hexagonal groups use hexagonal axes, the
monoclinic one has its axis along b.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import exact
from .polyhedron import cross, length

Floats = NDArray[np.float64]
Index = tuple[int, int, int]  # Miller indices (hkl)
Matrix = tuple[Index, Index, Index]

_TWO_Y: Matrix = ((-1, 0, 0), (0, 1, 0), (0, 0, -1))
_TWO_Z: Matrix = ((-1, 0, 0), (0, -1, 0), (0, 0, 1))
_TWO_XY: Matrix = ((0, 1, 0), (1, 0, 0), (0, 0, -1))  # along a + b
_THREE_Z: Matrix = ((0, -1, 0), (1, -1, 0), (0, 0, 1))
_THREE_XYZ: Matrix = ((0, 0, 1), (1, 0, 0), (0, 1, 0))
_FOUR_Z: Matrix = ((0, -1, 0), (1, 0, 0), (0, 0, 1))
_SIX_Z: Matrix = ((1, -1, 0), (1, 0, 0), (0, 0, 1))

_GENERATORS: dict[str, tuple[Matrix, ...]] = {
    "1": (),
    "2": (_TWO_Y,),
    "3": (_THREE_Z,),
    "4": (_FOUR_Z,),
    "6": (_SIX_Z,),
    "222": (_TWO_Y, _TWO_Z),
    "32": (_THREE_Z, _TWO_XY),
    "422": (_FOUR_Z, _TWO_XY),
    "622": (_SIX_Z, _TWO_XY),
    "23": (_TWO_Z, _THREE_XYZ),
    "432": (_FOUR_Z, _THREE_XYZ),
}
POINT_GROUPS = tuple(_GENERATORS)

SYSTEMS = {
    "1": "triclinic",
    "2": "monoclinic",
    "222": "orthorhombic",
    "4": "tetragonal",
    "422": "tetragonal",
    "3": "hexagonal",
    "32": "hexagonal",
    "6": "hexagonal",
    "622": "hexagonal",
    "23": "cubic",
    "432": "cubic",
}


@functools.cache
def rotations(group: str) -> tuple[Matrix, ...]:
    """Every rotation of a point group, the identity first."""
    found: list[Matrix] = [((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    for known in found:  # grows while it is walked
        for generator in _GENERATORS[group]:
            product = _product(known, generator)
            if product not in found:
                found.append(product)
    return tuple(found)


def _product(a: Matrix, b: Matrix) -> Matrix:
    return (_image(a[0], b), _image(a[1], b), _image(a[2], b))


def _image(row: Index, w: Matrix) -> Index:
    """A row of whole numbers times a matrix."""
    x, y, z = row
    return (
        x * w[0][0] + y * w[1][0] + z * w[2][0],
        x * w[0][1] + y * w[1][1] + z * w[2][1],
        x * w[0][2] + y * w[1][2] + z * w[2][2],
    )


@functools.cache
def form(group: str, face: Index) -> tuple[Index, ...]:
    """The faces of the form {hkl}, (hkl) first: a face goes to (hkl) W under the rotation W of the lattice coordinates."""
    return tuple(dict.fromkeys(_image(face, w) for w in rotations(group)))


def opposite(face: Index) -> Index:
    h, k, l = face  # noqa: E741 - Miller's names
    return (-h, -k, -l)


@functools.cache
def low_forms(group: str) -> tuple[Index, ...]:
    """One face of every form with indices of at most 2 and no common divisor, opposite forms counted as one."""
    seen: set[Index] = set()
    found = []
    small = (0, 1, 2, -1, -2)
    for face in ((h, k, l) for h in small for k in small for l in small):  # noqa: E741 - Miller's names
        if math.gcd(*face) == 1 and face not in seen:
            found.append(face)
            for member in form(group, face):
                seen |= {member, opposite(member)}
    return tuple(found)


@dataclass(frozen=True)
class Cell:
    """Edges in any unit, angles in degrees."""

    a: float
    b: float
    c: float
    alpha: float = 90.0
    beta: float = 90.0
    gamma: float = 90.0

    @functools.cached_property
    def direct(self) -> Floats:
        """(3, 3): the rows are a (along x), b (in the plane of x and y) and c."""
        (ca, cb, cg), (_, _, sg) = exact.turn(np.array([self.alpha, self.beta, self.gamma]) / 360)
        y = (ca - cb * cg) / sg
        z = math.sqrt(1 - cb * cb - y * y)
        return np.array(
            [[self.a, 0.0, 0.0], [self.b * cg, self.b * sg, 0.0], [self.c * cb, self.c * y, self.c * z]], dtype=np.float64
        )

    @functools.cached_property
    def reciprocal(self) -> Floats:
        """(3, 3): the rows are a*, b* and c*, without the factor 2 pi."""
        a, b, c = self.direct
        volume = self.a * float(b[1]) * float(c[2])
        return np.stack((cross(b, c), cross(c, a), cross(a, b))) / volume

    def normals(self, faces: tuple[Index, ...]) -> tuple[Floats, Floats]:
        """Outward unit normals (N, 3) of faces (hkl), and the lengths (N,) of their reciprocal vectors, 1 / d(hkl)."""
        h, k, l = np.array(faces, dtype=np.float64).T[:, :, None]  # noqa: E741 - Miller's names
        a, b, c = self.reciprocal
        g = h * a + k * b + l * c
        inverse = length(g)
        return g / inverse[:, None], inverse
