"""Folders of results: what wrote them, so that no other files are replaced or removed by accident."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError

SETTINGS = "settings.json"
INSIDE = {"predict": ("overlays", "parts"), "sizes": ("figures",)}  # folders that the commands make in their results


def program_of(folder: str | Path) -> str | None:
    """The command whose results a folder holds, "predict" or "sizes"; None where its settings.json does not say so."""
    found = read_settings(Path(folder))
    if not found:
        return None
    if found.get("program") in INSIDE:
        return str(found["program"])
    if "version" not in found or "versions" not in found:
        return None
    return "predict" if "checkpoint" in found else "sizes" if "border" in found else None  # as up to 0.3


def read_settings(folder: Path) -> dict[str, Any] | None:
    """settings.json of a folder of results; None where there is none that can be read."""
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def check_output(folder: str | Path, program: str, inputs: Iterable[str | Path], writes: Sequence[str]) -> None:
    """Raises InputError, before anything is written, where results would meet what is not this command's.

    inputs: the files that are read, none of which may lie where results are written; writes: names of the files and patterns of
    files that ``program`` writes into ``folder``, none of which may be there unless the folder holds its results.
    """
    folder = Path(folder)
    here = folder.resolve()
    places = {here, *(here / name for name in INSIDE.get(program, ()))}
    for path in inputs:
        place = Path(path).resolve()
        if place.parent == here or any(p in place.parents for p in places - {here}):
            raise InputError(
                f"{folder} holds {place.name}, which is read; results may replace what has their names: write them to a folder "
                "of their own (--out)"
            )
    owner = program_of(folder)
    if owner == program:
        return
    if owner is not None:
        raise InputError(f"{folder} holds results of pcs-detect {owner}, which would be replaced; name another folder (--out)")
    there = sorted({p.relative_to(folder).as_posix() for name in writes for p in folder.glob(name)})
    if there:
        some = ", ".join(there[:3]) + (f" and {len(there) - 3} more" if len(there) > 3 else "")
        raise InputError(
            f"{folder} holds {some}, and nothing there says that pcs-detect {program} wrote it; name another folder (--out)"
        )


def check_apart(written: Iterable[str | Path], read: Iterable[str | Path]) -> None:
    """Raises InputError, before anything is written, where one of the files ``written`` is one of those ``read``."""
    inputs = [path for path in map(Path, read) if path.exists()]
    for path in map(Path, written):
        if path.exists() and any(path.samefile(other) for other in inputs):
            raise InputError(f"{path} is read, and would be replaced; write to another file")


def check_outside_results(file: str | Path) -> None:
    """Raises InputError where a file of another kind would lie among the results of a command, which it may replace."""
    place = Path(file).resolve()
    if program_of(place.parent) is not None or inside_results(place):
        raise InputError(
            f"{file}: {place.parent} holds results of predict or sizes, and nothing else is written there; name another folder "
            "(--out)"
        )


def remove_earlier(folder: Path, options: Mapping[str, str], asked: Collection[str], digests: dict[str, str]) -> list[str]:
    """Remove tables that an earlier run was asked for and this one was not, so that none disagrees with the others.

    To be called when all else is written. One that was changed since it was written stays as it is.

    Args:
        folder: of results of the command.
        options: which one asks for each of these tables, {name: option}.
        asked: the names that this run has written.
        digests: SHA-256 of what was written, {name: digest}; brought up to date.

    Returns:
        What the user should know.
    """
    notes = []
    for name, option in options.items():
        path = folder / name
        before = digests.pop(name, None)
        if name in asked:
            digests[name] = file_digest(path)
        elif path.is_file():
            if file_digest(path) == before:
                try:
                    path.unlink()
                    notes.append(f"{path} of an earlier run was removed; {option} writes it anew")
                except OSError as e:  # on Windows another program may have it open
                    notes.append(f"{path} is of an earlier run and cannot be removed ({e.strerror})")
            else:
                notes.append(f"{path} is of an earlier run and stays, since it may have been edited; {option} replaces it")
    return notes


def inside_results(path: Path) -> bool:
    """Whether a file lies in a folder that a command of this project made for its results."""
    for parent in path.parents:
        if any(parent.name in names for names in INSIDE.values()):
            owner = program_of(parent.parent)
            if owner is not None and parent.name in INSIDE[owner]:
                return True
    return False


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, as 64 letters."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
