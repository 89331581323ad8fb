"""Images of all types to float32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ... import checks
from ...dispatch import FUNCTIONS
from .compiling import compiled
from .sums import clip
from .threads import for_images

F = np.float32
_LOW, _HIGH, _WHITE = F(-checks.OVERSHOOT), F(1 + checks.OVERSHOOT), F(255)


@compiled
def _load_floats(x, out):
    wrong = 0
    for i in range(x.size):
        v = x[i]
        wrong |= not (v >= _LOW and v <= _HIGH)  # NaN is neither
        out[i] = clip(v)
    return wrong == 0


@compiled
def _load_bytes(x, out):
    for i in range(x.size):
        out[i] = F(x[i]) / _WHITE
    return True


def load(images: Tensor, out: Tensor, valid: Tensor) -> None:
    kernel = {torch.float32: _load_floats, torch.uint8: _load_bytes}.get(images.dtype)
    if kernel is None or not images.is_contiguous():
        FUNCTIONS["checks.load"](images, out, valid)
        return
    given, pixels, flags = images.flatten(1).numpy(), out.flatten(1).numpy(), valid.numpy()

    def one(i: int) -> None:
        flags[i] = kernel(given[i], pixels[i])

    for_images(one, np.arange(len(images)))
