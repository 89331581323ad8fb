"""Brightness and contrast."""

from __future__ import annotations

from torch import Tensor

from .compiling import compiled
from .sums import clip, mean
from .threads import each_image


@compiled
def _scale(x, factor):
    """tone._scaled"""
    flat = x.reshape(-1)
    for i in range(flat.size):
        flat[i] = clip(flat[i] * factor)


def scale(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    each_image(_scale, images, sample, factor.float().numpy())


@compiled
def _stretch(x, factor):
    """tone._stretched"""
    middle = mean(x)
    flat = x.reshape(-1)
    for i in range(flat.size):
        flat[i] = clip((flat[i] - middle) * factor + middle)


def stretch(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    each_image(_stretch, images, sample, factor.float().numpy())
