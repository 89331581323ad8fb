"""Writing files whole or not at all, and one run to a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import OutputError

LOCK = ".lock"  # in a folder that ``locked`` holds or held
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")  # names that a killed process may leave of ``written``


def temporary_name(path: Path) -> Path:
    """A new name beside ``path`` for what is to be renamed to it; ``left_over`` recognises it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def left_over(name: str) -> bool:
    """Is it the temporary name of a file that ``written`` was writing?"""
    return TEMPORARY.fullmatch(name) is not None


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds, remove it when it fails.

    What is renamed is on the disk, so that not even a power failure leaves half a file under the name.

    Raises:
        OutputError: what the file system refuses (missing folder, no permission, disk full), or a path that names something
            other than a plain file.
    """
    target = Path(path)
    temporary = temporary_name(target)
    try:
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {target}: it exists and is not a plain file; name another path")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with open(temporary, "r+b") as file:
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


_held: set[IO[str]] = set()


def _let_go() -> None:
    """A forked process shares its parent's locks: it must not keep them when the parent is killed."""
    for file in _held:
        with contextlib.suppress(OSError):
            os.close(file.fileno())
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the folder's lock, so that two runs cannot write one data set; it is let go when the process ends, however.

    Linux and macOS only.

    Raises:
        OutputError: another process holds it, which is named; or the folder cannot be written or has no locks.
    """
    import fcntl  # here: the rest of this file works on Windows too

    path = made_folder(folder) / LOCK
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
        _held.add(file)
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
        finally:
            _held.discard(file)
