"""Paint on single objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ... import gaussian
from ...raster import BORDER, FILL_TWICE, OUTLINE, edges
from .compiling import compiled
from .gaussian import blur
from .raster import filled, strokes
from .sums import clip
from .threads import run_all

F = np.float32


@compiled
def _coat(owner, number, instance, xs, ys):
    """Raise (H, W) ``owner`` to the numbers of the hits."""
    for i in range(instance.size):
        here = owner[ys[i], xs[i]]
        owner[ys[i], xs[i]] = max(here, np.int32(number[instance[i]]))


@compiled
def _add_offsets(image, owner, offsets, taps):
    """Look up the offsets of painted numbers, blur them, add them to every channel and clip."""
    channels, height, width = image.shape
    painted = np.empty((1, height, width), F)
    for y in range(height):
        for x in range(width):
            painted[0, y, x] = offsets[owner[y, x]]
    blur(painted, taps)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                image[c, y, x] = clip(image[c, y, x] + painted[0, y, x])


def paint_objects(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    pixels, weights = images.numpy(), gaussian.each(taps)
    columns = [v.numpy() for v in (owner, corners, kind, offset, shift, width)]
    outlines, samples = points.numpy(), sample.numpy()
    rows = np.append(np.searchsorted(columns[0], samples), len(columns[0]))
    ends = np.append(0, np.cumsum(columns[1]))[rows]

    def one(j: int) -> None:
        mine = [c[rows[j] : rows[j + 1]] for c in columns[1:]]
        _paint(pixels[samples[j]], weights[j], outlines[ends[j] : ends[j + 1]], *mine)

    run_all(one, range(len(samples)))


def _paint(
    image: NDArray, taps: NDArray, points: NDArray, corners: NDArray, kind: NDArray, offset: NDArray, shift: NDArray,
    width: NDArray,
) -> None:  # fmt: skip
    """highlight._paint for one (C, H, W) image, blurred and added."""
    _, height, columns = image.shape
    painted = np.zeros((height, columns), np.int32)
    fill = kind != OUTLINE
    for which, reach in ((fill, np.full(len(kind), BORDER)), (~fill, width / 2)):
        if which.any():
            edge, of = edges(points[np.repeat(which, corners)], corners[which])
            own = np.flatnonzero(which)[of]
            segment, x, y, _ = strokes(edge, reach[own], height, columns)
            _coat(painted, 2 * own + 1, segment, x, y)
    for which, second in ((fill, False), (kind == FILL_TWICE, True)):
        if which.any():
            moves = shift[which] if second else None
            instance, x, y = filled(points[np.repeat(which, corners)], corners[which], moves, height, columns)
            _coat(painted, 2 * np.flatnonzero(which) + 1 + second, instance, x, y)
    _add_offsets(image, painted, np.append(0, offset.reshape(-1)).astype(F), taps)
