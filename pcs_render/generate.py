"""Scenes from the statistical model: targets, poses that meet them, placement, material and light.

A scene is a function of (settings, seed, image id) alone. Every purpose has its own stream of random numbers, so the targets
of an image do not depend on how many poses were tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import contact, exact
from .contact import Neighbour, grown
from .exact import Draws
from .fit import Boxes, Tolerance, fit, within
from .geometry import clipped, drawn, elongated, hull2d, hull_edges, placed, polygon_area, project
from .look import DIGITS, look, spheres
from .scene import Camera, Crystal, Lamp, Scene, Target
from .settings import Settings

Floats = NDArray[np.float64]
Drawn = tuple[slice, slice, NDArray[np.bool_], int]  # rows, columns, the mask there, its pixels

RECIPE = 1  # raised whenever the same settings, seed and id give another scene
TRIES = 1000  # poses for one target before it is skipped
BATCH = 4  # poses fitted together


def scene(settings: Settings, seed: int, image: int, shapes: Sequence[Floats]) -> Scene:
    """Draw the scene of one image (paper: Data set generation, Eqs. 1 to 8), a function of the arguments alone.

    Args:
        settings: the statistical model.
        seed: of the data set, 0 .. 2^63 - 1.
        image: id of the image, 0 .. 10^10 - 1.
        shapes: (V, 3) vertices of all models to choose from.

    Returns:
        The scene, to be rendered, labelled or saved anywhere.

    Examples:
        >>> scene = generate.scene(model, seed=7, image=0, shapes=cubes)
        >>> scene == scenes[0], len(scene.crystals) > 0
        (True, True)
    """
    chosen = look(settings, seed, image)
    camera = Camera(
        settings.width,
        settings.height,
        settings.field_of_view,
        settings.camera_distance,
        settings.depth,
        chosen.f_stop,
        chosen.focus_distance,
    )
    draw = Draws(seed, image, exact.SHAPES)
    choice = _choose(draw, len(shapes), settings.models_per_image)
    draw = Draws(seed, image, exact.TARGETS)
    wanted = draw.uniform(*settings.covered) * settings.width * settings.height
    layers = Layers(settings)
    crystals: list[Crystal] = []
    unmet: list[Target] = []
    while len(crystals) < settings.max_crystals and len(unmet) < settings.max_crystals:
        item = len(crystals) + len(unmet)
        target = draw_target(settings, draw, wanted - layers.covered, chosen.area)
        if target is None:
            break
        neighbour = None
        if settings.contact and crystals:
            neighbour = grown(settings, Draws(seed, image, exact.CONTACT, item), target, crystals[-1])
            target = neighbour.target if neighbour else target
        crystal = _place(settings, camera, seed, image, item, target, shapes, choice, layers, neighbour)
        if crystal is None:
            unmet.append(target)
        else:
            crystals.append(crystal)
    return Scene(
        image=image,
        seed=seed,
        settings=settings.hash,
        camera=camera,
        lamps=_lamps(settings, Draws(seed, image, exact.LIGHT)),
        material=settings.material,
        subdivisions=settings.subdivisions,
        smooth=settings.smooth,
        crystals=tuple(crystals),
        models={m: [tuple(p) for p in shapes[m].tolist()] for m in sorted({c.model for c in crystals})},
        covered=(wanted / (settings.width * settings.height), layers.covered / (settings.width * settings.height)),
        unmet=tuple(unmet),
        condenser=chosen.condenser,
        blur_limit=settings.blur_limit,
        spheres=spheres(settings, seed, image, camera),
    )


def _choose(draw: Draws, available: int, count: int) -> list[int]:
    """``count`` different models, or all of them if that is 0."""
    if count == 0 or count >= available:
        return list(range(available))
    chosen: list[int] = []
    while len(chosen) < count:
        model = draw.below(available)
        if model not in chosen:
            chosen.append(model)
    return chosen


def draw_target(settings: Settings, draw: Draws, remaining: float, areas: tuple[float, float] | None = None) -> Target | None:
    """The next target (equations 1 to 4), or None where the image is full.

    ``remaining`` px^2 are left to cover. Rule ``published`` caps the area by it and stops below the smallest area; rule
    ``unbiased`` stops when nothing is left.
    """
    smallest, largest = areas or settings.area
    if settings.rule == "published":
        largest = min(largest, remaining)
        if largest < smallest:
            return None
    elif remaining <= 0:
        return None
    u, v, w = draw.unit(3)
    area = smallest * float(exact.exp(u * exact.log(largest / smallest)))
    low, high = settings.aspect_ratio
    high = min(high, settings.long_side * settings.long_side / area)
    return Target(area, low + (high - low) * float(v), -90 + 180 * float(w), largest)


class Layers:
    """What is placed so far: how many crystals lie over each pixel, and each one's own pixels."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.count = np.zeros((settings.height, settings.width), np.int16)
        self.covered = 0  # px
        self.masks: list[Drawn] = []

    def accept(self, hull: Floats) -> bool:
        """Add a (K, 2) hull unless it overlaps too much with what is there."""
        rows, columns, mask = drawn(hull, self.settings.width, self.settings.height)
        window = self.count[rows, columns]
        if (window[mask] >= self.settings.max_layers).any():
            return False
        size = int(mask.sum())
        if any(self._iou((rows, columns, mask, size), other) > self.settings.max_iou for other in self.masks):
            return False
        self.covered += int((mask & (window == 0)).sum())
        window += mask
        self.masks.append((rows, columns, mask, size))
        return True

    def touches(self, hull: Floats) -> bool:
        """Does a (K, 2) hull share pixels with the one that was added last?"""
        rows, columns, mask = drawn(hull, self.settings.width, self.settings.height)
        return _shared((rows, columns, mask, int(mask.sum())), self.masks[-1]) > 0

    def _iou(self, one: Drawn, other: Drawn) -> float:
        small, large = min(one[3], other[3]), max(one[3], other[3])
        if small <= self.settings.max_iou * large:  # no overlap can be that large
            return 0.0
        both = _shared(one, other)
        return both / (one[3] + other[3] - both)


def _shared(one: Drawn, other: Drawn) -> int:
    """Number of pixels that belong to both."""
    (rows, columns, mask, _), (rows2, columns2, mask2, _) = one, other
    top, bottom = max(rows.start, rows2.start), min(rows.stop, rows2.stop)
    left, right = max(columns.start, columns2.start), min(columns.stop, columns2.stop)
    if top >= bottom or left >= right:
        return 0
    a = mask[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
    b = mask2[top - rows2.start : bottom - rows2.start, left - columns2.start : right - columns2.start]
    return int((a & b).sum())


def _place(
    settings: Settings,
    camera: Camera,
    seed: int,
    image: int,
    item: int,
    target: Target,
    shapes: Sequence[Floats],
    choice: list[int],
    layers: Layers,
    neighbour: Neighbour | None = None,
) -> Crystal | None:
    """A crystal that meets the target in a pose and at a place that are allowed, or None after ``TRIES`` poses."""
    draw = Draws(seed, image, exact.MATERIAL, item)
    model = choice[draw.below(len(choice))]
    elongation = round(draw.uniform(0, settings.elongation), DIGITS)
    refractive_index = round(draw.uniform(*settings.refractive_index), DIGITS)
    tint = round(draw.uniform(*settings.tint), DIGITS)
    vertices, edges = hull_edges(elongated(shapes[model], elongation))
    c, s = exact.turn(target.angle / 360)
    boxes = Boxes(np.full(BATCH, target.area), np.full(BATCH, target.ratio), np.broadcast_to(np.stack((c, s)), (BATCH, 2)))
    tolerance = Tolerance(settings.tolerance_size, settings.tolerance_ratio, settings.tolerance_angle)
    draw = Draws(seed, image, exact.POSES, item)
    for tried in range(0, TRIES, BATCH):
        roll, tilt, location = _poses(settings, camera, draw, target, abs(float(c)), abs(float(s)))
        beside = neighbour is not None and tried < contact.TRIES  # then there is no room beside it, and any place will do
        if neighbour is not None and beside:
            roll, tilt, location = contact.beside(camera, neighbour, roll, tilt)
        found = fit(vertices, edges, boxes, roll, tilt, location, camera)
        for k in np.flatnonzero(within(found.boxes, boxes, tolerance)):
            crystal = Crystal(
                model,
                elongation,
                _rounded(found.scale[k]),
                _rounded((roll[k], tilt[k], found.turn[k])),
                _rounded(location[k]),
                refractive_index,
                tint,
                target,
            )
            hull = _hull_inside(camera, vertices, crystal, settings.visible)
            if hull is None or (beside and not layers.touches(hull)):
                continue
            if layers.accept(hull):
                return crystal
    return None


def _rounded(values: Sequence[float] | Floats) -> Any:
    return tuple(round(float(v), DIGITS) for v in values)


def _poses(
    settings: Settings, camera: Camera, draw: Draws, target: Target, c: float, s: float
) -> tuple[Floats, Floats, Floats]:
    """``BATCH`` rolls and tilts in whole turns, and locations uniform in the viewed volume.

    Of that volume only the part is drawn from in which the crystal can be whole: its hull meets all four sides of its
    box, so it is at least ``| |w cos| - |h sin| |`` px wide; the centre of the box is within h of the origin's image.
    Where crystals may be cut by the border, it exceeds the image by what may be outside.
    """
    u = draw.unit(5, BATCH)
    roll, tilt = (
        np.array([low / 360 + (high - low) / 360 * x for x in row])
        for (low, high), row in zip((settings.roll, settings.tilt), u[:2])
    )
    near, far = camera.distance, camera.distance + camera.depth
    away = exact.cube_root(near * near * near + (far * far * far - near * near * near) * u[2])
    w, h = math.sqrt(target.area * target.ratio), math.sqrt(target.area / target.ratio)
    location = np.empty((BATCH, 3))
    for axis, size, extent in ((0, camera.width, w * c - h * s), (1, camera.height, w * s - h * c)):
        room = min(max(size - abs(extent) + 2 * h, 0.0), float(size))
        if settings.visible < 1:
            room = size + max(1 - 2 * settings.visible, 0.0) * w
        location[:, axis] = (u[3 + axis] - 0.5) * room / camera.focal * away
    location[:, 2] = camera.distance - away
    return roll, tilt, np.rint(location * 1e9) / 1e9


def _hull_inside(camera: Camera, vertices: Floats, crystal: Crystal, visible: float = 1.0) -> Floats | None:
    """The (K, 2) hull on the image, or None where the crystal leaves the well or less than ``visible`` of it is on the image.

    A crystal that must be wholly visible must not touch the border either.
    """
    long, wide = crystal.scale
    points = placed(vertices * np.array([long, wide, wide]), crystal)
    if points[:, 2].max() > 0 or points[:, 2].min() < -camera.depth:
        return None
    seen = project(camera, points)
    if seen.min() > 0 and seen[:, 0].max() < camera.width and seen[:, 1].max() < camera.height:
        return hull2d(seen)
    if visible >= 1:
        return None
    hull = hull2d(seen)
    rest = clipped(hull, camera.width, camera.height)
    return hull if len(rest) > 2 and polygon_area(rest) >= visible * polygon_area(hull) else None


def _lamps(settings: Settings, draw: Draws) -> tuple[Lamp, ...]:
    """The lamp above, at the camera's height over the floor and in a random quadrant, and the lamp over the floor."""
    distance = settings.camera_distance + settings.depth
    degrees = draw.uniform(*settings.lamp_angle)
    right, up = draw.below(2) * 2 - 1, draw.below(2) * 2 - 1
    c, s = (float(v) for v in exact.turn(degrees / 360))
    angle = math.radians(degrees)
    power = max(settings.lamp_power + settings.lamp_power_deviation * draw.normal(), 0.0)
    lamps = [
        Lamp(
            settings.lamp,
            _rounded((distance * s * right, distance * s * up, distance * c - settings.depth)),
            _rounded((-up * angle, right * angle, 0.0)),
            settings.lamp_radius,
            round(power, DIGITS),
        )
    ]
    if settings.bottom_lamp:
        power = round(draw.uniform(*settings.bottom_lamp_power), DIGITS)
        lamps.append(Lamp("AREA", (0.0, 0.0, 1 - settings.depth), (math.pi, 0.0, 0.0), settings.bottom_lamp_radius, power))
    return tuple(lamps)
