"""Rows and columns rolled."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...rng import LANE_DISPLACE
from .compiling import compiled
from .rng import halves
from .threads import for_images, scratch

F = np.float32


@compiled
def _roll(image, before, rows, columns):
    """displace._rolled for shifts of at least 0 and less than a side; before (H, W) is room to work in."""
    height, width = before.shape
    for c in range(len(image)):
        for y in range(height):
            for x in range(width):
                before[y, x] = image[c, y, x]
        for y in range(height):
            out = image[c, y]
            for x in range(width):
                from_y = y - columns[x]
                from_y += height if from_y < 0 else 0
                from_x = x - rows[from_y]
                out[x] = before[from_y, from_x + width if from_x < 0 else from_x]


def roll(images: Tensor, sample: Tensor, keys: Tensor, reach: int) -> None:
    pixels, which = images.numpy(), sample.numpy()
    height, width = pixels.shape[2:]
    shift = ((halves(keys, LANE_DISPLACE, height + width).numpy() * (2 * reach + 1)) >> 16) - reach
    rows, columns = shift[:, :height] % width, shift[:, height:] % height

    def one(j: int) -> None:
        _roll(pixels[which[j]], scratch("plane", (height, width), F), rows[j], columns[j])

    for_images(one, which)
