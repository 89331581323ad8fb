"""A detector to train while images are augmented, in plain torch: it costs about as much as S2A-Net, no more is asked of it.

ResNet-50, a feature pyramid of five levels from C2 on, and heads shared by the levels: a first prediction, a convolution that
stands for the alignment of features, a second prediction. 32 million parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcs_augment.targets import AnyTargets


class _Bottleneck(nn.Module):
    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = 4 * width
        self.path = nn.Sequential(
            nn.Conv2d(inside, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        same = inside == outside and stride == 1
        self.skip = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.path(x) + self.skip(x), inplace=True)


def _tower(channels: int, length: int) -> nn.Sequential:
    layers = [m for _ in range(length) for m in (nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers)


class Detector(nn.Module):
    """(B, 1, H, W) images to class logits (B, P) and boxes (B, P, 5), first and second prediction, for P cells of all levels.

    width and blocks: of the backbone's four stages; channels: of pyramid and heads; pool: whether a max-pool follows the first
    convolution, so that strides are 4 .. 64, else 2 .. 32.
    """

    def __init__(
        self, width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3), channels: int = 256, tower: int = 2, pool: bool = True
    ) -> None:
        super().__init__()
        stem = [nn.Conv2d(1, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem, *([nn.MaxPool2d(3, 2, 1)] if pool else []))
        self.strides = [(4 if pool else 2) * 2**i for i in range(5)]
        self.stages, self.lateral, self.smooth = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inside = width
        for i, count in enumerate(blocks):
            wide = width * 2**i
            first = _Bottleneck(inside, wide, 1 if i == 0 else 2)
            self.stages.append(nn.Sequential(first, *(_Bottleneck(4 * wide, wide, 1) for _ in range(count - 1))))
            self.lateral.append(nn.Conv2d(4 * wide, channels, 1))
            self.smooth.append(nn.Conv2d(channels, channels, 3, padding=1))
            inside = 4 * wide
        self.align = nn.Conv2d(channels, channels, 3, padding=1)
        self.towers = nn.ModuleList(_tower(channels, tower) for _ in range(4))
        self.outputs = nn.ModuleList(nn.Conv2d(channels, n, 3, padding=1) for n in (1, 5, 1, 5))
        for i in (0, 2):
            nn.init.constant_(self.outputs[i].bias, -4.6)  # most cells are background

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        x = self.stem(images - 0.5)
        maps = []
        for stage, lateral in zip(self.stages, self.lateral):
            x = stage(x)
            maps.append(lateral(x))
        for i in (2, 1, 0):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], size=maps[i].shape[2:])
        levels = [smooth(m) for smooth, m in zip(self.smooth, maps)]
        levels.append(F.max_pool2d(levels[-1], 1, 2))
        aligned = [F.relu(self.align(m)) for m in levels]
        predictions = []
        for features, first in ((levels, 0), (aligned, 2)):
            scores, boxes = (
                torch.cat([self.outputs[i](self.towers[i](m)).flatten(2) for m in features], 2) for i in (first, first + 1)
            )
            predictions.append((scores[:, 0].float(), boxes.transpose(1, 2).float()))
        return predictions


def dense_targets(
    targets: AnyTargets, strides: list[int], size: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """What each cell should predict: 0 or 1 (B, P), and box (B, P, 5) relative to it.

    A cell answers for the smallest object that its centre lies in, among those of its level's size.
    """
    boxes = nn.utils.rnn.pad_sequence([t["boxes"].float() for t in targets], batch_first=True)[:, None]  # (B, 1, N, 5)
    if boxes.shape[2] == 0:
        boxes = boxes.new_zeros(len(targets), 1, 1, 5)
    cells = []
    for level, s in enumerate(strides):
        y, x = torch.meshgrid(*(torch.arange(-(-n // s), device=device) * s + s / 2 for n in size), indexing="ij")
        cells.append(torch.stack([v.flatten() for v in (x, y, torch.full_like(x, s), torch.full_like(x, level))], -1))
    x, y, stride, level = torch.cat(cells)[None, :, None].unbind(-1)  # (1, P, 1)
    cx, cy, w, h, theta = boxes.unbind(-1)  # (B, 1, N)
    c, s = theta.cos(), theta.sin()
    along, across = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
    area = w * h
    its_level = (area.clamp(min=1e-6).sqrt() / (4 * strides[0])).log2().floor().clamp(0, len(strides) - 1)
    inside = (along.abs() < w / 2) & (across.abs() < h / 2) & (its_level == level)
    smallest, chosen = torch.where(inside, area, torch.full_like(area, 1e9)).min(2)
    mine = boxes[:, 0].gather(1, chosen[:, :, None].expand(-1, -1, 5))
    cx, cy, w, h, theta = mine.unbind(-1)
    x, y, stride = x[..., 0], y[..., 0], stride[..., 0]
    sides = (torch.log(v.clamp(min=0.1) / stride) for v in (w, h))
    return (smallest < 1e9).float(), torch.stack(((cx - x) / stride, (cy - y) / stride, *sides, theta), -1)


def loss(predictions: list[tuple[Tensor, Tensor]], wanted: tuple[Tensor, Tensor]) -> Tensor:
    """Focal loss of the classes and smooth L1 of the boxes, per object cell; no step waits for the device."""
    objects, boxes = wanted
    total = objects.new_zeros(())
    for logits, deltas in predictions:
        right = torch.sigmoid(logits * (2 * objects - 1))
        focal = (1 - right).square() * F.binary_cross_entropy_with_logits(logits, objects, reduction="none")
        apart = F.smooth_l1_loss(deltas, boxes, reduction="none").sum(2) * objects
        total = total + (focal.sum() + apart.sum()) / objects.sum().clamp(min=1)
    return total
