"""The collection of shapes in a file of the user's cache: making 1851 shapes takes seconds, reading them milliseconds.

A file is for one seed and one state of the code that makes shapes; whatever is wrong with it, it is made anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pcs_augment.files import made_folder, written

from ..errors import OutputError
from .shape import KINDS, Kind, Shape

_CODE = (
    *(f"habits/{name}.py" for name in ("collect", "growth", "polyhedron", "shape", "symmetry")),
    "exact.py",
    "geometry.py",
)
FEWEST = 100  # shapes that are worth a file


@functools.cache
def _state() -> str:
    """Digest of the code that a collection depends on."""
    folder = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _CODE)).hexdigest()[:16]


def path(seed: int) -> Path | None:
    """The file for a seed; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
        return folder / "pcs-render" / f"shapes-{seed}-{_state()}.npz"
    except (RuntimeError, OSError):
        return None


def read(seed: int, count: int) -> tuple[Shape, ...] | None:
    """The first ``count`` shapes of a collection; None where they are not kept."""
    file = path(seed)
    try:
        if file is None or not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as stored:
            names, corners, vertices = (stored[key] for key in ("names", "corners", "vertices"))
            digest = str(stored["digest"])
        if len(names) < count or digest != _digest(names, corners, vertices):
            return None
        vertices.setflags(write=False)
        shapes = []
        for name, points in zip(names[:count].tolist(), np.split(vertices, np.cumsum(corners)[:-1])):
            kind, _, group = name.split("-")
            if kind not in KINDS:
                return None
            shapes.append(Shape(name, points, cast(Kind, kind), group))
        return tuple(shapes)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write(seed: int, shapes: Sequence[Shape]) -> None:
    """Keep a collection, unless it is small or the cache cannot be written."""
    file = path(seed)
    if file is None or len(shapes) < FEWEST:
        return
    names = np.array([s.name for s in shapes])
    corners = np.array([len(s.vertices) for s in shapes])
    vertices = np.concatenate([s.vertices for s in shapes])
    digest = np.array(_digest(names, corners, vertices))
    with contextlib.suppress(OutputError, OSError):
        made_folder(file.parent)
        with written(file) as temporary, open(temporary, "wb") as target:
            np.savez(target, names=names, corners=corners, vertices=vertices, digest=digest)


def _digest(*arrays: NDArray[Any]) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
