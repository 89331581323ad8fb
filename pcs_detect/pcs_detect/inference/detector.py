"""Crystals in photographs of any size: ``Detector().predict(photograph)``."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from PIL import Image

from ..crystals.tables import crystal_table
from ..errors import InputError
from ..photographs.grey import Grey, Matching, check_matching, check_white, grey_values, matched
from ..photographs.reading import read_scaled
from . import tiling
from .networks import Network, open_network
from .tiling import Found

TILE = 1024  # px


class Detector:
    """A trained detector, for photographs.

    >>> detector = Detector("training/best_crystal_AP_epoch_18.pth")
    >>> crystals = detector.predict("drop_7h.tif", um_per_px=0.84)
    >>> crystals.width_um.median()

    checkpoint: a file of ``pcs-detect train``, which says itself which model it is; see ``load_detector`` for ``config``.
    device: "cuda" or "cpu", by default the GPU where there is one; amp: mixed precision, on a GPU only.

    score: crystals from this score on, 0.2 as in the published inference; iou: of boxes that overlap by more, the one with the
    highest score stays, 0.3 as published. grey: how grey values are brought to those of training, see ``photographs.matched``;
    white: see ``photographs.grey_values``. scale: photographs are made so many times as large before the detector sees them;
    with 0.5, crystals of 600 px look to it like those of 300 px (training shows up to 384 px). Results are in px of the
    photograph.

    tile, overlap: photographs larger than ``tile`` px (after scaling) are cut into tiles that overlap by ``overlap`` px; None
    for never; "auto" is 1024, and never for Mask R-CNN, which fits whatever it is given into its own size, so that tiles set
    its magnification and ``scale`` hardly matters. batch_size: tiles that the network sees at once. Crystals that span more
    than the overlap may be missed, and are then warned of; see ``tiling.merge``. The network's group normalisation makes scores
    and sides depend a little on what else is in a tile, so other tiles give other crystals near the least score, and slightly
    different boxes.

    Raises DataError for a checkpoint that is missing, damaged, refused or of another model, InputError for wrong arguments.
    """

    def __init__(
        self,
        model: str | Path | Network,
        device: str | None = None,
        *,
        config: str | Path | None = None,
        score: float = 0.2,
        iou: float = 0.3,
        grey: Matching = "shift",
        white: float | None = None,
        scale: float = 1.0,
        tile: int | Literal["auto"] | None = "auto",
        overlap: int = 256,
        batch_size: int = 1,
        amp: bool = False,
    ) -> None:
        for name, value in (("score", score), ("iou", iou)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}; it takes a number from 0 to 1")
        if not 0 < scale < math.inf:
            raise InputError(f"scale is {scale}; it takes a positive factor, 1 for photographs as they are")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it takes at least 1 tile")
        check_white(white)
        check_matching(grey)
        tiling.check_tiles(TILE if tile == "auto" else tile, overlap)
        network = open_network(model, device, config=config, score=score, iou=iou, amp=amp)
        self.network, self.device, self.source = network, network.device, network.source
        self.mean, self.deviation = network.mean, network.deviation
        if tile == "auto":
            tile = TILE if network.tiled else None
        self.score, self.iou, self.grey, self.white, self.scale = score, iou, grey, white, scale
        self.tile, self.overlap, self.batch_size, self.amp = tile, overlap, batch_size, amp

    @property
    def settings(self) -> dict[str, Any]:
        """What decides about the crystals found, beside checkpoint and photograph."""
        names = ("score", "iou", "grey", "mean", "deviation", "white", "scale", "tile", "overlap", "batch_size", "amp")
        return {name: getattr(self, name) for name in names}

    def predict(
        self, image: str | os.PathLike[str] | ArrayLike, um_per_px: float | None = None, name: str | None = None
    ) -> pd.DataFrame:
        """The crystals of a photograph as a table, one row each, best score first (``crystals.COLUMNS``).

        image: path of an image file (``read_photograph``) or its pixels (``grey_values``); um_per_px: its scale, for the
        columns in um, by default what the file says; name: what the column ``image`` says, by default the file's name or
        "image". at_border: a corner of the box lies within 1 px of the photograph's border (a px of the scaled one where that
        is larger), or outside. Warns of objects that tiles cut. Raises DataError, InputError."""
        if isinstance(image, str | os.PathLike):
            grey, said = read_scaled(image, self.white)
            um_per_px = said.um_per_px if um_per_px is None else um_per_px
        else:
            grey = grey_values(image, self.white)
        found = self.detect(grey)
        label = name or (Path(image).name if isinstance(image, str | os.PathLike) else "image")
        if len(found.cut):
            warnings.warn(f"{label}: {self.cut_message(len(found.cut))}", stacklevel=2)
        return crystal_table(label, found.boxes, found.scores, self.at_border(found, grey.shape), um_per_px)

    def detect(self, grey: Grey) -> Found:
        """Boxes and scores of the crystals of grey values (H, W), 0 black to 255 white, in px of these.

        Where the network needs sides that its strides divide, the last rows and columns are repeated: filling up with the mean
        grey, as in training, would make an edge at the border of a dark photograph, and such edges look like crystals.
        """
        small, across, along = _resized(matched(grey, self.grey, self.mean, self.deviation), self.scale)
        height, width = small.shape
        step = self.network.divisor
        small = np.pad(small, ((0, -height % step), (0, -width % step)), mode="edge")
        size = (small.shape[0], small.shape[1])
        parts: list[tuple[tiling.Tile, np.ndarray, np.ndarray]] = []
        for batch in _batches(tiling.tiles(size, self.tile, self.overlap), self.batch_size):
            found = self.network.find([small[t.y0 : t.y1, t.x0 : t.x1] for t in batch])
            for place, (boxes, scores) in zip(batch, found):
                good = (scores >= self.score) & np.isfinite(boxes).all(1) & (boxes[:, 3] > 0)
                parts.append((place, boxes[good], scores[good]))
        merged = tiling.merge(parts, size, self.iou)
        within = ((merged.boxes[:, :2] >= 0) & (merged.boxes[:, :2] < (width, height))).all(1)
        back = np.array([across, along, (across * along) ** 0.5, (across * along) ** 0.5, 1.0])
        return Found(merged.boxes[within] / back, merged.scores[within], merged.cut / back)

    def at_border(self, found: Found, size: tuple[int, ...]) -> np.ndarray:
        """(N,) which of the crystals of a photograph of ``size`` (H, W) touch its border."""
        return tiling.touches_border(found.boxes, (size[0], size[1]), max(1.0, 1 / self.scale))

    def cut_message(self, count: int) -> str:
        return (
            f"left out {count} piece{'s' if count > 1 else ''} of objects that tiles cut, since they span more than the "
            f"overlap of {self.overlap} px; enlarge overlap and tile, or let the detector see photographs smaller (scale)"
        )


def _batches(places: list[tiling.Tile], size: int) -> Iterator[list[tiling.Tile]]:
    """Tiles of one shape at a time: the padding of a smaller one would change what the network normalises."""
    shapes: dict[tuple[int, int], list[tiling.Tile]] = {}
    for t in places:
        shapes.setdefault((t.y1 - t.y0, t.x1 - t.x0), []).append(t)
    for alike in shapes.values():
        yield from (alike[first : first + size] for first in range(0, len(alike), size))


def _resized(grey: Grey, scale: float) -> tuple[Grey, float, float]:
    """(H', W') grey values ``scale`` times as large, without aliasing, and the exact factors in x and y, since px are whole."""
    if scale == 1:
        return np.ascontiguousarray(grey), 1.0, 1.0
    height, width = (max(round(side * scale), 1) for side in grey.shape)
    # Pillow averages over all pixels that a smaller one covers; OpenCV's bilinear filter would skip some
    out = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(out), width / grey.shape[1], height / grey.shape[0]
