"""Grey ranges in and around outlines."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ... import raster, rooms
from ...transfer import all_to_device
from .edges import BLOCKS, block_columns, crossing, edges_of, exact, parts_by_form, small, starts_of
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
def _columns_near(edges, rows, begin, end, y, radius, square):
    """raster.row_spans of a convex outline: ends of what lies within the radius on rows y (a block); inf, -inf for none."""
    left, right = y.to(tl.float32) * 0.0 + float("inf"), y.to(tl.float32) * 0.0 - float("inf")
    for e in range(begin, end):
        low, high = _near_segment(edges + 6 * e, y.to(tl.float32), radius, square)
        row = (y >= tl.load(rows + 2 * e)) & (y < tl.load(rows + 2 * e + 1))
        left = tl.where(row, tl.minimum(left, low), left)
        right = tl.where(row, tl.maximum(right, high), right)
    return left, right


@triton.jit
def _near_or_inside(edges, rows, begin, end, y, x, radius, square):
    """The same of any outline, for each pixel of a block."""
    fx, fy = x.to(tl.float32), y.to(tl.float32)
    near, odd = (y + x) * 0, (y + x) * 0
    for e in range(begin, end):
        low, high = _near_segment(edges + 6 * e, fy, radius, square)
        row = (y >= tl.load(rows + 2 * e)) & (y < tl.load(rows + 2 * e + 1))
        near |= (row & (fx >= low - 0.5) & (fx <= high - 0.5)).to(tl.int32)
        y0, y1 = tl.load(edges + 6 * e + 1), tl.load(edges + 6 * e + 3)
        crosses = (y0 <= fy + 0.5) != (y1 <= fy + 0.5)
        odd ^= (crosses & (fx >= tl.ceil(crossing(edges + 6 * e, fy) - 0.5))).to(tl.int32)
    return near | odd


@triton.jit(do_not_specialize_on_alignment=["highest"])
def _extremes(
    lowest, highest, images, parts, edges, rows, first, sample, radius, square, channels, height, width,
    CONVEX: tl.constexpr, BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    """The 8-bit extremes of each channel in and around each outline: how far below 255 and above 0 they lie."""
    part = parts + 5 * tl.program_id(0)
    n = tl.load(part)
    begin, end = tl.load(first + n), tl.load(first + n + 1)
    image = images + tl.load(sample + n).to(tl.int64) * channels * height * width
    x0, x1, bottom = tl.load(part + 1), tl.load(part + 3), tl.load(part + 4)
    for top in range(tl.load(part + 2), bottom, BY):
        y = top + tl.arange(0, BY)[:, None]
        first_x, last_x = y.to(tl.float32) * 0.0 - float("inf"), y.to(tl.float32) * 0.0 + float("inf")
        if CONVEX:
            left_end, right_end = _columns_near(edges, rows, begin, end, y, radius, square)
            first_x, last_x = left_end - 0.5, right_end - 0.5
        low_x, high_x = block_columns(first_x, last_x + 1.0, x0, x1)
        for left in range(low_x, high_x, BX):
            x = left + tl.arange(0, BX)[None, :]
            fx = x.to(tl.float32)
            here = (fx >= first_x) & (fx <= last_x) & (y < bottom) & (x < x1)
            if not CONVEX:
                here &= _near_or_inside(edges, rows, begin, end, y, x, radius, square) > 0
            for c in range(channels):
                grey = tl.load(image + (c * height + y) * width + x, here, other=0.0) * 255.0
                # (grey + 2^23) - 2^23 rounds halves to even, as torch.round does
                level = ((grey + 8388608.0) - 8388608.0).to(tl.int32)
                tl.atomic_max(lowest + n * channels + c, tl.max(tl.where(here, 255 - level, 0)), sem="relaxed")
                tl.atomic_max(highest + n * channels + c, tl.max(tl.where(here, level, 0)), sem="relaxed")


@triton.jit(do_not_specialize=["n"], do_not_specialize_on_alignment=["highest"])
def _spread(out, lowest, highest, channels, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    widest = tl.zeros((BLOCK,), tl.int32) - 1
    for c in range(channels):
        at = i * channels + c
        both = tl.load(lowest + at, i < n, other=0) + tl.load(highest + at, i < n, other=0)
        widest = tl.maximum(widest, both - 255)
    tl.store(out + i, widest.to(tl.int64), i < n)


def object_spread(images: Tensor, sample: Tensor, points: Tensor, corners: Tensor, radius: float, enough: int = 255) -> Tensor:
    channels, height, width = channels_of(images)
    outlines, counts = points.numpy(), corners.numpy()
    rectangles = raster.bounds(outlines, counts, height, width, radius)
    convex, other = parts_by_form(rectangles, raster.is_convex(outlines, counts))
    objects, corners_there = rooms.size("objects seen", len(sample)), rooms.size("corners seen", len(outlines))
    lists = (
        rooms.filled(small(sample.numpy()), objects),
        rooms.filled(convex, rooms.size("parts seen", len(convex))),
        rooms.filled(other, rooms.size("dented parts seen", len(other))),
        starts_of(rooms.filled(counts, objects)),
        exact(rooms.filled(outlines, corners_there)),
    )
    where, *parts, first, at = all_to_device(images.device, *lists)
    edges, rows = edges_of(at, first, height, radius)
    lowest, highest = torch.zeros(2, len(where), channels, dtype=torch.int32, device=images.device)
    arguments = (edges, rows, first, where, radius, radius * radius, channels, height, width)
    for some, block in zip(parts, BLOCKS):
        launch(_extremes, len(some), lowest, highest, images, some, *arguments, num_warps=2, **block)
    out = torch.empty(len(where), dtype=torch.int64, device=images.device)
    launch(_spread, triton.cdiv(len(where), 256), out, lowest, highest, channels, len(where), BLOCK=256)
    return out
