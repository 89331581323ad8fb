"""Writing files whole or not at all, and one run to a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError

TEMPORARY = ".tmp"  # ending of the names that a killed process may leave of ``written``
_LEFT = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


def left_over(name: str) -> bool:
    """Is it the temporary name of a file that ``written`` was writing?"""
    return _LEFT.fullmatch(name) is not None


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds, remove it when it fails.

    Raises OutputError for what the file system refuses (missing folder, no permission, disk full).
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
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


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the folder's lock, so that two runs cannot write one data set; it is let go when the process ends, however.

    Raises OutputError naming the process that holds it.
    """
    path = made_folder(folder) / ".lock"
    try:
        file = open(path, "a+")  # noqa: SIM115 - closed below, and by the system when the process dies
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror}; name a writable place") from e
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):  # what a lock that is held gives
                raise OutputError(
                    f"the file system of {folder} has no locks ({e.strerror}), so two runs could spoil it; name a folder on "
                    "another one, or mount it with locks"
                ) from e
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise OutputError(
                f"{folder} is being written by another run (process {holder}); wait for it, stop it, or name another folder"
            ) from e
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
