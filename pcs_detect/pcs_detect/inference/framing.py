"""A frame of background around a photograph, so that its four borders look alike to a network."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..photographs.grey import Grey

MARGIN = 32  # px on every side: beyond it the network's own padding begins
DEEP = 16  # px from the border inwards that count as its background
ALONG = 257  # px along the border of which the median is taken: crystals narrower than half of it leave no trace


def framed(grey: Grey, divisor: int) -> tuple[Grey, int]:
    """A photograph (H, W) with a frame of its own background, and how many px the frame adds at the left and the top.

    At the right and the bottom it is up to ``divisor`` - 1 px wider, so that ``divisor`` divides both sides. Beyond a border
    lies what most of the photograph has near it: the last row repeated would make a crystal that the border cuts longer than it
    is, and one grey for all sides would make an edge around photographs that darken towards their corners.
    """
    height, width = grey.shape
    before = -(-MARGIN // divisor) * divisor
    down, right = before + -height % divisor, before + -width % divisor
    out = np.pad(grey, ((before, down), (before, right)), mode="edge")
    top, bottom, left, right_ = (_background(side) for side in (grey, grey[::-1], grey.T, grey.T[::-1]))
    inner_y, inner_x = slice(before, before + height), slice(before, before + width)
    out[:before, inner_x], out[before + height :, inner_x] = top, bottom
    out[inner_y, :before], out[inner_y, before + width :] = left[:, None], right_[:, None]
    for rows, row, above in ((slice(None, before), 0, top), (slice(before + height, None), -1, bottom)):
        out[rows, :before] = (above[0] + left[row]) / 2
        out[rows, before + width :] = (above[-1] + right_[row]) / 2
    return out, before


def _background(grey: Grey) -> Grey:
    """(W,) grey values near the first row without what lies there singly."""
    strip = np.median(grey[:DEEP], axis=0)
    profile: Grey = ndimage.median_filter(strip, size=min(ALONG, 2 * len(strip) + 1), mode="nearest").astype(np.float32)
    return profile
