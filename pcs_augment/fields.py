"""Smooth random fields over images: few lattice points, interpolated along one axis, then along the other."""

from __future__ import annotations

import torch
from torch import Tensor

from .rng import device_table, halves

_ROW = 64  # lattice points in a row: as many as a field may have, so that where one lies does not depend on the image


def lattice(keys: Tensor, lane: int, count: int) -> Tensor:
    """(A, count) standard normals of lane ``lane`` of (A, 2) stream keys."""
    return device_table("normal", keys.device).take(halves(keys, lane, count))


def smooth(keys: Tensor, lane: int, spacing: Tensor, height: int, width: int) -> Tensor:
    """Random fields of about standard deviation 1 whose values change over ``spacing`` px (cubic B-splines).

    Args:
        keys: (A, 2) int64 stream keys.
        lane: which numbers of these streams.
        spacing: (A,) px between lattice points; raised where more than 60 points would be needed along a side.
        height, width: of the images, px.

    Returns:
        (A, 1, height, width) float32.
    """
    spacing = spacing.clamp(min=max(height, width) / (_ROW - 4))
    cell_y, weight_y = _spline(spacing, height)
    cell_x, weight_x = _spline(spacing, width)
    rows = _ROW
    points = lattice(keys, lane, rows * _ROW).view(-1, rows, _ROW)
    across: Tensor | None = None
    for t in range(4):
        part = _along(points, cell_x + t, 2).mul_(weight_x[t][:, None, :])
        across = part if across is None else across.add_(part)
    assert across is not None
    out: Tensor | None = None
    for t in range(4):
        part = _along(across, cell_y + t, 1).mul_(weight_y[t][:, :, None])
        out = part if out is None else out.add_(part)
    assert out is not None
    return out[:, None]


def _along(values: Tensor, index: Tensor, axis: int) -> Tensor:
    """(A, R, C) at (A, n) places along an axis."""
    if len(values) == 1:
        return values.index_select(axis, index[0])
    shape = list(values.shape)
    shape[axis] = index.shape[1]
    return values.gather(axis, (index[:, :, None] if axis == 1 else index[:, None, :]).expand(shape))


def _spline(spacing: Tensor, length: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(A, length) first of the four lattice points around each pixel centre, and their weights, of variance 1 on average."""
    at = (torch.arange(length, device=spacing.device) + 0.5) / spacing[:, None]
    cell = at.floor()
    t = at - cell
    s = 1 - t
    weights = (s * s * s, 4 - 6 * t * t + 3 * t * t * t, 4 - 6 * s * s + 3 * s * s * s, t * t * t)
    # the mean over a cell of the sum of squares of B-spline weights is 151 / 315
    return cell.long(), tuple(w * (315 / 151) ** 0.5 / 6 for w in weights)


def upsampled(values: Tensor, step: int, height: int, width: int) -> Tensor:
    """(A, h, w) values at px (step (i - 1/2)) to (A, 1, height, width) at pixel centres, linearly."""
    return _linear(_linear(values, step, width, 2), step, height, 1)[:, None]


def coarse(step: int, length: int, device: torch.device) -> Tensor:
    """Where ``upsampled`` wants its values along an axis, px."""
    return (torch.arange(length // step + 3, device=device) - 0.5) * step


def _linear(values: Tensor, step: int, length: int, axis: int) -> Tensor:
    at = (torch.arange(length, device=values.device) + 0.5) / step + 0.5
    cell = at.floor()
    t = (at - cell).view((-1, 1) if axis == 1 else (1, -1))
    near, far = values.index_select(axis, cell.long()), values.index_select(axis, cell.long() + 1)
    return near.add_(far.sub_(near).mul_(t))


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and 3 x^2 - 2 x^3 between; in place."""
    x = x.clamp_(0, 1)
    return x.mul(-2).add_(3).mul_(x).mul_(x)


def bump(x: Tensor) -> Tensor:
    """(1 - x^2 / 4)^2 up to |x| = 2, 0 beyond: like exp(-x^2 / 2), but quick far out; in place."""
    return x.square_().mul_(-0.25).add_(1).clamp_(min=0).square_()
