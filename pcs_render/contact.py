"""Crystals that grow together: the next one in contact with the last, parallel to it or turned as a twin."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import exact
from .exact import Draws
from .look import between
from .scene import Camera, Crystal, Target
from .settings import Settings

Floats = NDArray[np.float64]

TURNS = (0.0, 60.0, 90.0, 120.0)  # degrees between crystals that grow together: parallel, or as in common crystal twins
NEAR = (0.5, 0.95)  # distance of the two centres over that at which the boxes would just touch
TRIES = 40  # poses beside the other crystal before it may lie anywhere


class Neighbour(NamedTuple):
    """The crystal that the next one grows from, what the next one shall be, and random numbers for where it is."""

    last: Crystal
    target: Target
    draw: Draws


def grown(settings: Settings, draw: Draws, target: Target, last: Crystal) -> Neighbour | None:
    """With chance ``contact`` the last crystal as a neighbour, and the target turned against it; else None.

    The turn is one of ``TURNS`` with equal chance, give or take two degrees.
    """
    u = draw.unit(3)
    if u[0] >= settings.contact:
        return None
    angle = last.target.angle + TURNS[min(int(u[1] * len(TURNS)), len(TURNS) - 1)] + 4 * (float(u[2]) - 0.5)
    angle = (angle + 90) % 180 - 90
    return Neighbour(last, Target(target.area, target.ratio, angle, target.largest), draw)


def _reach(target: Target, c: float, s: float) -> float:
    """px from the centre of the target's box to its side in the direction (c, s), y up."""
    along, across = (float(v) for v in exact.turn(target.angle / 360))
    w, h = math.sqrt(target.area * target.ratio), math.sqrt(target.area / target.ratio)
    p, q = abs(c * along + s * across), abs(s * along - c * across)
    return min(w / 2 / p if p > 1e-9 else math.inf, h / 2 / q if q > 1e-9 else math.inf)


def beside(camera: Camera, neighbour: Neighbour, roll: Floats, tilt: Floats) -> tuple[Floats, Floats, Floats]:
    """(K,) rolls, (K,) tilts and (K, 3) locations beside the neighbour and at its depth.

    The direction from one to the other is uniform on the image, the distance is uniform: ``NEAR`` times that at which the boxes
    would touch. Every other pose has the neighbour's roll and tilt, so that the two show the same faces, turned; the rest keep
    theirs.
    """
    last, target, draw = neighbour
    u = draw.unit(2, len(roll))
    x, y, z = last.location
    per_px = (camera.distance - z) / camera.focal
    location = np.empty((len(roll), 3))
    for k, (cosine, sine, near) in enumerate(zip(*exact.turn(u[0]), u[1])):
        c, s = float(cosine), float(sine)
        apart = (_reach(last.target, c, s) + _reach(target, c, s)) * between(NEAR, float(near)) * per_px
        location[k] = x + c * apart, y + s * apart, z
    same = np.arange(len(roll)) % 2 == 0
    return np.where(same, last.rotation[0], roll), np.where(same, last.rotation[1], tilt), np.rint(location * 1e9) / 1e9
