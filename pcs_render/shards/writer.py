"""One run's hold on the folder of a data set: create or resume it, and keep its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import DataError, InputError
from ..files import TEMPORARY, locked, made_folder
from .check import examine
from .manifest import NAME, VALIDATION, Manifest, ShardSummary
from .plan import ForeignError, Plan, Todo, file_digest
from .record import Record

SHARD_SIZE = 256


class Writer:
    """Writes a data set; made by ``create_or_resume``. Use it as a context manager: leaving it lets go of the folder.

    ``keep`` and ``give_up`` may be called from any thread, the rest from one.

    Images are handed over one by one (``keep``, then ``finish``) or as a whole shard (``write_shard``), or written by other
    processes through ``plan`` and entered here. A finished shard on disk is the state: whenever the process dies, the next
    ``create_or_resume`` finds every shard and every image that was kept.
    """

    def __init__(self, plan: Plan, stack: contextlib.ExitStack):
        self.plan = plan
        self.manifest = plan.manifest
        self._stack = stack

    @staticmethod
    def create_or_resume(
        folder: str | os.PathLike[str],
        *,
        seed: int,
        count: int,
        settings: Mapping[str, Any],
        profile: Mapping[str, Any],
        versions: Mapping[str, str],
        shard_size: int = SHARD_SIZE,
        first: int = 0,
        validation: int | float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Writer:
        """Lock the folder, clear up what a killed run left, and find out what is there.

        settings, profile: JSON objects, compared with those of the folder. versions: of what makes the images, "blender" for
        one. validation: part (0.03) or number (10000) of images for validation; None keeps the folder's. A count larger than
        the folder's extends it. Shards that do not match their checksum are deleted, to be made again; finished shards that the
        manifest does not list yet are read whole and taken over. ``progress(done, all)`` counts the shards looked at.
        Raises InputError when the folder holds another data set or the arguments are wrong, DataError when it cannot be read,
        OutputError when it cannot be written or another run holds it.
        """
        folder = Path(folder)
        wanted = Manifest(
            seed=seed,
            count=count,
            first=first,
            shard_size=shard_size,
            settings=_plain("settings", settings),
            profile=_plain("profile", profile),
            versions={str(k): str(v) for k, v in versions.items()},
            created=datetime.datetime.now(datetime.UTC).date().isoformat(),
            validation=VALIDATION if validation is None else validation,
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(folder))
            present: dict[int, ShardSummary] = {}
            if (folder / NAME).exists():
                old = Manifest.load(folder)
                _same(folder, old, wanted)
                present = old.shards
                share = old.validation if validation is None else validation
                wanted = dataclasses.replace(wanted, versions=old.versions, created=old.created, validation=share)
            writer = Writer(Plan(folder, wanted, {str(k): str(v) for k, v in versions.items()}), stack)
            writer._take_stock(present, progress)
            writer._stack = stack.pop_all()  # held until ``close``
        return writer

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; what was kept stays."""
        self._stack.close()

    def missing(self) -> list[Todo]:
        """The shards that are not finished, with the images that each still needs."""
        return [self.plan.todo(i) for i in range(self.manifest.shard_count) if i not in self.manifest.shards]

    def keep(self, record: Record) -> None:
        """Store one finished image; see ``Plan.keep``."""
        self.plan.keep(record)

    def give_up(self, image_id: int, reason: str, **details: Any) -> None:
        """Put an image into quarantine; see ``Plan.give_up``."""
        self.plan.give_up(image_id, reason, **details)

    def finish(self, index: int) -> ShardSummary:
        """Fold the kept images of a shard into it and list it; see ``Plan.finish``."""
        return self.enter(self.plan.finish(index))

    def write_shard(self, index: int, records: Iterable[Record]) -> ShardSummary:
        """Write a whole shard and list it; see ``Plan.write_shard``."""
        return self.enter(self.plan.write_shard(index, records))

    def enter(self, summary: ShardSummary) -> ShardSummary:
        """List a shard that ``plan`` wrote, here or in another process, then drop the images kept for it.

        Raises DataError when the file is not the one described, OutputError.
        """
        path = self.plan.shard_path(summary.index)
        if file_digest(path) != (summary.bytes, summary.sha256):
            raise DataError(f"{path} is not the file that was reported as finished; run again to make it anew")
        self._save({**self.manifest.shards, summary.index: summary})
        shutil.rmtree(self.plan.kept_folder(summary.index), ignore_errors=True)
        return summary

    def _save(self, shards: dict[int, ShardSummary]) -> None:
        self.manifest = dataclasses.replace(self.manifest, shards=shards)
        self.manifest.save(self.plan.folder)

    def _take_stock(self, listed: dict[int, ShardSummary], progress: Callable[[int, int], None] | None) -> None:
        plan, folder = self.plan, self.plan.folder
        for place in (folder, made_folder(folder / "shards"), *(folder / "shards").glob("*.partial"), folder / "quarantine"):
            for path in place.glob(f".*{TEMPORARY}"):
                path.unlink(missing_ok=True)
        found: dict[int, ShardSummary] = {}
        for index in range(self.manifest.shard_count):
            path, entry = plan.shard_path(index), listed.get(index)
            if entry is not None and path.exists() and file_digest(path) != (entry.bytes, entry.sha256):
                path.unlink()
            elif path.exists():
                summary = self._checked_shard(path, index, entry)
                if summary is not None:
                    found[index] = summary
            if progress is not None:
                progress(index + 1, self.manifest.shard_count)
        self._save(found)
        for index in range(self.manifest.shard_count):
            if index in found:
                shutil.rmtree(plan.kept_folder(index), ignore_errors=True)
            for image_id in plan.kept(index):
                self._check_kept(image_id)

    def _checked_shard(self, path: Path, index: int, entry: ShardSummary | None) -> ShardSummary | None:
        """The summary of a shard that is whole; else None, its images kept singly where it only lacks some."""
        plan, ids = self.plan, self.manifest.ids(index)
        given_up = plan.given_up(index)
        if entry is not None and given_up.issuperset(entry.missing) and entry.images + len(entry.missing) == len(ids):
            return entry
        try:
            contents = examine(path, plan, ids)
        except ForeignError:
            raise
        except DataError:
            return None  # it is replaced when its images are there again
        if contents.faults:
            return None
        lacking = tuple(i for i in ids if i not in set(contents.ids))
        if given_up.issuperset(lacking):
            return ShardSummary(index, len(contents.ids), contents.crystals, lacking, contents.seconds, *file_digest(path))
        plan.unfold(index)
        path.unlink()
        return None

    def _check_kept(self, image_id: int) -> None:
        path = self.plan.kept_path(image_id)
        try:
            self.plan.read_kept(image_id)
        except ForeignError:
            raise
        except DataError:
            path.unlink()


def _plain(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(values), allow_nan=False)))
    except (TypeError, ValueError) as e:
        raise InputError(f"{name} must be a JSON object: {e}") from e


def _same(folder: Path, old: Manifest, new: Manifest) -> None:
    """Raises InputError for what makes it another data set."""
    differences = [
        f"{name} is {getattr(new, name)!r}, there it is {getattr(old, name)!r}"
        for name in ("seed", "first", "shard_size")
        if getattr(old, name) != getattr(new, name)
    ]
    for name in ("settings", "profile"):
        mine, theirs = getattr(new, name), getattr(old, name)
        differences += [
            f"{name}.{key} is {mine.get(key)!r}, there it is {theirs.get(key)!r}"
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        ]
    if differences:
        raise InputError(
            f"{folder} holds another data set: {'; '.join(differences)}; name another folder, or give the same values to resume"
        )
    if new.count < old.count:
        raise InputError(
            f"{folder} is meant to hold {old.count} images, not {new.count}; give at least {old.count}, or name another"
        )
