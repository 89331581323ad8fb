"""Grey offsets from many small things: lists of pixels and values, summed up per pixel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import raster
from .raster import Pixels
from .transfer import to_device

_ONE = 2**16  # of the integers that are summed: their sum does not depend on the order


def summed(images: int, height: int, width: int, slot: Tensor, x: Tensor, y: Tensor, value: Tensor) -> Tensor:
    """(images, 1, height, width) sums of values at pixels (x, y) of images ``slot``, all (P,); rounded to 2^-16 each."""
    total = torch.zeros(images * height * width, dtype=torch.int32, device=value.device)
    total.index_add_(0, (slot * height + y) * width + x, value.mul(_ONE).round_().to(torch.int32))
    return total.view(images, 1, height, width).float().div_(_ONE)


def discs(centre: NDArray, radius: NDArray, height: int, width: int) -> NDArray[np.int64]:
    """(M, 4) pixel rectangles (x0, y0, x1, y1) around discs, clipped to the image."""
    size = np.array([width, height])
    low = np.clip(np.floor(centre - radius[:, None]), 0, size)
    high = np.clip(np.ceil(centre + radius[:, None]), low, size)
    return np.concatenate((low, high), 1).astype(np.int64)


def filled(
    points: NDArray[np.float64], corners: NDArray[np.int64], height: int, width: int, device: torch.device
) -> tuple[Pixels, Tensor]:
    """Candidates for the pixels inside outlines and a flag for each; hits only on a CPU, where counting them is no wait."""
    at, inside = raster.filled(points, corners, None, height, width, device)
    if device.type != "cpu":
        return at, inside
    hits = inside.nonzero()[:, 0]
    return Pixels(*(v.index_select(0, hits) for v in at)), inside.index_select(0, hits)


def parts(sample: NDArray[np.int64], device: torch.device) -> list[slice]:
    """Rows of a table, whose column ``sample`` is given, to work on at once: on a CPU one image, which stays in the cache."""
    if device.type != "cpu" or not len(sample):
        return [slice(0, len(sample))] if len(sample) else []
    first = np.flatnonzero(np.diff(sample, prepend=-1))
    return [slice(a, b) for a, b in zip(first.tolist(), [*first[1:].tolist(), len(sample)])]


def add(images: Tensor, sample: NDArray[np.int64], offsets: Tensor) -> Tensor:
    """images[sample[i]] += offsets[i], clipped to [0, 1]; in place."""
    index = to_device(sample, images.device)
    return images.index_copy_(0, index, images.index_select(0, index).add_(offsets).clamp_(0, 1))
