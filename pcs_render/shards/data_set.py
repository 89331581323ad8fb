"""The parts of a data set that any process may write: images kept one by one, shards, images skipped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pcs_augment.files import made_folder, written

from .. import __version__
from ..errors import DataError, InputError
from . import columns
from .columns import ALL_COLUMNS, ShardFile
from .manifest import Manifest, ShardSummary
from .record import Record, checked

_IDENTITY = ("seed", "first", "shard_size", "settings_hash", "profile_hash")


class ForeignError(DataError):
    """A file belongs to another data set."""


@dataclass(frozen=True)
class Todo:
    """A shard that is not finished.

    Attributes:
        index: its number, from 0.
        ids: images of it that are still to be made, in order; none: only ``finish`` is left.

    Examples:
        >>> with shards.Writer.create_or_resume("begun", count=2, **about) as writer:
        ...     writer.missing()
        [Todo(index=0, ids=(0, 1))]
    """

    index: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class DataSetPlan:
    """What a data set shall become. Picklable: workers that see the folder use it without holding the folder's lock.

    Every call writes whole files or none; a call repeated does no harm.

    Attributes:
        folder: of the data set.
        manifest: as it was when the plan was made; its list of shards is not looked at.
        versions: of this run.

    Examples:
        >>> with shards.Writer.create_or_resume("kept", count=2, **about) as writer:
        ...     writer.plan.keep(records[1])
        ...     writer.plan.todo(0).ids
        (0,)
    """

    folder: Path
    manifest: Manifest
    versions: dict[str, str]

    def shard_path(self, index: int) -> Path:
        """Name the file of the shard ``index``."""
        return self.folder / "shards" / f"{index:08d}.parquet"

    def kept_folder(self, index: int) -> Path:
        """Name the folder in which images of the shard ``index`` wait until all of them are there."""
        return self.folder / "shards" / f"{index:08d}.partial"

    def kept_path(self, image_id: int) -> Path:
        """Name the file in which the image ``image_id`` waits for the others of its shard."""
        return self.kept_folder(self._shard_of(image_id)) / f"{image_id:010d}.parquet"

    def quarantine_path(self, image_id: int) -> Path:
        """Name the file that says why the image ``image_id`` was skipped."""
        return self.folder / "quarantine" / f"{image_id:010d}.json"

    def todo(self, index: int) -> Todo:
        """List the images of the shard ``index`` that are neither kept nor skipped."""
        ids = self.manifest.ids(index)
        done = self.kept(index) | self.given_up(index)
        return Todo(index, tuple(i for i in ids if i not in done))

    def kept(self, index: int) -> set[int]:
        """List the ids that wait to be folded into the shard ``index``."""
        return self._named(self.kept_folder(index), ".parquet", index)

    def given_up(self, index: int) -> set[int]:
        """List the ids of the shard ``index`` that were skipped. To try one again, delete its file and start the run anew."""
        return self._named(self.folder / "quarantine", ".json", index)

    def keep(self, record: Record, made_with: list[dict[str, str]] | None = None) -> None:
        """Store one finished image, a ``record``, until its shard is complete. Raises InputError for a broken one, OutputError.

        made_with: versions that made the image, where they are not this run's.
        """
        record = checked(record)
        path = self.kept_path(record.image_id)
        made_folder(path.parent)
        columns.write(path, [record], self._metadata(made_with))

    def give_up(self, image_id: int, reason: str, **details: Any) -> None:
        """Skip the image ``image_id`` for a ``reason``: its shard is finished without it, unless it is kept after all.

        details: what JSON has no form for is written as text. Raises OutputError.
        """
        self._shard_of(image_id)
        path = self.quarantine_path(image_id)
        made_folder(path.parent)
        with written(path) as temporary:
            temporary.write_text(json.dumps({"image_id": image_id, "reason": reason, **details}, indent=1, default=str) + "\n")

    def write_shard(self, index: int, records: Iterable[Record]) -> ShardSummary:
        """Write the ``records`` of the shard ``index``: all of its images that are not skipped.

        Raises InputError when some are missing or broken, OutputError.
        """
        if not 0 <= index < self.manifest.shard_count:
            raise InputError(f"there is no shard {index}; the data set has shards 0 to {self.manifest.shard_count - 1}")
        return self._write(index, [checked(r) for r in sorted(records, key=lambda r: r.image_id)])

    def finish(self, index: int) -> ShardSummary:
        """Fold the images kept for the shard ``index`` into it, a few in memory at a time.

        Raises InputError when images are still to be made, DataError when a kept one is damaged, OutputError.
        """
        ids = sorted(self.kept(index))
        made_with: list[dict[str, str]] = []
        for image_id in ids:
            with contextlib.closing(ShardFile(self.kept_path(image_id))) as file:
                made_with += [v for v in versions_of(file) if v not in made_with]
        return self._write(index, (self.read_kept(i) for i in ids), made_with)

    def unfold(self, index: int) -> None:
        """Keep the images of the file of the shard ``index`` one by one. Raises DataError, OutputError."""
        with contextlib.closing(ShardFile(self.shard_path(index))) as file:
            for rows in file.groups(ALL_COLUMNS):
                for i in range(len(rows)):
                    self.keep(rows.record(i), versions_of(file))

    def read_kept(self, image_id: int) -> Record:
        """Read the image ``image_id`` that waits for the others of its shard. Raises DataError."""
        with contextlib.closing(ShardFile(self.kept_path(image_id))) as file:
            self.belongs(file)
            rows = file.rows(0, ALL_COLUMNS)
            if rows.ids.tolist() != [image_id]:
                raise DataError(f"{file.path} holds the images {rows.ids.tolist()}; delete it and run again")
            return rows.record(0)

    @property
    def metadata(self) -> dict[str, Any]:
        """What every file of the data set says of itself."""
        return self._metadata()

    def _metadata(self, made_with: list[dict[str, str]] | None = None) -> dict[str, Any]:
        identity = {key: getattr(self.manifest, key) for key in _IDENTITY}
        return {**identity, "versions": self.all_versions, "made_with": made_with or [self.all_versions]}

    @property
    def all_versions(self) -> dict[str, str]:
        """Of this run, with those of the libraries that write."""
        return {"pcs_render": __version__, "pyarrow": pa.__version__, **self.versions}

    def belongs(self, file: ShardFile) -> None:
        """Refuse a ``file`` of another data set. Raises ForeignError."""
        for key in _IDENTITY:
            theirs, mine = file.metadata.get(key), getattr(self.manifest, key)
            if theirs != mine:
                raise ForeignError(
                    f"{file.path} belongs to another data set: its {key} is {theirs!r}, here {mine!r}; move it away or name "
                    "another folder"
                )

    def _shard_of(self, image_id: int) -> int:
        m = self.manifest
        if not m.first <= image_id < m.first + m.count:
            raise InputError(f"image {image_id} is not of this data set; its ids are {m.first} to {m.first + m.count - 1}")
        return (image_id - m.first) // m.shard_size

    def _named(self, folder: Path, ending: str, index: int) -> set[int]:
        """Ids of a shard after which a file in the folder is named."""
        try:
            names = [p.name for p in folder.iterdir()]
        except FileNotFoundError:
            return set()
        found = {int(n[:10]) for n in names if re.fullmatch(rf"\d{{10}}{re.escape(ending)}", n)}
        return found & set(self.manifest.ids(index))

    def _write(self, index: int, records: Iterable[Record], made_with: list[dict[str, str]] | None = None) -> ShardSummary:
        given_up, kept_after_all = self.given_up(index), set[int]()
        missing: list[int] = []
        images = crystals = 0
        seconds = 0.0

        def counted() -> Iterator[Record]:
            nonlocal images, crystals, seconds
            due = iter(self.manifest.ids(index))
            for record in records:
                if record.image_id not in self.manifest.ids(index):
                    raise InputError(f"image {record.image_id} does not belong to shard {index}: {self.manifest.ids(index)}")
                missing.extend(_skipped(due, record.image_id, given_up, index))
                images, crystals, seconds = images + 1, crystals + len(record.boxes), seconds + record.seconds
                if record.image_id in given_up:
                    kept_after_all.add(record.image_id)
                yield record
            missing.extend(_skipped(due, None, given_up, index))

        path = self.shard_path(index)
        made_folder(path.parent)
        columns.write(path, counted(), self._metadata(made_with))
        for image_id in kept_after_all:
            self.quarantine_path(image_id).unlink(missing_ok=True)
        return ShardSummary(index, images, crystals, tuple(missing), seconds, *file_digest(path))


def versions_of(file: ShardFile) -> list[dict[str, str]]:
    """The versions that made the images of a file, each once; files of before know one only."""
    found = file.metadata.get("made_with", [file.metadata.get("versions", {})])
    return [dict(v) for v in found if isinstance(v, dict)] if isinstance(found, list) else []


def _skipped(due: Iterator[int], until: int | None, given_up: set[int], index: int) -> Iterator[int]:
    """Take ids up to ``until``, or to the end; yield those before it. Raises InputError where one was not skipped."""
    for image_id in due:
        if image_id == until:
            return
        if image_id not in given_up:
            raise InputError(f"shard {index} lacks image {image_id}; make it, or give it up")
        yield image_id
    if until is not None:
        raise InputError(f"shard {index} got image {until} twice")


def file_digest(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256 in hex) of a file. Raises DataError."""
    try:
        with open(path, "rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"cannot read {path}: {e.strerror}") from e
