"""Quarter turns, flips and what they make together, in place: pixels change places in rings of at most four."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ...rooms import by_image
from ...transfer import all_to_device
from .launch import TILE_X, TILE_Y, channels_of, launch, tile_of, tiles


@triton.jit
def _source(row, y, x):
    """Where the pixel that comes to (y, x) is before."""
    return (
        tl.load(row) * y + tl.load(row + 1) * x + tl.load(row + 2),
        tl.load(row + 3) * y + tl.load(row + 4) * x + tl.load(row + 5),
    )


@triton.jit
def _turned(images, sample, moves, channels, height, width, across, per_image, TX: tl.constexpr, TY: tl.constexpr):
    """The first pixel of a ring in the order of memory moves the others too; where a ring is shorter, twice alike."""
    a, part = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    per_channel = per_image // channels
    c, tile = part // per_channel, part % per_channel
    y, x = tile_of(tile, across, TX, TY)
    row = moves + 6 * a
    y1, x1 = _source(row, y, x)
    y2, x2 = _source(row, y1, x1)
    y3, x3 = _source(row, y2, x2)
    at0, at1, at2, at3 = y * width + x, y1 * width + x1, y2 * width + x2, y3 * width + x3
    first = (at0 <= at1) & (at0 <= at2) & (at0 <= at3) & (y < height) & (x < width)
    image = images + (tl.load(sample + a).to(tl.int64) * channels + c) * height * width
    v0, v1 = tl.load(image + at0, first), tl.load(image + at1, first)
    v2, v3 = tl.load(image + at2, first), tl.load(image + at3, first)
    tl.store(image + at0, v1, first)
    tl.store(image + at1, v2, first)
    tl.store(image + at2, v3, first)
    tl.store(image + at3, v0, first)


def _moves(form: NDArray[np.int64], height: int, width: int) -> NDArray[np.int32]:
    """(A, 6) integers m: pixel (y, x) comes from (m0 y + m1 x + m2, m3 y + m4 x + m5)."""
    swapped, left, up = form & 1, form >> 1 & 1, form >> 2 & 1
    along_y, along_x = 1 - 2 * up, 1 - 2 * left
    from_y, from_x = up * (height - 1), left * (width - 1)  # of images that are turned, both sides are equal
    straight = np.stack((along_y, 0 * form, from_y, 0 * form, along_x, from_x), -1)
    turned = np.stack((0 * form, along_x, from_x, along_y, 0 * form, from_y), -1)
    return np.where(swapped[:, None] > 0, turned, straight).astype(np.int32)


def reorder(images: Tensor, sample: Tensor, form: Tensor) -> None:
    channels, height, width = channels_of(images)
    across, per_channel = tiles(height, width)
    sample, form = by_image(images, sample, form)
    where, moves = all_to_device(images.device, sample.numpy(), _moves(form.numpy(), height, width))
    arguments = (where, moves, channels, height, width, across, per_channel * channels)
    launch(_turned, len(where) * per_channel * channels, images, *arguments, num_warps=8, TX=TILE_X, TY=TILE_Y)
