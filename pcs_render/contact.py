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

TURNS = (0.0, 60.0, 90.0, 120.0)  # degrees between crystals that grow together: parallel, or as in the usual twins
NEAR = (0.5, 0.95)  # distance of the two centres over that at which the boxes would just touch
PLAY = 0.1  # of that distance, from try to try
TRIES = 24  # poses beside the other crystal before it may lie anywhere


class Neighbour(NamedTuple):
    """Where the crystal is that the next one grows from, how it lies, and which way the next one is."""

    location: tuple[float, float, float]
    roll: float  # whole turns
    tilt: float
    away: tuple[float, float]  # px on the image, x right and y down, between the centres of the two boxes


def grown(settings: Settings, draw: Draws, target: Target, last: Crystal) -> tuple[Target, Neighbour | None]:
    """With chance ``contact`` the target turned against the last crystal, and its place beside it; else the target, and None.

    The turn is one of ``TURNS`` with equal chance, give or take two degrees; the direction from one to the other is uniform,
    the distance ``NEAR`` times that at which the boxes would touch, uniform.
    """
    u = draw.unit(5)
    if u[0] >= settings.contact:
        return target, None
    angle = last.target.angle + TURNS[min(int(u[1] * len(TURNS)), len(TURNS) - 1)] + 4 * (float(u[2]) - 0.5)
    angle = (angle + 90) % 180 - 90
    other = Target(target.area, target.ratio, angle, target.largest)
    c, s = (float(v) for v in exact.turn(float(u[3])))
    apart = (_reach(last.target, c, s) + _reach(other, c, s)) * between(NEAR, float(u[4]))
    roll, tilt, _ = last.rotation
    return other, Neighbour(last.location, roll, tilt, (c * apart, -s * apart))


def _reach(target: Target, c: float, s: float) -> float:
    """px from the centre of the target's box to its side in the direction (c, s), y up."""
    along, across = (float(v) for v in exact.turn(target.angle / 360))
    w, h = math.sqrt(target.area * target.ratio), math.sqrt(target.area / target.ratio)
    p, q = abs(c * along + s * across), abs(s * along - c * across)
    return min(w / 2 / p if p > 1e-9 else math.inf, h / 2 / q if q > 1e-9 else math.inf)


def beside(camera: Camera, neighbour: Neighbour, roll: Floats, tilt: Floats, location: Floats) -> tuple[Floats, Floats, Floats]:
    """Poses beside the neighbour, from poses anywhere, (K,), (K,) and (K, 3): at its depth, moved on the image.

    Every other pose has the neighbour's roll and tilt, so that the two show the same faces, turned; the rest keep theirs.
    """
    same = np.arange(len(roll)) % 2 == 0
    x, y, z = neighbour.location
    per_px = (camera.distance - z) / camera.focal
    half = np.array([camera.width, camera.height]) / 2 / camera.focal * (camera.distance - location[:, 2:])
    play = 1 + PLAY * np.clip(location[:, :2] / half, -1, 1)
    out = np.empty_like(location)
    out[:, 0] = x + neighbour.away[0] * per_px * play[:, 0]
    out[:, 1] = y - neighbour.away[1] * per_px * play[:, 1]
    out[:, 2] = z
    return np.where(same, neighbour.roll, roll), np.where(same, neighbour.tilt, tilt), np.rint(out * 1e9) / 1e9
