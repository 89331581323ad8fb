"""Noise textures, their layers and how these are blended, as the paper's Eqs. 9 to 12 say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .streams import Array


def interference(k: float, turn: float, phase: float, height: int, width: int) -> Array:
    """N_I = (cos(2 pi x.n / k + phi) + 1) / 2 (Eq. 9), n at ``turn`` and phi at ``phase`` full turns."""
    y, x = np.mgrid[:height, :width]
    along = x * np.cos(2 * np.pi * turn) + y * np.sin(2 * np.pi * turn)
    return (np.cos(2 * np.pi * (along / k + phase)) + 1) / 2


def perlin(k: float, first: float, second: float, height: int, width: int, angles: Callable[[int], NDArray[np.int64]]) -> Array:
    """N_P: gradient noise on a lattice of k px that begins (first, second) cells before the image; quintic fade.

    angles(n): the first n gradient angles in 1/65536 of a turn, row by row of the lattice.
    """
    x, y = np.arange(width) / k + first, (np.arange(height) / k + second)[:, None]
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    rows, columns = i.max() + 2, j.max() + 2
    angle = angles(rows * columns).reshape(rows, columns) * (2 * np.pi / 65536)
    total = np.zeros((height, width))
    for di in (0, 1):
        for dj in (0, 1):
            u, v = x - (j + dj), y - (i + di)
            a = angle[i + di, j + dj]
            total += _fade(1 - abs(u)) * _fade(1 - abs(v)) * (np.cos(a) * u + np.sin(a) * v)
    return total


def _fade(t: Array) -> Array:
    return 6 * t**5 - 15 * t**4 + 10 * t**3


def equalize(texture: Array) -> Array:
    """H: (rank + 1/2) / n with the middle rank of ties; a flat texture becomes 0.5."""
    return (rankdata(texture).reshape(texture.shape) - 0.5) / texture.size


def equalize_8bit(texture: Array) -> Array:
    """H as published: stretched to 0 .. 255, rounded, cv2.equalizeHist; a flat texture becomes 0.5."""
    span = texture.max() - texture.min()
    if span == 0:
        return np.full(texture.shape, 0.5)
    return cv2.equalizeHist(np.rint((texture - texture.min()) * (255 / span)).astype(np.uint8)) / 255


def noise_layer(textures: Sequence[Array], equalize_layer: bool = True, bins: int | None = None) -> Array:
    """L = 1/N sum of H[N_i] (Eq. 10), equalised itself as the published code does."""
    h = equalize_8bit if bins else equalize
    mean = np.mean([h(t) for t in textures], 0)
    return h(mean) if equalize_layer else mean


def blend(image: Array, layer: Array, weight_layer: Array, c: float = 5.0) -> Array:
    """A = (b + w l) / (1 + w), w = c sigma_b l' 2^(1 - 2 l) (Eqs. 11 and 12)."""
    w = c * image.std() * weight_layer * 2 ** (1 - 2 * layer)
    return (image + w * layer) / (1 + w)
