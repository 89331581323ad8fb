"""Boxes and outlines in float64, and how turns and mirrors move them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ragged import AnyTarget
from .streams import Array


def outline_of(target: AnyTarget, i: int) -> Array:
    """(K, 2) the polygon of object i, or the corners of its box."""
    if target.get("polygons") is not None:
        return target["polygons"][i]
    cx, cy, w, h, theta = target["boxes"][i]
    along, across = np.array([np.cos(theta), np.sin(theta)]) * w / 2, np.array([-np.sin(theta), np.cos(theta)]) * h / 2
    return np.array([cx, cy]) + np.stack((-along - across, along - across, along + across, across - along))


def as_float64(target: AnyTarget) -> AnyTarget:
    boxes = np.asarray(target["boxes"], dtype=np.float64).reshape(-1, 5)
    out = target | {"boxes": boxes, "keep": np.ones(len(boxes), bool)}
    if target.get("polygons") is not None:
        out["polygons"] = [np.asarray(p, dtype=np.float64) for p in target["polygons"]]
    return out


def _moved(target: AnyTarget | None, move: Callable[[Array], Array], angle: Callable[[Array], Array]) -> AnyTarget | None:
    if target is None:
        return None
    theta = (angle(target["boxes"][:, 4]) + np.pi / 2) % np.pi - np.pi / 2
    out = target | {"boxes": np.column_stack((move(target["boxes"][:, :2]), target["boxes"][:, 2:4], theta))}
    if target.get("polygons") is not None:
        out["polygons"] = [move(p) for p in target["polygons"]]
    return out


def quarter_turn(target: AnyTarget | None, width: int) -> AnyTarget | None:
    """np.rot90 of an image ``width`` px wide, counter-clockwise: (x, y) -> (y, width - x)."""
    return _moved(target, lambda p: np.stack((p[:, 1], width - p[:, 0]), -1), lambda t: t - np.pi / 2)


def mirror(target: AnyTarget | None, axis: int, size: int) -> AnyTarget | None:
    """x -> size - x (axis 0) or y -> size - y (axis 1)."""
    return _moved(target, lambda p: np.where(np.arange(2) == axis, size - p, p), lambda t: -t)
