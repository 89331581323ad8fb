"""Pictures of detections. Needs Pillow, imported when used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boxes import corners
from ..files import written

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
PREDICTED: Colour = (0, 190, 60)
LABELLED: Colour = (235, 60, 160)
ENLARGED = 6.0  # px, of boxes for display (2022 paper, Figs. 3, 4, 7)
AT_BORDER: Colour = (255, 150, 0)
_FINE = 4  # lines are drawn so much larger and then averaged, since Pillow's have hard edges


def draw_boxes(
    image: ArrayLike, boxes: ArrayLike, colour: Colour = PREDICTED, width: float = 2.0, scale: float = 1.0
) -> Picture:
    """(H', W', 3) the image, ``scale`` times as large, with the outlines of oriented boxes over it.

    image: (H, W) or (H, W, 3) uint8; boxes: (N, 5) cx, cy, w, h, theta in px of the image, pixel i spanning [i, i + 1), and
    radians, clockwise on screen; width: of the lines, in px of the result.
    """
    frames = list(corners(boxes))
    return outlined(image, frames, [colour] * len(frames), scale=scale, line=width)


def prediction(image: ArrayLike, predicted: ArrayLike, labelled: ArrayLike = (), scale: float = 1.0) -> Picture:
    """(H', W', 3) the image with labels as thin lines below predictions; boxes as in ``draw_boxes``."""
    picture = draw_boxes(image, labelled, LABELLED, 1.0, scale)
    larger = np.asarray(predicted, dtype=np.float64).reshape(-1, 5) * np.array([scale, scale, scale, scale, 1.0])
    return draw_boxes(picture, larger, PREDICTED, 2.0)


def overlay(image: ArrayLike, boxes: ArrayLike, at_border: ArrayLike = (), enlarged: float = ENLARGED) -> Picture:
    """(H, W, 3) the photograph with its crystals, boxes as in ``draw_boxes``, ``enlarged`` px wider and higher for display as
    in the paper (2022, Figs. 3, 4, 7); those of which ``at_border`` (N,) is true in another colour."""
    larger = np.asarray(boxes, dtype=np.float64).reshape(-1, 5) + np.array([0, 0, enlarged, enlarged, 0])
    marked = np.asarray(at_border, dtype=bool)
    colours = [AT_BORDER if m else PREDICTED for m in (marked if marked.size else np.zeros(len(larger), bool))]
    return outlined(image, list(corners(larger)), colours, line=2.0)


def contact_sheet(images: Sequence[ArrayLike], columns: int = 4, gap: int = 8) -> Picture:
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


def outlined(
    pixels: ArrayLike,
    polygons: Sequence[ArrayLike],
    colours: Sequence[Colour] | None = None,
    *,
    scale: float = 1.0,
    line: float = 1.0,
) -> Picture:
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


def save_picture(picture: ArrayLike, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        Image.fromarray(np.asarray(picture)).save(temporary, format="PNG")
