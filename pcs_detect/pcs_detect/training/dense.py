"""Detectors of one stage as plain networks: grey values in, geometry and scores of every place out, nothing suppressed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from . import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.models.detectors import RTMDet
from mmrotate.models.dense_heads import RotatedRTMDetHead
from mmrotate.models.detectors import RefineSingleStageDetector
from mmrotate.models.utils import ORConv2d

from ..errors import InputError
from ..inference.decoding import Coding


class DenseDetector(nn.Module):
    """From grey values to what ``inference.decoding.decoded`` makes crystals of.

    forward: image (B, 1, H, W) float32, grey values 0..255, sides that ``divisor`` divides -> geometry (B, A, 5) float32, as
    ``coding`` says, and scores (B, A) in 0..1; one for each place of each grid.

    Raises:
        InputError: a detector of two stages, which picks a varying number of regions amid its network.
    """

    coding: Coding
    strides: list[int]
    network: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        preprocessor: Any = model.data_preprocessor
        self.mean, self.deviation = float(preprocessor.mean), float(preprocessor.std)
        self.divisor = int(preprocessor.divisor)
        self.network = _plain(copy.deepcopy(model)).eval()

    def normalised(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.deviation


class RefiningDetector(DenseDetector):
    """S2A-Net: oriented anchors, refined in a second stage of the same grids. Its outermost centres stay in the image."""

    coding: Coding = "boxes"
    one_by_one = True  # the alignment of features takes one image

    def __init__(self, model: RefineSingleStageDetector) -> None:
        super().__init__(model)
        self.strides = [int(s[0]) for s in model.bbox_head_init.prior_generator.strides]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        first, stages = self.network.bbox_head_init, self.network.bbox_head_refine
        features = self.network.extract_feat(self.normalised(image))
        found = first(features)
        rois = first.filter_bboxes(*found)
        for stage in stages:
            found = stage(stage.feature_refine(features, rois))
            rois = stage.refine_bboxes(*found, rois=rois)
        every = torch.cat([getattr(b, "tensor", b) for b in rois[0]])
        height, width = image.shape[-2:]
        x = every[:, 0].clamp(min=0).minimum(torch.full_like(every[:, 0], width - 1))  # as OpenMMLab does
        y = every[:, 1].clamp(min=0).minimum(torch.full_like(every[:, 1], height - 1))
        scores = torch.cat([s.permute(0, 2, 3, 1).reshape(-1).sigmoid() for s in found[0]])
        return torch.cat([torch.stack([x, y], -1), every[:, 2:]], -1)[None], scores[None]


class PointDetector(DenseDetector):
    """RTMDet-R: from every place the distances to the sides of a box."""

    coding: Coding = "distances"
    one_by_one = False

    def __init__(self, model: RTMDet) -> None:
        super().__init__(model)
        self.strides = [int(s[0]) for s in model.bbox_head.prior_generator.strides]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        scores, distances, angles = self.network.bbox_head(self.network.extract_feat(self.normalised(image)))
        geometry = torch.cat([_flat(distances), _flat(angles)], 1).transpose(1, 2)
        return geometry, _flat(scores)[:, 0].sigmoid()


def dense_detector(model: nn.Module) -> RefiningDetector | PointDetector:
    """The plain network of a detector. Raises InputError where there is none."""
    if isinstance(model, RefineSingleStageDetector):
        return RefiningDetector(model).eval()
    if isinstance(model, RTMDet) and isinstance(model.bbox_head, RotatedRTMDetHead) and _plain_points(model.bbox_head):
        return PointDetector(model).eval()
    raise InputError(
        f"{type(model).__name__} cannot be exported; detectors of one stage can, S2A-Net and RTMDet-R, with one class and "
        "angles as they are"
    )


def _plain_points(head: RotatedRTMDetHead) -> bool:
    return head.cls_out_channels == 1 and head.angle_coder.encode_size == 1 and head.prior_generator.offset == 0


def _flat(maps: tuple[Tensor, ...]) -> Tensor:
    """(B, C, A) of maps (B, C, h, w), row by row."""
    return torch.cat([m.flatten(2) for m in maps], 2)


def _plain(model: nn.Module) -> nn.Module:
    """The model with every convolution of turned filters replaced by one that holds the turned filters: they turn through an
    operation of OpenMMLab, which depends on the weights alone."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ORConv2d):
                weight = child.rotate_arf().detach()
                plain = nn.Conv2d(
                    weight.shape[1], weight.shape[0], weight.shape[2:], child.stride, child.padding, bias=child.bias is not None
                )
                plain.weight.data = weight.clone()
                if child.bias is not None:
                    plain.bias.data = child.bias.detach().clone()  # type: ignore[union-attr]
                setattr(parent, name, plain)
    return model
