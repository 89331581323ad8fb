"""How a crystal of a wanted kind grows: its cell, its forms and how far each face has come.

Which forms a crystal shows follows the spacings of their lattice planes, as in the law of Bravais, Friedel, Donnay and
Harker: forms of large spacing are chosen more often. How far they are from the middle varies with the solution, and is drawn
so that the kind becomes likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import exact
from .polyhedron import Floats, Polyhedron, dot, intersect, length
from .shape import Kind
from .symmetry import SYSTEMS, Cell, Index, form, low_forms, opposite

OPPOSITE = 0.9  # chance that a form's opposite, another form where the group is polar, is there too
MOST_PLANES = 36
LN25, LN3 = exact.log(2.5), exact.log(3.0)
SPARE = 4  # forms that are added at most to close a crystal


@dataclass(frozen=True)
class Growth:
    """Forms and how far their faces are from the middle."""

    chosen: list[Index]
    spare: list[Index]  # for when the chosen ones leave the crystal open
    distance: Callable[[Index], float]


def draw_cell(draw: exact.Draws, group: str) -> Cell:
    """Edges relative to a or b, of a plausible cell: up to a factor of 2.5 apart, 3 where only c is free; angles 75 to 120."""
    system = SYSTEMS[group]
    b, c, wide = (float(v) for v in exact.exp((2 * draw.unit(3) - 1) * np.array([LN25, LN25, LN3])))
    alpha, beta, gamma = (90.0, 90.0, 90.0)
    if system == "triclinic":
        alpha, beta, gamma = (draw.uniform(75, 115) for _ in range(3))
    elif system == "monoclinic":
        beta = draw.uniform(90, 120)
    elif system == "tetragonal":
        b, c = 1.0, wide
    elif system == "hexagonal":
        b, c, gamma = 1.0, wide, 120.0
    elif system == "cubic":
        b, c = 1.0, 1.0
    return Cell(1.0, b, c, alpha, beta, gamma)


def grow(draw: exact.Draws, group: str, kind: Kind) -> Polyhedron | None:
    """One try at a crystal of this kind; whether it became one is for the caller to measure. None where it stays open."""
    cell = draw_cell(draw, group)
    faces = low_forms(group)
    normals, lengths = cell.normals(faces)
    order = np.argsort(lengths, kind="stable").tolist()  # large spacings first: they grow slowest
    plan = _GROWTHS[kind](draw, group, cell, {faces[i]: normals[i] for i in order})
    if plan is None:
        return None
    # of the distance, either way: one crystal in five is ideal, of bipyramids one in two, as many faces meet in their points
    uneven = max(0.0, draw.uniform(-0.07, 0.07) if kind == "bipyramid" else draw.uniform(-0.04, 0.15))
    mates = draw.unit(1)[0] < OPPOSITE or kind == "bipyramid"
    planes: list[Index] = []
    distances: list[float] = []
    for n, face in enumerate(plan.chosen + plan.spare[:SPARE]):
        d = plan.distance(face)
        members = form(group, face)
        if opposite(face) not in members and (mates or n >= len(plan.chosen)):
            members += form(group, opposite(face))
        planes += members
        distances += (d * (1 + uneven * (2 * draw.unit(len(members)) - 1))).tolist()
        if len(planes) > MOST_PLANES:
            return None
        if n + 1 >= len(plan.chosen) and len(planes) >= 4:
            found = intersect(cell.normals(tuple(planes))[0], np.array(distances))
            if found is not None:
                return found
    return None


def _some(draw: exact.Draws, faces: list[Index], count: int) -> list[Index]:
    """Different faces, the first ones more often."""
    left = list(faces)
    found: list[Index] = []
    while left and len(found) < count:
        u = float(draw.unit(1)[0])
        found.append(left.pop(int(u * u * len(left))))
    return found


def _spread(draw: exact.Draws, width: float) -> float:
    """A factor within e to the power +-width."""
    return float(exact.exp(draw.uniform(-width, width)))


def _axis(draw: exact.Draws, group: str) -> int:
    """The axis a, b or c that a crystal is long or flat along: any where all are alike or none, else the one unlike."""
    return 2 if SYSTEMS[group] in ("tetragonal", "hexagonal") else draw.below(3)


def _prism(draw: exact.Draws, group: str, cell: Cell, ranked: dict[Index, Floats], shortest: float, longest: float) -> Growth:
    """Faces parallel to an axis, and others ``shortest`` to ``longest`` times as far out where they cut that axis."""
    axis = _axis(draw, group)
    zone, ends = [f for f in ranked if f[axis] == 0], [f for f in ranked if f[axis] != 0]
    sides, caps = _some(draw, zone[:5], 1 + draw.below(2)), _some(draw, ends[:7], 1 + draw.below(2))
    reach = draw.uniform(shortest, longest)
    direction = cell.direct[axis] / length(cell.direct[axis])

    def distance(face: Index) -> float:
        if face[axis] == 0:
            return _spread(draw, 0.3)
        return reach * abs(float(dot(ranked[face], direction))) * float(exact.exp(draw.uniform(0, 0.4)))

    spare = [f for f in zone if f not in sides][:2] + [f for f in ends if f not in caps][:2]
    return Growth(sides + caps, spare, distance)


def _needle(draw: exact.Draws, group: str, cell: Cell, ranked: dict[Index, Floats]) -> Growth:
    return _prism(draw, group, cell, ranked, 2.5, 5.5)


def _rod(draw: exact.Draws, group: str, cell: Cell, ranked: dict[Index, Floats]) -> Growth:
    return _prism(draw, group, cell, ranked, 1.1, 2.4)


def _block(draw: exact.Draws, group: str, cell: Cell, ranked: dict[Index, Floats]) -> Growth:
    """Half of them prisms as long as wide, half of them any forms together."""
    if SYSTEMS[group] != "cubic" and draw.below(2):
        return _prism(draw, group, cell, ranked, 0.8, 1.3)
    chosen = _some(draw, list(ranked)[:8], 1 + draw.below(4))
    return Growth(chosen, [f for f in ranked if f not in chosen], lambda face: _spread(draw, 0.25))


def _plate(draw: exact.Draws, group: str, cell: Cell, ranked: dict[Index, Floats]) -> Growth:
    """A pinacoid close to the middle, and one to three other forms around it."""
    axis = _axis(draw, group)
    broad = (int(axis == 0), int(axis == 1), int(axis == 2))
    rest = [f for f in ranked if f != broad]
    around = _some(draw, rest[:8], 1 + draw.below(3))
    thin = draw.uniform(0.12, 0.5)

    def distance(face: Index) -> float:
        return thin if face == broad else _spread(draw, 0.35)

    return Growth([broad, *around], [f for f in rest if f not in around], distance)


def _bipyramid(draw: exact.Draws, group: str, cell: Cell, ranked: dict[Index, Floats]) -> Growth | None:
    """Steep faces around c that meet in points, over a narrow prism; at times the points are cut or carry a blunter pyramid."""
    steep = []
    for face, normal in ranked.items():
        h, k, l = face  # noqa: E741 - Miller's names
        rise = abs(float(normal[2]))
        # around a special axis, faces as many as it has folds rather than twice that; around others, four instead of two
        pyramid = h * k if group == "222" else (h or k) and h * k * (h - k) * (h + k) == 0
        if l and pyramid and 0.2 <= rise <= 0.6:  # 5 to 1.3 times as high as half wide
            steep.append((face, rise))
    if not steep:
        return None
    face, rise = steep[draw.below(min(len(steep), 4))]
    h, k, _ = face
    divisor = math.gcd(h, k)
    girdle = (h // divisor, k // divisor, 0)
    narrow = draw.uniform(0.03, 0.28)
    point = 1 / rise  # from the middle, where the pyramid is at distance 1
    distances = {face: 1.0, girdle: (1 - narrow) / math.sqrt(1 - rise * rise)}
    if SYSTEMS[group] == "hexagonal" and group in ("3", "32"):  # six faces at each end, as the other trigonal pyramid joins in
        distances[(k, h, face[2])] = _spread(draw, 0.06)
    more = draw.below(4)
    if more == 0:
        distances[(0, 0, 1)] = point * draw.uniform(0.6, 0.92)
    elif more == 1:
        blunt = [(f, r) for f, r in steep if r > rise * 1.15 and f not in distances]
        if blunt:
            other, steepness = blunt[draw.below(len(blunt))]
            distances[other] = steepness * point * draw.uniform(0.7, 0.95)
    return Growth(list(distances), [], distances.__getitem__)


_GROWTHS: dict[Kind, Callable[[exact.Draws, str, Cell, dict[Index, Floats]], Growth | None]] = {
    "plate": _plate,
    "rod": _rod,
    "needle": _needle,
    "bipyramid": _bipyramid,
    "block": _block,
}
