"""COCO-layout JSON: the published PCS form with five-number boxes, and plain COCO."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcs_augment.boxes import polygon_area
from pcs_augment.console import OnProgress
from pcs_augment.files import written

from ..shards import Reader, Record
from .exporting import Export, Exported, exporting, folder_for_files, name, put

_DECIMALS = 3  # of px
Describe = Callable[[Record], dict[str, list[Any]]]


def pcs_json(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    validation: int | float | None = None,
    compress: bool = False,
    published_labels: bool = False,
    incomplete: bool = False,
    progress: OnProgress | None = None,
) -> list[Exported]:
    """Export the layout of the published PCS data set: ``train.json`` beside ``train/0000000000.png``, ``validation`` likewise.

    ``bbox`` is [cx, cy, w, h, a], a in degrees, counter-clockwise positive; ``segmentation`` the hull, ``area`` its area.
    Labels lie where the pixels are (``info.label_offset_y`` 0.0), unlike the published ones, which lie 1 px high. Each file is
    written whole; the same call again finishes what was cut short.

    Args:
        folder: of the data set.
        out: where it is written: a new or empty folder, or that of the same export.
        validation: part or number of images for validation, as in the data set unless given.
        compress: write ``.json.gz``.
        published_labels: labels 1 px high as well (-1.0), for readers that correct it.
        incomplete: allow a data set whose rendering resumes.
        progress: called with (done, all) images.

    Returns:
        What was written, one entry per split.

    Raises:
        DataError: the data set is damaged, or not complete.
        OutputError: ``out`` cannot be written or holds something else.

    Examples:
        >>> train, validation = export.pcs_json("data", "pcs", validation=1)
        >>> train.images, validation.images
        (2, 1)
    """
    offset = -1.0 if published_labels else 0.0
    options = {"compress": compress, "published_labels": published_labels}
    with exporting("pcs-json", folder, out, validation, incomplete, progress, options) as job:
        note = {"bbox": "cx, cy, w, h in px, angle in degrees, counter-clockwise", "label_offset_y": offset}
        return [_write_split(job, s, r, compress, note, lambda a: _pcs(a, offset)) for s, r in job.readers.items()]


def coco(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    validation: int | float | None = None,
    compress: bool = False,
    incomplete: bool = False,
    progress: OnProgress | None = None,
) -> list[Exported]:
    """Export plain COCO: files as ``pcs_json``, but ``bbox`` is [left, top, w, h] of the hull.

    The oriented box is in the extra key ``rbox``: cx, cy, w, h in px, theta in radians, clockwise positive.

    Args:
        folder: of the data set.
        out: where it is written: a new or empty folder, or that of the same export.
        validation: part or number of images for validation, as in the data set unless given.
        compress: write ``.json.gz``.
        incomplete: allow a data set whose rendering resumes.
        progress: called with (done, all) images.

    Returns:
        What was written, one entry per split.

    Raises:
        DataError: the data set is damaged, or not complete.
        OutputError: ``out`` cannot be written or holds something else.

    Examples:
        >>> train, validation = export.coco("data", "coco", validation=1)
        >>> train.images, validation.images
        (2, 1)
    """
    with exporting("coco", folder, out, validation, incomplete, progress, {"compress": compress}) as job:
        note = {"rbox": "cx, cy, w, h in px, angle in radians, clockwise on screen"}
        return [_write_split(job, s, r, compress, note, _coco) for s, r in job.readers.items()]


def _pcs(record: Record, offset: float) -> dict[str, list[Any]]:
    boxes = record.boxes.astype(np.float64)
    boxes[:, 1] += offset
    boxes[:, :4] = boxes[:, :4].round(_DECIMALS)
    boxes[:, 2:4] = np.maximum(boxes[:, 2:4], 10.0**-_DECIMALS)
    boxes[:, 4] = np.degrees(-boxes[:, 4]).round(4)
    outlines = [p + np.array([0, offset]) for p in record.polygons]
    return {"bbox": boxes.tolist(), "segmentation": [[_flat(p)] for p in outlines]}


def _coco(record: Record) -> dict[str, list[Any]]:
    low = np.array([p.min(0) for p in record.polygons], np.float64).reshape(-1, 2)
    high = np.array([p.max(0) for p in record.polygons], np.float64).reshape(-1, 2)
    bbox = np.concatenate([low, high - low], 1).round(_DECIMALS)
    boxes = record.boxes.astype(np.float64)
    rbox = np.concatenate([boxes[:, :4].round(_DECIMALS), boxes[:, 4:].round(6)], 1)
    return {"bbox": bbox.tolist(), "segmentation": [[_flat(p)] for p in record.polygons], "rbox": rbox.tolist()}


def _flat(polygon: NDArray[Any]) -> list[float]:
    return polygon.astype(np.float64).round(_DECIMALS).ravel().tolist()


def _write_split(job: Export, split: str, reader: Reader, compress: bool, note: dict[str, Any], describe: Describe) -> Exported:
    path = job.out / (f"{split}.json.gz" if compress else f"{split}.json")
    images = folder_for_files(job.out / split)
    folder_for_files(job.out)
    count = 0

    def annotations() -> Iterator[str]:
        nonlocal count
        for record in reader.records():
            put(images / f"{name(record.image_id)}.png", record.png)
            described = describe(record)
            for i, polygon in enumerate(record.polygons):
                count += 1
                yield json.dumps(
                    {
                        "id": count,
                        "image_id": record.image_id,
                        "category_id": 1,
                        "iscrowd": 0,
                        "area": round(polygon_area(polygon), _DECIMALS),
                        **{key: values[i] for key, values in described.items()},
                    }
                )
            job.advance()

    m = job.manifest
    day = m.created
    head = {
        "info": {
            "description": f"Rendered protein crystals, {split} split",
            "version": "1.0",
            "year": int(day[:4]),
            "date_created": day,
            "coordinates": "x right, y down, pixel i spans [i, i + 1)",
            **note,
            **{key: getattr(m, key) for key in ("seed", "settings_hash", "profile_hash", "versions")},
        },
        "licenses": [{"id": 1, "name": "not stated", "url": ""}],
        "categories": [{"supercategory": "Crystal", "id": 1, "name": "Crystal"}],
    }
    entries = (
        json.dumps({"id": i, "file_name": f"{name(i)}.png", "width": w, "height": h, "license": 1, "date_captured": day})
        for i, w, h in reader.sizes()
    )
    _write_json(path, head, {"images": entries, "annotations": annotations()}, compress)
    return Exported(split, path, len(reader), count)


def _write_json(path: Path, head: dict[str, Any], lists: dict[str, Iterable[str]], compress: bool) -> None:
    """An object with ``head`` and then lists of JSON texts, never in memory as a whole."""
    with written(path) as temporary, open(temporary, "wb") as raw:
        # neither time nor temporary name goes into the file: the same data set gives the same bytes
        packed = gzip.GzipFile("", "wb", 6, raw, 0) if compress else raw
        with io.TextIOWrapper(packed, "utf-8") as file:
            file.write(json.dumps(head)[:-1])
            for key, texts in lists.items():
                file.write(f', "{key}": [')
                separator = "\n"
                for text in texts:
                    file.write(separator + text)
                    separator = ",\n"
                file.write("\n]")
            file.write("}\n")
