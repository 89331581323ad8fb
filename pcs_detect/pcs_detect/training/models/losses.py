"""Overlap of oriented boxes as a loss that learns on every device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.structures.bbox import get_box_tensor
from mmrotate.registry import MODELS

from pcs_augment.boxes import box_corners

SHARED = 1e-9  # px; edges closer than this coincide


@MODELS.register_module()
class OverlapLoss(nn.Module):
    """1 - IoU of each predicted oriented box with its target, (N, 5) each.

    mmrotate's RotatedIoULoss (mode "linear") is the same but needs a GPU: only there can mmcv sort the corners of an
    intersection. Mixed precision does not reach it.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.loss_weight, self.reduction = loss_weight, reduction

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | None = None, **_: Any
    ) -> Tensor:
        loss = 1 - overlap(get_box_tensor(pred), get_box_tensor(target))
        return self.loss_weight * weight_reduce_loss(loss, weight, self.reduction, avg_factor)


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """(N,) differentiable IoU of (N, 5) with (N, 5) oriented boxes.

    The border of the intersection of two convex shapes consists of the parts of either's border that lie in the other, so by
    Green's theorem its area is a sum over clipped edges, in any order. Computed in float64, or the edges of a box and of its
    nearly perfect prediction could not be distinguished; returned as float32 where that is what came in.
    """
    kind = torch.promote_types(first.dtype, torch.float32)
    first, second = first.double(), second.double()
    shift = torch.cat([first[:, :2], torch.zeros_like(first[:, 2:])], 1).detach()
    one, two = box_corners(first - shift), box_corners(second - shift)
    # an edge of both counts once, with the first box
    intersection = (_swept(one, two, SHARED) + _swept(two, one, -SHARED)).clamp(min=0)
    areas = first[:, 2] * first[:, 3] + second[:, 2] * second[:, 3]
    return (intersection / (areas - intersection).clamp(min=1e-9)).to(kind)


def _swept(polygon: Tensor, other: Tensor, margin: float) -> Tensor:
    """(N,) area that the edges of (N, 4, 2) clockwise polygons sweep about the origin, where they lie in the others.

    margin: how far inside the others (px, negative: outside) an edge on their border with their direction counts as; one with
    the opposite direction is outside: the shapes only touch there.
    """
    start, along = polygon, polygon.roll(-1, 1) - polygon
    side = other.roll(-1, 1) - other
    normal = torch.stack([-side[..., 1], side[..., 0]], -1) / side.norm(dim=-1, keepdim=True).clamp(min=1e-9)  # inwards
    same = (along[:, :, None] * side[:, None]).sum(-1) > 0
    # distance inside each of the other's four sides (last axis) at an edge's start, and its growth along the edge
    inside = ((start[:, :, None] - other[:, None]) * normal[:, None]).sum(-1) + torch.where(same, margin, -SHARED)
    growth = (along[:, :, None] * normal[:, None]).sum(-1)
    parallel = growth.abs() < 1e-12
    crossing = -inside / torch.where(parallel, torch.ones_like(growth), growth)
    low, high = torch.full_like(crossing, -torch.inf), torch.full_like(crossing, torch.inf)
    outside = parallel & (inside < 0)
    enter = torch.where(outside, high, torch.where(parallel | (growth < 0), low, crossing)).amax(-1).clamp(0, 1)
    leave = torch.where(parallel | (growth > 0), high, crossing).amin(-1).clamp(0, 1)
    length = (leave - enter).clamp(min=0)  # of the part within, in lengths of the edge
    # the cross product of a part's ends is that of the whole edge, scaled
    whole = start[..., 0] * along[..., 1] - start[..., 1] * along[..., 0]
    return (whole * length).sum(1) / 2
