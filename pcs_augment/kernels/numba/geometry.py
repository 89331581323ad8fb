"""Quarter turns and flips of one image, in place."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .compiling import compiled, inlined
from .threads import each_image

F = np.float32
_TILE = 16  # pixels a side: a line of the cache a row
_ONE, _TWO, _32, _LOW, _HIGH = np.uint64(1), np.uint64(2), np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFF << 32)


@inlined
def _upside_down(x):
    """Rows in reverse order."""
    height, width = x.shape
    kept = np.empty(width, F)
    for y in range(height // 2):
        upper, lower = x[y], x[height - 1 - y]
        for i in range(width):
            kept[i] = upper[i]
        for i in range(width):
            upper[i] = lower[i]
        for i in range(width):
            lower[i] = kept[i]


@inlined
def _mirrored(x):
    """Every row backwards."""
    height, width = x.shape
    kept = np.empty(width, F)
    for y in range(height):
        row = x[y]
        for i in range(width):
            kept[i] = row[i]
        for i in range(width):
            row[i] = kept[np.uint64(width - 1 - i)]  # which is not asked whether it counts from the end


@inlined
def _transposed(x):
    """A square, tile by tile."""
    n = len(x)
    pairs = x.reshape(-1)[: n * n // 2 * 2].view(np.uint64)
    for top in range(0, n, _TILE):
        for left in range(top, n, _TILE):
            bottom, right = min(top + _TILE, n), min(left + _TILE, n)
            if n % 2 == 0:
                _swapped_pairs(pairs, np.uint64(n // 2), np.uint64(top), np.uint64(bottom), np.uint64(left), np.uint64(right))
                continue
            for i in range(top, bottom):
                for j in range(max(left, i + 1), right):
                    x[i, j], x[j, i] = x[j, i], x[i, j]


@inlined
def _swapped_pairs(pairs, across, top, bottom, left, right):
    """A tile and the one across the diagonal change places, two by two pixels at a time; across: pairs of pixels in a row."""
    for i in range(top, bottom, _TWO):
        for j in range(left if left > top else i, right, _TWO):
            upper, lower = i * across + (j >> _ONE), j * across + (i >> _ONE)
            a, b, c, d = pairs[upper], pairs[upper + across], pairs[lower], pairs[lower + across]
            pairs[upper], pairs[upper + across] = (c & _LOW) | (d << _32), (c >> _32) | (d & _HIGH)
            pairs[lower], pairs[lower + across] = (a & _LOW) | (b << _32), (a >> _32) | (b & _HIGH)


@compiled
def _turn(image, kind, flip):
    """geometry.moved"""
    for c in range(len(image)):
        if not flip and kind % 2 == 1:
            _transposed(image[c])
        if (kind == 2) if flip else (kind == 1 or kind == 2):
            _upside_down(image[c])
        if (kind == 1) if flip else kind >= 2:
            _mirrored(image[c])


def turn(images: Tensor, sample: Tensor, kind: Tensor, flip: bool) -> None:
    moves = kind != 0
    each_image(_turn, images, sample[moves], kind[moves].numpy(), constants=(flip,))
