"""One run's hold on the folder of a data set: create or resume it, and keep its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pcs_augment.files import left_over, locked, made_folder

from ..errors import DataError, InputError
from .check import examine
from .columns import ShardFile
from .data_set import DataSetPlan, ForeignError, Todo, file_digest
from .manifest import NAME, VALIDATION, Manifest, ShardSummary, fixed_validation
from .record import Record

SHARD_SIZE = 256
UNRECORDED = "1"  # version of what earlier data sets did not record: the first


class Writer:
    """Writes a data set; made by ``create_or_resume``. Use it as a context manager: leaving it lets go of the folder.

    ``keep`` and ``give_up`` may be called from any thread, the rest from one.

    Args:
        plan: of the data set.
        stack: what is to be closed at the end; it holds the folder's lock.

    Images are handed over one by one (``keep``, then ``finish``) or as a whole shard (``write_shard``), or written by other
    processes through ``plan`` and entered here. A finished shard on disk is the state: whenever the process dies, the next
    ``create_or_resume`` finds every shard and every image that was kept.

    Examples:
        >>> with shards.Writer.create_or_resume("written", count=3, **about) as writer:
        ...     for todo in writer.missing():
        ...         for i in todo.ids:
        ...             writer.keep(records[i])
        ...         summary = writer.finish(todo.index)
        >>> shards.Manifest.load("written").complete
        True
    """

    def __init__(self, plan: DataSetPlan, stack: contextlib.ExitStack):
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
        allow_mixed: bool = False,
        retry_quarantined: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Writer:
        """Lock the folder, clear up what a killed run left, and find out what is there.

        Shards that do not match their checksum are deleted, to be made again; finished shards that the manifest does not list
        yet are read whole and taken over. Nothing is changed or deleted before everything has been looked at.

        Args:
            folder: of the data set; made where it is not there.
            seed: of all scenes, 0 .. 2^63 - 1.
            count: of images; one larger than the folder's extends it.
            settings: a JSON object, compared with that of the folder.
            profile: likewise.
            versions: of everything that changes images, "blender" for one; where images are still to be made, others than
                those of the folder are refused unless ``allow_mixed``.
            shard_size: images of a shard.
            first: id of the first image.
            validation: part (0.03) or number (10000) of images for validation; None keeps the folder's.
            allow_mixed: allow images made with other versions.
            retry_quarantined: make the images again that were skipped.
            progress: called with (done, all) for the shards looked at.

        Returns:
            The writer, which holds the folder until it is closed.

        Raises:
            InputError: the folder holds another data set, or an argument is wrong.
            DataError: it cannot be read.
            OutputError: it cannot be written, or another run holds it.
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
        if retry_quarantined and not (folder / NAME).exists():
            raise InputError(f"{folder} is not a data set (it has no {NAME}), so there is nothing to try again; check its name")
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(folder))
            old = None
            present: dict[int, ShardSummary] = {}
            if (folder / NAME).exists():
                old = Manifest.load(folder)
                _same(folder, old, wanted)
                present = old.shards
                share = old.validation if validation is None else validation
                begun = {name: getattr(old, name) for name in ("versions", "created", "history")}
                wanted = dataclasses.replace(wanted, **begun, validation=share)
            wanted = dataclasses.replace(wanted, validation_ids=fixed_validation(wanted, old))
            writer = Writer(DataSetPlan(folder, wanted, {str(k): str(v) for k, v in versions.items()}), stack)
            writer._take_stock(present, allow_mixed, retry_quarantined, progress)
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
        """Store one finished image, a ``record``; see ``DataSetPlan.keep``."""
        self.plan.keep(record)

    def give_up(self, image_id: int, reason: str, **details: Any) -> None:
        """Skip the image ``image_id`` for a ``reason``; see ``DataSetPlan.give_up``."""
        self.plan.give_up(image_id, reason, **details)

    def finish(self, index: int) -> ShardSummary:
        """Fold the kept images of the shard ``index`` into it and list it; see ``DataSetPlan.finish``."""
        return self.enter(self.plan.finish(index))

    def write_shard(self, index: int, records: Iterable[Record]) -> ShardSummary:
        """Write the ``records`` of the shard ``index`` and list it; see ``DataSetPlan.write_shard``."""
        return self.enter(self.plan.write_shard(index, records))

    def enter(self, summary: ShardSummary) -> ShardSummary:
        """List a shard that ``plan`` wrote, here or in another process, by its ``summary``; drop the images kept for it.

        Raises DataError when the file is not the one described, OutputError.
        """
        path = self.plan.shard_path(summary.index)
        if file_digest(path) != (summary.bytes, summary.sha256):
            raise DataError(f"{path} is not the file that was reported as finished; run again to make it anew")
        self._save({**self.manifest.shards, summary.index: summary})
        self._drop_kept(summary.index)
        return summary

    def _drop_kept(self, index: int) -> None:
        for image_id in self.plan.kept(index):
            self.plan.kept_path(image_id).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is none, or it holds something else
            self.plan.kept_folder(index).rmdir()

    def _save(self, shards: dict[int, ShardSummary]) -> None:
        self.manifest = dataclasses.replace(self.manifest, shards=shards)
        self.manifest.save(self.plan.folder)

    def _take_stock(
        self,
        listed: dict[int, ShardSummary],
        allow_mixed: bool,
        retry: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Look at everything first, refuse what does not fit, and only then clear up."""
        plan, folder = self.plan, self.plan.folder
        found: dict[int, ShardSummary] = {}
        broken: list[Path] = []
        partly: list[int] = []  # whole but for images that were not made yet
        for index in range(self.manifest.shard_count):
            path, entry = plan.shard_path(index), listed.get(index)
            if path.exists():
                summary, whole = self._looked_at(path, index, entry, retry)
                if summary is not None:
                    found[index] = summary
                elif whole:
                    partly.append(index)
                elif entry is not None and file_digest(path) != (entry.bytes, entry.sha256):
                    broken.append(path)
            if index not in found:
                broken += [p for p in map(plan.kept_path, plan.kept(index)) if not self._good_kept(p)]
            if progress is not None:
                progress(index + 1, self.manifest.shard_count)
        if len(found) < self.manifest.shard_count:
            self._note_versions(allow_mixed)
        for place in (folder, made_folder(folder / "shards"), *(folder / "shards").glob("*.partial"), folder / "quarantine"):
            for path in place.glob(".*"):
                if left_over(path.name):
                    path.unlink(missing_ok=True)
        for path in broken:
            path.unlink(missing_ok=True)
        for index in partly:
            plan.unfold(index)
            plan.shard_path(index).unlink()
        if retry:
            for index in range(self.manifest.shard_count):
                for image_id in plan.given_up(index):
                    plan.quarantine_path(image_id).unlink(missing_ok=True)
        self._save(found)
        for index in found:
            self._drop_kept(index)

    def _note_versions(self, allow_mixed: bool) -> None:
        """Enter this run's versions into the history. Raises InputError for others than those that made the images so far."""
        m, mine = self.manifest, self.plan.versions
        earlier = m.history or (m.versions,)
        for theirs in () if allow_mixed else earlier:
            other = [f"{k} {v}, there {theirs.get(k, UNRECORDED)}" for k, v in mine.items() if v != theirs.get(k, UNRECORDED)]
            if other:
                raise InputError(
                    f"{self.plan.folder} was made with other versions, which draw other pictures: {'; '.join(other)}; use the "
                    "same ones, begin another data set, or allow mixed pictures with allow_mixed (--allow-mixed)"
                )
        run = self.plan.all_versions
        history = m.history if run in m.history else (*m.history, run)
        if not m.history and m.versions != mine:  # begun before histories were kept
            history = (m.versions, *history)
        self.manifest = dataclasses.replace(m, history=history)

    def _looked_at(self, path: Path, index: int, entry: ShardSummary | None, retry: bool) -> tuple[ShardSummary | None, bool]:
        """(The summary of a shard that is finished, or None; whether what it holds is whole.) Raises ForeignError."""
        plan, ids = self.plan, self.manifest.ids(index)
        given_up: set[int] = set() if retry else plan.given_up(index)
        if entry is not None and file_digest(path) != (entry.bytes, entry.sha256):
            try:
                with contextlib.closing(ShardFile(path)) as file:
                    plan.belongs(file)
            except ForeignError:
                raise
            except DataError:
                pass
            return None, False
        if entry is not None and given_up.issuperset(entry.missing) and entry.images + len(entry.missing) == len(ids):
            return entry, True
        try:
            contents = examine(path, plan, ids)
        except ForeignError:
            raise
        except DataError:
            return None, False  # it is replaced when its images are there again
        if contents.faults:
            return None, False
        lacking = tuple(i for i in ids if i not in set(contents.ids))
        if given_up.issuperset(lacking):
            return ShardSummary(
                index, len(contents.ids), contents.crystals, lacking, contents.seconds, *file_digest(path)
            ), True
        return None, True

    def _good_kept(self, path: Path) -> bool:
        """Raises ForeignError for an image of another data set."""
        try:
            self.plan.read_kept(int(path.stem))
        except ForeignError:
            raise
        except DataError:
            return False
        return True


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
