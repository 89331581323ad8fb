"""Rotated non-maximum suppression that is fast on CPUs too."""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

import mmcv.ops  # noqa: F401

from ...inference.suppression import kept_ranks

mm_nms = sys.modules["mmcv.ops.nms"]  # by this name the package offers a function


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


mm_nms.nms_nearby = nms_nearby  # type: ignore[attr-defined]  # where OpenMMLab looks up the name in a config's ``nms``
