"""How functions of this folder are compiled, and how compiled ones are kept between processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_PACKAGE = Path(__file__).parents[2]


def _stamp() -> str:
    """A digest of all that compiled functions may hold: they call functions and copy constants of other files."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(_PACKAGE)).encode())
        digest.update(path.read_bytes())  # not time or size, which updates and installers may keep
    return digest.hexdigest()


_STAMP = _stamp()


# a way in for C is code that nobody calls here
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, without the GIL, and keep the result on disk."""
    made = njit(cache=True, **_OPTIONS)(function)
    # numba would look at the age of the function's own file alone
    made._cache._cache_file._source_stamp = _STAMP
    return made


def helper(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function that compiled ones alone call: it has no way in from Python, and is kept on disk within them."""
    if function is None:
        return lambda f: helper(f, **options)
    all_options: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, **options}
    return njit(**all_options)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A part of the one compiled function that calls it, which is compiled with that one and never by itself."""
    return helper(function, inline="always")
