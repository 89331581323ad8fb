"""Perlin noise: classic gradient noise, one octave, quintic fade, unit gradients at uniform angles.

The lattice is aligned with the image, so a texture is separable per gradient component: interpolate along x once per lattice
row (small), then along y (four products per pixel). Lattice coordinates are 32.32 fixed-point integers, the same on every
device; gradients come from the texture's own random stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..plan import Table
from ..rng import LANE_LATTICE, MASK, host_philox, philox, split_words, unit_vectors
from ..transfer import send
from .textures import seeded_textures, signed

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

LARGEST = 0.5**0.5  # of the absolute value, for unit gradients in two dimensions


class Geometry(NamedTuple):
    """Where the lattices of T textures lie, on the host: fixed-point step and shifts, size, first gradient."""

    step: Int64[np.ndarray, " T"]
    shift_x: Int64[np.ndarray, " T"]
    shift_y: Int64[np.ndarray, " T"]
    columns: Int64[np.ndarray, " T"]
    rows: Int64[np.ndarray, " T"]
    calls: Int64[np.ndarray, " T"]  # of Philox, for eight gradients each
    start: Int64[np.ndarray, " T"]


def geometry(textures: Table, height: int, width: int) -> Geometry:
    """The lattices of a list of textures over an image."""
    step = np.round(2.0**32 / textures["scale"]).astype(np.int64)
    shift_x, shift_y = ((textures[c] * 2.0**32).astype(np.int64) for c in ("first", "second"))
    columns = (((width - 1) * step + shift_x) >> 32) + 2
    rows = (((height - 1) * step + shift_y) >> 32) + 2
    calls = -(-(columns * rows) // 8)
    return Geometry(step, shift_x, shift_y, columns, rows, calls, 8 * (np.cumsum(calls) - calls))


class Lattices:
    """The gradients of a list of textures, made for all of them at once, and fields evaluated for some of them."""

    def __init__(self, textures: Table, height: int, width: int, device: torch.device) -> None:
        self.height, self.width = height, width
        step, shift_x, shift_y, self.columns, self.rows, calls, self.start = geometry(textures, height, width)
        owner = np.repeat(np.arange(len(step)), calls)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(calls) - calls, calls)

        def to(values: NDArray[Any]) -> Tensor:
            return send(signed(values), device)

        key0, key1, item = (textures[c][owner] for c in ("key0", "key1", "item"))
        if device.type == "cpu":
            drawn = host_philox(number.astype(np.uint64), item.astype(np.uint64), LANE_LATTICE, key0, key1)
            words = tuple(signed(drawn).unbind(-1))
        else:
            words = philox(to(number), to(item), LANE_LATTICE, 0, to(key0), to(key1))
        gradients = torch.stack(unit_vectors(split_words(words).flatten()))  # (2, all lattice points)
        self.gradients = gradients
        step_t, shift_x_t, shift_y_t = to(step), to(shift_x), to(shift_y)
        self.columns_t, self.rows_t, self.start_t = to(self.columns), to(self.rows), to(self.start)
        # along one axis a texture needs per pixel: its cell, and what each gradient component at the cell's two ends counts
        self.cell_x, near, far, fade = _along(step_t, shift_x_t, width)
        self.x_near = torch.stack(((1 - fade) * near, 1 - fade))  # (2, T, W)
        self.x_far = torch.stack((fade * far, fade))
        self.cell_y, near, far, fade = _along(step_t, shift_y_t, height)
        self.y_near = torch.stack((1 - fade, (1 - fade) * near))  # (2, T, H)
        self.y_far = torch.stack((fade, fade * far))

    def arrays(self, t: int) -> tuple:
        """Texture t on the host, as the CPU kernel takes it."""
        start, size = int(self.start[t]), int(self.rows[t] * self.columns[t])
        x, y = (v.numpy()[:, t] for v in (self.x_near, self.x_far)), (v.numpy()[:, t] for v in (self.y_near, self.y_far))
        gradients = self.gradients.numpy()[:, start : start + size]
        return gradients, int(self.columns[t]), self.cell_x.numpy()[t], *x, self.cell_y.numpy()[t], *y

    def field(self, first: int, last: int) -> Float32[Tensor, "{last-first} H W"]:
        """The values of textures first .. last - 1."""
        mine = slice(first, last)
        at_x, at_y = self.cell_x[mine], self.cell_y[mine]
        x_near, x_far = self.x_near[:, mine, None], self.x_far[:, mine, None]  # (2, t, 1, W)
        y_near, y_far = self.y_near[:, mine, :, None], self.y_far[:, mine, :, None]
        if last - first == 1:
            rows, columns, start = int(self.rows[first]), int(self.columns[first]), int(self.start[first])
            lattice = self.gradients[:, start : start + rows * columns].view(2, 1, rows, columns)
            near, far = lattice.index_select(3, at_x[0]), lattice.index_select(3, at_x[0] + 1)
        else:
            rows = int(self.rows[mine].max())
            row = torch.arange(rows, device=at_x.device)[None, :].minimum(self.rows_t[mine][:, None] - 1)
            index = (self.start_t[mine][:, None] + row * self.columns_t[mine][:, None])[:, :, None] + at_x[:, None, :]
            near, far = self.gradients[:, index], self.gradients[:, index + 1]
        across = near.mul_(x_near).add_(far.mul_(x_far))  # (2, t, rows, W): interpolated along x, per component
        near, far = _rows(across, at_y).mul_(y_near), _rows(across, at_y + 1).mul_(y_far)
        near.add_(far)
        return near[0].add_(near[1])


def _along(
    step: Int64[Tensor, " T"], shift: Int64[Tensor, " T"], length: int
) -> tuple[
    Int64[Tensor, "T {length}"],
    Float32[Tensor, "T {length}"],
    Float32[Tensor, "T {length}"],
    Float32[Tensor, "T {length}"],
]:
    """Lattice cell of each px, offsets from its two ends in cells, and quintic fade towards the far end."""
    at = torch.arange(length, device=step.device) * step[:, None] + shift[:, None]
    t = ((at & MASK) >> 8).to(torch.float32) * 2.0**-24
    return at >> 32, t, t - 1, t * t * t * (t * (t * 6 - 15) + 10)


def _rows(values: Float32[Tensor, "2 T rows W"], cell: Int64[Tensor, "T H"]) -> Float32[Tensor, "2 T H W"]:
    """Rows ``cell`` of both components."""
    if len(cell) == 1:
        return values.index_select(2, cell[0])
    return values.gather(2, cell[None, :, :, None].expand(2, -1, -1, values.shape[3]))


def perlin(scale: Any, size: Sequence[int], seed: int = 0, device: torch.device | str = "cpu") -> Float32[Tensor, "T H W"]:
    """Make textures of Perlin noise N_P(k) (paper: Data augmentation; Perlin 2002, with unit gradients).

    One octave, quintic fade. Texture t depends on (scale[t], size, seed, t) alone.

    Args:
        scale: (T,) lattice spacings k, px of at least 1.
        size: (H, W), px, 1 .. 16384.
        seed: 0 .. 2^64 - 1.
        device: where the textures are made.

    Returns:
        (T, H, W) float32 in [-sqrt(1/2), sqrt(1/2)].

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> pa.perlin([8, 20.5], (48, 64)).shape
        torch.Size([2, 48, 64])
    """
    table, height, width = seeded_textures(scale, size, seed)
    lattices = Lattices(table, height, width, torch.device(device))
    return torch.cat([lattices.field(t, t + 1) for t in range(len(table["scale"]))])
