"""Scale and in-plane angle that make a crystal's oriented box meet its target (equations 5 to 8), many poses at once.

With location, roll and tilt given, three numbers are left: the scale along the long axis, the scale across it, and the turn.
Each acts on one number of the box almost alone. Turning the crystal turns the box. Scaling both sides scales the box. And the
box's aspect ratio is nearly a linear function of the ratio of the two scales, so a secant finds it in a few steps. Perspective
and changes of the edge that the box lies along disturb this a little, and the iteration takes that out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import exact
from .geometry import rectangles
from .scene import Camera

Floats = NDArray[np.float64]

STEPS = 8  # at most; four are usual
CLOSE = 0.05  # near enough: px + 10 x ratio + 100 x sine, a hundredth of what equation 6 allows


class Boxes(NamedTuple):
    """Targets or results: oriented boxes by area px^2, aspect ratio, and the unit vector along the long side, y up."""

    area: Floats  # (K,)
    ratio: Floats  # (K,)
    along: Floats  # (K, 2)


class Fit(NamedTuple):
    scale: Floats  # (K, 2): along the long axis, across it
    turn: Floats  # (K,) whole turns
    boxes: Boxes  # what was reached


class Tolerance(NamedTuple):
    size: float  # px, of the square root of the area
    ratio: float
    angle: float  # degrees, modulo 180


def misses(boxes: Boxes, target: Boxes) -> tuple[Floats, Floats, Floats]:
    """(K,) deviations of square root of the area in px, of the aspect ratio, and the sine of that of the angle (equation 6)."""
    size = np.abs(np.sqrt(boxes.area) - np.sqrt(target.area))
    sine = np.abs(boxes.along[:, 0] * target.along[:, 1] - boxes.along[:, 1] * target.along[:, 0])
    return size, np.abs(boxes.ratio - target.ratio), sine


def within(boxes: Boxes, target: Boxes, tolerance: Tolerance) -> NDArray[np.bool_]:
    """(K,): is each box closer to its target than the tolerance?"""
    size, ratio, sine = misses(boxes, target)
    limit = float(exact.turn(tolerance.angle / 360)[1])
    return (size < tolerance.size) & (ratio < tolerance.ratio) & (sine < limit)


def fit(
    vertices: Floats, edges: NDArray[np.int64], target: Boxes, roll: Floats, tilt: Floats, location: Floats, camera: Camera
) -> Fit:
    """Fit one solid, (V, 3) vertices and (E, 2) edges, to K targets in K poses.

    ``roll`` and ``tilt`` (K,) in whole turns, ``location`` (K, 3) of the model's origin. A pose from which the target cannot
    be met (a long crystal seen almost end on) comes back with its best effort: test the result with ``within``.
    """
    (cr, sr), (ct, st) = exact.turn(roll), exact.turn(tilt)
    zero = np.zeros_like(cr)
    x, y, z = (vertices[:, i] for i in range(3))
    # the turned model is scale_long * along + scale_wide * across
    along = np.stack((ct, zero, -st), -1)[:, None, :] * x[:, None]
    across = np.stack((st * sr, cr, ct * sr), -1)[:, None, :] * y[:, None]
    across = across + np.stack((st * cr, -sr, ct * cr), -1)[:, None, :] * z[:, None]
    k = len(cr)
    reach = camera.distance - location[:, 2]
    c, s = target.along[:, 0], target.along[:, 1]
    # first guess (equation 7): the sides of the box seen at the crystal's distance
    unit = np.sqrt(target.area) / camera.focal * reach
    width, height = (np.ptp(a, axis=0) for a in (vertices[:, :1], vertices[:, 1:]))
    root = np.sqrt(target.ratio)
    long, wide = unit * root / width[0], unit / root / height.mean()
    ratio_before, seen_before = np.ones(k), np.zeros(k)
    best_miss = np.full(k, np.inf)
    kept = np.zeros((8, k))
    for step in range(STEPS):
        boxes = _boxes(along, across, long, wide, c, s, location, camera, edges)
        size, ratio, sine = misses(boxes, target)
        miss = size + 10 * ratio + 100 * sine
        better = (miss < best_miss) & (best_miss >= CLOSE)  # a pose that is near enough stays, whatever the others need
        best_miss = np.where(better, miss, best_miss)
        now = (long, wide, c, s, boxes.area, boxes.ratio, boxes.along[:, 0], boxes.along[:, 1])
        kept = np.where(better, now, kept)
        if step == STEPS - 1 or (best_miss < CLOSE).all():
            break
        # the turn: multiply by target / box as complex numbers, the shorter way round
        (bx, by), (tx, ty) = boxes.along.T, target.along.T
        rx, ry = tx * bx + ty * by, ty * bx - tx * by
        sign = np.where(rx < 0, -1.0, 1.0)
        c, s = (c * rx - s * ry) * sign, (s * rx + c * ry) * sign
        norm = np.sqrt(c * c + s * s)
        c, s = c / norm, s / norm
        # the aspect ratio: secant where it rises with the ratio of the scales, else in proportion
        proportion = long / wide
        rise, run = boxes.ratio - seen_before, proportion - ratio_before
        usable = (step > 0) & (rise * run > 0)
        secant = proportion + (target.ratio - boxes.ratio) * run / np.where(usable, rise, 1.0)
        new = np.where(usable, secant, proportion * target.ratio / boxes.ratio)
        new = np.clip(new, proportion / 3, proportion * 3)
        ratio_before, seen_before = proportion, boxes.ratio
        # the size: the box's area goes as long * wide
        grow = np.sqrt(target.area / boxes.area)
        change = np.sqrt(new / proportion)
        long, wide = long * grow * change, wide * grow / change
    long, wide, c, s, area, ratio, dx, dy = kept
    return Fit(np.stack((long, wide), -1), exact.angle(c, s), Boxes(area, ratio, np.stack((dx, dy), -1)))


def _boxes(
    along: Floats,
    across: Floats,
    long: Floats,
    wide: Floats,
    c: Floats,
    s: Floats,
    location: Floats,
    camera: Camera,
    edges: NDArray[np.int64],
) -> Boxes:
    points = along * long[:, None, None] + across * wide[:, None, None]
    c, s = c[:, None], s[:, None]
    x = points[..., 0] * c - points[..., 1] * s + location[:, :1]
    y = points[..., 0] * s + points[..., 1] * c + location[:, 1:2]
    scale = camera.focal / np.maximum(camera.distance - points[..., 2] - location[:, 2:], 1e-6)
    _, sides, direction = rectangles(np.stack((x * scale, y * scale), -1), edges)
    return Boxes(sides[:, 0] * sides[:, 1], sides[:, 0] / sides[:, 1], direction)
