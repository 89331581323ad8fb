"""Reading a data set completely."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DataError, InputError
from .columns import ALL_COLUMNS, ShardFile
from .data_set import DataSetPlan, file_digest
from .manifest import Manifest, ShardSummary
from .record import decode_fault, fault, header_fault, row_digest, scene_fault

REPAIR = "delete it and run the same render command again"
_NAMED = 5  # faults of one shard reported in full


@dataclass(frozen=True)
class Contents:
    """What a shard's file holds, and what is wrong with it."""

    ids: list[int]
    crystals: int
    seconds: float
    faults: list[str]


@dataclass
class Report:
    """What ``verify`` found.

    Attributes:
        folder: of the data set.
        count: images that there should be.
        images: those that are there and whole.
        crystals: labelled in them.
        quarantined: id to reason, of images that were skipped.
        missing: ids that are neither there nor skipped.
        problems: what is damaged, in words.

    Examples:
        >>> print(shards.verify("data"))
        data: 3 of 3 images, ... crystals
        all is well
    """

    folder: Path
    count: int
    images: int = 0
    crystals: int = 0
    quarantined: dict[int, str] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Every image is there and whole, or was skipped."""
        return not self.problems and not self.missing

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.images} of {self.count} images, {self.crystals} crystals"]
        if self.missing:
            lines.append(f"missing: {_ranges(self.missing)}; run the same render command again to make them")
        lines += [f"skipped: image {i} ({reason})" for i, reason in sorted(self.quarantined.items())]
        lines += [f"problem: {p}" for p in self.problems]
        return "\n".join([*lines, "all is well" if self.ok else "not all is well"])


def examine(path: Path, plan: DataSetPlan, expected: range) -> Contents:
    """Read every image of a shard. Raises DataError when the file cannot be read or belongs to another data set."""
    ids: list[int] = []
    crystals, seconds, faults = 0, 0.0, []
    with contextlib.closing(ShardFile(path)) as file:
        plan.belongs(file)
        for rows in file.groups(ALL_COLUMNS):
            for i in range(len(rows)):
                image_id = int(rows.ids[i])
                reason = None
                try:
                    labels, record = rows.labels(i), rows.record(i)
                except DataError as e:
                    reason = str(e)
                else:
                    reason = fault(labels) or header_fault(record.png, record.width, record.height) or decode_fault(record.png)
                    reason = reason or scene_fault(record.scene, image_id)
                    if not reason and file.digests is not None and row_digest(record) not in file.digests[len(ids) :][:1]:
                        reason = "its picture, scene and labels are not those that were written together"
                    crystals, seconds = crystals + len(labels.boxes), seconds + record.seconds
                if not reason and image_id not in expected:
                    reason = f"it does not belong to this shard, whose ids are {expected[0]} to {expected[-1]}"
                if not reason and ids and image_id <= ids[-1]:
                    reason = f"it follows image {ids[-1]}; ids must ascend"
                if reason:
                    faults.append(f"image {image_id}: {reason}")
                ids.append(image_id)
    return Contents(ids, crystals, seconds, faults)


def verify(folder: str | os.PathLike[str], *, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check a whole data set: checksums, columns, every picture and label, ids, totals.

    Damage is reported, not raised.

    Args:
        folder: of the data set.
        workers: shards read at a time, at least 1.
        progress: called with (done, all) after every finished shard.

    Returns:
        What is there, missing and damaged.

    Raises:
        DataError: a folder without a readable manifest.
        InputError: workers below 1.

    Examples:
        >>> shards.verify("data").ok
        True
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; it takes at least 1")
    plan = DataSetPlan(Path(folder), Manifest.load(folder), {})
    manifest = plan.manifest
    report = Report(plan.folder, manifest.count)
    given_up = _quarantine(plan, report)
    present = np.zeros(manifest.count, bool)
    with contextlib.closing(_examined(plan, workers)) as examined:  # an error or Ctrl-C here ends its threads at once
        for done, (_, contents, problem) in enumerate(examined, 1):
            if problem:
                report.problems.append(problem)
            elif contents is not None:
                present[np.array(contents.ids, np.int64) - manifest.first] = True
                report.crystals += contents.crystals
            if progress is not None:
                progress(done, len(manifest.shards))
    for path in sorted((plan.folder / "shards").glob("*.parquet")):
        if path.name not in {s.file for s in manifest.shards.values()}:
            report.problems.append(
                f"{path} is not in the manifest; run the same render command again to check it and take it over"
            )
    report.images = int(present.sum())
    for i in given_up:
        if present[i - manifest.first]:
            report.problems.append(f"{plan.quarantine_path(i)}: image {i} was skipped, but is there; delete this file")
    present[np.array(sorted(given_up), np.int64) - manifest.first] = True
    report.missing = (np.flatnonzero(~present) + manifest.first).tolist()
    return report


Examined = tuple[ShardSummary, Contents | None, str]


def _examined(plan: DataSetPlan, workers: int) -> Generator[Examined, None, None]:
    """Every finished shard with what it holds, or with what is wrong with it; a few in flight."""

    def job(entry: ShardSummary) -> Examined:
        path = plan.shard_path(entry.index)
        try:
            if path.exists() and file_digest(path) != (entry.bytes, entry.sha256):
                return entry, None, f"{path} does not have the checksum that the manifest gives it; {REPAIR}"
            contents = examine(path, plan, plan.manifest.ids(entry.index))
        except DataError as e:
            return entry, None, str(e)
        problem = "; ".join(contents.faults[:_NAMED])
        if contents.faults[_NAMED:]:
            problem += f"; and {len(contents.faults) - _NAMED} more"
        there, listed = (len(contents.ids), contents.crystals), (entry.images, entry.crystals)
        if not problem and there != listed:
            problem = f"it holds {there[0]} images and {there[1]} crystals, the manifest says {listed[0]} and {listed[1]}"
        return entry, contents, f"{path}: {problem}; {REPAIR}" if problem else ""

    with ThreadPoolExecutor(workers) as pool:
        flying: deque[Future[Examined]] = deque()
        for _, entry in sorted(plan.manifest.shards.items()):
            flying.append(pool.submit(job, entry))
            if len(flying) > workers:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def _quarantine(plan: DataSetPlan, report: Report) -> list[int]:
    manifest, found = plan.manifest, []
    for path in sorted((plan.folder / "quarantine").glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            image_id, reason = int(content["image_id"]), str(content["reason"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            report.problems.append(f"{path} is damaged ({e}); {REPAIR}")
            continue
        if not manifest.first <= image_id < manifest.first + manifest.count or path != plan.quarantine_path(image_id):
            report.problems.append(f"{path} names image {image_id}, which is not its own; delete it")
            continue
        found.append(image_id)
        report.quarantined[image_id] = reason
    return found


def _ranges(ids: list[int]) -> str:
    """Ascending numbers as "3, 7-9"."""
    breaks = np.flatnonzero(np.diff(ids) != 1) + 1
    parts = [p.tolist() for p in np.split(np.array(ids), breaks)]
    names = [str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more ranges" if len(names) > 20 else "")
