"""Triton twins of the work lists: outlines and curves to pixels.

Outlines are closed runs of ``edges`` (V, 6): x0, y0, x1, y1 and the differences; a program takes a part of one outline's
rectangle and goes through its edges. ``parts`` (M, 5) has such rectangles: outline, x0, y0, x1, y1, ends excluded.
Curves are runs of such edges, the last of each left out; a program takes a tile of an image.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ... import gaussian, raster
from ...steps.highlight import BORDER, FILL_TWICE, OUTLINE
from ...transfer import all_to_device
from .launch import TILE_X, TILE_Y, channels_of, launch, tiles
from .pixels import add_blurred, clip, tile_of

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK_X, _BLOCK_Y = 32, 8  # pixels of an outline looked at together
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
def _crossing(edge, y):
    """raster.crossing"""
    x0, y0, x1, y1 = tl.load(edge), tl.load(edge + 1), tl.load(edge + 2), tl.load(edge + 3)
    if y0 > y1:
        x0, y0, x1, y1 = x1, y1, x0, y0
    rise = y1 - y0
    if rise == 0.0:
        rise = 1.0
    return x0 + (y + 0.5 - y0) * tl.div_rn(x1 - x0, rise)


@triton.jit
def _distance(edge, px, py):
    """raster.strokes: px from points to a segment."""
    dx, dy = tl.load(edge + 4), tl.load(edge + 5)
    px, py = px - tl.load(edge), py - tl.load(edge + 1)
    along = px * dx + py * dy
    t = clip(tl.div_rn(along, tl.maximum(dx * dx + dy * dy, 1e-12) + along * 0.0))
    px, py = px - t * dx, py - t * dy
    return tl.sqrt_rn(px * px + py * py)


@triton.jit
def _paint(
    owner, parts, edges, rows, copies, copy_rows, first, slot, reach, kind, height, width,
    OUTLINE: tl.constexpr, TWICE: tl.constexpr, BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    part = parts + 5 * tl.program_id(0)
    n = tl.load(part)
    begin, end, near, what = tl.load(first + n), tl.load(first + n + 1), tl.load(reach + n), tl.load(kind + n)
    image = owner + tl.load(slot + n) * height * width
    for top in range(tl.load(part + 2), tl.load(part + 4), BY):
        y = top + tl.arange(0, BY)[:, None]
        for left in range(tl.load(part + 1), tl.load(part + 3), BX):
            x = left + tl.arange(0, BX)[None, :]
            fx, fy = x.to(tl.float32), y.to(tl.float32)
            touched = tl.zeros((BY, BX), tl.int32)
            inside = tl.zeros((BY, BX), tl.int32)
            again = tl.zeros((BY, BX), tl.int32)
            for e in range(begin, end):
                touched |= (_distance(edges + 6 * e, fx + 0.5, fy + 0.5) <= near).to(tl.int32)
                if what != OUTLINE:
                    row = (y >= tl.load(rows + 2 * e)) & (y < tl.load(rows + 2 * e + 1))
                    inside ^= (row & (fx >= tl.ceil(_crossing(edges + 6 * e, fy) - 0.5))).to(tl.int32)
                if what == TWICE:
                    row = (y >= tl.load(copy_rows + 2 * e)) & (y < tl.load(copy_rows + 2 * e + 1))
                    again ^= (row & (fx >= tl.ceil(_crossing(copies + 6 * e, fy) - 0.5))).to(tl.int32)
            paint = 2 * n.to(tl.int32) + 1 + (inside & again)
            here = ((touched | inside) > 0) & (y < tl.load(part + 4)) & (x < tl.load(part + 3))
            tl.atomic_max(image + y * width + x, paint, here, sem="relaxed")


@triton.jit(do_not_specialize=["n"])
def _offsets(out, owner, offsets, n, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + place, tl.load(offsets + tl.load(owner + place, place < n, other=0)), place < n)


def paint_objects(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    _, height, columns = channels_of(images)
    outlines, counts, what = points.numpy(), corners.numpy(), kind.numpy()
    reach = np.where(what == OUTLINE, width.numpy() / 2, BORDER)
    lists = (
        sample.numpy(),
        taps.numpy(),
        gaussian.reach_of(taps).numpy(),
        _exact(outlines),
        _exact(outlines + np.repeat(shift.numpy(), counts, 0)),
        raster.following(counts),
        _parts(raster.bounds(outlines, counts, height, columns, reach.max())),
        np.append(0, np.cumsum(counts)),
        np.searchsorted(sample.numpy(), owner.numpy()),
        reach,
        what,
        np.append(0.0, offset.numpy().reshape(-1)),
    )
    where, weights, radius, at, copied, following, parts, *described, offsets = all_to_device(images.device, *lists)
    edges, rows = edges_of(at, following, height)
    copies, copy_rows = edges_of(copied, following, height)
    painted = torch.zeros(len(sample), 1, height, columns, dtype=torch.int32, device=images.device)
    constants = {"OUTLINE": OUTLINE, "TWICE": FILL_TWICE, "BX": _BLOCK_X, "BY": _BLOCK_Y}
    arguments = (parts, edges, rows, copies, copy_rows, *described, height, columns)
    launch(_paint, len(parts), painted, *arguments, num_warps=2, **constants)
    maps = torch.empty(painted.shape, device=images.device)
    launch(_offsets, triton.cdiv(maps.numel(), 1024), maps, painted, offsets, maps.numel(), BLOCK=1024)
    add_blurred(images, where, maps, weights, radius)


def _exact(points: Array) -> Ints:
    """float64 numbers as they are, since copies to the device round them to float32 otherwise."""
    return np.ascontiguousarray(points).view(np.int64)


def _parts(rectangles: Ints) -> Ints:
    """(M, 5) owner and rectangle: rectangles cut along y into pieces of about _PART px."""
    size = rectangles[:, 2:] - rectangles[:, :2]
    tall = np.maximum(_PART // np.maximum(size[:, 0], 1) // _BLOCK_Y, 1) * _BLOCK_Y
    owner, step = raster.repeat_ranges(np.where(size[:, 0] > 0, -(-size[:, 1] // tall), 0))
    x0, y0, x1, y1 = rectangles[owner].T
    top = y0 + step * tall[owner]
    return np.stack((owner, x0, top, x1, np.minimum(top + tall[owner], y1)), -1)


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
                inside ^= (crosses & (fx >= tl.ceil(_crossing(edges + 6 * e, fy) - 0.5))).to(tl.int32)
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
        _parts(raster.bounds(outlines, counts, height, width, radius)),
        np.append(0, np.cumsum(counts)),
        _exact(outlines),
        raster.following(counts),
    )
    where, parts, first, at, following = all_to_device(images.device, *lists)
    edges, rows = edges_of(at, following, height, radius)
    lowest = torch.full((len(where), channels), 255, dtype=torch.int32, device=images.device)
    highest = torch.zeros_like(lowest)
    arguments = (images, parts, edges, rows, first, where, radius, radius * radius, channels, height, width)
    launch(_extremes, len(parts), lowest, highest, *arguments, num_warps=2, BX=_BLOCK_X, BY=_BLOCK_Y)
    return (highest - lowest).amax(1).clamp_(min=-1).long()


@triton.jit
def _curves(
    images, sample, first, curves, segments, per_curve, channels, height, width, across, per_image,
    TX: tl.constexpr, TY: tl.constexpr,
):  # fmt: skip
    a, tile = tl.program_id(0) // per_image, tl.program_id(0) % per_image
    y, x = tile_of(tile, across, TX, TY)
    fx, fy = x.to(tl.float32) + 0.5, y.to(tl.float32) + 0.5
    left, top = ((tile % across) * TX).to(tl.float32), ((tile // across) * TY).to(tl.float32)
    total = tl.zeros((TY, TX), tl.float32)
    for curve in range(tl.load(first + a), tl.load(first + a + 1)):
        wide, reach, offset = tl.load(curves + 3 * curve), tl.load(curves + 3 * curve + 1), tl.load(curves + 3 * curve + 2)
        cover = tl.zeros((TY, TX), tl.float32)
        for s in range(curve * per_curve, (curve + 1) * per_curve - 1):
            x0, x1 = tl.load(segments + 6 * s), tl.load(segments + 6 * s + 2)
            y0, y1 = tl.load(segments + 6 * s + 1), tl.load(segments + 6 * s + 3)
            margin = reach + 1.0
            beside = (tl.maximum(x0, x1) + margin < left) | (tl.minimum(x0, x1) - margin > left + TX)
            if (beside | (tl.maximum(y0, y1) + margin < top) | (tl.minimum(y0, y1) - margin > top + TY)) == 0:
                distance = _distance(segments + 6 * s, fx, fy)
                here = tl.minimum(tl.maximum(wide * 0.5 + 0.5 - distance, 0.0), tl.minimum(wide, 1.0))
                cover = tl.maximum(cover, tl.where(distance <= reach, here, 0.0))
        total = total * (1.0 - cover) + cover * offset
    inside = (y < height) & (x < width)
    n = height * width
    at = images + tl.load(sample + a).to(tl.int64) * channels * n + y * width + x
    for _ in range(channels):
        tl.store(at, clip(tl.load(at, inside) + total), inside)
        at += n


def draw_curves(images: Tensor, sample: Tensor, points: Tensor, width: Tensor, offset: Tensor) -> None:
    channels, height, columns = channels_of(images)
    samples, first = np.unique(sample.numpy(), return_index=True)
    thickness = width.numpy()
    lists = (
        samples,
        np.append(first, len(sample)),
        np.stack((thickness, thickness / 2 + 0.5, offset.numpy()), -1),
        _exact(points.numpy().reshape(-1, 2)),
        np.minimum(np.arange(1, points[..., 0].numel() + 1), points[..., 0].numel() - 1),
    )
    where, first_curve, curves, at, following = all_to_device(images.device, *lists)
    edges, _ = edges_of(at, following, height)
    across, per_image = tiles(height, columns)
    sizes = (points.shape[1], channels, height, columns, across, per_image)
    launch(_curves, len(samples) * per_image, images, where, first_curve, curves, edges, *sizes, TX=TILE_X, TY=TILE_Y)
