"""Functions that torch.compile leaves alone: drawing is NumPy, and results must not depend on how filters are fused."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with a graph break around it where a compiled function calls it."""
    apart = torch._disable_dynamo(function)

    @functools.wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> R:
        # the compiler takes a second to import, which only those pay who use it
        if torch.compiler.is_compiling() or "torch._dynamo" in sys.modules:
            return apart(*args, **options)
        return function(*args, **options)

    return run
