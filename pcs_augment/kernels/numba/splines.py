"""Curves."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .compiling import compiled
from .raster import near_segment, room
from .sums import add_plane
from .threads import for_images, scratch

F = np.float32
_ZERO, _UNIT, _TWO, _HALF = F(0), F(1), F(2), F(0.5)


@compiled
def _draw_curves(maps, points, width, offset):
    """splines._paint for one image; the second of the maps (2, H, W) is room to work in."""
    total, cover = maps
    height, columns = total.shape
    for plane in (total, cover):  # one after the other, which is the fastest way to clear memory
        for y in range(height):
            for x in range(columns):
                plane[y, x] = _ZERO
    widest = 0.5
    for w in width:
        widest = max(widest, w / 2 + 0.5)
    xs, ys, distances = room(widest, height, columns)
    met = np.empty((total.size, 2), np.int32)  # several segments meet a pixel, but it is painted once
    for n in range(len(points)):
        wide, paint = F(width[n]), F(offset[n])
        curve, reach, pixels = points[n], width[n] / 2 + 0.5, 0
        for k in range(len(curve) - 1):
            found = near_segment(curve[k], curve[k + 1], reach, height, columns, xs, ys, distances)
            for i in range(found):
                here = min(max(wide / _TWO + _HALF - distances[i], _ZERO), min(wide, _UNIT))
                before = cover[ys[i], xs[i]]
                if before == 0 and here > 0:
                    met[pixels, 0], met[pixels, 1] = ys[i], xs[i]
                    pixels += 1
                cover[ys[i], xs[i]] = max(before, here)
        for i in range(pixels):
            y, x = met[i, 0], met[i, 1]
            total[y, x] = total[y, x] * (_UNIT - cover[y, x]) + cover[y, x] * paint
            cover[y, x] = _ZERO


def draw_curves(images: Tensor, sample: Tensor, points: Tensor, width: Tensor, offset: Tensor) -> None:
    pixels, lines, wide, offsets = images.numpy(), points.numpy(), width.numpy(), offset.numpy()
    which, first = np.unique(sample.numpy(), return_index=True)
    ends = np.append(first, len(wide))

    def one(j: int) -> None:
        mine = slice(ends[j], ends[j + 1])
        maps = scratch("maps", (2, *pixels.shape[2:]), F)
        _draw_curves(maps, lines[mine], wide[mine], offsets[mine])
        add_plane(pixels[which[j]], maps[0])

    for_images(one, which)
