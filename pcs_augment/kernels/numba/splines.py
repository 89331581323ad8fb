"""Curves."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .compiling import compiled
from .raster import strokes
from .sums import clip
from .threads import run_all

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)


@compiled
def _add_curves(image, segment, xs, ys, distance, thickness, offset, per_curve):
    """splines._paint for one image, added and clipped; the hits are those of raster.strokes, curve after curve."""
    channels, height, width = image.shape
    total, cover = np.zeros((height, width), F), np.zeros((height, width), F)
    begin = 0
    for curve in range(offset.size):
        end = begin
        while end < segment.size and segment[end] // per_curve == curve:
            wide = thickness[segment[end]]
            here = min(max(wide / F(2) + _HALF - distance[end], _ZERO), min(wide, _UNIT))
            x, y = xs[end], ys[end]
            cover[y, x] = max(cover[y, x], here)
            end += 1
        for i in range(begin, end):
            x, y = xs[i], ys[i]
            if cover[y, x] > 0:  # a pixel is met by several segments, but painted once
                total[y, x] = total[y, x] * (_UNIT - cover[y, x]) + cover[y, x] * offset[curve]
                cover[y, x] = _ZERO
        begin = end
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                image[c, y, x] = clip(image[c, y, x] + total[y, x])


def draw_curves(images: Tensor, sample: Tensor, points: Tensor, width: Tensor, offset: Tensor) -> None:
    pixels, lines, wide, offsets = images.numpy(), points.numpy(), width.numpy(), offset.numpy().astype(F)
    samples, first = np.unique(sample.numpy(), return_index=True)
    ends, per_curve = np.append(first, len(wide)), lines.shape[1] - 1

    def one(j: int) -> None:
        mine = slice(ends[j], ends[j + 1])
        segments = np.concatenate((lines[mine, :-1], lines[mine, 1:]), -1).reshape(-1, 4)
        thickness = np.repeat(wide[mine], per_curve)
        image = pixels[samples[j]]
        hits = strokes(segments, thickness / 2 + 0.5, *image.shape[1:])
        _add_curves(image, *hits, thickness.astype(F), offsets[mine], per_curve)

    run_all(one, range(len(samples)))
