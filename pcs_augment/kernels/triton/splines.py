"""Curves: a program takes a tile that some segments come near, and goes through those alone."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ... import raster, rooms
from ...transfer import all_to_device
from .edges import Array, Ints, distance_to, edges_of, exact, small, starts_of
from .launch import channels_of, clip, launch

_TILE = 32  # px a side


@triton.jit
def _curves(images, spots, runs, curves, segments, channels, height, width, TX: tl.constexpr, TY: tl.constexpr):
    """spots (P, 5): image, left, top, first and past-the-last run; runs (R, 4): first and past-the-last segment, curve, and
    whether it is the last of its curve here; curves (n, 3): thickness, reach, offset."""
    spot = spots + 5 * tl.program_id(0)
    if tl.load(spot) < 0:  # absent
        return
    y = tl.load(spot + 2) + tl.arange(0, TY)[:, None]
    x = tl.load(spot + 1) + tl.arange(0, TX)[None, :]
    fx, fy = x.to(tl.float32) + 0.5, y.to(tl.float32) + 0.5
    total, cover = tl.zeros((TY, TX), tl.float32), tl.zeros((TY, TX), tl.float32)
    for r in range(tl.load(spot + 3), tl.load(spot + 4)):
        run = runs + 4 * r
        curve = curves + 3 * tl.load(run + 2)
        wide, reach, offset = tl.load(curve), tl.load(curve + 1), tl.load(curve + 2)
        for s in range(tl.load(run), tl.load(run + 1)):
            distance = distance_to(segments + 6 * s, fx, fy)
            here = tl.minimum(tl.maximum(wide * 0.5 + 0.5 - distance, 0.0), tl.minimum(wide, 1.0))
            cover = tl.maximum(cover, tl.where(distance <= reach, here, 0.0))
        last = tl.load(run + 3) > 0
        total = tl.where(last, total * (1.0 - cover) + cover * offset, total)
        cover = tl.where(last, 0.0, cover)
    inside = (y < height) & (x < width)
    n = height * width
    at = images + tl.load(spot).to(tl.int64) * channels * n + y * width + x
    for _ in range(channels):
        tl.store(at, clip(tl.load(at, inside) + total), inside)
        at += n


def binned(points: Array, sample: Ints, margin: Array, height: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """spots and runs of _curves: tiles with the segments of polylines (n, k, 2) that come within ``margin`` (n,) px of them.

    The last corner of a polyline begins no segment; segments are numbered by the corner where they begin.
    """
    corners = points.shape[1]
    ends = np.stack((points[:, :-1], points[:, 1:]))
    low, high = ends.min(0) - margin[:, None, None], ends.max(0) + margin[:, None, None]
    size = np.array([width, height])
    first = np.clip(np.floor(low / _TILE), 0, -(-size // _TILE)).astype(np.int64).reshape(-1, 2)
    last = np.clip(np.floor(high / _TILE) + 1, 0, -(-size // _TILE)).astype(np.int64).reshape(-1, 2)
    tall, across = np.maximum(last - first, 0).T[::-1]
    number, step = raster.repeat_ranges(tall * across)
    left = first[number, 0] + step % np.maximum(across[number], 1)
    top = first[number, 1] + step // np.maximum(across[number], 1)
    curve = number // (corners - 1)
    segment = curve * corners + number % (corners - 1)
    spot = (sample[curve] * -(-height // _TILE) + top) * -(-width // _TILE) + left
    order = np.argsort(spot, kind="stable")
    spot, segment, curve, left, top = spot[order], segment[order], curve[order], left[order], top[order]
    new_spot = np.diff(spot, prepend=-1) != 0
    new_curve = new_spot | (np.diff(curve, prepend=-1) != 0)
    begins = np.flatnonzero(new_curve | (np.diff(segment, prepend=-2) != 1))
    past = np.append(begins, len(spot))[1:]
    closes = np.append(new_curve, True)[past]
    runs = np.stack((segment[begins], segment[past - 1] + 1, curve[begins], closes), -1)
    at = np.flatnonzero(new_spot)
    run_of = np.searchsorted(begins, np.append(at, len(spot)))
    spots = np.stack((sample[curve[at]], left[at] * _TILE, top[at] * _TILE, run_of[:-1], run_of[1:]), -1)
    return small(spots), small(runs)


def draw_curves(images: Tensor, sample: Tensor, points: Tensor, width: Tensor, offset: Tensor) -> None:
    channels, height, columns = channels_of(images)
    thickness, corners = width.numpy(), points.numpy()
    spots, runs = binned(corners, sample.numpy(), thickness / 2 + 1.5, height, columns)
    most, forms = rooms.size("curves", len(sample)), np.stack((thickness, thickness / 2 + 0.5, offset.numpy()), -1)
    lists = (
        rooms.filled(spots, rooms.size("tiles", len(spots)), rooms.ABSENT),
        rooms.filled(runs, rooms.size("runs", len(runs))),
        rooms.filled(forms, most),
        exact(rooms.filled(corners, most).reshape(-1, 2)),
        starts_of(np.full(most, corners.shape[1])),
    )
    places, stretches, curves, at, starts = all_to_device(images.device, *lists)
    edges, _ = edges_of(at, starts, height)
    sizes = (channels, height, columns)
    launch(_curves, len(places), images, places, stretches, curves, edges, *sizes, num_warps=2, TX=_TILE, TY=_TILE)
