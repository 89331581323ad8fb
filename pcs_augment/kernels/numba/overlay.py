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
def _mask(image, visible, taps, circle, x, y, radius, left, top, right, bottom):
    """overlay._masked; visible (1, H, W) is room to work in."""
    channels, height, width = image.shape
    square, alike, above = radius * radius, np.zeros(height, np.int64), 0
    for i in range(height):
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
    blur_alike(visible, taps, alike)
    for c in range(channels):
        for i in range(height):
            out, row = image[c, i], visible[0, i]
            for j in range(width):
                out[j] = clip(out[j] * row[j])


def mask(images: Tensor, sample: Tensor, taps: Tensor, shapes: Tensor) -> None:
    pixels, which, columns, weights = images.numpy(), sample.numpy(), shapes.float().numpy(), gaussian.each(taps)

    def one(j: int) -> None:
        visible = scratch("plane", (1, *pixels.shape[2:]), F)
        _mask(pixels[which[j]], visible, weights[j], *columns[j])

    for_images(one, which)
