"""What the commands share: streams that can be written to, signals, warnings in one line, progress."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MINUTE = 60.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Standard streams that the caller closed lead nowhere; characters that a terminal cannot show are written as escapes."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                os.fstat(descriptor)  # a file that was opened meanwhile has taken the number
                descriptor = -1
            nowhere = os.open(os.devnull, os.O_RDWR)
            if descriptor >= 0 and nowhere != descriptor:
                os.dup2(nowhere, descriptor)  # or the next file opened would be taken for the stream by child processes
                os.close(nowhere)
                nowhere = descriptor
            setattr(sys, name, open(nowhere, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
    before = [(s, s.errors) for s in (sys.stdout, sys.stderr) if hasattr(s, "reconfigure")]
    for stream, _ in before:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in before:
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt inside the block; in a thread other than the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def warnings_in_one_line(prog: str) -> Iterator[None]:
    """This library's warnings as "prog: warning: ..." on stderr, without the place in the code."""

    def show(message: Warning | str, *rest: Any, **named: Any) -> None:
        print(f"{prog}: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning, module=r"pcs_")
        warnings.showwarning = show
        yield


class Bar:
    """Progress on stderr with images per hour: a bar on a terminal, else a line a minute; call it with (done, all)."""

    def __init__(self, what: str, quiet: bool = False, unit: str = "images") -> None:
        self.what, self.quiet, self.unit = what, quiet, unit
        self._bar: Any = None
        self._began: tuple[float, int] | None = None  # when, with how many done: they must not count as speed
        self._said = 0.0

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if self._began is None:
            self._began, self._said = (now, done), now
        if not sys.stderr.isatty():
            if now - self._said >= MINUTE:
                self._said = now
                print(f"{self.what}: {done} of {total} ({self._speed(done)})", file=sys.stderr, flush=True)
        elif self._bar is None:
            self._bar = self._opened(done, total)
        else:
            self._bar.update(done - self._bar.n)

    def _speed(self, done: int) -> str:
        assert self._began is not None
        elapsed, made = time.monotonic() - self._began[0], done - self._began[1]
        return f"{made / elapsed * 3600:,.0f} {self.unit}/h" if elapsed and made else f"? {self.unit}/h"

    def _opened(self, done: int, total: int) -> Any:
        from tqdm import tqdm

        speed = self._speed

        class PerHour(tqdm):
            @property
            def format_dict(self) -> dict[str, Any]:
                values = super().format_dict
                return {**values, "per_hour": speed(values["n"])}

        return PerHour(
            total=total,
            initial=done,
            desc=self.what,
            mininterval=0.5,
            dynamic_ncols=True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {per_hour}]",
        )

    def write(self, text: str) -> None:
        """A line beside the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif not self.quiet:
            print(text, file=sys.stderr)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def path(text: str) -> Path:
    """For arguments that name a file or folder: an empty shell variable is a mistake, not the working folder."""
    return Path(nonempty(text))


def nonempty(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; leave the option out or give it a value")
    return text


def positive(text: str) -> int:
    value = natural(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)
