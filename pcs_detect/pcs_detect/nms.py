"""Rotated non-maximum suppression that is fast on CPUs too."""

from __future__ import annotations

import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import toolbox  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

import mmcv.ops  # noqa: F401

from .average_precision import overlapping_pairs

mm_nms = sys.modules["mmcv.ops.nms"]  # by this name the package offers a function
BLOCK = 64  # boxes that are compared at once with all that rank below; more would compare many that fall in the meantime


def nms_nearby(
    dets: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None, clockwise: bool = True
) -> tuple[Tensor, Tensor]:
    """mmcv's ``nms_rotated``: its arguments, its results. On a CPU only boxes that can meet are compared.

    dets: (N, 5) oriented boxes; scores: (N,). Of boxes that overlap by IoU > ``iou_threshold`` the one with the highest score
    stays. labels: (N,), boxes of different labels never suppress each other. clockwise: sense of positive angles. Returns
    ((K, 6) boxes with score, (K,) indices), highest score first.
    """
    if dets.is_cuda:
        return mm_nms.nms_rotated(dets, scores, iou_threshold, labels, clockwise)
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order].double().numpy()
    if not clockwise:
        boxes[:, 4] *= -1
    if labels is not None:  # beyond each other's reach
        boxes[:, 0] += labels[order].double().numpy() * 2 * np.abs(boxes[:, :4]).sum(1).max(initial=0)
    kept = order[torch.from_numpy(kept_ranks(boxes, float(iou_threshold)))]
    return torch.cat([dets[kept], scores[kept, None]], 1), kept


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


mm_nms.nms_nearby = nms_nearby  # type: ignore[attr-defined]  # where the toolbox looks up the name in a config's ``nms``
