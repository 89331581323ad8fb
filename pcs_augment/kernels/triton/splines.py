"""Curves: runs of edges, the last of each left out; a program takes a tile of an image."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from torch import Tensor

from ...transfer import all_to_device
from .edges import distance_to, edges_of, exact
from .launch import TILE_X, TILE_Y, channels_of, clip, launch, tile_of, tiles


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
                distance = distance_to(segments + 6 * s, fx, fy)
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
        exact(points.numpy().reshape(-1, 2)),
        np.minimum(np.arange(1, points[..., 0].numel() + 1), points[..., 0].numel() - 1),
    )
    where, first_curve, curves, at, following = all_to_device(images.device, *lists)
    edges, _ = edges_of(at, following, height)
    across, per_image = tiles(height, columns)
    sizes = (points.shape[1], channels, height, columns, across, per_image)
    launch(_curves, len(samples) * per_image, images, where, first_curve, curves, edges, *sizes, TX=TILE_X, TY=TILE_Y)
