"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds, remove it when it fails.

    Raises OutputError for what the file system refuses (missing folder, no permission, disk full).
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes it private
        os.replace(temporary, target)
    except OSError as e:
        if isinstance(e, OutputError):
            raise
        reason = e.strerror or str(e)
        raise OutputError(f"cannot write {target}: {reason}; name a writable path with enough free space") from e
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def made_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder with its parents if needed. Raises OutputError."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"cannot create the folder {folder}: {e.strerror}; name a writable place") from e
    return folder
