"""Gaussian blur."""

from __future__ import annotations

from torch import Tensor

from ... import gaussian
from .gaussian import blurred
from .launch import in_goes, sent


def blur(images: Tensor, sample: Tensor, taps: Tensor) -> None:
    for some in in_goes(len(sample), images[:1].numel()):
        where, weights, reach = sent(images, sample[some].int(), taps[some], gaussian.reach_of(taps[some]))
        blurred(images, where, weights, reach, images, where)
