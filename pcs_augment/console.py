"""What commands share: exit status and messages, usable streams, signals, warnings in one line, progress, arguments."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import InputError, PcsError
from .extras import missing

MINUTE = 60.0  # seconds between lines where there is no terminal
OnProgress = Callable[[int, int], None]  # told how many are done, of how many; a ``Progress`` is one


def guarded(
    program: str,
    work: Callable[[], int | None],
    *,
    interrupted: str = "interrupted",
    memory: str = "use smaller images, or a smaller --batch-size",
    extra: str = "cli",
) -> int:
    """Run a command and turn what stops it into an exit status and one line on stderr.

    Args:
        program: Its name, which begins every line.
        work: What it does; returns its exit status, None for 0.
        interrupted: Said after Ctrl-C or SIGTERM.
        memory: What to do when memory runs out.
        extra: The optional dependencies that bring a package that is missing.
    """
    with usable_streams(), interruptible(), warnings_in_one_line(program):
        try:
            status = work()
            sys.stdout.flush()  # a full disk or closed pipe shows here
            return status or 0
        except SystemExit as e:  # argparse: help asked for, or wrong usage
            return e.code if isinstance(e.code, int) else 1
        except KeyboardInterrupt:
            print(f"{program}: {interrupted}", file=sys.stderr)
            return 130
        except MemoryError:
            message = f"out of memory; {memory}"
        except PcsError as e:
            message = str(e)
        except ModuleNotFoundError as e:
            message = missing(e.name or str(e), command=extra)
        except OSError as e:
            message = f"{e.filename or 'output'}: {e.strerror or e}"
            # or the interpreter would try once more, and complain, on its way out
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except RuntimeError as e:
            if "torch" not in sys.modules or not isinstance(e, sys.modules["torch"].cuda.OutOfMemoryError):
                raise
            message = "the device's memory is full; use a smaller --batch-size or --size, or --device cpu"
        print(f"{program}: error: {message}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Standard streams that the caller closed lead nowhere; characters that a terminal cannot show are written as escapes."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
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


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Progress on stderr: a bar with the speed on a terminal, else a line a minute; call it with (done, all).

    Args:
        what: Is being done.
        unit: Of what is counted.
        quiet: Say nothing.
        hourly: Speed per hour, for what is slow.
    """

    def __init__(self, what: str, unit: str = "images", *, quiet: bool = False, hourly: bool = False) -> None:
        self.what, self.unit, self.quiet, self.hourly = what, unit, quiet, hourly
        self._tqdm = None if quiet else _tqdm()
        self._bar: Any = None
        self._began: tuple[float, int] | None = None  # when, with how many done: they must not count as speed
        self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        if self._tqdm is None:
            return
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = self._opened(self._tqdm, done, total)
            else:
                self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if self._began is None:
            self._began, self._said = (now, done), now
        elif now - self._said >= MINUTE:
            self._said = now
            counted = f"{total} ({self._per_hour(done, now)})" if self.hourly else f"{total} {self.unit}"
            print(f"{self.what}: {done} of {counted}", file=sys.stderr, flush=True)

    def _per_hour(self, done: int, now: float) -> str:
        assert self._began is not None
        elapsed, made = now - self._began[0], done - self._began[1]
        return f"{made / elapsed * 3600:,.0f} {self.unit}/h" if elapsed and made else f"? {self.unit}/h"

    def _opened(self, tqdm: Any, done: int, total: int) -> Any:
        options = {"total": total, "initial": done, "desc": self.what, "mininterval": 0.5, "dynamic_ncols": True}
        if not self.hourly:
            return tqdm(unit=f" {self.unit}", **options)
        self._began = time.monotonic(), done
        speed = self._per_hour

        class PerHour(tqdm):
            @property
            def format_dict(self) -> dict[str, Any]:
                values = super().format_dict
                return {**values, "per_hour": speed(values["n"], time.monotonic())}

        return PerHour(
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {per_hour}]", **options
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


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError as e:
        raise InputError(missing("tqdm", "the progress bar")) from e
    return tqdm


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
