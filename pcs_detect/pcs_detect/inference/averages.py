"""One box from several that are of one crystal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..boxes import Floats, to_le90
from ..overlaps import overlapping_pairs

SAME = 0.5  # IoU from which on two boxes may be of one crystal
PART = 0.5  # of a box's score: those of less say nothing about it
POWER = 6  # of the IoU in a box's weight: 0.9 counts thirty times as much as 0.5

Pairs = tuple[NDArray[np.intp], NDArray[np.intp], Floats]


def mean_boxes(first: Floats, rates: Floats, boxes: Floats, scores: Floats, pairs: Pairs | None = None) -> Floats:
    """(K, 5) le90: each of ``first`` as the mean of itself and those of ``boxes`` that are of the same crystal.

    Those have IoU >= SAME with it and at least PART of its score; their weights are score * IoU ** POWER. Means are taken of
    centres and of second moments, which every form of a box has alike: where boxes disagree about the direction, the mean is
    less elongated.

    Args:
        first: (K, 5) boxes, px and radians, each of them one of ``boxes``.
        rates: (K,) their scores.
        boxes: (N, 5) all boxes.
        scores: (N,) their scores, > 0.
        pairs: ``overlapping_pairs(first, boxes, SAME)``, where these are known.
    """
    i, j, overlap = overlapping_pairs(first, boxes, SAME) if pairs is None else pairs
    near = scores[j] >= rates[i] * PART
    i, j, overlap = i[near], j[near], overlap[near]
    weight = scores[j] * overlap**POWER
    total = np.bincount(i, weight, len(first))[:, None]
    sums = np.stack([np.bincount(i, weight * column, len(first)) for column in _moments(boxes[j]).T], -1)
    alone = total[:, 0] <= 0  # a box without area overlaps nothing, not even itself
    return np.where(alone[:, None], first, _from_moments(sums / np.where(alone[:, None], 1, total)))


def _moments(boxes: Floats) -> Floats:
    """(N, 5): cx, cy, and 12 times the variances along x and y and the covariance of each box's area."""
    cx, cy, w, h, theta = boxes.T
    cos, sin = np.cos(theta), np.sin(theta)
    return np.stack((cx, cy, (w * cos) ** 2 + (h * sin) ** 2, (w * sin) ** 2 + (h * cos) ** 2, (w**2 - h**2) * cos * sin), -1)


def _from_moments(moments: Floats) -> Floats:
    cx, cy, xx, yy, xy = moments.T
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    sides = np.sqrt(middle + half), np.sqrt(np.maximum(middle - half, 0))
    return to_le90(np.stack((cx, cy, *sides, np.arctan2(2 * xy, xx - yy) / 2), -1))
