"""Gaussian and impulse noise."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...rng import LANE_PIXEL, normal_table
from .compiling import compiled
from .rng import CALLS, block
from .sums import clip
from .threads import each_image

_UNIT, _ZERO = np.float32(1), np.float32(0)
_LANE = np.uint32(LANE_PIXEL)


@compiled
def _add_noise(x, sigma, key, table):
    """pixel_noise._noisy"""
    flat = x.reshape(-1)
    words, halves = np.empty((4, CALLS), np.uint32), np.empty(8 * CALLS, np.int64)
    for first in range(0, flat.size, 8 * CALLS):
        block(first // 8, 0, _LANE, key, words, halves)
        for i in range(min(8 * CALLS, flat.size - first)):
            flat[first + i] = clip(flat[first + i] + table[halves[i]] * sigma)


def add_noise(images: Tensor, sample: Tensor, sigma: Tensor, keys: Tensor) -> None:
    each_image(_add_noise, images, sample, sigma.float().numpy(), keys.numpy(), constants=(normal_table(),))


@compiled
def _add_impulses(x, white, black, key):
    """pixel_noise._speckled"""
    pixels = x.shape[1] * x.shape[2]
    flat = x.reshape(x.shape[0], pixels)
    words, halves = np.empty((4, CALLS), np.uint32), np.empty(8 * CALLS, np.int64)
    for first in range(0, pixels, 8 * CALLS):
        block(first // 8, 0, _LANE, key, words, halves)
        for i in range(min(8 * CALLS, pixels - first)):
            if halves[i] < white:
                flat[:, first + i] = _UNIT
            if halves[i] >= black:
                flat[:, first + i] = _ZERO


def add_impulses(images: Tensor, sample: Tensor, white: Tensor, black: Tensor, keys: Tensor) -> None:
    each_image(_add_impulses, images, sample, white.numpy(), black.numpy(), keys.numpy())
