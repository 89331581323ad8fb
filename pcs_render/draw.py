"""Labels drawn over images, and sheets of many images. Needs Pillow, imported when used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcs_augment.boxes import box_corners

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]

SMALL, LARGE = 8.0**2, 24.0**2  # px^2: small boxes are below the first, large ones above the second
CLASSES = {"small": (230, 159, 0), "medium": (0, 200, 255), "large": (255, 80, 150)}  # seen on any grey, and apart by most eyes
BOX: Colour = (40, 40, 40)
_FINE = 4  # lines are drawn so much larger and then averaged, since Pillow's have hard edges


def size_classes(boxes: ArrayLike) -> NDArray[np.int64]:
    """(N,) place in ``CLASSES`` of each of the (N, 5) boxes: 0 below 8^2 px^2, 2 above 24^2 px^2, else 1."""
    b = np.asarray(boxes, dtype=np.float64).reshape(-1, 5)
    area = b[:, 2] * b[:, 3]
    return (area >= SMALL).astype(np.int64) + (area > LARGE)


def outlined(
    pixels: ArrayLike,
    polygons: Sequence[ArrayLike],
    colours: Sequence[Colour] | None = None,
    *,
    scale: float = 1.0,
    line: float = 1.0,
) -> Image:
    """(H', W', 3) the image, ``scale`` times as large, with the (K, 2) polygons' outlines over it.

    pixels: (H, W) or (H, W, 3) uint8; polygons in px of it, pixel i spanning [i, i + 1); colours: one per polygon, red if not
    given; line: width in px of the result.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    picture = Pillow.fromarray(np.asarray(pixels, dtype=np.uint8)).convert("RGB")
    if scale != 1:
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        picture = picture.resize(size, Pillow.Resampling.LANCZOS)
    by_colour: dict[Colour, list[Any]] = {}
    for i, polygon in enumerate(polygons):
        by_colour.setdefault((255, 0, 0) if colours is None else colours[i], []).append(polygon)
    for colour, group in by_colour.items():
        mask = Pillow.new("L", (picture.width * _FINE, picture.height * _FINE))
        pen = ImageDraw.Draw(mask)
        for polygon in group:
            p = np.asarray(polygon, dtype=np.float64) * (scale * _FINE) - 0.5  # Pillow counts from pixel centres
            ring = [tuple(v) for v in (*p, *p[:2])]  # the first side twice, for a joint at the first corner
            pen.line(ring, fill=255, width=max(round(line * _FINE), 1), joint="curve")
        picture.paste(colour, mask=mask.resize(picture.size, Pillow.Resampling.BOX))
    return np.asarray(picture)


def labelled(
    pixels: ArrayLike,
    boxes: ArrayLike,
    polygons: Sequence[ArrayLike],
    *,
    scale: float = 1.0,
    line: float = 1.0,
    boxed: bool = False,
) -> Image:
    """(H', W', 3) the image with every crystal's outline in the colour of its size class; arguments as ``outlined``.

    boxed: the (N, 5) oriented boxes as well, in dark grey beneath the outlines.
    """
    palette = list(CLASSES.values())
    colours = [palette[k] for k in size_classes(boxes)]
    frames = list(box_corners(np.asarray(boxes, dtype=np.float64).reshape(-1, 5))) if boxed else []
    return outlined(pixels, [*frames, *polygons], [BOX] * len(frames) + colours, scale=scale, line=line)


def sheet(images: Sequence[ArrayLike], columns: int = 6, gap: int = 8) -> Image:
    """(H, W, 3) images, (h, w) or (h, w, 3) uint8 each, in rows on white, every one at the top left of its cell."""
    tiles = [np.asarray(i, dtype=np.uint8) for i in images]
    tiles = [np.repeat(t[..., None], 3, -1) if t.ndim == 2 else t for t in tiles]
    columns = max(min(columns, len(tiles)), 1)
    height, width = (max((t.shape[axis] for t in tiles), default=1) for axis in (0, 1))
    rows = max(-(-len(tiles) // columns), 1)
    out = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        out[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return out
