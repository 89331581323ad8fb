"""Rotated non-maximum suppression in NumPy, for thousands of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..overlaps import overlapping_pairs

BLOCK = 64  # boxes that are compared at once with all that rank below; more would compare many that fall in the meantime


def kept_ranks(boxes: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """(K,) ascending ranks that survive, of (N, 5) boxes in order of falling score."""
    waiting = np.arange(len(boxes))
    kept: list[int] = []
    while len(waiting):
        block = waiting[:BLOCK]
        i, j, iou = overlapping_pairs(boxes[block], boxes[waiting], threshold)
        lower = (j > i) & (iou > threshold)
        i, j = i[lower], j[lower]
        first = np.searchsorted(i, np.arange(len(block) + 1), sorter=(by := np.argsort(i, kind="stable")))
        alive = np.ones(len(waiting), bool)
        for rank in range(len(block)):
            if alive[rank]:
                kept.append(int(block[rank]))
                alive[j[by[first[rank] : first[rank + 1]]]] = False
        waiting = waiting[len(block) :][alive[len(block) :]]
    return np.array(kept, dtype=np.int64)
