"""A collection of crystal shapes as proteins form them, each different, the same from the same seed on any machine.

Every shape has one of the eleven point groups that chiral molecules allow (``symmetry``), a cell with ratios and angles drawn
at random within its crystal system, and one to four forms of low Miller indices, each at a distance from the middle of its
own and a little uneven from face to face; the intersection of the half-spaces behind these faces is the crystal
(``growth``, ``polyhedron``). Forms that leave it open are joined by others.

The point groups come about as often as in the Protein Data Bank; the shares in ``SHARES`` are rounded. The five kinds of
``shape.Measure.kind`` come equally often, in turn. A crystal that is too thin, has a face or edge too small to be
seen, is bluntly creased, cannot be elongated (``shape.pose``) or resembles an earlier one is dropped.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import exact
from ..errors import InputError
from ..exact import Draws
from ..settings import Settings
from . import cache, obj, presets
from .growth import grow
from .polyhedron import Polyhedron, dot, length
from .shape import KINDS, Kind, Posed, Shape, pose

__all__ = ["KINDS", "SHARES", "Shape", "collection", "shapes"]

Floats = NDArray[np.float64]

SHARES = {  # of protein crystals in the Protein Data Bank, approximately
    "222": 0.36,
    "2": 0.25,
    "422": 0.10,
    "32": 0.095,
    "622": 0.055,
    "1": 0.045,
    "3": 0.035,
    "6": 0.025,
    "4": 0.02,
    "23": 0.01,
    "432": 0.005,
}
# without a special axis there is no bipyramid; equal axes allow blocks only
_FORMS: dict[str, tuple[Kind, ...]] = dict.fromkeys(SHARES, KINDS) | {
    "1": ("plate", "rod", "needle", "block"),
    "2": ("plate", "rod", "needle", "block"),
    "23": ("block",),
    "432": ("block",),
}

# what is dropped; lengths in model units, of which the crystal is 2 across on average
THINNEST = 8.0  # width over thickness
LONGEST = 7.0  # length over width
SHORTEST_EDGE = 0.06
NARROWEST_FACE = 0.05  # area over its longest edge
BLUNTEST = 10.0  # degrees between the normals of two neighbours
ALIKE = 0.04  # largest difference of two support functions, for all ways to turn one about x or to mirror it

PATIENCE = 40  # tries with one point group
TRIES = 4000  # for one shape


@functools.cache
def _odds(kind: Kind) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Point groups and their odds for one kind, summed up, such that over all kinds, each as frequent, they have their shares.

    Scaling rows and columns by turns (Sinkhorn) keeps the zeros and finds them.
    """
    odds = {(g, k): share for g, share in SHARES.items() for k in _FORMS[g]}
    for _ in range(100):
        for k in KINDS:
            total = math.fsum(odds[g, k] for g in SHARES if k in _FORMS[g])
            odds |= {(g, k): odds[g, k] / total / len(KINDS) for g in SHARES if k in _FORMS[g]}
        for g, share in SHARES.items():
            total = math.fsum(odds[g, k] for k in _FORMS[g])
            odds |= {(g, k): odds[g, k] * share / total for k in _FORMS[g]}
    groups = tuple(g for g in SHARES if kind in _FORMS[g])
    running = np.cumsum([odds[g, kind] for g in groups])
    return groups, tuple((running / running[-1]).tolist())


@functools.cache
def _directions() -> Floats:
    """(24 x 6, 3): rings of 24 about x, at 15, 45 and 75 degrees from x and mirrored."""
    c, s = exact.turn(np.arange(24) / 24)
    rings = []
    for degrees in (15, 45, 75):
        ca, sa = exact.turn(degrees / 360)
        rings += [np.stack((np.full(24, sign * ca), sa * c, sa * s), -1) for sign in (1, -1)]
    return np.concatenate(rings)


def support(vertices: Floats) -> Floats:
    """(6, 24) how far a shape reaches in fixed directions: rings about x at 15, 45, 75 degrees, each followed by its mirror."""
    return dot(_directions()[:, None], vertices[None]).max(1).reshape(6, 24)


class _Seen:
    """Support functions of the shapes so far."""

    def __init__(self) -> None:
        self.supports: list[Floats] = []
        self.means: list[tuple[float, ...]] = []

    def add(self, vertices: Floats) -> bool:
        """False where the shape resembles an earlier one."""
        h = support(vertices)
        means = self._mean(h)
        if self.means:
            # no way to turn or mirror changes the means, so these distinguish most
            apart = np.abs(np.array(self.means) - means).max(1)
            variants = _variants(h)
            for i in np.flatnonzero(apart < ALIKE):
                if np.abs(variants - self.supports[i]).max((1, 2)).min() < ALIKE:
                    return False
        self.supports.append(h)
        self.means.append(means)
        return True

    @staticmethod
    def _mean(h: Floats) -> tuple[float, ...]:
        sums = np.cumsum(h.reshape(3, 48), axis=1)[:, -1]  # in order
        return tuple((sums / 48).tolist())


def _variants(h: Floats) -> Floats:
    """(96, 6, 24): a support function turned about x by multiples of 15 degrees, mirrored and turned end to end."""
    turns = (np.arange(24)[:, None] + np.arange(24)) % 24
    out = []
    for ends in (h, h.reshape(3, 2, 24)[:, ::-1].reshape(6, 24)):
        for way in (ends, ends[:, ::-1]):
            out.append(np.moveaxis(way[:, turns], 1, 0))
    return np.concatenate(out)


def _sound(p: Polyhedron, posed: Posed) -> bool:
    """Is nothing of it too thin, small or blunt?"""
    m = posed.measure
    if m.width > THINNEST * m.thickness or m.length > LONGEST * m.width:
        return False
    edges = length(p.edge_vectors) * posed.scale
    if edges.min() < SHORTEST_EDGE:
        return False
    longest = np.where(p.bounded_by, edges[:, None], 0.0).max(0)
    if (p.areas * (posed.scale * posed.scale) < NARROWEST_FACE * longest).any():
        return False
    pair = p.sides[1].reshape(-1, 2)
    cosine, _ = exact.turn(BLUNTEST / 360)
    return bool((dot(p.normals[pair[:, 0]], p.normals[pair[:, 1]]) < cosine).all())


def _shape(seed: int, slot: int, seen: _Seen) -> Shape:
    """The shape of one slot, new to those seen. Raises InputError where none is found."""
    kind = KINDS[slot % len(KINDS)]
    group = ""
    for attempt in range(TRIES):
        draw = Draws(seed, slot, exact.SHAPES, 1 + attempt)  # item 0 is the scenes'
        if attempt % PATIENCE == 0:
            groups, running = _odds(kind)
            group = groups[int(np.searchsorted(running, draw.unit(1)[0], side="right"))]
        grown = grow(draw, group, kind)
        posed = pose(grown) if grown else None
        if grown and posed and posed.measure.kind == kind and _sound(grown, posed) and seen.add(posed.vertices):
            posed.vertices.setflags(write=False)  # the collection is kept for all who ask
            return Shape(f"{kind}-{slot:04d}-{group}", posed.vertices, kind, group)
    raise InputError(f"no {slot + 1} different shapes were found; ask for fewer with shape_count")


def collection(count: int = 1851, seed: int = 0) -> list[Shape]:
    """Grow different shapes, the kinds in turn; a smaller collection is the beginning of a larger one.

    The default takes some seconds, once per user: it is kept in the folder of caches (``cache``).

    Args:
        count: how many, at least 1; 1851 as published.
        seed: 0 .. 2^63 - 1.

    Returns:
        The shapes, the same on any machine.

    Raises:
        InputError: an argument is out of range, or there are no more shapes that differ.

    Examples:
        >>> [shape.kind for shape in habits.collection(3)]
        ['plate', 'rod', 'needle']
    """
    if count < 1:
        raise InputError(f"shape_count is {count}; at least one shape is needed")
    if not 0 <= seed < 2**63:
        raise InputError(f"shape_seed is {seed}; a seed is 0 to 2^63 - 1")
    return list(_collection(count, seed))


@functools.cache
def _collection(count: int, seed: int) -> tuple[Shape, ...]:
    kept = cache.read(seed, count)
    if kept is None:
        seen = _Seen()
        kept = tuple(_shape(seed, slot, seen) for slot in range(count))
        cache.write(seed, kept)
    return kept


def shapes(settings: Settings) -> list[Shape]:
    """Make the shapes that settings name: "habits", "cube", "preset:NAME" (or several names with commas), or an OBJ file.

    Args:
        settings: ``shapes`` and, for "habits", ``shape_count`` and ``shape_seed`` count.

    Returns:
        The shapes.

    Raises:
        InputError: an unknown preset.
        DataError: a file that cannot be read or is not made of convex shapes.

    Examples:
        >>> [shape.name for shape in habits.shapes(settings.Settings(shapes="preset:canavalin"))]
        ['canavalin']
    """
    if settings.shapes == "habits":
        return collection(settings.shape_count, settings.shape_seed)
    if settings.shapes == "cube":
        return [presets.cube()]
    if settings.shapes.startswith("preset:"):
        return presets.named(settings.shapes.removeprefix("preset:"))
    return obj.load(Path(settings.shapes))
