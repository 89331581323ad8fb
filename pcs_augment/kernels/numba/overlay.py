"""Rounded corners and borders."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ... import gaussian
from .compiling import compiled
from .gaussian import blur_alike
from .sums import clip
from .threads import for_images, scratch

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@compiled
def _shape(visible, circle, x, y, radius, left, top, right, bottom):
    """What overlay._masked blurs, into (1, H, W), and how many rows just above each are its equals."""
    _, height, width = visible.shape
    square, alike, above = radius * radius, np.empty(height, np.int64), 0
    for i in range(height):
        alike[i] = 0
        row, py = visible[0, i], F(i) + _HALF
        within = py > top and py < bottom
        if circle > 0:
            beside = (py - y) * (py - y)
            for j in range(width):
                px = F(j) + _HALF
                row[j] = _UNIT if (px - x) * (px - x) + beside <= square else _ZERO
        else:
            for j in range(width):
                px = F(j) + _HALF
                row[j] = _UNIT if within and px > left and px < right else _ZERO
        # rows of a disc are visible in one piece; only those that are visible as a whole are alike
        pattern = int(within) if circle <= 0 else 1 if row[0] > 0 and row[width - 1] > 0 else -1 - i
        if i > 0 and pattern == above:
            alike[i] = alike[i - 1] + 1
        above = pattern
    return alike


@compiled
def _multiply(image, plane):
    for c in range(len(image)):
        for i in range(len(plane)):
            out, row = image[c, i], plane[i]
            for j in range(row.size):
                out[j] = clip(out[j] * row[j])


def mask(images: Tensor, sample: Tensor, taps: Tensor, shapes: Tensor) -> None:
    pixels, which, columns, weights = images.numpy(), sample.numpy(), shapes.float().numpy(), gaussian.each(taps)

    def one(j: int) -> None:
        visible = scratch("plane", (1, *pixels.shape[2:]), F)
        alike = _shape(visible, *columns[j])
        blur_alike(visible, weights[j], alike)
        _multiply(pixels[which[j]], visible[0])

    for_images(one, which)
