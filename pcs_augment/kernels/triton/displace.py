"""Rolled rows and columns."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rng import LANE_DISPLACE
from ...rooms import by_image
from .launch import TILE_X, TILE_Y, channels_of, in_goes, launch, sent, tile_of, tiles
from .rng import halves

_BLOCK = 2048


@triton.jit
def _roll(
    images, out, sample, draws, times, reach, channels, height, width, across, per_image, TX: tl.constexpr, TY: tl.constexpr
):
    """draws (A, H + W): random halves, of rows, then of columns."""
    a, part = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    per_channel = per_image // channels
    c, tile = part // per_channel, part % per_channel
    y, x = tile_of(tile, across, TX, TY)
    here = (y < height) & (x < width)
    own = draws + a * (height + width)
    column = ((tl.load(own + height + x, x < width, other=0) * times) >> 16).to(tl.int32) - reach
    from_y = (y - column) % height
    from_y = tl.where(from_y < 0, from_y + height, from_y)
    row = ((tl.load(own + from_y, here, other=0) * times) >> 16).to(tl.int32) - reach
    from_x = (x - row) % width
    from_x = tl.where(from_x < 0, from_x + width, from_x)
    n = height * width
    source = images + (tl.load(sample + a).to(tl.int64) * channels + c) * n + from_y * width + from_x
    tl.store(out + (a.to(tl.int64) * channels + c) * n + y * width + x, tl.load(source, here), here)


@triton.jit
def _put(images, rolled, sample, n, blocks, BLOCK: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(rolled + a.to(tl.int64) * n + place, place < n)
    tl.store(images + tl.load(sample + a).to(tl.int64) * n + place, x, place < n)


def roll(images: Tensor, sample: Tensor, keys: Tensor, reach: int) -> None:
    channels, height, width = channels_of(images)
    across, per_channel = tiles(height, width)
    sample, keys = by_image(images, sample, keys)
    for some in in_goes(len(sample), images[:1].numel()):
        where, streams = sent(images, sample[some], keys[some])
        draws = halves(streams, LANE_DISPLACE, height + width)
        out = torch.empty(len(where), *images.shape[1:], device=images.device)
        arguments = (out, where, draws, 2 * reach + 1, reach, channels, height, width, across, per_channel * channels)
        launch(_roll, len(where) * per_channel * channels, images, *arguments, TX=TILE_X, TY=TILE_Y)
        blocks = triton.cdiv(out[:1].numel(), _BLOCK)
        launch(_put, len(where) * blocks, images, out, where, out[:1].numel(), blocks, BLOCK=_BLOCK)
