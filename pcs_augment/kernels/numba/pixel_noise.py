"""Gaussian and impulse noise."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...rng import LANE_PIXEL, normal_table
from .compiling import compiled
from .rng import CALLS, block
from .sums import clip
from .threads import each_image

F = np.float32
_UNIT, _ZERO = F(1), F(0)
_LANE = np.uint32(LANE_PIXEL)


@compiled
def _add_noise(x, sigma, key, table):
    """pixel_noise._noisy"""
    flat = x.reshape(-1)
    words, noise = np.empty(2 * CALLS, np.uint64), np.empty(8 * CALLS, F)
    halves = words.view(np.uint16)
    for first in range(0, flat.size, 8 * CALLS):
        block(first // 8, 0, _LANE, key, words)
        for i in range(8 * CALLS):  # look-ups apart from arithmetic, which then vectorises
            noise[i] = table[halves[i]]
        strip = flat[first : first + 8 * CALLS]
        for i in range(strip.size):
            strip[i] = clip(strip[i] + noise[i] * sigma)


def add_noise(images: Tensor, sample: Tensor, sigma: Tensor, keys: Tensor) -> None:
    each_image(_add_noise, images, sample, sigma.float().numpy(), keys.numpy(), constants=(normal_table(),))


@compiled
def _add_impulses(x, white, black, key):
    """pixel_noise._speckled"""
    pixels = x.shape[1] * x.shape[2]
    flat = x.reshape(x.shape[0], pixels)
    words = np.empty(2 * CALLS, np.uint64)
    halves, low, high = words.view(np.uint16), np.int32(white), np.int32(black)
    for first in range(0, pixels, 8 * CALLS):
        block(first // 8, 0, _LANE, key, words)
        for c in range(x.shape[0]):
            strip = flat[c, first : first + 8 * CALLS]
            for i in range(strip.size):
                drawn = np.int32(halves[i])
                value = _UNIT if drawn < low else strip[i]
                strip[i] = _ZERO if drawn >= high else value


def add_impulses(images: Tensor, sample: Tensor, white: Tensor, black: Tensor, keys: Tensor) -> None:
    each_image(_add_impulses, images, sample, white.numpy(), black.numpy(), keys.numpy())
