"""Outlines and curves as edges, and rectangles of pixels to look at.

Outlines are closed runs of ``edges`` (V, 6): x0, y0, x1, y1 and the differences; those of outline n are number
``first[n]`` to ``first[n + 1] - 1``. ``parts`` (M, 5) has rectangles: outline, x0, y0, x1, y1, ends excluded.

A row of pixels meets a convex outline in one interval. So a program that takes such a part goes through the edges once for each
row, and then asks of a pixel only whether it lies between the ends; the few other outlines are asked edge by edge.
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

# pixels looked at together, of a convex outline and of any other one
BLOCKS = ({"CONVEX": True, "BX": 32, "BY": 32}, {"CONVEX": False, "BX": 32, "BY": 8})
_PART = 8192  # pixels of a program, so that large crystals are shared out
_EDGES = 32  # of an outline at once


@triton.jit
def _edges(edges, rows, points, first, shift, height, margin, NEAR: tl.constexpr, SHIFTED: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0)
    begin, end = tl.load(first + n), tl.load(first + n + 1)
    for start in range(begin, end, BLOCK):
        i = start + tl.arange(0, BLOCK)
        here = i < end
        j = tl.where(i + 1 < end, i + 1, begin)
        x0 = tl.load(points + 2 * i, here, other=0).to(tl.float64, bitcast=True)
        y0 = tl.load(points + 2 * i + 1, here, other=0).to(tl.float64, bitcast=True)
        x1 = tl.load(points + 2 * j, here, other=0).to(tl.float64, bitcast=True)
        y1 = tl.load(points + 2 * j + 1, here, other=0).to(tl.float64, bitcast=True)
        if SHIFTED:
            dx = tl.load(shift + 2 * n).to(tl.float64, bitcast=True)
            dy = tl.load(shift + 2 * n + 1).to(tl.float64, bitcast=True)
            x0, y0, x1, y1 = x0 + dx, y0 + dy, x1 + dx, y1 + dy
        at = edges + 6 * i
        tl.store(at, x0.to(tl.float32), here)
        tl.store(at + 1, y0.to(tl.float32), here)
        tl.store(at + 2, x1.to(tl.float32), here)
        tl.store(at + 3, y1.to(tl.float32), here)
        tl.store(at + 4, (x1 - x0).to(tl.float32), here)
        tl.store(at + 5, (y1 - y0).to(tl.float32), here)
        low, high = tl.minimum(y0, y1), tl.maximum(y0, y1)
        if NEAR:
            upper, lower = tl.ceil(low - margin - 0.5), tl.floor(high + margin - 0.5) + 1.0
        else:
            upper, lower = tl.ceil(low - 0.5), tl.ceil(high - 0.5)
        tl.store(rows + 2 * i, tl.minimum(tl.maximum(upper, 0.0), height).to(tl.int32), here)
        tl.store(rows + 2 * i + 1, tl.minimum(tl.maximum(lower, 0.0), height).to(tl.int32), here)


def edges_of(
    points: Tensor, first: Tensor, height: int, margin: float | None = None, shift: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(V, 6) edges from each corner to the following one, and (V, 2) rows: the first and the one past the last.

    points (V, 2), shift (N, 2) of whole outlines: float64 as int64; rows are those whose middle the edge crosses, or that come
    within the margin of its ends.
    """
    device = points.device
    edges, rows = torch.empty(len(points), 6, device=device), torch.empty(len(points), 2, dtype=torch.int32, device=device)
    moved = points if shift is None else shift
    arguments = (rows, points, first, moved, height, float(margin or 0))
    constants = {"NEAR": margin is not None, "SHIFTED": shift is not None, "BLOCK": _EDGES}
    launch(_edges, len(first) - 1, edges, *arguments, num_warps=1, **constants)
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
def toggled(edge, row, y):
    """raster.inside: the first column right of an edge on rows y (a block), and whether the edge crosses them."""
    return tl.ceil(crossing(edge, y.to(tl.float32)) - 0.5), (y >= tl.load(row)) & (y < tl.load(row + 1))


@triton.jit
def columns_inside(edges, rows, begin, end, y):
    """Of a convex outline: the first column inside and the one past the last, for rows y (a block); inf, -inf for none."""
    left, right = y.to(tl.float32) * 0.0 + float("inf"), y.to(tl.float32) * 0.0 - float("inf")
    for e in range(begin, end):
        column, crosses = toggled(edges + 6 * e, rows + 2 * e, y)
        left = tl.where(crosses, tl.minimum(left, column), left)
        right = tl.where(crosses, tl.maximum(right, column), right)
    return left, right


@triton.jit
def odd_inside(edges, rows, begin, end, y, x):
    """Of any outline: 1 for the pixels of a block whose centres lie inside, by the even-odd rule."""
    odd = (y + x) * 0
    for e in range(begin, end):
        column, crosses = toggled(edges + 6 * e, rows + 2 * e, y)
        odd ^= (crosses & (x.to(tl.float32) >= column)).to(tl.int32)
    return odd


@triton.jit
def block_columns(left, right, x0, x1):
    """Within columns x0 .. x1 - 1 those that some of the intervals touch: the first and the one past the last."""
    low, high = tl.min(left), tl.max(right)
    low, high = tl.minimum(tl.maximum(low, x0), x1), tl.minimum(tl.maximum(high, x0), x1)
    return tl.floor(low).to(tl.int32), tl.ceil(high).to(tl.int32)


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


def starts_of(corners: Ints) -> NDArray[np.int32]:
    """(N + 1,) where outlines begin, and where the last one ends."""
    return small(np.append(0, np.cumsum(corners)))


def small(values: NDArray) -> NDArray[np.int32]:
    """Integers below 2^31, in half the room."""
    return values.astype(np.int32)


def parts_by_form(rectangles: Ints, convex: NDArray[np.bool_], some: Ints | None = None) -> list[NDArray[np.int32]]:
    """(M, 5) owner and rectangle, once for convex outlines and once for others: cut along y into pieces of about _PART px.

    some: the outlines that are meant, ascending; None for all.
    """
    chosen = np.arange(len(convex)) if some is None else some
    out = []
    for mine, block in zip((chosen[convex[chosen]], chosen[~convex[chosen]]), BLOCKS):
        size = rectangles[mine, 2:] - rectangles[mine, :2]
        tall = np.maximum(_PART // np.maximum(size[:, 0], 1) // block["BY"], 1) * block["BY"]
        number, step = raster.repeat_ranges(np.where(size[:, 0] > 0, -(-size[:, 1] // tall), 0))
        x0, y0, x1, y1 = rectangles[mine][number].T
        top = y0 + step * tall[number]
        out.append(small(np.stack((mine[number], x0, top, x1, np.minimum(top + tall[number], y1)), -1)))
    return out
