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


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function when it is first called, without the GIL, and keep the result on disk."""
    if function is None:
        return lambda f: compiled(f, **options)
    made = njit(nogil=True, cache=True, error_model="numpy", **options)(function)
    # numba would look at the age of the function's own file alone
    made._cache._cache_file._source_stamp = _STAMP
    return made
