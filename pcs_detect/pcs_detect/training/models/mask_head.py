"""What Mask R-CNN finds, as oriented boxes and run lengths instead of masks of the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS

from ..data.masks import mask_box, rle_of_mask


@MODELS.register_module()
class CrystalMaskRoIHead(StandardRoIHead):
    """mmdet's head of boxes and masks, whose predictions are what the other detectors of this package give.

    Each image gets an InstanceData: ``bboxes`` (M, 5) oriented boxes around the masks, ``scores``, ``labels`` (M,), ``masks``
    a list of M COCO run lengths. With ``rescale`` all of it is in px of the original image. What has no pixel in its mask is
    left out. Memory does not grow with the number of crystals times the size of the image.
    """

    def predict_mask(
        self, x: tuple[Tensor], batch_img_metas: list[dict[str, Any]], results_list: list[InstanceData], rescale: bool = False
    ) -> list[InstanceData]:
        counts = [len(r) for r in results_list]
        rois = bbox2roi([r.bboxes for r in results_list])
        logits = self._mask_forward(x, rois)["mask_preds"] if len(rois) else rois.new_zeros(0, 1, 1, 1)
        threshold = self.test_cfg.mask_thr_binary
        parts = zip(logits.split(counts), results_list, batch_img_metas)
        return [found_crystals(m.sigmoid().float(), r, meta, threshold, rescale) for m, r, meta in parts]


FINEST, LARGEST = 4, 256  # parts of a px that a mask is drawn in for its box; px of a side up to which it is


def found_crystals(
    probabilities: Tensor, results: InstanceData, meta: Mapping[str, Any], threshold: float = 0.5, rescale: bool = True
) -> InstanceData:
    """Oriented boxes and run lengths of one image, as CrystalMaskRoIHead gives them.

    probabilities: (M, C, h, w) that points of the upright ``results.bboxes`` (M, 4), px of the network's image, belong to the
    crystal; C the number of classes. meta: the sample's metainfo. threshold: from which on a pixel does. The box goes around
    the mask drawn in quarters of a px, or in larger parts where that makes more than 256 of them: in whole ones, crystals that
    lie askew come out a px too long and wide (``mask_box``).
    """
    device = probabilities.device
    upright = results.bboxes.float().cpu()
    height, width = meta["ori_shape" if rescale else "img_shape"][:2]
    size = (int(height), int(width))
    if rescale:
        upright = upright / upright.new_tensor(meta["scale_factor"]).repeat(2)
    classes = results.labels.cpu() if probabilities.shape[1] > 1 else torch.zeros(len(upright), dtype=torch.long)
    chosen = probabilities.cpu()[torch.arange(len(upright)), classes]
    boxes, masks, kept = [], [], []
    for i in range(len(upright)):
        mask, origin = _drawn(chosen[i], upright[i], size, threshold)
        whole = mask_box(mask, origin)
        if whole is not None:
            parts = min(max(LARGEST // max(mask.shape), 1), FINEST)
            finer = mask_box(*_drawn(chosen[i], upright[i] * parts, (size[0] * parts, size[1] * parts), threshold))
            boxes.append(whole if finer is None else finer / [parts, parts, parts, parts, 1])
            masks.append(rle_of_mask(mask, origin, size))
            kept.append(i)
    which = torch.tensor(kept, dtype=torch.long, device=device)
    return InstanceData(
        bboxes=torch.from_numpy(np.array(boxes, dtype=np.float32).reshape(-1, 5)).to(device),
        scores=results.scores[which],
        labels=results.labels[which],
        masks=masks,
    )


def _drawn(
    probability: Tensor, upright: Tensor, size: tuple[int, int], threshold: float
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """The part of an image of ``size`` (H, W) px around a box that its mask covers, and the x, y of that part's first px."""
    pasted, (rows, columns) = _do_paste_mask(probability[None, None], upright[None], *size)
    return (pasted[0] >= threshold).numpy(), (int(columns.start), int(rows.start))
