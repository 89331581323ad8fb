"""WebDataset: numbered tar files for streaming."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pcs_augment.console import OnProgress
from pcs_augment.files import written

from ..errors import InputError
from ..shards import Reader, Record
from .exporting import Export, Exported, exporting, folder_for_files, name


def webdataset(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    per_tar: int | None = None,
    validation: int | float | None = None,
    incomplete: bool = False,
    progress: OnProgress | None = None,
) -> list[Exported]:
    """Export a WebDataset: ``train-000000.tar`` and on, ``per_tar`` images each, and ``validation-000000.tar`` and on.

    A sample is KEY.png and KEY.json, KEY being the ten-digit id. The JSON holds image_id, width, height and, per crystal, boxes
    (cx, cy, w, h in px, theta in radians, clockwise), labels (0), polygons, depth, refractive_index, model and targets.
    Finished tar files are compared, and only written again where they differ. The paths returned are for
    ``webdataset``: "train-{000000..000322}.tar".

    Args:
        folder: of the data set.
        out: where it is written: a new or empty folder, or that of the same export.
        per_tar: images of a tar file; None takes 1000, or less where that leaves fewer than 16 tar files, which loaders share
            out among their workers.
        validation: part or number of images for validation, as in the data set unless given.
        incomplete: allow a data set whose rendering resumes.
        progress: called with (done, all) images.

    Returns:
        What was written, one entry per split.

    Raises:
        DataError: the data set is damaged, or not complete.
        InputError: an impossible ``per_tar``.
        OutputError: ``out`` cannot be written or holds something else.

    Examples:
        >>> train, validation = export.webdataset("data", "tars", validation=1)
        >>> train.images, validation.images
        (2, 1)
    """
    if per_tar is not None and (type(per_tar) is not int or per_tar < 1):
        raise InputError(f"per_tar is {per_tar!r}; it takes a whole number of images, at least 1")
    with exporting("webdataset", folder, out, validation, incomplete, progress, {"per_tar": per_tar}) as job:
        folder_for_files(job.out)
        return [_write_split(job, s, r, per_tar or min(1000, max(1, len(r) // 16))) for s, r in job.readers.items()]


def _write_split(job: Export, split: str, reader: Reader, per_tar: int) -> Exported:
    count = max(1, -(-len(reader) // per_tar))
    for number in range(count):
        positions = range(number * per_tar, min((number + 1) * per_tar, len(reader)))
        path = job.out / f"{split}-{number:06d}.tar"
        if not _same(path, reader, positions):
            with written(path) as temporary, open(temporary, "wb") as file:
                _fill(file, reader, positions)
        job.advance(len(positions))
    pattern = f"{split}-{{000000..{count - 1:06d}}}.tar" if count > 1 else f"{split}-000000.tar"
    return Exported(split, job.out / pattern, len(reader), sum(len(a.boxes) for a in reader.labels()))


def _fill(file: Any, reader: Reader, positions: range) -> None:
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for position in positions:
            _add(tar, reader.record(position))


class _DifferentError(Exception):
    """A file does not hold what is written over it."""


class _Compared:
    """Takes what is written and compares it with a file."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    def write(self, data: bytes) -> int:
        if self._file.read(len(data)) != data:
            raise _DifferentError
        return len(data)


def _same(path: Path, reader: Reader, positions: range) -> bool:
    """Is the tar file there and whole?"""
    if not path.exists():
        return False
    with open(path, "rb") as file:
        try:
            _fill(_Compared(file), reader, positions)
        except _DifferentError:
            return False
        return not file.read(1)


def _add(tar: tarfile.TarFile, record: Record) -> None:
    labels: dict[str, Any] = {
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "labels": [0] * len(record.boxes),
        "model": record.model.tolist(),
        "polygons": [_rounded(p) for p in record.polygons],
    }
    for key in ("boxes", "depth", "refractive_index", "targets"):
        labels[key] = _rounded(getattr(record, key))
    for ending, content in (("png", record.png), ("json", json.dumps(labels).encode())):
        entry = tarfile.TarInfo(f"{name(record.image_id)}.{ending}")  # time 0: the same data set gives the same bytes
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


def _rounded(values: NDArray[np.float32]) -> list[Any]:
    return values.astype(np.float64).round(6).tolist()
