"""Gaussian blur."""

from __future__ import annotations

from torch import Tensor

from ...rooms import by_image
from .gaussian import blurred, reaches
from .launch import in_goes, sent


def blur(images: Tensor, sample: Tensor, taps: Tensor) -> None:
    sample, taps = by_image(images, sample, taps)
    for some in in_goes(len(sample), images[:1].numel()):
        where, weights, reach = sent(images, sample[some].int(), taps[some], reaches(sample[some], taps[some]))
        blurred(images, weights, reach, images, where)
