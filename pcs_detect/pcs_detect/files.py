"""Writing files whole or not at all, and one run to a folder; on Linux, macOS and Windows.

``pcs_augment.files`` is much the same: the photograph half is installed without that package.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import OutputError

TEMPORARY = ".tmp"  # ending of the names that a killed process may leave of ``written``
LOCK = ".lock"
HOLDER = ".lock.process"  # beside the lock: on Windows no other process can read a locked file


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds, remove it when it fails.

    Raises:
        OutputError: what the file system refuses (missing folder, no permission, disk full, a folder of that name).
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
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


_held: set[IO[bytes]] = set()


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
    """Hold the folder's lock, so that two runs cannot write one folder; it is let go when the process ends, however.

    Raises:
        OutputError: another process holds it, which is named; or the folder cannot be written.
    """
    path = made_folder(folder) / LOCK
    holder = path.with_name(HOLDER)
    try:
        file = open(path, "a+b")  # noqa: SIM115 - closed below, and by the system when the process dies
    except OSError as e:
        raise OutputError(f"cannot write {path}: {e.strerror}; name a writable place") from e
    with file:
        try:
            _lock(file.fileno())
        except OSError as e:
            if e.errno not in HELD:
                raise OutputError(
                    f"the file system of {folder} has no locks ({e.strerror}), so two runs could spoil it; name a folder on "
                    "another one, or mount it with locks"
                ) from e
            process = "unknown"
            with contextlib.suppress(OSError, ValueError):
                process = holder.read_text(encoding="ascii").strip() or process
            raise OutputError(
                f"{folder} is being written by another run (process {process}); wait for it, stop it, or name another folder"
            ) from e
        _held.add(file)
        try:
            with contextlib.suppress(OSError):
                holder.write_text(str(os.getpid()), encoding="ascii")
            yield
        finally:
            _held.discard(file)
            with contextlib.suppress(OSError):
                holder.unlink()


HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what a lock that another one holds gives

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
