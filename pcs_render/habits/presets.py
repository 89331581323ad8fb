"""Habits of well-known protein crystals: their cells, and the forms that bound them.

Cells and forms are those of the literature; how far each form is from the middle varies with the solution, and the values
here give a typical look. The elongation of the settings stretches these shapes like any other; ``elongation: 0`` keeps them
as they grow, and pure bipyramids and octahedra, whose corners lie around the middle, need that to stay symmetric.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .polyhedron import Polyhedron, cross, dot, intersect, length
from .shape import Shape, framed, measure, pose
from .symmetry import Cell, Index, form

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Habit:
    protein: str  # and space group
    point_group: str
    cell: Cell  # angstrom
    forms: tuple[tuple[Index, float], ...]  # and their distances from the middle


PRESETS: dict[str, Habit] = {
    "lysozyme-tetragonal": Habit(
        "hen egg-white lysozyme, P 43 21 2: prism {110}, pyramid {101}",
        "422",
        Cell(79.1, 79.1, 37.9),
        (((1, 1, 0), 1.0), ((1, 0, 1), 1.17)),
    ),
    "insulin-cubic": Habit(
        "zinc-free insulin, I 21 3: rhombic dodecahedron {110}",
        "23",
        Cell(78.9, 78.9, 78.9),
        (((1, 1, 0), 1.0),),
    ),
    "insulin-rhombohedral": Habit(
        "2-zinc insulin, R 3: rhombohedron {101}, pinacoid {001}",
        "3",
        Cell(82.5, 82.5, 34.0, gamma=120.0),
        (((1, 0, 1), 1.0), ((-1, 0, -1), 1.0), ((0, 0, 1), 0.8), ((0, 0, -1), 0.8)),
    ),
    "canavalin": Habit(
        "canavalin, R 3: rhombohedron {101}",
        "3",
        Cell(136.6, 136.6, 75.7, gamma=120.0),
        (((1, 0, 1), 1.0), ((-1, 0, -1), 1.0)),
    ),
    "thaumatin": Habit(
        "thaumatin, P 41 21 2: bipyramid {101}",
        "422",
        Cell(58.6, 58.6, 151.8),
        (((1, 0, 1), 1.0),),
    ),
    "proteinase-k": Habit(
        "proteinase K, P 43 21 2: bipyramid {101}",
        "422",
        Cell(68.3, 68.3, 108.5),
        (((1, 0, 1), 1.0),),
    ),
    "glucose-isomerase": Habit(
        "glucose isomerase, I 2 2 2: {110}, {101} and {011}, nearly a rhombic dodecahedron",
        "222",
        Cell(94.0, 99.7, 103.0),
        (((1, 1, 0), 1.0), ((1, 0, 1), 1.0), ((0, 1, 1), 1.0)),
    ),
    "apoferritin": Habit(
        "horse spleen apoferritin, F 4 3 2: octahedron {111}",
        "432",
        Cell(184.0, 184.0, 184.0),
        (((1, 1, 1), 1.0),),
    ),
}


def polyhedron(habit: Habit) -> Polyhedron:
    """The crystal in the axes of its cell: a along x, b in the plane of x and y."""
    faces: list[Index] = []
    distances: list[float] = []
    for face, distance in habit.forms:
        members = form(habit.point_group, face)
        faces += members
        distances += [distance] * len(members)
    found = intersect(habit.cell.normals(tuple(faces))[0], np.array(distances))
    if found is None:
        raise InputError(f"the forms of {habit.protein} enclose no volume")
    return found


def named(names: str) -> list[Shape]:
    """The presets of these names, with commas between them. Raises InputError for an unknown name."""
    out = []
    for name in (n.strip() for n in names.split(",")):
        if name not in PRESETS:
            close = difflib.get_close_matches(name, PRESETS, 1)
            raise InputError(
                f"there is no preset {name!r}{f'; did you mean {close[0]}?' if close else '.'} Known: {', '.join(PRESETS)}"
            )
        habit = PRESETS[name]
        grown = polyhedron(habit)
        posed = pose(grown)
        vertices = posed.vertices if posed else _by_diagonal(grown)
        out.append(Shape(name, vertices, measure(vertices).kind, habit.point_group))
    return out


def cube() -> Shape:
    """The published alternative to the collection, with edges of 2."""
    corners = np.array([(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    return Shape("cube", corners, "block", "432")


def _by_diagonal(p: Polyhedron) -> Floats:
    """Vertices with the longest diagonal along x and the smallest extent across it along z."""
    between = p.vertices[:, None] - p.vertices
    far = length(between)
    x = between.reshape(-1, 3)[far.argmax()] / far.max()
    across = cross(x, between.reshape(-1, 3))  # a smallest extent is perpendicular to a line between two corners
    size = length(across)
    normals = across[size > 1e-6 * far.max()] / size[size > 1e-6 * far.max(), None]
    heights = dot(p.vertices[:, None], normals)
    z = normals[(heights.max(0) - heights.min(0)).argmin()]
    points = np.stack([dot(p.vertices, axis) for axis in (x, cross(z, x), z)], -1)
    size = points.max(0) - points.min(0)
    return framed(points, 4 / float(size[1] + size[2]))
