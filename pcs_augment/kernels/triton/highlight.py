"""Paint on single objects."""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ... import raster, rooms
from ...raster import BORDER, FILL_TWICE, OUTLINE
from ...rooms import by_image
from ...transfer import all_to_device
from .edges import (
    BLOCKS,
    block_columns,
    columns_inside,
    distance_to,
    edges_of,
    exact,
    odd_inside,
    parts_by_form,
    small,
    starts_of,
)
from .gaussian import blurred, reaches
from .launch import channels_of, in_goes, launch


@triton.jit
def _strokes(
    owner, edges, first, slot, reach, exact_reach, kind, points, window, height, width,
    OUTLINE: tl.constexpr, BORDER_WINDOW: tl.constexpr, ALONG: tl.constexpr, ACROSS: tl.constexpr,
):  # fmt: skip
    """raster.strokes: what lies within reach of an object's edges; each is walked along its longer axis."""
    n = tl.program_id(0)
    begin, end, near = tl.load(first + n), tl.load(first + n + 1), tl.load(reach + n)
    far = tl.load(exact_reach + n).to(tl.float64, bitcast=True)
    wide = tl.where(tl.load(kind + n) == OUTLINE, window, BORDER_WINDOW)
    image = owner + tl.load(slot + n).to(tl.int64) * height * width
    for e in range(begin, end):
        after = tl.where(e + 1 < end, e + 1, begin)
        x0, y0 = tl.load(points + 2 * e).to(tl.float64, bitcast=True), tl.load(points + 2 * e + 1).to(tl.float64, bitcast=True)
        x1 = tl.load(points + 2 * after).to(tl.float64, bitcast=True)
        y1 = tl.load(points + 2 * after + 1).to(tl.float64, bitcast=True)
        steep = tl.abs(y1 - y0) > tl.abs(x1 - x0)
        limit = tl.where(steep, height, width)
        a, b = tl.where(steep, y0, x0), tl.where(steep, y1, x1)
        low = tl.minimum(tl.maximum(tl.floor(tl.minimum(a, b) - far), 0.0), limit).to(tl.int32)
        high = tl.minimum(tl.maximum(tl.floor(tl.maximum(a, b) + far) + 1.0, 0.0), limit).to(tl.int32)
        edge = edges + 6 * e
        fx, fy, dx, dy = tl.load(edge), tl.load(edge + 1), tl.load(edge + 4), tl.load(edge + 5)
        start, other = tl.where(steep, fy, fx), tl.where(steep, fx, fy)
        rise, run = tl.where(steep, dx, dy), tl.where(steep, dy, dx)
        slope = tl.div_rn(rise, tl.where(run == 0.0, 1.0, run))
        for step in range(low, high, ALONG):
            along = step + tl.arange(0, ALONG)[:, None]
            middle = tl.floor(other + (along.to(tl.float32) + 0.5 - start) * slope)
            middle = tl.minimum(tl.maximum(middle, -1e9), 1e9).to(tl.int32)
            for band in range(0, wide, ACROSS):
                beside = band + tl.arange(0, ACROSS)[None, :]
                across = middle + (beside - wide // 2)
                x, y = tl.where(steep, across, along), tl.where(steep, along, across)
                distance = distance_to(edge, x.to(tl.float32) + 0.5, y.to(tl.float32) + 0.5)
                here = (distance <= near) & (beside < wide) & (along < high)
                here &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
                tl.atomic_max(image + y * width + x, 2 * n + 1 + x * 0, here, sem="relaxed")


@triton.jit
def _fills(
    owner, parts, edges, rows, copies, copy_rows, first, slot, kind, height, width,
    TWICE: tl.constexpr, CONVEX: tl.constexpr, BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    """What lies inside of outlines; where that is inside of the displaced copy too, the second coat."""
    part = parts + 5 * tl.program_id(0)
    n = tl.load(part)
    begin, end, what = tl.load(first + n), tl.load(first + n + 1), tl.load(kind + n)
    image = owner + tl.load(slot + n).to(tl.int64) * height * width
    x0, x1, bottom = tl.load(part + 1), tl.load(part + 3), tl.load(part + 4)
    for top in range(tl.load(part + 2), bottom, BY):
        y = top + tl.arange(0, BY)[:, None]
        anything = y.to(tl.float32) * 0.0
        left_end, right_end = anything - float("inf"), anything + float("inf")
        left_copy, right_copy = anything + float("inf"), anything - float("inf")
        if CONVEX:
            left_end, right_end = columns_inside(edges, rows, begin, end, y)
            if what == TWICE:
                left_copy, right_copy = columns_inside(copies, copy_rows, begin, end, y)
        low_x, high_x = block_columns(left_end, right_end, x0, x1)
        for left in range(low_x, high_x, BX):
            x = left + tl.arange(0, BX)[None, :]
            fx = x.to(tl.float32)
            here = (fx >= left_end) & (fx < right_end) & (y < bottom) & (x < x1)
            again = ((fx >= left_copy) & (fx < right_copy)).to(tl.int32)
            if not CONVEX:
                here &= odd_inside(edges, rows, begin, end, y, x) > 0
                if what == TWICE:
                    again = odd_inside(copies, copy_rows, begin, end, y, x)
            tl.atomic_max(image + y * width + x, 2 * n + 1 + again, here, sem="relaxed")


def paint_objects(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    _, height, columns = channels_of(images)
    ends = np.append(0, np.cumsum(corners.numpy()))
    first = np.searchsorted(owner.numpy(), sample.numpy())
    sample, taps = by_image(images, sample, taps)
    first = rooms.filled(np.append(first, len(owner)), len(sample) + 1, None)
    for some in in_goes(len(sample), 3 * height * columns):
        mine = slice(first[some.start], first[some.stop])
        mine_points = points[ends[mine.start] : ends[mine.stop]]
        _paint_some(
            images, sample[some], taps[some], owner[mine], corners[mine], kind[mine], offset[mine], shift[mine], width[mine],
            mine_points,
        )  # fmt: skip


def _paint_some(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    channels, height, columns = images.shape[1:]
    outlines, counts, what = points.numpy(), corners.numpy(), kind.numpy()
    reach = np.where(what == OUTLINE, width.numpy() / 2, BORDER)
    fills = np.flatnonzero(what != OUTLINE)
    parts = parts_by_form(raster.bounds(outlines, counts, height, columns), raster.is_convex(outlines, counts), fills)
    objects = rooms.size("painted objects", len(counts))
    lists = (
        small(sample.numpy()),
        taps.numpy(),
        reaches(sample, taps).numpy(),
        exact(rooms.filled(outlines, rooms.size("painted corners", len(outlines)))),
        exact(rooms.filled(shift.numpy(), objects)),
        rooms.filled(parts[0], rooms.size("painted parts", len(parts[0]))),
        rooms.filled(parts[1], rooms.size("dented painted parts", len(parts[1]))),
        starts_of(rooms.filled(counts, objects)),
        rooms.filled(small(np.searchsorted(sample.numpy()[sample.numpy() >= 0], owner.numpy())), objects),
        rooms.filled(reach, objects),
        exact(rooms.filled(reach, objects)),
        rooms.filled(small(what), objects),
        np.append(0.0, rooms.filled(offset.numpy().reshape(-1), 2 * objects)),
    )
    where, weights, radius, at, shifts, *described, offsets = all_to_device(images.device, *lists)
    *parts_there, first, slot, near, far, kinds = described
    edges, rows = edges_of(at, first, height)
    copies, copy_rows = edges_of(at, first, height, shift=shifts)
    painted = torch.zeros(len(sample), 1, height, columns, dtype=torch.int32, device=images.device)
    widest, border = raster.window_of(reach[what == OUTLINE]), raster.window_of(np.array([BORDER]))
    window = rooms.size("pixels across an outline", widest) | 1  # odd as it is, or one more
    lines = (edges, first, slot, near, far, kinds, at, window, height, columns)
    constants = {"OUTLINE": OUTLINE, "BORDER_WINDOW": border, "ALONG": 32, "ACROSS": 8}
    launch(_strokes, objects, painted, *lines, num_warps=2, **constants)
    arguments = (edges, rows, copies, copy_rows, first, slot, kinds, height, columns)
    for some, block in zip(parts_there, BLOCKS):
        launch(_fills, len(some), painted, some, *arguments, num_warps=2, TWICE=FILL_TWICE, **block)
    blurred(painted, weights, radius, images, where, add=channels, values=offsets)
