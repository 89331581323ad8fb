"""Paint on single objects."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ... import gaussian
from ...raster import BORDER, FILL_TWICE, OUTLINE
from .compiling import compiled, helper, inlined
from .gaussian import blur
from .raster import bounds, near_segment, room, spans, toggled
from .sums import add_plane
from .threads import for_images, scratch

F = np.float32


@compiled
def _paint(painted, points, corners, kind, offset, shift, width):
    """highlight._paint for one image; painted (1, H, W).

    Objects in order, each from its border to its second coat: what is painted last has the highest number there.
    """
    plane, first, reach = painted[0], 0, BORDER
    height, columns = plane.shape
    for y in range(height):
        for x in range(columns):
            plane[y, x] = 0
    for w in width:
        reach = max(reach, w / 2)
    lists = room(reach, height, columns)
    rows = np.empty((6, height), np.int64)
    for n in range(corners.size):
        outline = points[first : first + corners[n]]
        first += corners[n]
        _stroke(plane, outline, width[n] / 2 if kind[n] == OUTLINE else BORDER, F(offset[n, 0]), lists)
        if kind[n] != OUTLINE:
            _fill(plane, outline, 0.0, 0.0, False, F(offset[n, 0]), rows)
        if kind[n] == FILL_TWICE:
            _fill(plane, outline, np.float64(shift[n, 0]), np.float64(shift[n, 1]), True, F(offset[n, 1]), rows)


@inlined
def _stroke(plane, outline, reach, value, lists):
    xs, ys, distances = lists
    height, width = plane.shape
    for k in range(len(outline)):
        found = near_segment(outline[k], outline[(k + 1) % len(outline)], reach, height, width, xs, ys, distances)
        for i in range(found):
            plane[ys[i], xs[i]] = value


@helper
def _fill(plane, outline, dx, dy, twice, value, rows):
    """The pixels inside an outline and, with ``twice``, inside its copy displaced by (dx, dy)."""
    box = bounds(outline, plane.shape[0], plane.shape[1])
    left, right, crossings, copy_left, copy_right, copy_crossings = rows
    spans(outline, 0.0, 0.0, box, left, right, crossings)
    if twice:
        spans(outline, dx, dy, box, copy_left, copy_right, copy_crossings)
    for y in range(box[1], box[3]):
        if crossings[y] > 2 or (twice and copy_crossings[y] > 2):
            _fill_row(plane[y], outline, dx, dy, twice, value, y, box)
            continue
        first = max(left[y], copy_left[y]) if twice else left[y]
        last = min(right[y], copy_right[y]) if twice else right[y]
        for x in range(first, last):
            plane[y, x] = value


@inlined
def _fill_row(row, outline, dx, dy, twice, value, y, box):
    once, copied = np.empty(row.size, np.bool_), np.empty(row.size, np.bool_)
    for x in range(row.size):
        once[x], copied[x] = False, not twice
    toggled(outline, 0.0, 0.0, y, box, once)
    if twice:
        toggled(outline, dx, dy, y, box, copied)
    for x in range(box[0], box[2]):
        if once[x] and copied[x]:
            row[x] = value


def paint_objects(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    pixels, weights = images.numpy(), gaussian.each(taps)
    columns = [v.numpy() for v in (owner, corners, kind, offset, shift, width)]
    outlines, which = points.numpy(), sample.numpy()
    rows = np.append(np.searchsorted(columns[0], which), len(columns[0]))
    ends = np.append(0, np.cumsum(columns[1]))[rows]

    def one(j: int) -> None:
        mine = [c[rows[j] : rows[j + 1]] for c in columns[1:]]
        painted = scratch("plane", (1, *pixels.shape[2:]), F)
        _paint(painted, outlines[ends[j] : ends[j + 1]], *mine)
        blur(painted, weights[j])
        add_plane(pixels[which[j]], painted[0])

    for_images(one, which)
