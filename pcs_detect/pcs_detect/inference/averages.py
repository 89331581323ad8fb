"""One box from several that are of one crystal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..boxes import Floats, to_le90, wrap_angle
from ..overlaps import overlapping_pairs

SAME = 0.5  # IoU from which on two boxes may be of one crystal
PART = 0.5  # of a box's score: those of less say nothing about it
POWER = 6  # of the IoU in a box's weight: 0.9 counts thirty times as much as 0.5

Pairs = tuple[NDArray[np.intp], NDArray[np.intp], Floats]


def mean_boxes(first: Floats, rates: Floats, boxes: Floats, scores: Floats, pairs: Pairs | None = None) -> Floats:
    """(K, 5) le90: each of ``first`` as the mean of itself and those of ``boxes`` that are of the same crystal.

    Those have IoU >= SAME with it and at least PART of its score; their weights are score * IoU ** POWER. The centre is the
    mean of theirs, the direction that of their mean second moments, which every form of a box has alike, and a side the mean of
    those that lie along it. (Taken from the moments too, needles that disagree about the direction would come out thick.)

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
    total = np.bincount(i, weight, len(first))
    alone = total <= 0  # a box without area overlaps nothing, not even itself
    total[alone] = 1

    def mean(values: Floats) -> Floats:
        return np.stack([np.bincount(i, weight * column, len(first)) for column in values.T], -1) / total[:, None]

    x, y, w, h, angle = boxes[j].T
    stretch = (w - h) * (w + h)
    centre_x, centre_y, cosine, sine = mean(np.stack((x, y, stretch * np.cos(2 * angle), stretch * np.sin(2 * angle)), -1)).T
    direction = np.where((cosine == 0) & (sine == 0), first[:, 4], np.arctan2(sine, cosine) / 2)  # squares have no longer side
    across = np.abs(wrap_angle(angle - direction[i])) > np.pi / 4
    sides = mean(np.where(across, (h, w), (w, h)).T)
    return np.where(alone[:, None], first, to_le90(np.column_stack((centre_x, centre_y, sides, direction))))
