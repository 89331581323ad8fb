"""How functions of this folder are compiled, and how compiled ones are kept between processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_FOLDER = Path(__file__).parent
_CONSTANTS = _FOLDER.parents[1] / "statistics.py"  # which compiled functions hold


def _stamp() -> tuple[float, int]:
    states = [p.stat() for p in (*_FOLDER.glob("*.py"), _CONSTANTS)]
    return max(s.st_mtime for s in states), sum(s.st_size for s in states)


_STAMP = _stamp()


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function when it is first called, without the GIL, and keep the result on disk."""
    if function is None:
        return lambda f: compiled(f, **options)
    made = njit(nogil=True, cache=True, error_model="numpy", **options)(function)
    # numba would look at the age of the function's own file, but functions call some of other files here
    made._cache._cache_file._source_stamp = _STAMP
    return made
