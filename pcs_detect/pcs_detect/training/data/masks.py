"""From masks and outlines to oriented boxes (cx, cy, w, h, theta), px and radians, pixel i spanning [i, i + 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

from ...boxes import min_area_box
from ...errors import InputError

Rle = dict[str, Any]
Floats = NDArray[np.float64]


def mask_box(mask: ArrayLike, origin: tuple[int, int] = (0, 0)) -> Floats | None:
    """(5,) oriented box of least area, w >= h, around all pixels of a mask (H, W), whole pixels and not their centres.

    origin: x, y of the mask's first pixel. All pieces of the mask count; None where it has no pixel. One pixel gives (x + 1/2,
    y + 1/2, 1, 1, theta). Of a crystal that lies askew the corners of the border's pixels stick out: rectangles of 8 to 64 px
    at any angle, drawn as the pixels whose centres they hold, come back 1.1 px longer and wider (9 of 10: 0.7 to 1.4 px), of
    whatever size, so that finer pixels help.
    """
    pixels = np.asarray(mask, dtype=bool)
    rows = np.flatnonzero(pixels.any(1))
    if not len(rows):
        return None
    left = pixels[rows].argmax(1)
    right = pixels.shape[1] - pixels[rows, ::-1].argmax(1)
    x, y = np.concatenate((left, right, left, right)), np.concatenate((rows, rows, rows + 1, rows + 1))
    return min_area_box(np.stack((x + origin[0], y + origin[1]), -1).astype(np.float64))


def boxes_of_masks(masks: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """Oriented boxes (K, 5) of the masks (M, H, W) that have a pixel, as ``mask_box``, and which those are, (K,)."""
    found = [mask_box(mask) for mask in np.asarray(masks, dtype=bool)]
    kept = [i for i, box in enumerate(found) if box is not None]
    boxes = np.array([box for box in found if box is not None], dtype=np.float64).reshape(-1, 5)
    return boxes, np.array(kept, dtype=np.intp)


def rle_of_mask(mask: ArrayLike, origin: tuple[int, int], size: tuple[int, int]) -> Rle:
    """COCO's compressed run lengths, of an image of ``size`` (H, W) px, of a mask (h, w) that covers part of it.

    origin: x, y of the mask's first pixel; the mask must lie inside. Takes no array of the image's size.
    """
    pixels = np.asarray(mask, dtype=bool)
    (x, y), (height, width) = origin, size
    if min(x, y) < 0 or y + pixels.shape[0] > height or x + pixels.shape[1] > width:
        raise InputError(f"a mask of {pixels.shape} at {origin} leaves the image of {size} px")
    column, row = np.nonzero(pixels.T)  # COCO counts down the columns
    place = (column + x) * height + row + y
    first = np.flatnonzero(np.diff(place, prepend=-2) != 1)
    starts, ends = place[first], place[np.append(first[1:], len(place)) - 1] + 1 if len(place) else place[:0]
    edges = np.stack((starts, ends), -1).flatten()
    if not len(edges) or edges[-1] < height * width:
        edges = np.append(edges, height * width)
    counts = np.diff(edges, prepend=0)
    rle: Rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return rle


def rle_of_outlines(parts: Sequence[ArrayLike], size: tuple[int, int]) -> Rle:
    """COCO's compressed run lengths, of an image of ``size`` (H, W) px, of one crystal's outlines, (K, 2) px each."""
    height, width = size
    flat = [np.asarray(part, dtype=np.float64).flatten().tolist() for part in parts]
    rle: Rle = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return rle
