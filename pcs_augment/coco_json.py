"""Annotations of PCS and COCO JSON, one by one: what each says about the box and the outline of a crystal. Without torch."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import boxes as bx
from .errors import DataError

SUFFIXES = (".json.gzip", ".json.gz", ".gzip", ".json")
NO = ("", "0", "0.0", "false", "no", "none", "null")
LARGEST, SMALLEST = 1e7, 1e-6  # px of boxes: beyond, float32 is too coarse or 0


class Annotation(NamedTuple):
    """One crystal. box: (5,) as everywhere here; outline: (K, 2); px, float64."""

    id: Any
    image_id: int
    category_id: int
    box: NDArray[np.float64]
    outline: NDArray[np.float64]


def annotation(a: dict[str, Any], path: Path, skipped: Skipped) -> Annotation | None:
    """One entry of the annotations; None for a crowd, and for what cannot be used."""
    if is_crowd(a):
        return None
    image, category = integer(a, "image_id", path), integer(a, "category_id", path)
    try:
        return Annotation(a.get("id"), image, category, *shape_of(a, path))
    except DataError as e:
        skipped.add(a.get("id"), e)
        return None


def usable(entry: dict[str, Any], path: Path) -> bool:
    """Whether an annotation of the file is among the data set's objects."""
    return annotation(entry, path, Skipped(path, strict=False)) is not None


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether it is about a crowd; some converters write that as text."""
    crowd = annotation.get("iscrowd")
    return bool(crowd) and not (isinstance(crowd, str) and crowd.strip().lower() in NO)


def oriented(annotation: dict[str, Any]) -> bool:
    """Whether its ``bbox`` has the five numbers of the published files."""
    box = annotation.get("bbox")
    return isinstance(box, list | tuple) and len(box) == 5


def shape_of(annotation: dict[str, Any], path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The oriented box (5,) and outline (K, 2) of one annotation. Raises DataError where neither says where it is."""
    where = f"{path}: annotation {annotation.get('id')}"
    outline = _outline(annotation.get("segmentation") or [], where)
    try:
        numbers = box_numbers(annotation.get("bbox"), where)
    except DataError:
        if outline is None:
            raise
        numbers = np.zeros(4)  # the polygon says it
    if len(numbers) == 5:
        box = bx.le90(np.append(numbers[:4], -np.radians(numbers[4]))[None])[0]
    elif outline is not None:
        box = bx.min_area_box(outline)
        if box[3] <= 1e-9 * box[2]:
            raise DataError(f"{where}: the polygon {outline.tolist()} encloses nothing: it has no area")
    else:
        x, y, w, h = numbers
        box = bx.le90(np.array([[x + w / 2, y + h / 2, w, h, _turned(annotation, where)]]))[0]
    if np.abs(box[:4]).max() > LARGEST or box[2:4].min() < SMALLEST:
        raise DataError(f"{where}: a box of {box[2]:g} x {box[3]:g} px at ({box[0]:g}, {box[1]:g}) fits no image")
    return box, outline if outline is not None else bx.box_corners(box[None])[0]


def _turned(annotation: dict[str, Any], where: str) -> float:
    """By how many radians, clockwise, an upright box is turned about its centre: CVAT writes degrees among the attributes."""
    attributes = annotation.get("attributes")
    degrees = attributes.get("rotation") if isinstance(attributes, dict) else None
    if degrees is None:
        return 0.0
    try:
        radians = float(np.radians(float(degrees)))
    except (TypeError, ValueError):
        radians = np.nan
    if not np.isfinite(radians):
        raise DataError(f"{where}: the attribute 'rotation' must be a number of degrees, got {str(degrees)[:40]!r}")
    return radians


FORMS = {  # of boxes: how many numbers, and what they are
    "bbox": ((4, 5), "[cx, cy, w, h, degrees] or [x, y, w, h]"),
    "rbox": ((5,), "[cx, cy, w, h, radians]"),
}


def box_numbers(value: Any, where: str, key: str = "bbox") -> NDArray[np.float64]:
    """The numbers of a box under a key of ``FORMS``. Raises DataError."""
    counts, form = FORMS[key]
    numbers = _numbers(value, f"{where}: {key!r}")
    if len(numbers) not in counts or (numbers[2:4] <= 0).any():
        raise DataError(f"{where}: {key!r} must be {form} with positive sides, w, h > 0, got {numbers.tolist()}")
    return numbers


def _outline(segments: Any, where: str) -> NDArray[np.float64] | None:
    if not isinstance(segments, list):
        raise DataError(f"{where}: 'segmentation' must be a list of polygons (run-length masks are read of crowds only)")
    parts = [_numbers(s, f"{where}: 'segmentation'") for s in segments]
    for p in parts:
        if len(p) < 6 or len(p) % 2:
            raise DataError(
                f"{where}: a polygon of 'segmentation' needs at least 3 points as [x1, y1, x2, y2, ...], got {len(p)} numbers"
            )
    if len(parts) > 1:  # one crystal seen in several pieces: its outline goes around all of them
        return bx.convex_hull(np.concatenate(parts).reshape(-1, 2))
    return parts[0].reshape(-1, 2) if parts else None


def _numbers(value: Any, where: str) -> NDArray[np.float64]:
    try:
        out = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        out = np.array(np.nan)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise DataError(f"{where} must be a list of finite numbers, got {str(value)[:80]}")
    return out


class Skipped:
    """Annotations that cannot be used: collected to be named in one warning, or refused at once if ``strict``."""

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.ids: list[Any] = []
        self.reasons: list[str] = []

    def add(self, annotation: Any, error: DataError) -> None:
        if self.strict:
            raise error
        self.ids.append(annotation)
        if len(self.reasons) < 5:
            self.reasons.append(str(error).removeprefix(f"{self.path}: "))

    def forget(self) -> None:
        """Start anew."""
        self.ids, self.reasons = [], []

    def warn(self) -> None:
        if self.ids:
            more = f"; and {len(self.ids) - 5} more" if len(self.ids) > 5 else ""
            warnings.warn(
                f"{self.path}: {len(self.ids)} annotations cannot be used and are skipped: {'; '.join(self.reasons)}{more}. "
                "Correct them, or refuse such files with strict=True",
                stacklevel=4,
            )


# --- files --------------------------------------------------------------------------------------------------------------


def folder_beside(path: Path) -> Path:
    """The folder of images that belongs to a JSON file: beside it, named like it. Raises DataError for another kind of name."""
    return path.with_name(stem(path))


def stem(path: Path) -> str:
    """The name without the suffix. Raises DataError for another suffix."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    raise DataError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")


def image_path(folder: Path, name: str, path: Path) -> Path:
    """The image file ``name`` of the folder. Raises DataError for a name that climbs out of the folder; links are followed."""
    relative = os.path.normpath(name)
    if os.path.isabs(relative) or relative.split(os.sep)[0] == os.pardir:
        raise DataError(f"{path}: file_name {name!r} leads out of {folder}; image files must lie inside it")
    return folder / relative


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a plain or gzip-compressed file. Raises DataError."""
    with readable(path):
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        document = json.loads(raw)
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: expected a JSON object with images, annotations and categories, got a {type(document).__name__}"
        )
    return document


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises DataError for what goes wrong when a JSON file is read."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path}: cannot be read ({e}); is it complete?") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not valid JSON ({e}); is it complete?") from e


# --- entries ------------------------------------------------------------------------------------------------------------


def entries(document: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """The list of objects under a key of the document. Raises DataError."""
    value = document.get(key)
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise DataError(f"{path}: {key!r} must be a list of objects, as in COCO files")
    return value


def integer(entry: dict[str, Any], key: str, path: Path) -> int:
    """An entry's whole number. Raises DataError."""
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise DataError(f"{path}: entry {entry.get('id')}: {key!r} must be an integer, got {value!r}")
    return value


def side(value: Any) -> Any:
    """A number of px; some converters write it as text."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def text(entry: dict[str, Any], key: str, path: Path) -> str:
    """An entry's name of a file. Raises DataError."""
    value = entry.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise DataError(f"{path}: entry {entry.get('id')}: {key!r} must be a file name, got {value!r}")
    return value
