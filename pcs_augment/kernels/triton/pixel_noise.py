"""Gaussian and impulse noise."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ...rng import LANE_PIXEL
from ...rooms import by_image
from .launch import channels_of, launch, sent
from .points import make_points
from .rng import half_words

_CALLS = 128  # of Philox in a program
_LANE = tl.constexpr(LANE_PIXEL)


def add_noise(images: Tensor, sample: Tensor, sigma: Tensor, keys: Tensor) -> None:
    make_points(images, {"add_noise": (sample, sigma, keys)})


@triton.jit
def _add_impulses(images, sample, white, black, keys, channels, n, blocks, CALLS: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    first = block * CALLS
    half = half_words(
        first + tl.arange(0, CALLS), tl.zeros((), tl.int32), _LANE, tl.load(keys + 2 * a), tl.load(keys + 2 * a + 1), CALLS
    )
    place = 8 * first + tl.arange(0, 8 * CALLS)
    bright, dark = half < tl.load(white + a), half >= tl.load(black + a)
    value = tl.where(dark, 0.0, 1.0)
    at = images + tl.load(sample + a).to(tl.int64) * channels * n + place
    for _ in range(channels):
        tl.store(at, value, (place < n) & (bright | dark))
        at += n


def add_impulses(images: Tensor, sample: Tensor, white: Tensor, black: Tensor, keys: Tensor) -> None:
    columns = sent(images, *by_image(images, sample, white, black, keys))
    channels, height, width = channels_of(images)
    blocks = triton.cdiv(height * width, 8 * _CALLS)
    arguments = (*columns, channels, height * width, blocks)
    launch(_add_impulses, len(columns[0]) * blocks, images, *arguments, CALLS=_CALLS)
