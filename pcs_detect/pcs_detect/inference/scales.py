"""What is found in a photograph at several scales, as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..boxes import Floats
from ..overlaps import overlapping_pairs
from .averages import SAME, mean_boxes
from .suppression import kept_ranks
from .tiling import Found, alive

INSIDE = 0.7  # of a box's area: so much of it in a better one, and it may be a part of that
DOUBTED = 0.7  # of its score, that a box keeps then
GAIN = 0.3  # of what agreement is worth, that a crystal's score gains


def joined(found: Sequence[Found], threshold: float) -> Found:
    """What was found at several scales (each Found of one), best first.

    Scales vouch for each other: a pit in a large crystal looks like a crystal at the finest scale alone, the crystal itself
    looks like one at several. A score s becomes 1 - (1 - s) (1 - GAIN a), where a, the agreement, is
    1 - (1 - s1 IoU1) (1 - s2 IoU2) ... over the other scales, of the box of each that overlaps most surely, from IoU SAME on;
    what one scale alone finds keeps its own. Of boxes that overlap by IoU > ``threshold`` the best stays, and becomes the
    mean of all of the same crystal. A box that lies for more than INSIDE of its area in a better one, or the other way round,
    may be a crystal above another one; but also a part of a large crystal that a finer scale takes for a crystal, or a group
    that a coarser one takes for one. It keeps DOUBTED of its score.
    """
    if len(found) == 1:
        return found[0]
    boxes, own, cut, scales = (np.concatenate(parts) for parts in zip(*found))
    agreement = _agreement(boxes, own, np.repeat(np.arange(len(found)), [len(f.boxes) for f in found]))
    scores = 1 - (1 - own) * (1 - GAIN * agreement)
    order = np.argsort(-scores, kind="stable")
    first = order[kept_ranks(boxes[order], threshold)]
    means = mean_boxes(boxes[first], own[first], boxes, own)
    kept = kept_ranks(means, threshold)  # means may have come nearer to each other
    means, first = means[kept], first[kept]
    rates = np.full(len(means), DOUBTED)
    rates[_apart(means)] = 1
    rates *= scores[first]
    order = np.argsort(-rates, kind="stable")
    return Found(means[order], rates[order], cut, scales[first[order]])


def _agreement(boxes: Floats, scores: Floats, scale: NDArray[np.intp]) -> Floats:
    """(N,) how surely the other scales find each box; scale: (N,) which one found it."""
    i, j, overlap = overlapping_pairs(boxes, boxes, SAME)
    none = np.ones(len(boxes))
    for other in range(int(scale.max(initial=-1)) + 1):
        there = (scale[j] == other) & (scale[i] != other)
        surest = np.zeros(len(boxes))
        np.maximum.at(surest, i[there], scores[j[there]] * overlap[there])
        none *= 1 - surest
    return 1 - none


def _apart(boxes: Floats) -> NDArray[np.intp]:
    """Ranks of boxes (N, 5), best first, that do not lie in a better one nor hold one."""
    i, j, iou = overlapping_pairs(boxes, boxes)
    area = boxes[:, 2] * boxes[:, 3]
    shared = iou * (area[i] + area[j]) / (1 + iou)
    return alive(len(boxes), i, j, (j > i) & (shared > INSIDE * np.minimum(area[i], area[j])))
