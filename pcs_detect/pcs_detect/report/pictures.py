"""Photographs as pictures in a page, small enough for all of them to fit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from ..boxes import corners
from ..crystals.drawing import ENLARGED
from ..errors import DataError
from ..photographs.decoders import opened_by_pillow
from ..photographs.finding import real
from ..photographs.frames import Projection
from ..photographs.grey import grey_values
from ..photographs.reading import frames_of, read_levels
from ..results import file_digest
from ..sizes.groups import some_of

SIDE = 4096  # px, the longest side of a picture; more slows browsers down
LEAST = 40_000  # bytes; with less, crystals are no longer seen in a photograph
QUALITY = 85  # of WebP


@dataclass(frozen=True)
class Picture:
    """webp: the file; scale: its px per px of the photograph; boxed: boxes are part of it, since only the overlay was there."""

    webp: bytes
    scale: float
    boxed: bool


def pictures(
    images: pd.DataFrame, folder: Path, elsewhere: Path | None, settings: dict[str, Any], budget: int, progress: bool | None
) -> tuple[dict[int, Picture], list[str]]:
    """({row of ``images``: its picture}, what is missing and why); all pictures together have at most ``budget`` bytes.

    settings: of ``predict``. Each is the photograph at its path, or of its name in the folder ``elsewhere``, if its file is the
    one that was measured (its SHA-256, or of results up to 0.3 its size), or else the overlay in ``folder``, made smaller until
    it takes its share. Where shares would be below LEAST, photographs spread evenly over all have a picture.
    """
    white, z = (settings.get("settings") or {}).get("white"), settings.get("z")
    readable = [row for row in range(len(images)) if not images["error"].iloc[row]]
    most = max(budget // LEAST, 1)
    spread = np.linspace(0, len(readable) - 1, min(most, len(readable))).round().astype(int)
    chosen = [readable[i] for i in np.unique(spread)]
    found: dict[int, Picture] = {}
    boxed: list[str] = []
    absent: list[str] = []
    for row in tqdm(chosen, desc="pictures", unit="", disable=None if progress is None else not progress):
        image = images.iloc[row]
        for path, is_overlay in _places(image, folder, elsewhere):
            pixels = _overlay(path) if is_overlay else _photograph(path, image, white, z)
            if pixels is not None and pixels.shape[:2] == (image["height_px"], image["width_px"]):
                webp, scale = shrunk(pixels, budget // len(chosen))
                found[row] = Picture(webp, scale, is_overlay)
                break
        if row not in found:
            absent.append(image["image"])
        elif found[row].boxed:
            boxed.append(image["image"])
    notes = []
    if len(chosen) < len(readable):
        notes.append(f"{len(chosen)} of {len(readable)} photographs are shown, spread evenly, to bound the size of this page")
    if boxed:
        notes.append(f"not found, or changed since: {some_of(boxed)}; the overlays of predict are shown, whose boxes stay")
    if absent:
        notes.append(f"neither photograph nor overlay found: {some_of(absent)}; boxes are shown alone")
    return found, notes


def shrunk(pixels: NDArray[np.uint8], most: int) -> tuple[bytes, float]:
    """(WebP file of at most ``most`` bytes where that is possible, its scale) of pixels (H, W) or (H, W, 3)."""
    image = Image.fromarray(pixels)
    longest = max(image.size)
    side = min(longest, SIDE)
    while True:
        small = image
        if side < longest:
            size = tuple(max(round(v * side / longest), 1) for v in image.size)
            small = image.resize(size, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
        file = io.BytesIO()
        small.save(file, "WEBP", quality=QUALITY, method=2)
        if file.tell() <= most or side <= 16:
            return file.getvalue(), side / longest
        side = max(int(side * min(0.95 * (most / file.tell()) ** 0.5, 0.9)), 16)


def outlines(boxes: NDArray[np.float64]) -> str:
    """Boxes (N, 5), enlarged, as data of one SVG path, in whole px."""
    larger = boxes + np.array([0, 0, ENLARGED, ENLARGED, 0])
    return "".join("M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in outline) + "z" for outline in corners(larger))


def boxes_of(crystals: pd.DataFrame) -> NDArray[np.float64]:
    """(N, 5) cx, cy, w, h, theta, px and radians, of rows of a table of crystals."""
    boxes = crystals[["x_px", "y_px", "width_px", "height_px", "angle_deg"]].to_numpy(np.float64)
    return np.concatenate([boxes[:, :4], np.radians(boxes[:, 4:])], 1)


def _places(image: pd.Series, folder: Path, elsewhere: Path | None) -> Iterator[tuple[Path, bool]]:
    """(file, whether it is an overlay): where the photograph may be, best first."""
    if elsewhere is not None:
        yield real(str(elsewhere / image["image"])), False
    if image["path"]:
        yield real(image["path"]), False
    if image["overlay"]:
        yield folder / image["overlay"], True


def _photograph(path: Path, image: pd.Series, white: float | None, z: Projection | None) -> NDArray[np.uint8] | None:
    """Grey values of a photograph, None where it is not there or no longer what was measured."""
    name, _, number = image["image"].rpartition("#")
    file = path if path.is_file() or not name else path.with_name(path.name.removesuffix(f"#{number}"))
    if not file.is_file() or (image["sha256"] and file_digest(file) != image["sha256"]):
        return None
    known = image["white"] if np.isfinite(image["white"]) else white
    try:
        frames = frames_of(file, z)
        frames = [f for f in frames if f.number == int(number)] if len(frames) > 1 and number.isdigit() else frames
        levels = read_levels(frames[0])
        return grey_values(levels.pixels, known or levels.white).round().astype(np.uint8)
    except (DataError, OSError, ValueError, IndexError):
        return None


def _overlay(path: Path) -> NDArray[np.uint8] | None:
    try:
        with opened_by_pillow(path) as image:
            return np.asarray(image.convert("RGB"))
    except (DataError, OSError, ValueError):
        return None
