"""Formats with one text file per image: DOTA and YOLO-OBB."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pcs_augment.boxes import box_corners
from pcs_augment.console import OnProgress
from pcs_augment.files import written

from ..shards import Reader, Record
from .exporting import Export, Exported, exporting, folder_for_files, name, put


def dota(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    validation: int | float | None = None,
    incomplete: bool = False,
    progress: OnProgress | None = None,
) -> list[Exported]:
    """Export DOTA: ``train/images/0000000000.png`` with ``train/labelTxt/0000000000.txt``, and the same under ``val``.

    A line is "x1 y1 x2 y2 x3 y3 x4 y4 crystal 0": the corners of the oriented box in px, clockwise, category, difficulty.
    mmrotate reads it as ``DOTADataset`` with ``ann_file="train/labelTxt/"``, ``data_prefix=dict(img_path="train/images/")`` and
    ``metainfo=dict(classes=("crystal",))``.

    Args:
        folder: of the data set.
        out: where it is written: a new or empty folder, or that of the same export.
        validation: part or number of images for validation, as in the data set unless given.
        incomplete: allow a data set whose rendering resumes.
        progress: called with (done, all) images.

    Returns:
        What was written, one entry per split.

    Raises:
        DataError: the data set is damaged, or not complete.
        OutputError: ``out`` cannot be written or holds something else.

    Examples:
        >>> train, validation = export.dota("data", "dota", validation=1)
        >>> train.images, validation.images
        (2, 1)
    """

    def lines(record: Record) -> str:
        rows = box_corners(record.boxes.astype(np.float64)).reshape(-1, 8)
        return "".join(" ".join(f"{v:.3f}" for v in row) + " crystal 0\n" for row in rows.tolist())

    with exporting("dota", folder, out, validation, incomplete, progress, {}) as job:
        places = {"train": job.out / "train", "validation": job.out / "val"}
        return [
            _write_split(job, s, r, places[s], places[s] / "images", places[s] / "labelTxt", lines)
            for s, r in job.readers.items()
        ]


def yolo_obb(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    validation: int | float | None = None,
    incomplete: bool = False,
    progress: OnProgress | None = None,
) -> list[Exported]:
    """Export YOLO-OBB of Ultralytics: ``dataset.yaml``, ``images/train/*.png``, ``labels/train/*.txt``, the same under ``val``.

    A line is "0 x1 y1 x2 y2 x3 y3 x4 y4": class, then the corners of the oriented box divided by width and height of the image.
    Corners may lie slightly outside the image where the crystal itself does not; clipping them would bend the box.

    Args:
        folder: of the data set.
        out: where it is written: a new or empty folder, or that of the same export.
        validation: part or number of images for validation, as in the data set unless given.
        incomplete: allow a data set whose rendering resumes.
        progress: called with (done, all) images.

    Returns:
        What was written, one entry per split.

    Raises:
        DataError: the data set is damaged, or not complete.
        OutputError: ``out`` cannot be written or holds something else.

    Examples:
        >>> train, validation = export.yolo_obb("data", "yolo", validation=1)
        >>> train.images, validation.images
        (2, 1)
    """

    def lines(record: Record) -> str:
        rows = (box_corners(record.boxes.astype(np.float64)) / np.array([record.width, record.height])).reshape(-1, 8)
        return "".join("0 " + " ".join(f"{v:.7f}" for v in row) + "\n" for row in rows.tolist())

    with exporting("yolo-obb", folder, out, validation, incomplete, progress, {}) as job:
        folder_for_files(job.out)
        yaml = job.out / "dataset.yaml"
        done = [
            _write_split(job, s, r, yaml, job.out / "images" / place, job.out / "labels" / place, lines)
            for (s, r), place in zip(job.readers.items(), ("train", "val"))
        ]
        with written(yaml) as temporary:  # without "path": the folder of this file is the root
            temporary.write_text("train: images/train\nval: images/val\nnames:\n  0: crystal\n")
        return done


def _write_split(
    job: Export, split: str, reader: Reader, given: Path, images: Path, texts: Path, lines: Callable[[Record], str]
) -> Exported:
    folder_for_files(images)
    folder_for_files(texts)
    crystals = 0
    for record in reader.records():
        put(images / f"{name(record.image_id)}.png", record.png)
        put(texts / f"{name(record.image_id)}.txt", lines(record).encode())
        crystals += len(record.boxes)
        job.advance()
    return Exported(split, given, len(reader), crystals)
