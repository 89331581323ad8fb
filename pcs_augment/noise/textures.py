"""What both kinds of noise share: the columns a texture is drawn from, and the checks of the public functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..plan import Table
from ..rng import Words, check_seed, open_streams, scale_uniform

COLUMNS = ("sample", "layer", "item", "scale", "first", "second")  # of the plan's table of textures, beside its keys
SMALLEST_SCALE = 4.0  # px, as published


def draw_textures(words: Words, low: float, high: float) -> Table:
    """(T, 4) random words to the columns of T textures.

    scale: spatial scale k in px, log-uniform in [low, high]; first, second: U[0, 1), which interference reads as direction
    and phase in turns, Perlin as the offset of its lattice along x and y in cells.
    """
    scale = low * np.exp(scale_uniform(words[:, 0]) * np.log(high / low))
    return {"scale": scale, "first": scale_uniform(words[:, 1]), "second": scale_uniform(words[:, 2])}


def seeded_textures(scale: Any, size: Sequence[int], seed: int) -> tuple[Table, int, int]:
    """The textures of the public functions ``perlin`` and ``interference``: one table and the image size, checked."""
    k = np.atleast_1d(np.asarray(scale.cpu() if isinstance(scale, torch.Tensor) else scale, dtype=np.float64))
    if k.ndim != 1 or not len(k) or not np.isfinite(k).all() or (k < 1).any():
        raise InputError(f"scale must be (T,) spatial scales of at least 1 px, got {scale!r}")
    try:
        height, width = (int(n) for n in size)
    except (TypeError, ValueError):
        raise InputError(f"size must be (height, width), got {size!r}") from None
    if not (1 <= height <= 16384 and 1 <= width <= 16384):
        raise InputError(f"size must be (height, width) with sides of 1 .. 16384 px, got {size!r}")
    stream = open_streams(check_seed(seed), 0, np.arange(len(k)), [4])[0]
    table = draw_textures(stream.words, 1, 2)
    keys: NDArray[np.uint64] = stream.keys
    table |= {"scale": k, "item": np.zeros(len(k), np.int64), "key0": keys[:, 0], "key1": keys[:, 1]}
    return table, height, width


def textures_of(*columns: torch.Tensor) -> Table:
    """The plan's table of textures from COLUMNS and (T, 2) keys, as operators take them."""
    values = [v.numpy() for v in columns]
    keys = values[-1].astype(np.uint64)
    return dict(zip(COLUMNS, values)) | {"key0": keys[:, 0], "key1": keys[:, 1]}


def signed(values: NDArray[np.uint64]) -> torch.Tensor:
    """32-bit words as the int64 tensor that the device generator works on."""
    return torch.from_numpy(values.astype(np.int64))
