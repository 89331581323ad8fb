"""Perlin noise: classic gradient noise, one octave, quintic fade, unit gradients at uniform angles.

The lattice is aligned with the image, so a texture is separable per gradient component: interpolate along x once per lattice
row (small), then along y (four products per pixel). Lattice coordinates are 32.32 fixed-point integers, the same on every
device; gradients come from the texture's own random stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..plan import Table
from ..rng import LANE_LATTICE, MASK, philox, split_words, unit_vectors
from .textures import seeded_textures, signed

LARGEST = 0.5**0.5  # of the absolute value, for unit gradients in two dimensions


class Lattices:
    """The gradients of a list of textures, made for all of them at once, and fields evaluated for some of them."""

    def __init__(self, textures: Table, height: int, width: int, device: torch.device) -> None:
        self.height, self.width = height, width
        step = np.round(2.0**32 / textures["scale"]).astype(np.int64)
        shift_x, shift_y = ((textures[c] * 2.0**32).astype(np.int64) for c in ("first", "second"))
        self.columns = (((width - 1) * step + shift_x) >> 32) + 2  # (T,) lattice points along x
        self.rows = (((height - 1) * step + shift_y) >> 32) + 2
        calls = -(-(self.columns * self.rows) // 8)
        self.start = 8 * (np.cumsum(calls) - calls)  # (T,) where a texture's gradients begin
        owner = np.repeat(np.arange(len(step)), calls)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(calls) - calls, calls)

        def to(values: NDArray[Any]) -> Tensor:
            return signed(values).to(device, non_blocking=True)

        owner_t = to(owner)
        key0, key1, item = (to(textures[c])[owner_t] for c in ("key0", "key1", "item"))
        words = philox(to(number), item, LANE_LATTICE, 0, key0, key1)
        self.gx, self.gy = unit_vectors(split_words(words).flatten())
        self.step, self.shift_x, self.shift_y = to(step), to(shift_x), to(shift_y)
        self.columns_t, self.rows_t, self.start_t = to(self.columns), to(self.rows), to(self.start)

    def field(self, first: int, last: int) -> Tensor:
        """(last - first, H, W) float32 values of textures first .. last - 1."""
        mine = slice(first, last)
        cell_x, near_x, far_x, fade_x = _along(self.step[mine], self.shift_x[mine], self.width)
        cell_y, near_y, far_y, fade_y = _along(self.step[mine], self.shift_y[mine], self.height)
        rows, columns, start = int(self.rows[mine].max()), self.columns_t[mine], self.start_t[mine]
        row = torch.arange(rows, device=columns.device)[None, :].minimum(self.rows_t[mine][:, None] - 1)
        index = (start[:, None] + row * columns[:, None])[:, :, None] + cell_x[:, None, :]  # (t, rows, W)
        keep_x = (1 - fade_x)[:, None]
        along = self.gx[index] * (keep_x * near_x[:, None]) + self.gx[index + 1] * (fade_x * far_x)[:, None]
        across = self.gy[index] * keep_x + self.gy[index + 1] * fade_x[:, None]
        keep_y = 1 - fade_y
        out = _row(along, cell_y) * keep_y[..., None]
        out.add_(_row(across, cell_y).mul_((keep_y * near_y)[..., None]))
        out.add_(_row(along, cell_y + 1).mul_(fade_y[..., None]))
        return out.add_(_row(across, cell_y + 1).mul_((fade_y * far_y)[..., None]))


def _along(step: Tensor, shift: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(t, length) lattice cell, offsets from its two ends in cells, and quintic fade towards the far end."""
    at = torch.arange(length, device=step.device) * step[:, None] + shift[:, None]
    t = ((at & MASK) >> 8).to(torch.float32) * 2.0**-24
    return at >> 32, t, t - 1, t * t * t * (t * (t * 6 - 15) + 10)


def _row(values: Tensor, cell: Tensor) -> Tensor:
    """Rows ``cell`` (t, H) of (t, rows, W)."""
    if len(values) == 1:
        return values[0].index_select(0, cell[0])[None]
    return values.gather(1, cell[:, :, None].expand(-1, -1, values.shape[2]))


def perlin(scale: Any, size: Sequence[int], seed: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """Perlin noise textures N_P(k) (paper: Data augmentation; Perlin 2002 with unit gradients).

    scale: (T,) lattice spacings k in px, at least 1; size: (H, W). Texture t depends on (scale[t], size, seed, t) alone.
    Returns (T, H, W) float32 in [-sqrt(1/2), sqrt(1/2)]. Raises InputError.
    """
    table, height, width = seeded_textures(scale, size, seed)
    lattices = Lattices(table, height, width, torch.device(device))
    return torch.cat([lattices.field(t, t + 1) for t in range(len(table["scale"]))])
