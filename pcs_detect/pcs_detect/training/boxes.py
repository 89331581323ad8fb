"""Oriented boxes as tensors: (cx, cy, w, h, theta) in px and radians, theta clockwise on screen."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def to_le90(boxes: Tensor) -> Tensor:
    """The same boxes with w >= h and theta in [-pi/2, pi/2). boxes: (N, 5) of any equivalent form (le135 for instance)."""
    cx, cy, w, h, theta = boxes.unbind(-1)
    swap = h > w
    theta = torch.where(swap, theta + math.pi / 2, theta)
    theta = torch.remainder(theta + math.pi / 2, math.pi) - math.pi / 2
    theta = torch.where(theta >= math.pi / 2, theta - math.pi, theta)  # remainder rounds up to pi just below it
    return torch.stack([cx, cy, torch.where(swap, h, w), torch.where(swap, w, h), theta], -1)


def corners(boxes: Tensor) -> Tensor:
    """(N, 4, 2) corners of (N, 5) boxes, clockwise on screen."""
    along = torch.stack([boxes[:, 4].cos(), boxes[:, 4].sin()], -1) * boxes[:, 2:3] / 2
    across = torch.stack([-boxes[:, 4].sin(), boxes[:, 4].cos()], -1) * boxes[:, 3:4] / 2
    centre = boxes[:, :2]
    return torch.stack([centre - along - across, centre + along - across, centre + along + across, centre - along + across], 1)
