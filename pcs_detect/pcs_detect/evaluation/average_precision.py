"""COCO average precision of oriented boxes: matching, precision and recall. NumPy alone."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..overlaps import checked_boxes, overlapping_pairs

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)  # of IoU; COCO's very floats, since np.arange gives others
RECALLS: Floats = np.linspace(0.0, 1.0, 101)
RANGES = {  # px^2 of box area w h, both ends included (docs/method.md, Conventions)
    "all": (0.0, math.inf),
    "small": (0.0, 8.0**2),
    "medium": (8.0**2, 24.0**2),
    "large": (24.0**2, math.inf),
}

# Every pair of a range r and a threshold t is one bit, T r + t: matching works on all of them at once.
_T, _R = len(THRESHOLDS), len(RANGES)
_RANGE_BITS = [((1 << _T) - 1) << (_T * r) for r in range(_R)]
_ALL_BITS = (1 << (_T * _R)) - 1
_REACHED = np.array([sum(((1 << n) - 1) << (_T * r) for r in range(_R)) for n in range(_T + 1)], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Matches:
    """One image's share of the evaluation: D detections, the highest score first, in 20 bytes each.

    Bit 10 r + t of ``correct`` (``wrong``) says whether the detection counts as a true (false) positive in the r-th of RANGES
    at the t-th of THRESHOLDS; where both are 0 it does not count. ``truths``: how many crystals of each range there are.
    """

    scores: NDArray[np.float32]
    correct: NDArray[np.uint64]
    wrong: NDArray[np.uint64]
    truths: NDArray[np.int64]


def match(boxes: ArrayLike, scores: ArrayLike, truth: ArrayLike, cap: int | None = None) -> Matches:
    """Assign detections (M, 5) with scores (M,) to the true boxes (N, 5) of one image as COCO does.

    In each range, and at each threshold, detections choose in order of their scores (rounded to float32; equal ones in the
    order given) the free true box of largest IoU >= threshold, a true box inside the range before one outside. What is matched
    to one outside does not count, nor does an unmatched detection whose own area is outside.
    cap: use only so many detections, the highest scores. Raises InputError.
    """
    found, true = checked_boxes(boxes, "boxes"), checked_boxes(truth, "truth")
    score = np.asarray(scores, dtype=np.float32)
    if score.shape != (len(found),) or not np.isfinite(score).all():
        raise InputError(f"scores of shape {score.shape} for {len(found)} boxes; give one finite number for each")
    order = np.argsort(-score, kind="stable")[:cap]
    found, score = found[order], score[order]
    regular = _ranges_of(true)
    d, g, iou = overlapping_pairs(found, true, float(THRESHOLDS[0]))
    reached = _REACHED[np.searchsorted(THRESHOLDS, iou, side="right")]
    inside, outside = reached & regular[g], reached & ~regular[g]
    # Each pair stands twice, for the ranges that hold the true box and for the others; of equal overlaps COCO takes the last.
    order = np.lexsort((np.tile(-g, 2), np.tile(-iou, 2), np.repeat((0, 1), len(d)), np.tile(d, 2)))
    bits = np.concatenate((inside, outside))[order].tolist()
    free, taken = [_ALL_BITS] * len(true), [0] * len(found)
    correct = [0] * len(found)
    count_in = regular.tolist()
    for detection, crystal, allowed in zip(np.tile(d, 2)[order].tolist(), np.tile(g, 2)[order].tolist(), bits):
        won = allowed & free[crystal] & ~taken[detection]
        if won:
            free[crystal] &= ~won
            taken[detection] |= won
            correct[detection] |= won & count_in[crystal]
    wrong = _ranges_of(found) & ~np.array(taken, dtype=np.uint64)
    truths = np.array([np.count_nonzero(regular & np.uint64(bits)) for bits in _RANGE_BITS], dtype=np.int64)
    return Matches(score, np.array(correct, dtype=np.uint64), wrong, truths)


def _ranges_of(boxes: Floats) -> NDArray[np.uint64]:
    """(N,) bits of the ranges that hold each box."""
    area = boxes[:, 2] * boxes[:, 3]
    bits = np.zeros(len(boxes), dtype=np.uint64)
    for (least, most), mask in zip(RANGES.values(), _RANGE_BITS):
        bits[(area >= least) & (area <= most)] |= np.uint64(mask)
    return bits


@dataclass(frozen=True, slots=True)
class Curves:
    """Precision over recall: per range (of RANGES), threshold (of THRESHOLDS) and level of recall (of RECALLS).

    precision (4, 10, 101): the highest at this recall or beyond, 0 where it is not reached; score (4, 10, 101): that of the
    detection which reaches it, nan where none does; recall (4, 10): the highest reached; truths (4,): number of true boxes.
    The first three are nan in a range without true boxes, where COCO's tools put -1.
    """

    precision: Floats
    score: Floats
    recall: Floats
    truths: NDArray[np.int64]

    def summary(self) -> dict[str, float]:
        """AP, AP50, AP75, APs, APm, APl, AR, AR50, ARs, ARm, ARl in [0, 1]; nan without true boxes of that range.

        AP: mean over thresholds and levels of recall; AR: mean over thresholds of the highest recall; s, m, l: small, medium,
        large (RANGES).
        """
        at75 = THRESHOLDS.tolist().index(0.75)
        sizes = dict(zip("sml", range(1, _R)))
        values = {"AP": self.precision[0], "AP50": self.precision[0, 0], "AP75": self.precision[0, at75]}
        values |= {f"AP{letter}": self.precision[r] for letter, r in sizes.items()}
        values |= {"AR": self.recall[0], "AR50": self.recall[0, 0]}
        values |= {f"AR{letter}": self.recall[r] for letter, r in sizes.items()}
        return {name: float(np.mean(v)) for name, v in values.items()}


class Evaluator:
    """COCO average precision of oriented boxes over many images; detections per image are not capped unless ``cap`` says so.

    Each image is matched when it is added and only ``Matches`` are kept (``images``: image id -> Matches). The result does not
    depend on the order of images: equal scores rank by image id, within an image as given. AP as in the paper's Table 1, size
    classes at 8^2 and 24^2 px^2.

    Args:
        cap: use only so many detections of an image, the highest scores; None for all.

    Raises:
        InputError: a cap below 1.

    Examples:
        >>> from pcs_detect.evaluation.average_precision import Evaluator
        >>> evaluator = Evaluator()
        >>> evaluator.add(0, boxes=[[50, 50, 40, 20, 0.1]], scores=[0.9], truth=[[50, 50, 40, 20, 0.1], [9, 9, 12, 6, 0]])
        >>> round(evaluator.summary()["AP50"], 2)
        0.5
    """

    def __init__(self, cap: int | None = None) -> None:
        if cap is not None and cap < 1:
            raise InputError(f"cap {cap}: give the largest number of detections per image, 1 or more, or None for all")
        self.cap = cap
        self.images: dict[int, Matches] = {}

    def add(self, image_id: int, boxes: ArrayLike, scores: ArrayLike, truth: ArrayLike) -> None:
        """Add an image.

        Args:
            image_id: that was not added before.
            boxes: (M, 5) detections: cx, cy, w, h px, theta radians.
            scores: (M,)
            truth: (N, 5) true boxes.

        Raises:
            InputError: arrays of other shapes, or an image that was added before.
        """
        if image_id in self.images:
            raise InputError(f"image {image_id} was added before; add each image once")
        self.images[int(image_id)] = match(boxes, scores, truth, self.cap)

    def merge(self, other: Evaluator) -> None:
        """Take over the images of the ``other`` evaluator; those in both count once. Raises InputError if the caps differ."""
        if other.cap != self.cap:
            raise InputError(f"caps {self.cap} and {other.cap}: evaluate all parts with the same one")
        self.images = other.images | self.images

    def curves(self) -> Curves:
        """Precision and recall over all images so far."""
        images = [self.images[i] for i in sorted(self.images)]
        truths: NDArray[np.int64] = np.array([m.truths for m in images], dtype=np.int64).reshape(-1, _R).sum(0)
        shape = (_R, _T, len(RECALLS))
        precision, score, recall = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape[:2], np.nan)
        scores = np.concatenate([m.scores for m in images]) if images else np.zeros(0, np.float32)
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        correct = np.concatenate([m.correct for m in images])[order] if images else np.zeros(0, np.uint64)
        counted = np.concatenate([m.wrong for m in images])[order] | correct if images else correct
        for r in np.flatnonzero(truths):
            for t in range(_T):
                bit = np.uint64(1 << (_T * int(r) + t))
                hits = np.flatnonzero(correct & bit)
                rank = np.cumsum((counted & bit) != 0)[hits]
                recall[r, t], precision[r, t], at = _curve(rank, int(truths[r]))
                score[r, t, at < len(hits)] = scores[hits[at[at < len(hits)]]]
        return Curves(precision, score, recall, truths)

    def summary(self) -> dict[str, float]:
        """``Curves.summary`` of all images so far."""
        return self.curves().summary()


def _curve(rank: Indices, truths: int) -> tuple[float, Floats, Indices]:
    """Highest recall, precision (101,) and the hit (101,) that reaches each recall, from the hits' ranks among what counts.

    Precision can only rise, and recall does only rise, at a hit, so nothing else is looked at.
    """
    hits = np.arange(1, len(rank) + 1)
    best = np.maximum.accumulate((hits / (rank + sys.float_info.epsilon))[::-1])[::-1]  # epsilon: COCO's
    at = np.searchsorted(hits / truths, RECALLS, side="left")
    return len(rank) / truths, np.append(best, 0.0)[np.minimum(at, len(rank))], at
