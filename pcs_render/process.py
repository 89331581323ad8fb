"""A worker process from outside: start it, talk to it, notice when it is dead, silent, slow, too large or mad, end it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import BlenderError

POLL = 0.5  # seconds between looks at the worker's memory
LONGEST_ANSWER = 1 << 16  # bytes
NONSENSE = "it talked nonsense and was ended"


# what changes pictures, or how Python starts, behind the back of whoever compares two of them
UNWANTED = ("OCIO", "BLENDER_", "CYCLES_", "OIDN_", "OPENIMAGEIO_", "OSL_", "EMBREE_", "PYTHONINSPECT", "PYTHONSTARTUP")


def clean_environment() -> dict[str, str]:
    """The variables of this process without those that change what Blender draws, a colour configuration for one."""
    return {k: v for k, v in os.environ.items() if not k.startswith(UNWANTED)}


class Lost(Exception):
    """A worker is of no more use; the message says why."""


class WorkerProcess:
    """One process that reads lines and answers JSON lines ``{"kind": ...}`` on the file descriptor that it is given.

    ``command`` is completed by that descriptor and by ``folder``, which is the process's to remove when its standard input
    closes, that is when this process is gone. Methods raise Lost.
    """

    def __init__(self, command: Sequence[str], folder: Path):
        self.rendered = 0
        self.version = ""
        self._log = folder / "worker.log"
        self._buffer = b""
        self._answers, theirs = os.pipe()
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    [*command, str(theirs), str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=clean_environment(),
                    pass_fds=(theirs,),
                    start_new_session=True,  # a terminal's Ctrl-C is for us, and the whole group can be ended
                )
        except OSError as e:
            os.close(self._answers)
            raise BlenderError(f"{command[0]} cannot be run: {e.strerror}") from e
        finally:
            os.close(theirs)
        self.pid = self._process.pid
        os.set_blocking(self._answers, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)

    def send(self, line: str) -> None:
        """A short line: one that fits into the pipe, so that a process that does not read cannot stop this one."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as e:
            raise self._gone() from e

    def answer(self, patience: float, silence: float, limit: int, doing: str) -> dict[str, Any]:
        """The next answer that is no mere sign of life ("beat").

        It may take ``patience`` seconds, with signs of life at most ``silence`` seconds apart, and ``limit`` bytes.
        """
        begun = heard = time.monotonic()
        while True:
            if self._selector.select(POLL):
                heard = time.monotonic()
                for message in self._read():
                    if message["kind"] != "beat":
                        return message
            now = time.monotonic()
            if now - begun > patience:
                raise Lost(f"it took more than {patience:g} s to {doing} and was ended; --time-limit raises that")
            if now - heard > silence:
                raise Lost(f"it gave no sign of life for {silence:g} s and was ended")
            size = self.memory()
            if size > limit:
                used = f"it used {size >> 20} MiB of memory, above the limit of {limit >> 20} MiB,"
                raise Lost(f"{used} and was ended; --memory-limit raises that")

    def _read(self) -> list[dict[str, Any]]:
        data = os.read(self._answers, 1 << 16)
        if not data:
            raise self._gone()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LONGEST_ANSWER:
            raise Lost(NONSENSE)
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError as e:
            raise Lost(NONSENSE) from e
        if not all(isinstance(m, dict) and isinstance(m.get("kind"), str) for m in messages):
            raise Lost(NONSENSE)
        return messages

    def memory(self, otherwise: int = 0) -> int:
        """Resident bytes; ``otherwise`` where the system does not report them."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return otherwise
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _gone(self) -> Lost:
        """Why the process ended, with the end of what it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        if code is None:
            return Lost("it closed its end of the pipe")
        if code < 0:
            return Lost(f"it was ended by {signal.Signals(-code).name}")
        with contextlib.suppress(OSError):
            said = " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-5:])[-500:]
            return Lost(f"it ended with exit status {code}, its last words: {said}")
        return Lost(f"it ended with exit status {code}")

    def kill(self) -> None:
        """Kill the process and all that it started: after an answer it holds nothing of value."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill, and let go of the pipes; nothing can be called afterwards."""
        self.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._selector.close()
        os.close(self._answers)
