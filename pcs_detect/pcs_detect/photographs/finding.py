"""Photographs in files, folders and patterns, and what tables call them."""

from __future__ import annotations

import glob
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..crystals.labelme import own_picture
from ..errors import DataError
from ..results import INSIDE, inside_results
from .microscopes import FORMATS as MICROSCOPES
from .reading import FOREIGN

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", *MICROSCOPES)
AnyPath = str | os.PathLike[str]


class Found(NamedTuple):
    """A file of photographs; name: what tables call it, unlike that of any other file found with it."""

    path: Path
    name: str


class Search(NamedTuple):
    """What was found; notes: what was passed over, for the user."""

    files: list[Found]
    notes: list[str]


def find_photographs(places: Iterable[AnyPath], recursive: bool = False, leave_out: AnyPath | None = None) -> list[Path]:
    """Find the files of photographs that files, folders and glob patterns name, as ``search`` does.

    Args:
        places: files, folders and patterns.
        recursive: folders inside folders too.
        leave_out: a folder of results, whose overlays are passed over.

    Returns:
        Their paths, each once.

    Raises:
        DataError: a place does not exist or holds no photographs.

    Examples:
        >>> [path.name for path in photographs.find_photographs(["."], leave_out="found")]
        ['drop.png']
    """
    return [f.path for f in search(places, recursive, leave_out).files]


def search(places: Iterable[AnyPath], recursive: bool = False, leave_out: AnyPath | None = None) -> Search:
    """Find the files of photographs that files, folders and glob patterns name, and what tables call them.

    Of a folder, and of what a pattern matches, files with the endings SUFFIXES count whose names do not begin with a dot and
    which no command of this project made (overlays, figures, pictures for label tools); a file named itself always.

    The name of a file is its path from the folder that was given, and so stays when others join; of a file or pattern its name
    alone, or, where several share one, its path from the folder common to all. Letters that no encoding knows become %XX.

    Args:
        places: files, folders and patterns.
        recursive: folders inside folders too.
        leave_out: a folder of results, whose overlays are passed over though nothing says yet whose they are.

    Returns:
        Files, each once, in the order given, folders and patterns sorted; and what was passed over.

    Raises:
        DataError: a place does not exist or holds no photographs.

    Examples:
        >>> photographs.search(["drop.png"]).files[0].name
        'drop.png'
    """
    avoided = set() if leave_out is None else {Path(leave_out).resolve() / name for name in INSIDE["predict"]}
    found: dict[Path, Found] = {}
    foreign: Counter[str] = Counter()
    for place in places:
        path = Path(place)
        base = None
        if path.is_file():
            here = [path]
        elif path.is_dir():
            base = path
            here = _among(path.rglob("*") if recursive else path.iterdir(), foreign)
        else:
            here = _among(map(Path, glob.glob(str(place), recursive=True)), foreign)
            if not here and not glob.has_magic(str(place)):
                raise DataError(f"there is no file or folder {shown(place)!r}")
        here = [p for p in here if p == path or not (avoided.intersection(p.resolve().parents) or _made(p.resolve()))]
        if not here:
            inside = "" if recursive or not path.is_dir() else "; folders inside it are searched with --recursive"
            other = f"; there are {_counted(foreign)}" if foreign else ""
            raise DataError(f"{shown(place)}: no images there ({', '.join(SUFFIXES)}){other}{inside}")
        for p in here:
            name = p.name if base is None else p.relative_to(base).as_posix()
            found.setdefault(p.resolve(), Found(p, shown(name)))
    notes = [f"passed over: {_counted(foreign)}"] if foreign else []
    return Search(_distinct(list(found.values())), notes)


def shown(name: AnyPath) -> str:
    """A file's name as text that every table can hold: bytes that are no letters of the file system's encoding become %XX."""
    text = os.fspath(name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join(c if not "\ud800" <= c <= "\udfff" else urllib.parse.quote(_bytes(c)) for c in text)
    return text


def real(path: str) -> Path:
    """The path of a file from what ``shown`` made of it."""
    if os.path.exists(path) or "%" not in path:
        return Path(path)
    other = os.fsdecode(urllib.parse.unquote_to_bytes(path))
    return Path(other if os.path.exists(other) else path)


def _bytes(character: str) -> bytes:
    try:
        return os.fsencode(character)
    except UnicodeEncodeError:
        return character.encode("utf-8", "surrogatepass")


def _among(paths: Iterable[Path], foreign: Counter[str]) -> list[Path]:
    kept = []
    for path in paths:
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() in SUFFIXES:
            kept.append(path)
        elif path.suffix.lower() in FOREIGN:
            foreign[path.suffix.lower()] += 1
    return sorted(kept)


def _made(path: Path) -> bool:
    """Whether a command of this project made a picture: overlays, figures, what label tools show in place of a photograph."""
    return inside_results(path) or own_picture(path)


def _counted(foreign: Counter[str]) -> str:
    return ", ".join(f"{n} {ending} file{'s' if n > 1 else ''} ({FOREIGN[ending]})" for ending, n in sorted(foreign.items()))


def _distinct(files: Sequence[Found]) -> list[Found]:
    """Names as they are where they differ, else paths from the folder common to all."""
    count = Counter(f.name.casefold() for f in files)  # some file systems do not distinguish a.PNG from a.png
    if max(count.values(), default=0) <= 1:
        return list(files)
    paths = [Path(os.path.abspath(f.path)) for f in files]
    common = os.path.commonpath([p.parent for p in paths])
    longer = [
        f if count[f.name.casefold()] == 1 else Found(f.path, shown(p.relative_to(common).as_posix()))
        for f, p in zip(files, paths)
    ]
    seen: Counter[str] = Counter()
    result = []
    for f in longer:  # names that are still alike, since they are no text
        seen[f.name] += 1
        again = seen[f.name]
        result.append(f if again == 1 else Found(f.path, f"{f.name}~{again}"))
    return result
