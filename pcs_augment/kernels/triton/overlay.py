"""Rounded corners and borders."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rooms import by_image
from .gaussian import blurred, reaches
from .launch import TILE_X, TILE_Y, channels_of, in_goes, launch, sent, tile_of, tiles


@triton.jit
def _visible(out, shapes, height, width, across, per_image, TX: tl.constexpr, TY: tl.constexpr):
    a, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    y, x = tile_of(tile, across, TX, TY)
    row = shapes + 8 * a
    px, py = x.to(tl.float32) + 0.5, y.to(tl.float32) + 0.5
    dx, dy, radius = px - tl.load(row + 1), py - tl.load(row + 2), tl.load(row + 3)
    disc = dx * dx + dy * dy <= radius * radius
    window = ((px > tl.load(row + 4)) & (px < tl.load(row + 6))) & ((py > tl.load(row + 5)) & (py < tl.load(row + 7)))
    inside = tl.where(tl.load(row) > 0, disc, window)
    tl.store(out + (a.to(tl.int64) * height + y) * width + x, inside.to(tl.float32), (y < height) & (x < width))


def mask(images: Tensor, sample: Tensor, taps: Tensor, shapes: Tensor) -> None:
    """shapes (A, 8): whether it is a circle, its x, y, radius; left, top, right, bottom of the window."""
    channels, height, width = channels_of(images)
    across, per_image = tiles(height, width)
    sample, taps, shapes = by_image(images, sample, taps, shapes)
    for some in in_goes(len(sample), 2 * height * width):
        far = reaches(sample[some], taps[some])
        where, weights, reach, rows = sent(images, sample[some].int(), taps[some], far, shapes[some])
        visible = torch.empty(len(where), 1, height, width, device=images.device)
        launch(_visible, len(where) * per_image, visible, rows, height, width, across, per_image, TX=TILE_X, TY=TILE_Y)
        blurred(visible, weights, reach, images, where, multiply=channels)
