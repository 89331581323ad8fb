"""The command ``pcs-detect``; what its commands do is in ``commands``.

Exit status: 0 done, 1 something the user can correct (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable

from . import __version__
from .commands import convert, export, predict, report, score, sizes, training
from .errors import PcsDetectError
from .extras import install
from .processes import first_process


def main(argv: list[str] | None = None) -> int:
    parser = _parser()

    def work() -> None:
        arguments = sys.argv[1:] if argv is None else argv
        args = parser.parse_args(arguments)
        args.run(args, arguments)

    return guarded(parser.prog, work)


def guarded(program: str, work: Callable[[], None]) -> int:
    """Run a command and turn what stops it into an exit status and one line on stderr."""
    _usable_streams()
    try:
        work()
        sys.stdout.flush()  # a full disk or closed pipe shows here
        return 0
    except SystemExit as e:  # argparse: help asked for, or wrong usage
        return e.code if isinstance(e.code, int) else 1
    except KeyboardInterrupt:
        return _interrupted(program)
    except MemoryError:
        message = "out of memory; use a smaller --batch-size, fewer --workers or, to predict, a smaller --tile"
    except OSError as e:
        if not _is_ours(e):
            # or the interpreter would try once more, and complain, on its way out
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message = str(e) if _is_ours(e) else f"{e.filename or 'output'}: {e.strerror or e}"
    except Exception as e:
        if _stopped(e):
            return _interrupted(program)
        message = _told(e)
        if not message:
            raise
    if not first_process():  # the first process most likely says the same, whereupon this one is ended
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            return 130
    print(f"{program}: error: {message}", file=sys.stderr)
    return 1


def _usable_streams() -> None:
    """Streams that the caller closed lead nowhere; a terminal that knows no µ shows it as \\xb5."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None or getattr(
            stream, "closed", False
        ):  # this takes the stream's number too, or the next file opened would get it
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _interrupted(program: str) -> int:
    if first_process():
        print(f"{program}: interrupted; the same command resumes (train: with --resume)", file=sys.stderr)
    return 130


def _stopped(e: BaseException | None) -> bool:
    """Whether an error came of Ctrl-C: libraries that catch everything turn that into errors of their own."""
    while e is not None:
        if isinstance(e, KeyboardInterrupt):
            return True
        e = e.__cause__ or e.__context__
    return False


def _is_ours(e: BaseException) -> bool:
    """Whether an error is made for users: ours, or of pcs-augment, where it is loaded."""
    theirs = sys.modules.get("pcs_augment.errors")
    return isinstance(e, PcsDetectError if theirs is None else (PcsDetectError, theirs.PcsError))


def _told(e: Exception) -> str:
    """The message for the user in an exception; empty where it is a fault of the program."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(e, torch.OutOfMemoryError):
        return "the GPU's memory is full; use a smaller --batch-size, more --gpus, or --amp"
    if isinstance(e, ModuleNotFoundError) and not _is_ours(e):
        return f"{e.name} is not installed; {install(e.name or '')}"
    if not _is_ours(e):
        return ""
    text = str(e).strip()
    if text.startswith("Caught "):  # a loader process met it; the last line is what it said
        text = text.splitlines()[-1].partition(": ")[2]
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcs-detect",
        description="Train and test detectors of crystals, find crystals in photographs, measure their sizes.",
        epilog="Exit status: 0 done, 1 error, 2 wrong usage, 130 interrupted. 'pcs-detect COMMAND --help' says more.",
    )
    parser.add_argument("--version", action="version", version=f"pcs-detect {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (training, predict, sizes, report, convert, score, export):
        command.add(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
