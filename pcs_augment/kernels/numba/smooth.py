"""Gaussian blur."""

from __future__ import annotations

from torch import Tensor

from ... import gaussian
from .gaussian import blur as _blur
from .threads import each_image


def blur(images: Tensor, sample: Tensor, taps: Tensor) -> None:
    each_image(_blur, images, sample, gaussian.each(taps))
