"""Outlines and curves as edges, and rectangles of pixels to look at.

Outlines are closed runs of ``edges`` (V, 6): x0, y0, x1, y1 and the differences; a program takes a part of one outline's
rectangle and goes through its edges. ``parts`` (M, 5) has such rectangles: outline, x0, y0, x1, y1, ends excluded.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ... import raster
from .launch import clip, launch

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_X, BLOCK_Y = 32, 8  # pixels of an outline looked at together
_PART = 2048  # pixels of a program, so that large crystals are shared out


@triton.jit(do_not_specialize=["n"])
def _edges(edges, rows, points, following, n, height, margin, NEAR: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = i < n
    j = tl.load(following + i, here, other=0)
    x0 = tl.load(points + 2 * i, here, other=0).to(tl.float64, bitcast=True)
    y0 = tl.load(points + 2 * i + 1, here, other=0).to(tl.float64, bitcast=True)
    x1 = tl.load(points + 2 * j, here, other=0).to(tl.float64, bitcast=True)
    y1 = tl.load(points + 2 * j + 1, here, other=0).to(tl.float64, bitcast=True)
    at = edges + 6 * i
    tl.store(at, x0.to(tl.float32), here)
    tl.store(at + 1, y0.to(tl.float32), here)
    tl.store(at + 2, x1.to(tl.float32), here)
    tl.store(at + 3, y1.to(tl.float32), here)
    tl.store(at + 4, (x1 - x0).to(tl.float32), here)
    tl.store(at + 5, (y1 - y0).to(tl.float32), here)
    low, high = tl.minimum(y0, y1), tl.maximum(y0, y1)
    if NEAR:
        first, last = tl.ceil(low - margin - 0.5), tl.floor(high + margin - 0.5) + 1.0
    else:
        first, last = tl.ceil(low - 0.5), tl.ceil(high - 0.5)
    tl.store(rows + 2 * i, tl.minimum(tl.maximum(first, 0.0), height).to(tl.int32), here)
    tl.store(rows + 2 * i + 1, tl.minimum(tl.maximum(last, 0.0), height).to(tl.int32), here)


def edges_of(points: Tensor, following: Tensor, height: int, margin: float | None = None) -> tuple[Tensor, Tensor]:
    """(V, 6) edges from each corner to the following one, and (V, 2) rows: the first and the one past the last.

    points (V, 2): float64 as int64; rows are those whose middle the edge crosses, or that come within the margin of its ends.
    """
    n, device = len(points), points.device
    edges, rows = torch.empty(n, 6, device=device), torch.empty(n, 2, dtype=torch.int32, device=device)
    arguments = (rows, points, following, n, height, float(margin or 0))
    launch(_edges, triton.cdiv(n, 256), edges, *arguments, NEAR=margin is not None, BLOCK=256)
    return edges, rows


@triton.jit
def crossing(edge, y):
    """raster.crossing"""
    x0, y0, x1, y1 = tl.load(edge), tl.load(edge + 1), tl.load(edge + 2), tl.load(edge + 3)
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
    rise = y1 - y0
    if rise == 0.0:
        rise = 1.0
    return x0 + (y + 0.5 - y0) * tl.div_rn(x1 - x0, rise)


@triton.jit
def distance_to(edge, px, py):
    """raster.strokes: px from points to a segment."""
    dx, dy = tl.load(edge + 4), tl.load(edge + 5)
    px, py = px - tl.load(edge), py - tl.load(edge + 1)
    along = px * dx + py * dy
    t = clip(tl.div_rn(along, tl.maximum(dx * dx + dy * dy, 1e-12) + along * 0.0))
    px, py = px - t * dx, py - t * dy
    return tl.sqrt_rn(px * px + py * py)


def exact(points: Array) -> Ints:
    """float64 numbers as they are, since copies to the device round them to float32 otherwise."""
    return np.ascontiguousarray(points).view(np.int64)


def parts_of(rectangles: Ints) -> Ints:
    """(M, 5) owner and rectangle: rectangles cut along y into pieces of about _PART px."""
    size = rectangles[:, 2:] - rectangles[:, :2]
    tall = np.maximum(_PART // np.maximum(size[:, 0], 1) // BLOCK_Y, 1) * BLOCK_Y
    owner, step = raster.repeat_ranges(np.where(size[:, 0] > 0, -(-size[:, 1] // tall), 0))
    x0, y0, x1, y1 = rectangles[owner].T
    top = y0 + step * tall[owner]
    return np.stack((owner, x0, top, x1, np.minimum(top + tall[owner], y1)), -1)
