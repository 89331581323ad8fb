"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError

TEMPORARY = re.compile(r"\.[0-9a-f]{16}\..+")  # names that a killed process may leave of ``written``


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds, remove it when it fails.

    Raises OutputError for what the file system refuses (missing folder, no permission, disk full) and for a path that names
    something other than a plain file.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.{target.name}")
    try:
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {target}: it exists and is not a plain file; name another path")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        os.replace(temporary, target)
    except OSError as e:
        if isinstance(e, OutputError):
            raise
        reason = e.strerror or str(e)
        raise OutputError(f"cannot write {target}: {reason}; name a writable path with enough free space") from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def made_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder with its parents if needed. Raises OutputError."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"cannot create the folder {folder}: {e.strerror}; name a writable place") from e
    return folder
