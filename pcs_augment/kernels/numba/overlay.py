"""Rounded corners and borders."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ... import gaussian
from .compiling import compiled
from .gaussian import blur
from .sums import clip
from .threads import each_image

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@compiled
def _mask(image, taps, circle, x, y, radius, left, top, right, bottom):
    """overlay._masked"""
    channels, height, width = image.shape
    visible = np.empty((1, height, width), F)
    for i in range(height):
        py = F(i) + _HALF
        for j in range(width):
            px = F(j) + _HALF
            if circle > 0:
                inside = (px - x) * (px - x) + (py - y) * (py - y) <= radius * radius
            else:
                inside = px > left and px < right and py > top and py < bottom
            visible[0, i, j] = _UNIT if inside else _ZERO
    blur(visible, taps)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                image[c, i, j] = clip(image[c, i, j] * visible[0, i, j])


def mask(images: Tensor, sample: Tensor, taps: Tensor, shapes: Tensor) -> None:
    each_image(_mask, images, sample, gaussian.each(taps), *shapes.float().numpy().T)
