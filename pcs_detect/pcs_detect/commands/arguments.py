"""Kinds of arguments that commands share, and what comes before any of them touches OpenMMLab's packages."""

from __future__ import annotations

import argparse
import ast
import contextlib
import math
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError

MOST = 50  # lines about what was left out


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


def share(text: str) -> int | float:
    with contextlib.suppress(ValueError):
        return positive(text) if text.isdigit() else _part(float(text))
    raise argparse.ArgumentTypeError(f"must be a number of images or a part between 0 and 1, got {text!r}")


def _part(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError
    return value


def above_zero(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def up_to_one(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, {"true": True, "false": False, "none": None}.get(value.lower(), value)


def complain(left: Sequence[str]) -> None:
    """Name on stderr what was left out, and raise DataError where there is something."""
    for reason in left[:MOST]:
        print(f"left out: {reason}", file=sys.stderr)
    if left:
        more = f" (the first {MOST} are named)" if len(left) > MOST else ""
        raise DataError(f"{len(left)} of what was given could not be used{more}; the rest is done")


def prepare(device: str | None) -> None:
    """To be called before OpenMMLab's packages are imported."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # libraries look for GPUs by themselves
    for text in ("torch.meshgrid: in an upcoming release", "DeprecationWarning: anchor_generator"):
        warnings.filterwarnings("ignore", text)  # of mmdet and mmrotate, about themselves
    if "RANK" in os.environ:
        signal.signal(signal.SIGTERM, _interrupt)  # torchrun ends its processes so
        os.environ.setdefault("MKL_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))  # mmengine would, with a warning


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
