"""From what a network gives at every place of its grids to crystals: decoding and suppression, in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..boxes import Floats, to_le90
from .averages import mean_boxes
from .suppression import kept_ranks

Coding = Literal["distances", "boxes"]
AT_MOST = 5000  # crystals of one image, as in the tests of training


def decoded(
    geometry: NDArray[np.float32],
    scores: NDArray[np.float32],
    size: tuple[int, int],
    strides: Sequence[int],
    coding: Coding,
    score: float,
    candidates: int = 5000,
) -> tuple[Floats, Floats]:
    """Boxes of the places whose score is high enough, the best first.

    Args:
        geometry: (A, 5) of every place, grid by grid, row by row. "distances": from the place to the left, upper, right and
            lower side of a box, px, seen along its own axes, and its angle; "boxes": cx, cy, w, h, theta in any form.
        scores: (A,) from 0 to 1.
        size: (H, W) px of the image.
        strides: px between the places of each grid; the first place of a grid is (0, 0).
        coding: what ``geometry`` holds.
        score: least score.
        candidates: so many of each grid at most, those of the highest scores.

    Returns:
        boxes (N, 5) le90, px and radians, and their scores (N,).
    """
    chosen, places = [], []
    for first, stride, (rows, columns) in _grids(size, strides):
        of_grid = scores[first : first + rows * columns]
        index = np.flatnonzero(of_grid >= score)
        if len(index) > candidates:
            index = index[np.argpartition(-of_grid[index], candidates)[:candidates]]
        chosen.append(index + first)
        places.append(np.stack((index % columns, index // columns), -1) * float(stride))
    index = np.concatenate(chosen)
    order = np.argsort(-scores[index], kind="stable")
    index, place = index[order], np.concatenate(places)[order]
    values = geometry[index].astype(np.float64)
    if coding == "distances":
        values = _from_distances(place, values)
    return to_le90(values), scores[index].astype(np.float64)


def suppressed(boxes: Floats, scores: Floats, iou: float) -> tuple[Floats, Floats]:
    """What rotated non-maximum suppression leaves of boxes (N, 5), the best first, with their scores (N,)."""
    kept = kept_ranks(boxes, iou)[:AT_MOST]
    return boxes[kept], scores[kept]


def averaged(boxes: Floats, scores: Floats, iou: float, score: float) -> tuple[Floats, Floats]:
    """What suppression leaves, each box the mean of those that the places around its own give the same crystal.

    Args:
        boxes: (N, 5) le90, px and radians, the best first.
        scores: (N,), from ``averages.PART`` of ``score`` on, so that the least score decides which crystals are found, not
            where.
        iou: of boxes that overlap by more, the best stays.
        score: least score.

    Returns:
        boxes (K, 5) le90 (``averages.mean_boxes``) and their scores (K,), the best first.
    """
    enough = scores >= score
    first, rates = suppressed(boxes[enough], scores[enough], iou)
    return mean_boxes(first, rates, boxes, scores), rates


def places(size: tuple[int, int], strides: Sequence[int]) -> int:
    """How many places the grids of an image of ``size`` (H, W) px have."""
    return sum(rows * columns for _, _, (rows, columns) in _grids(size, strides))


def _grids(size: tuple[int, int], strides: Sequence[int]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """(number of its first place, stride, (rows, columns)) of each grid."""
    first = 0
    for stride in strides:
        rows, columns = (-(-side // stride) for side in size)
        yield first, stride, (rows, columns)
        first += rows * columns


def _from_distances(place: Floats, values: Floats) -> Floats:
    left, top, right, bottom, angle = values.T
    along, across = (right - left) / 2, (bottom - top) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    centre = place + np.stack((cos * along - sin * across, sin * along + cos * across), -1)
    return np.column_stack((centre, left + right, top + bottom, angle))
