"""Oriented boxes (cx, cy, w, h, theta) and how whole-pixel symmetries of the image act on them.

Convention: px, x right, y down, pixel i spans [i, i + 1); theta in radians, the w axis points along (cos theta, sin theta),
so positive is clockwise on screen; w >= h, theta in [-pi/2, pi/2) ("le90").

A symmetry (quarter turns, flips) is a (2, 3) matrix of signs and offsets acting on (x, y, 1).

Functions of boxes, points and matrices take NumPy arrays and torch tensors; this file does not load torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

A = TypeVar("A", "Tensor", NDArray)
LOWEST = float(np.nextafter(np.float32(-math.pi / 2), np.float32(0)))  # of angles in float32


def _library(values: Any) -> Any:
    """NumPy or torch, whichever the values are of."""
    if isinstance(values, (np.ndarray, np.generic)):
        return np
    import torch

    return torch


def wrap_angle(theta: A) -> A:
    """Angles modulo pi, in [-pi/2, pi/2)."""
    # rounding in the modulo can reach the open end, so it is folded once more
    wrapped = (theta + math.pi / 2) % math.pi - math.pi / 2
    return not_below(_library(theta).where(wrapped >= math.pi / 2, wrapped - math.pi, wrapped))


def not_below(theta: A) -> A:
    """The float32 number nearest to -pi/2 lies below it: such angles become the next one above."""
    library, values = _library(theta), cast(Any, theta)
    if values.dtype != library.float32:
        return theta
    raised: Any = np.maximum(values, np.float32(LOWEST)) if library is np else values.clamp_min(LOWEST)
    return raised


def box_corners(boxes: A) -> A:
    """(N, 5) boxes to (N, 4, 2) corners, in the order (-w,-h), (+w,-h), (+w,+h), (-w,+h) of the box's own axes."""
    library = _library(boxes)
    cx, cy, w, h, theta = (boxes[..., i] for i in range(5))
    c, s = library.cos(theta) / 2, library.sin(theta) / 2
    ux, uy, vx, vy = w * c, w * s, -h * s, h * c
    xs = [cx - ux - vx, cx + ux - vx, cx + ux + vx, cx - ux + vx]
    ys = [cy - uy - vy, cy + uy - vy, cy + uy + vy, cy - uy + vy]
    return library.stack((library.stack(xs, -1), library.stack(ys, -1)), -1)


def quarter_turns(turns: NDArray[np.int64], height: int, width: int) -> NDArray[np.float64]:
    """(B,) counter-clockwise quarter turns (as torch.rot90 over (y, x)) of (height, width) images, as (B, 2, 3)."""
    identity = [[1, 0, 0], [0, 1, 0]]
    quarter = [[0, 1, 0], [-1, 0, width]]
    half = [[-1, 0, width], [0, -1, height]]
    three = [[0, -1, height], [1, 0, 0]]
    return np.array([identity, quarter, half, three], dtype=np.float64)[turns]


def flips(kind: NDArray[np.int64], height: int, width: int) -> NDArray[np.float64]:
    """(B,) kinds, 0 none, 1 horizontal (x -> W - x), 2 vertical (y -> H - y), as (B, 2, 3)."""
    identity = [[1, 0, 0], [0, 1, 0]]
    horizontal = [[-1, 0, width], [0, 1, 0]]
    vertical = [[1, 0, 0], [0, -1, height]]
    return np.array([identity, horizontal, vertical], dtype=np.float64)[kind]


def compose(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (B, 2, 3) symmetry that applies ``first``, then ``second``."""
    linear = second[:, :, :2] @ first
    linear[:, :, 2] += second[:, :, 2]
    return linear


def move_points(points: A, matrix: A) -> A:
    """(V, 2) points under their own (V, 2, 3) symmetries; exact, since entries are 0, +1, -1 and sizes."""
    x, y = points[:, 0], points[:, 1]
    m = matrix
    library = _library(points)
    new_x = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]
    new_y = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    return library.stack((new_x, new_y), -1)


def move_boxes(boxes: A, matrix: A) -> A:
    """(N, 5) boxes under their own (N, 2, 3) symmetries. Sides stay with their axis, so only centre and angle change."""
    library = _library(boxes)
    centre = move_points(boxes[:, :2], matrix)
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    turn = abs(matrix[:, 1, 0]) * (math.pi / 2)  # modulo pi a half turn is none and both quarter turns are one
    moved = boxes[:, 4] * determinant + turn
    unchanged = (turn == 0) & (determinant == 1)
    theta = library.where(unchanged, boxes[:, 4], wrap_angle(moved))  # an identity must not touch the last bit
    return library.concatenate((centre, boxes[:, 2:4], theta[:, None]), 1)


def le90(boxes: A) -> A:
    """(N, 5) boxes in any form to w >= h and theta in [-pi/2, pi/2)."""
    library = _library(boxes)
    centre, w, h, theta = boxes[:, :2], boxes[:, 2], boxes[:, 3], boxes[:, 4]
    swap = w < h
    sides = library.stack((library.where(swap, h, w), library.where(swap, w, h)), -1)
    theta = wrap_angle(library.where(swap, theta + math.pi / 2, theta))
    return library.concatenate((centre, sides, theta[:, None]), 1)


def min_area_box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The minimum-area oriented box (5,) around (K, 2) points, K >= 1: one side lies on an edge of the convex hull.

    ``pcs_render.geometry`` has one of its own for scenes: those must be the same bits on every machine, which sines are not.
    """
    hull = convex_hull(points)
    edges = np.roll(hull, -1, 0) - hull
    angle = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (math.pi / 2))
    axes = np.stack((np.cos(angle), np.sin(angle)), -1)  # (E, 2)
    along = axes @ hull.T
    across = np.stack((-axes[:, 1], axes[:, 0]), -1) @ hull.T
    low, high = np.stack((along.min(1), across.min(1)), -1), np.stack((along.max(1), across.max(1)), -1)
    best = int(np.argmin(np.prod(high - low, 1)))
    middle = (low[best] + high[best]) / 2
    c, s = axes[best]
    box = np.array([c * middle[0] - s * middle[1], s * middle[0] + c * middle[1], *(high[best] - low[best]), angle[best]])
    return le90(box[None])[0]


def convex_hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 2) corners of the convex hull in order (Andrew's monotone chain)."""
    ordered = np.unique(points, axis=0)
    if len(ordered) <= 2:
        return ordered

    def chain(sequence: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        out: list[NDArray[np.float64]] = []
        for p in sequence:
            while len(out) >= 2:
                (ax, ay), (bx, by) = out[-2], out[-1]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                out.pop()
            out.append(p)
        return out[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def polygon_area(outline: ArrayLike) -> float:
    """Area in px^2 of a simple polygon (K, 2)."""
    x, y = np.asarray(outline, dtype=np.float64).T
    # a sum of products, not a scalar product: scenes must be the same bits with every linear algebra library
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2
