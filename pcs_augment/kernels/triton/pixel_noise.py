"""Gaussian and impulse noise."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ...rng import LANE_PIXEL, device_table
from ...rooms import by_image
from .launch import channels_of, clip, launch, sent
from .rng import half_words

_CALLS = 128  # of Philox in a program
_LANE = tl.constexpr(LANE_PIXEL)


@triton.jit
def _add_noise(images, table, sample, sigma, keys, n, blocks, CALLS: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    first = block * CALLS
    half = half_words(
        first + tl.arange(0, CALLS), tl.zeros((), tl.int32), _LANE, tl.load(keys + 2 * a), tl.load(keys + 2 * a + 1), CALLS
    )
    place = 8 * first.to(tl.int64) + tl.arange(0, 8 * CALLS)
    at = images + tl.load(sample + a).to(tl.int64) * n + place
    x = tl.load(at, place < n)
    tl.store(at, clip(x + tl.load(table + half) * tl.load(sigma + a)), place < n)


def add_noise(images: Tensor, sample: Tensor, sigma: Tensor, keys: Tensor) -> None:
    where, deviations, streams = sent(images, *by_image(images, sample, sigma, keys))
    n = images[0].numel()
    blocks = triton.cdiv(n, 8 * _CALLS)
    table = device_table("normal", images.device)
    launch(_add_noise, len(where) * blocks, images, table, where, deviations, streams, n, blocks, CALLS=_CALLS)


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
