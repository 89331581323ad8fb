"""Gaussian blur."""

from __future__ import annotations

from torch import Tensor

from ... import gaussian
from .gaussian import blurred
from .launch import sent


def blur(images: Tensor, sample: Tensor, taps: Tensor) -> None:
    where, weights, reach = sent(images, sample, taps, gaussian.reach_of(taps))
    blurred(images, where, weights, reach, images, where)
