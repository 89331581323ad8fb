"""What all exporters share: one source, one target folder, files written whole, a run that can be repeated."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pcs_augment.console import OnProgress
from pcs_augment.files import LOCK, left_over, locked, made_folder, temporary_name, written

from .. import __version__
from ..errors import DataError, OutputError
from ..shards import Manifest, Reader

NOTE = "export.json"


class Exported(NamedTuple):
    """One split, written.

    Attributes:
        split: "train" or "validation".
        path: the file or folder that a reader of the format is given.
        images: how many.
        crystals: how many are labelled in them.

    Examples:
        >>> train, validation = export.coco("data", "coco_too", validation=0)
        >>> train.split, str(train.path), train.images
        ('train', 'coco_too/train.json', 3)
    """

    split: str
    path: Path
    images: int
    crystals: int


@dataclasses.dataclass
class Export:
    """A data set on its way into a folder."""

    folder: Path
    out: Path
    manifest: Manifest
    readers: dict[str, Reader]  # "train" and "validation"
    progress: OnProgress | None
    done: int = 0

    def advance(self, images: int = 1) -> None:
        self.done += images
        if self.progress is not None:
            self.progress(self.done, sum(map(len, self.readers.values())))


@contextlib.contextmanager
def exporting(
    kind: str,
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    validation: int | float | None,
    incomplete: bool,
    progress: OnProgress | None,
    options: Mapping[str, Any],
) -> Iterator[Export]:
    """Hold the target folder, which must be new, empty, or hold what the same call left.

    Raises DataError for a data set that is broken, or not complete unless ``incomplete``; OutputError for a target that cannot
    be used.
    """
    train = Reader(folder, "train", validation)
    readers = {"train": train, "validation": Reader(folder, "validation", validation)}
    m = train.manifest
    if not m.complete and not incomplete:
        raise DataError(
            f"{folder} is not complete: {m.shard_count - len(m.shards)} of {m.shard_count} shards are missing; run the same "
            "render command again, or export what is there with incomplete=True"
        )
    note = {
        "format": kind,
        **{name: getattr(m, name) for name in ("seed", "first", "count", "shard_size", "settings_hash", "profile_hash")},
        "images": {split: len(r) for split, r in readers.items()},
        "crystals": m.crystals,
        "validation": m.validation if validation is None else validation,
        **options,
    }
    target = Path(out)
    with locked(target):
        _claim(target, note)
        yield Export(Path(folder), target, m, readers, progress)


def _claim(out: Path, note: dict[str, Any]) -> None:
    """Raises OutputError for a folder that holds something else."""
    path = out / NOTE
    if path.exists():
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.get("export") != note:
            raise OutputError(f"{out} holds another export (see {path}); name another folder, or empty this one")
        return
    if any(p.name != LOCK and not left_over(p.name) for p in out.iterdir()):
        raise OutputError(f"{out} is not empty and no export of this data set; name a new folder")
    with written(path) as temporary:
        temporary.write_text(json.dumps({"export": note, "by": f"pcs_render {__version__}"}, indent=1) + "\n")


def folder_for_files(path: Path) -> Path:
    """The folder, made if needed, free of what a killed run left in it. Raises OutputError."""
    made_folder(path)
    for entry in os.scandir(path):
        if left_over(entry.name):
            os.unlink(entry)
    return path


def put(path: Path, content: bytes) -> None:
    """Write one of very many small files whole, unless it is there with this content. Raises OutputError.

    Unlike ``written`` it does not wait for the disk: a run that is repeated compares every file anyway.
    """
    temporary = temporary_name(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == len(content) and path.read_bytes() == content:
                return
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror}; name a writable place with enough free space") from e


def name(image_id: int) -> str:
    """Ten digits, as the published files are named."""
    return f"{image_id:010d}"
