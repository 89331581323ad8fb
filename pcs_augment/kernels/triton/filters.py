"""Grey ranges in and around outlines."""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ... import raster
from ...transfer import all_to_device
from .edges import BLOCK_X, BLOCK_Y, crossing, edges_of, exact, parts_of
from .launch import channels_of, launch


@triton.jit
def _near_segment(edge, y, radius, square):
    """raster._near_segment: the interval of x on each row."""
    x0, y0, x1, y1 = tl.load(edge), tl.load(edge + 1), tl.load(edge + 2), tl.load(edge + 3)
    row = y + 0.5
    dx, dy = x1 - x0, y1 - y0
    length = tl.maximum(tl.sqrt_rn(dx * dx + dy * dy), 1e-6)
    nx, ny = tl.div_rn(-dy, length) * radius, tl.div_rn(dx, length) * radius
    left, right = row * 0.0 + float("inf"), row * 0.0 - float("inf")
    rest = square - (row - y0) * (row - y0)
    half = tl.sqrt_rn(tl.maximum(rest, 0.0))
    left, right = tl.where(rest >= 0, x0 - half, left), tl.where(rest >= 0, x0 + half, right)
    rest = square - (row - y1) * (row - y1)
    half = tl.sqrt_rn(tl.maximum(rest, 0.0))
    left = tl.where(rest >= 0, tl.minimum(left, x1 - half), left)
    right = tl.where(rest >= 0, tl.maximum(right, x1 + half), right)
    if dy != 0.0:
        for side in tl.static_range(2):
            sign = 1.0 - 2.0 * side
            t = tl.div_rn(row - y0 - sign * ny, row * 0.0 + dy)
            at = x0 + sign * nx + t * dx
            left = tl.where((t >= 0) & (t <= 1), tl.minimum(left, at), left)
            right = tl.where((t >= 0) & (t <= 1), tl.maximum(right, at), right)
    return left, right


@triton.jit
def _extremes(
    lowest, highest, images, parts, edges, rows, first, sample, radius, square, channels, height, width,
    BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    """The 8-bit extremes of each channel in and around each outline."""
    part = parts + 5 * tl.program_id(0)
    n = tl.load(part)
    begin, end = tl.load(first + n), tl.load(first + n + 1)
    image = images + tl.load(sample + n).to(tl.int64) * channels * height * width
    for top in range(tl.load(part + 2), tl.load(part + 4), BY):
        y = top + tl.arange(0, BY)[:, None]
        for left in range(tl.load(part + 1), tl.load(part + 3), BX):
            x = left + tl.arange(0, BX)[None, :]
            fx, fy = x.to(tl.float32), y.to(tl.float32)
            near = tl.zeros((BY, BX), tl.int32)
            inside = tl.zeros((BY, BX), tl.int32)
            for e in range(begin, end):
                low, high = _near_segment(edges + 6 * e, fy, radius, square)
                row = (y >= tl.load(rows + 2 * e)) & (y < tl.load(rows + 2 * e + 1))
                near |= (row & (fx >= low - 0.5) & (fx <= high - 0.5)).to(tl.int32)
                y0, y1 = tl.load(edges + 6 * e + 1), tl.load(edges + 6 * e + 3)
                crosses = (y0 <= fy + 0.5) != (y1 <= fy + 0.5)
                inside ^= (crosses & (fx >= tl.ceil(crossing(edges + 6 * e, fy) - 0.5))).to(tl.int32)
            here = ((near | inside) > 0) & (y < tl.load(part + 4)) & (x < tl.load(part + 3))
            for c in range(channels):
                grey = tl.load(image + (c * height + y) * width + x, here, other=0.0) * 255.0
                # (grey + 2^23) - 2^23 rounds halves to even, as torch.round does
                level = ((grey + 8388608.0) - 8388608.0).to(tl.int32)
                tl.atomic_min(lowest + n * channels + c, tl.min(tl.where(here, level, 255)), sem="relaxed")
                tl.atomic_max(highest + n * channels + c, tl.max(tl.where(here, level, 0)), sem="relaxed")


def object_spread(images: Tensor, sample: Tensor, points: Tensor, corners: Tensor, radius: float) -> Tensor:
    channels, height, width = channels_of(images)
    outlines, counts = points.numpy(), corners.numpy()
    lists = (
        sample.numpy(),
        parts_of(raster.bounds(outlines, counts, height, width, radius)),
        np.append(0, np.cumsum(counts)),
        exact(outlines),
        raster.following(counts),
    )
    where, parts, first, at, following = all_to_device(images.device, *lists)
    edges, rows = edges_of(at, following, height, radius)
    lowest = torch.full((len(where), channels), 255, dtype=torch.int32, device=images.device)
    highest = torch.zeros_like(lowest)
    arguments = (images, parts, edges, rows, first, where, radius, radius * radius, channels, height, width)
    launch(_extremes, len(parts), lowest, highest, *arguments, num_warps=2, BX=BLOCK_X, BY=BLOCK_Y)
    return (highest - lowest).amax(1).clamp_(min=-1).long()
