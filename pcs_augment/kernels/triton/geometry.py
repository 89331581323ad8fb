"""Quarter turns and flips."""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ...transfer import all_to_device
from .launch import TILE_X, TILE_Y, channels_of, in_goes, launch, tile_of, tiles


@triton.jit
def _turned(images, out, sample, moves, channels, height, width, across, per_image, TX: tl.constexpr, TY: tl.constexpr):
    a, part = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    per_channel = per_image // channels
    c, tile = part // per_channel, part % per_channel
    y, x = tile_of(tile, across, TX, TY)
    here = (y < height) & (x < width)
    row = moves + 6 * a
    from_y = tl.load(row) * y + tl.load(row + 1) * x + tl.load(row + 2)
    from_x = tl.load(row + 3) * y + tl.load(row + 4) * x + tl.load(row + 5)
    n = height * width
    source = images + (tl.load(sample + a).to(tl.int64) * channels + c) * n + from_y * width + from_x
    tl.store(out + (a.to(tl.int64) * channels + c) * n + y * width + x, tl.load(source, here), here)


def _moves(kind: NDArray[np.int64], flip: bool, height: int, width: int) -> NDArray[np.int64]:
    """(A, 6) integers m: pixel (y, x) comes from (m0 y + m1 x + m2, m3 y + m4 x + m5)."""
    same, right, bottom = (1, 0, 0, 0, 1, 0), width - 1, height - 1
    mirrored, upside_down = (1, 0, 0, 0, -1, right), (-1, 0, bottom, 0, 1, 0)
    turns = [same, (0, 1, 0, -1, 0, right), (-1, 0, bottom, 0, -1, right), (0, -1, bottom, 1, 0, 0)]
    return np.array([same, mirrored, upside_down] if flip else turns)[kind]


def turn(images: Tensor, sample: Tensor, kind: Tensor, flip: bool) -> None:
    channels, height, width = channels_of(images)
    which, kinds = sample.numpy()[kind.numpy() > 0], kind.numpy()[kind.numpy() > 0]
    across, per_channel = tiles(height, width)
    for some in in_goes(len(which), images[:1].numel()):
        where, moves = all_to_device(images.device, which[some], _moves(kinds[some], flip, height, width))
        out = torch.empty(len(where), *images.shape[1:], device=images.device)
        arguments = (out, where, moves, channels, height, width, across, per_channel * channels)
        launch(_turned, len(where) * per_channel * channels, images, *arguments, TX=TILE_X, TY=TILE_Y)
        images.index_copy_(0, where, out)
