"""Labels from geometry: what is where in a scene, hidden or not, without looking at pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Floats, clipped, crystal_points, hull2d, min_area_rect, pixels, project
from .scene import Scene


@dataclass(frozen=True)
class SceneLabels:
    """One entry per crystal, in the order in which they were placed.

    Attributes:
        boxes: (N, 5) cx, cy, w, h px, theta rad clockwise on screen in [-pi/2, pi/2); w >= h.
        polygons: (K, 2) px each: convex hull of the projection, clockwise on screen.
        depth: (N,) distance of the crystal's centre from the camera's plane, Blender units.
        model: (N,) ids of the shapes.
        refractive_index: (N,)
        targets: (N, 4) area px^2, aspect ratio, angle (degrees, counter-clockwise), largest area allowed.

    Examples:
        >>> found = labels.labels(scenes[0])
        >>> len(found.boxes) == len(found.polygons) == len(found.depth)
        True
    """

    boxes: Floats
    polygons: list[Floats]
    depth: Floats
    model: NDArray[np.int64]
    refractive_index: Floats
    targets: Floats

    @property
    def order(self) -> NDArray[np.int64]:
        """(N,) crystals from the nearest to the camera to the farthest."""
        return np.argsort(self.depth, kind="stable")


Labels = SceneLabels  # its name up to version 0.3


def labels(scene: Scene) -> SceneLabels:
    """Label every crystal of a scene, occluded or not.

    Outlines are those of the visible part: what lies outside the image is cut off, and the box is the smallest rectangle around
    the rest. Where the scene has a ``blur_limit``, crystals that are blurred by a circle (of confusion, at half their depth) of
    more than so many times the short side of their whole box have no label: their outline cannot be seen.

    Args:
        scene: rendered or not.

    Returns:
        Boxes, outlines and what else is known of the N crystals that are labelled.

    Examples:
        >>> boxes = labels.labels(scenes[0]).boxes
        >>> bool((boxes[:, 2] >= boxes[:, 3]).all())
        True
    """
    boxes, polygons, depth, crystals = [], [], [], []
    for crystal in scene.crystals:
        points = crystal_points(scene, crystal)
        polygon = hull2d(project(scene.camera, points))
        box = min_area_rect(polygon)
        away = scene.camera.distance - (points[:, 2].min() + points[:, 2].max()) / 2
        if scene.blur_limit and scene.camera.blur(away) > scene.blur_limit * box[3]:
            continue
        visible = clipped(polygon, scene.camera.width, scene.camera.height)
        if visible is not polygon:
            polygon, box = visible, min_area_rect(visible)
        boxes.append(box)
        polygons.append(polygon)
        depth.append(away)
        crystals.append(crystal)
    return SceneLabels(
        np.array(boxes).reshape(-1, 5),
        polygons,
        np.array(depth),
        np.array([c.model for c in crystals], np.int64),
        np.array([c.refractive_index for c in crystals]),
        np.array([(c.target.area, c.target.ratio, c.target.angle, c.target.largest) for c in crystals]).reshape(-1, 4),
    )


def masks(scene: Scene, visible: bool = False) -> NDArray[np.bool_]:
    """Make the masks of a scene: the pixels whose centre lies inside each crystal's hull.

    Args:
        scene: rendered or not.
        visible: only where no other crystal's centre of depth is nearer to the camera. A crystal is glass and what is behind
            it can still be seen; this says whose outline is the topmost.

    Returns:
        (N, H, W) bool, in the order of ``labels``.

    Examples:
        >>> labels.masks(scenes[0]).shape[1:], int(labels.masks(scenes[0], visible=True).sum(0).max())
        ((48, 64), 1)
    """
    found = labels(scene)
    height, width = scene.camera.height, scene.camera.width
    out = np.zeros((len(found.polygons), height, width), bool)
    for mask, polygon in zip(out, found.polygons):
        rows, columns, inside = pixels(polygon, width, height)
        mask[rows, columns] = inside
    if visible:
        taken = np.zeros((height, width), bool)
        for i in found.order:
            out[i] &= ~taken
            taken |= out[i]
    return out
