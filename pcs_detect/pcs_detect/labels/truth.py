"""Labels of photographs to score against, from the files that label tools and this project write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boxes import outline_box
from ..errors import DataError, InputError
from .labelme import IGNORE, REGION, labelme_files, read_json, read_shapes

Floats = NDArray[np.float64]
NO = ("0", "0.0", "false", "no", "none", "null")  # how converters write that an annotation is no crowd


def _none() -> Floats:
    return np.zeros((0, 5))


@dataclass
class Truth:
    """What is labelled in a photograph: crystals and ignored places, (N, 5) boxes cx, cy, w, h, theta, px and radians; region:
    (x0, y0, x1, y1), the part of the photograph that is labelled, None: all of it."""

    crystals: Floats = field(default_factory=_none)
    ignored: Floats = field(default_factory=_none)
    region: tuple[float, float, float, float] | None = None


def read_truths(path: str | Path) -> tuple[dict[str, Truth], list[str]]:
    """({name of a photograph: its labels}, what was left out and why) of a file or folder of labels.

    A folder of Labelme files (of X-AnyLabeling too), in which shapes labelled "ignore" are places that do not count and one
    labelled "region" is the part that is labelled; a COCO or PCS JSON; or {photograph: {"crystals": [[4 corners] ...],
    "ignore": [...], "region": [x0, y0, x1, y1] or null}}. Raises DataError for what is none of these.
    """
    path = Path(path)
    if path.is_dir():
        return _labelme(path)
    document = read_json(path)
    if isinstance(document, dict) and isinstance(document.get("images"), list):
        return _coco(document, path)
    if isinstance(document, dict) and isinstance(document.get("shapes"), list):
        raise DataError(f"{path}: one Labelme file; give the folder that it lies in")
    if not isinstance(document, dict) or not document:
        raise DataError(f"{path}: no labels; give a folder of Labelme files, a COCO or PCS JSON, or corners by photograph")
    truths, left = {}, []
    for name, entry in document.items():
        try:
            truths[str(name)] = _entry(entry)
        except (TypeError, ValueError, KeyError, AttributeError) as e:
            left.append(f"{name}: no labels of a photograph ({e or type(e).__name__})")
    if not truths:
        raise DataError(f"{path}: {left[0]}")
    return truths, left


def box_around(points: ArrayLike) -> Floats:
    """(5,) smallest box around points (K, 2). Raises ValueError for no area."""
    try:
        return outline_box([points])
    except InputError as e:
        raise ValueError(str(e)) from e


def stacked(boxes: Sequence[Floats]) -> Floats:
    return np.array(boxes, np.float64).reshape(-1, 5)


def _entry(entry: Any) -> Truth:
    crystals, ignored = ([box_around(p) for p in entry.get(key) or []] for key in ("crystals", "ignore"))
    if "crystals" not in entry:
        raise KeyError("it has no 'crystals'")
    region = entry.get("region")
    if region is not None:
        region = tuple(float(v) for v in region)
        if len(region) != 4:
            raise ValueError(f"region {region}; it takes x0, y0, x1, y1")
    return Truth(stacked(crystals), stacked(ignored), region)


def annotated_box(annotation: Any) -> Floats:
    """(5,) the oriented box of an annotation of COCO or PCS JSON. Raises ValueError, TypeError.

    A bbox of five numbers is the box itself (cx, cy, w, h, degrees counter-clockwise); else the smallest box around the
    outlines; else the upright bbox, turned clockwise by the degrees of ``attributes.rotation``, as CVAT writes it.
    """
    bbox = [float(v) for v in annotation.get("bbox") or []]
    if len(bbox) == 5:
        x, y, w, h, angle = bbox
        theta = -math.radians(angle)
    elif isinstance(annotation.get("segmentation"), list) and annotation["segmentation"]:
        return box_around(np.concatenate([np.asarray(s, np.float64).reshape(-1, 2) for s in annotation["segmentation"]]))
    elif len(bbox) == 4:
        left, top, w, h = bbox
        x, y = left + w / 2, top + h / 2
        theta = math.radians(float((annotation.get("attributes") or {}).get("rotation") or 0))
    else:
        raise ValueError(f"bbox {bbox}; it takes 4 or 5 numbers")
    if not all(map(math.isfinite, (x, y, w, h, theta))) or min(w, h) <= 0:
        raise ValueError(f"bbox {bbox}; it takes finite numbers and positive sides")
    return np.array([x, y, max(w, h), min(w, h), theta + (math.pi / 2 if h > w else 0)])


def _coco(document: dict[str, Any], path: Path) -> tuple[dict[str, Truth], list[str]]:
    try:
        names = {image["id"]: str(image["file_name"]) for image in document["images"]}
    except (TypeError, KeyError) as e:
        raise DataError(f"{path}: an image without id and file_name ({e})") from e
    boxes: dict[Any, tuple[list[Floats], list[Floats]]] = {i: ([], []) for i in names}
    left = []
    for number, annotation in enumerate(document.get("annotations") or [], 1):
        try:
            crystals, ignored = boxes[annotation["image_id"]]
            crowd = str(annotation.get("iscrowd") or "0").strip().lower() not in NO
            (ignored if crowd else crystals).append(annotated_box(annotation))
        except (TypeError, ValueError, KeyError, AttributeError) as e:
            left.append(f"annotation {number}: {e}")
    return {names[i]: Truth(stacked(c), stacked(g)) for i, (c, g) in boxes.items()}, left


def _labelme(folder: Path) -> tuple[dict[str, Truth], list[str]]:
    truths: dict[str, Truth] = {}
    left: list[str] = []
    for file in labelme_files(folder):
        try:
            name, shapes, wrong = read_shapes(file)
        except DataError as e:
            left.append(str(e))
            continue
        left += wrong
        truth = Truth()
        crystals: list[Floats] = []
        ignored: list[Floats] = []
        for label, pieces in shapes:
            points = np.concatenate([np.asarray(p.exterior.coords) for p in pieces])
            if label == REGION:
                (x0, y0), (x1, y1) = points.min(0), points.max(0)
                truth.region = (float(x0), float(y0), float(x1), float(y1))
            else:
                (ignored if label == IGNORE else crystals).append(box_around(points))
        truth.crystals, truth.ignored = stacked(crystals), stacked(ignored)
        if name in truths:
            left.append(f"{file}: a second file of labels of {name}")
        else:
            truths[name] = truth
    if not truths:
        raise DataError(f"{folder}: no Labelme files that can be used" + (f"; {left[0]}" if left else ""))
    return truths, left
