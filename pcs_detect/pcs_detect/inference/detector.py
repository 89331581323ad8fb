"""Crystals in photographs of any size: ``Detector().predict(photograph)``."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from PIL import Image

from ..crystals.tables import crystal_table
from ..errors import InputError
from ..photographs.fringes import Fringes, check_fringes, without_fringes
from ..photographs.grey import Grey, Matching, check_matching, check_white, grey_values, matched
from ..photographs.reading import read_scaled
from . import tiling
from .framing import framed
from .look import check_scales, check_views, sought_for
from .networks import Network, open_network
from .scales import joined
from .tiling import Found
from .views import Views

TILE = 1536  # px; twice as many on a side take 450 MB instead of 250
OVERLAP = 256  # px
ROOM = 32  # px that tiles overlap more than the longest crystal of a scale


class Detector:
    """A trained detector, for photographs.

    Args:
        model: None for the detector that comes with the package; an .onnx file of ``pcs-detect export``; a checkpoint of
            ``pcs-detect train`` where the training half is installed; or a network of your own (``networks.Network``).
        device: "cuda" or "cpu", by default the GPU where one can be used (ONNX: with the package onnxruntime-gpu).
        config: configuration of a checkpoint that does not hold its own.
        score: crystals from this score on; None for what suits the detector. From 0.2 on it decides which crystals are
            reported, not their boxes and scores.
        iou: of boxes that overlap by more, the one with the highest score stays; None for what suits the detector.
        grey: how grey values are brought to those of training, see ``photographs.grey.matched``; None for what suits.
        white: see ``photographs.grey.grey_values``.
        fringes: "remove" takes periodic patterns out of photographs that have any, see ``photographs.without_fringes``; "keep"
            leaves them.
        scale: "auto" for the scales that suit the detector and the photograph: a coarser one shows it the larger crystals. Or
            the one at which it looks, or several, the largest first: at 0.5 photographs are halved. Results are in px of
            the photograph; a crystal found at two scales is one, and surer (``scales.joined``).
        tile: larger photographs, after scaling, are cut into tiles of at most so many px, rounded down to what the network's
            strides divide (its ``divisor``, mostly 32 px); None for never; "auto" is 1536, and never for Mask R-CNN, which fits
            whatever it is given into its own size.
        overlap: px of tiles; "auto" is enough for the crystals that count at a scale, and 256 where these have no limit.
            Crystals that span more may be missed, and are then warned of; see ``tiling.merge``.
        views: 2, 4 or 8 orientations in which it looks at every photograph (test-time augmentation): surer crystals with nearer
            sides in as many times the time, see ``views.Views``; 1 for the photograph as it is; None for what suits the
            detector.
        batch_size: tiles that a checkpoint's network sees at once.
        amp: mixed precision, of checkpoints on a GPU.

    The network's statistics of a tile make scores and sides depend a little on what else is in it, so other tiles give other
    crystals near the least score, and slightly different boxes.

    Raises:
        DataError: a file that is missing, damaged, refused or of another kind.
        InputError: wrong arguments.
        InstallationError: a checkpoint without the training half.

    Examples:
        >>> detector = Detector()
        >>> crystals = detector.predict("drop.png", um_per_px=0.84)
        >>> bool((crystals.width_um >= crystals.height_um).all())
        True
    """

    def __init__(
        self,
        model: str | Path | Network | None = None,
        device: str | None = None,
        *,
        config: str | Path | None = None,
        score: float | None = None,
        iou: float | None = None,
        grey: Matching | None = None,
        white: float | None = None,
        fringes: Fringes = "remove",
        scale: float | Sequence[float] | Literal["auto"] = "auto",
        tile: int | Literal["auto"] | None = "auto",
        overlap: int | Literal["auto"] = "auto",
        views: int | None = None,
        batch_size: int = 1,
        amp: bool = False,
    ) -> None:
        for name, value in (("score", score), ("iou", iou)):
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} is {value}; it takes a number from 0 to 1")
        self.scales = None if scale == "auto" else _scales(scale)
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it takes at least 1 tile")
        if views is not None:
            check_views(views)
        check_white(white)
        if grey is not None:
            check_matching(grey)
        check_fringes(fringes)
        tiling.check_tiles(TILE if tile == "auto" else tile, 0 if overlap == "auto" else overlap)
        sought = None if score is None else sought_for(score)
        network = open_network(model, device, config=config, score=sought, iou=iou, amp=amp)
        self.network, self.device, self.source = network, network.device, network.source
        self.mean, self.deviation, self.look = network.mean, network.deviation, network.look
        if tile == "auto":
            tile = TILE if network.tiled else None
        if tile is not None and network.tiled:
            if tiling.STEP % network.divisor:
                raise InputError(
                    f"the network's divisor is {network.divisor} px, which tiles cannot keep; it must divide {tiling.STEP}, or "
                    "give tile=None (--tile 0) to have photographs seen whole"
                )
            tile -= tile % network.divisor
            tiling.check_tiles(tile, 0 if overlap == "auto" else overlap)
        self.score = self.look.score if score is None else score
        self.sought = sought_for(self.score)
        self.iou = self.look.iou if iou is None else iou
        self.views = self.look.views if views is None else views
        self._sees: Network = Views(network, self.views, self.iou) if self.views > 1 else network
        self.grey: Matching = self.look.grey if grey is None else grey
        self.white, self.fringes, self.tile, self.overlap = white, fringes, tile, overlap
        self.batch_size, self.amp = batch_size, amp

    @property
    def settings(self) -> dict[str, Any]:
        """What decides about the crystals found, beside checkpoint and photograph."""
        seen = ("grey", "mean", "deviation", "white", "fringes", "tile", "overlap", "views")
        scales = list(self.look.scales if self.scales is None else self.scales)
        sizes = {"least": self.look.least, "most": None if math.isinf(self.look.most) else self.look.most}
        names = ("score", "iou", *seen, "batch_size", "amp")
        return {name: getattr(self, name) for name in names} | {"scale": scales, **(sizes if len(scales) > 1 else {})}

    @property
    def largest(self) -> float:
        """Px of the photograph: crystals with a longer side are larger than any in training, at whatever scale."""
        return self.look.largest / min(self.scales or self.look.scales)

    def predict(
        self, image: str | os.PathLike[str] | ArrayLike, um_per_px: float | None = None, name: str | None = None
    ) -> pd.DataFrame:
        """Find the crystals of a photograph; warns of objects that tiles cut.

        Args:
            image: path of an image file (``read_photograph``) or its pixels (``grey_values``).
            um_per_px: its scale, for the columns in um, by default what the file says.
            name: what the column ``image`` says, by default the file's name or "image".

        Returns:
            A table, one row per crystal, best score first (``crystals.tables.COLUMNS``). ``at_border``: a corner of the box
            lies within 1 px of the photograph's border (a px of the scale at which it was found), or outside.

        Raises:
            DataError: the photograph is missing, damaged or no image.
            InputError: the scale is not positive.

        Examples:
            >>> detector.predict(grey).columns[:4].tolist()
            ['image', 'crystal', 'x_px', 'y_px']
        """
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
        """Find boxes and scores of the crystals of ``grey`` values (H, W), 0 black to 255 white, in px of these.

        At every scale a frame of background goes around the photograph (``framing.framed``), so that crystals at its four
        borders are found alike; crystals centred in the frame are none.
        """
        plain = without_fringes(grey) if self.fringes == "remove" else grey
        brought = matched(plain, self.grey, self.mean, self.deviation)
        scales = self.scales or self.look.needed((grey.shape[0], grey.shape[1]))
        found = [self._at(brought, scale, sizes) for scale, sizes in zip(scales, self.look.sizes(scales))]
        whole = joined(found, self.iou)
        good = whole.scores >= self.score
        return Found(whole.boxes[good], whole.scores[good], whole.cut, whole.scales[good])

    def _at(self, grey: Grey, scale: float, sizes: tuple[float, float]) -> Found:
        """What is found at one scale, of crystals with longer sides in the range ``sizes``, px as the network sees them."""
        small, across, along = _resized(grey, scale)
        height, width = small.shape
        least, most = sizes
        if self.network.tiled:
            seen, before = framed(small, self.network.divisor)
        else:
            seen, before = small, 0
        size = (seen.shape[0], seen.shape[1])
        unlimited = math.isinf(most)
        overlap = self.overlap if self.overlap != "auto" else OVERLAP if unlimited else math.ceil(most) + ROOM
        if self.tile is not None:
            overlap = min(overlap, self.tile - tiling.STEP)
        parts: list[tuple[tiling.Tile, np.ndarray, np.ndarray]] = []
        for batch in _batches(tiling.tiles(size, self.tile, overlap), self.batch_size):
            every = self._sees.find([seen[t.y0 : t.y1, t.x0 : t.x1] for t in batch])
            for place, (boxes, scores) in zip(batch, every):
                good = (scores >= self.sought) & np.isfinite(boxes).all(1) & (boxes[:, 3] > 0)
                good &= (boxes[:, 2] >= least) & (boxes[:, 2] < most)
                parts.append((place, boxes[good], scores[good]))
        merged = tiling.merge(parts, size, self.iou)
        boxes, cut = merged.boxes - (before, before, 0, 0, 0), merged.cut - (before, before, 0, 0, 0)
        within = ((boxes[:, :2] >= 0) & (boxes[:, :2] < (width, height))).all(1)
        back = np.array([across, along, (across * along) ** 0.5, (across * along) ** 0.5, 1.0])
        lost = cut / back if unlimited else cut[:0]  # of others a coarser scale shows the whole
        return Found(boxes[within] / back, merged.scores[within], lost, np.full(int(within.sum()), scale))

    def at_border(self, found: Found, size: tuple[int, ...]) -> np.ndarray:
        """Say which (N,) of the crystals ``found`` in a photograph of ``size`` (H, W) touch its border."""
        return tiling.touches_border(found.boxes, (size[0], size[1]), np.maximum(1.0, 1 / found.scales))

    def cut_message(self, count: int) -> str:
        """Say that ``count`` pieces of objects were left out, and what to do."""
        overlap = OVERLAP if self.overlap == "auto" else self.overlap
        return (
            f"left out {count} piece{'s' if count > 1 else ''} of objects that tiles cut, since they span more than the "
            f"overlap of {overlap} px; enlarge overlap and tile, or let the detector see photographs smaller (scale)"
        )


def _scales(given: float | Sequence[float]) -> tuple[float, ...]:
    scales = tuple(float(s) for s in (given if isinstance(given, Sequence) else [given]))
    check_scales(scales)
    return scales


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
