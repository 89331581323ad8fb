"""Fast twins of the torch functions that a profile names; the torch ones are the definition.

``cpu``: the same arithmetic in numba, one image at a time in the cache, images shared out over threads. Used on CPU tensors
when numba is installed (``pip install 'pcs-augment[cpu]'``). ``gpu``: the same in Triton, all images of a batch at once. Used
on CUDA tensors when Triton is installed, which torch's CUDA wheels for Linux bring along. ``PCS_AUGMENT_KERNELS=torch``
switches both off; ``triton`` uses the GPU's twins for any tensor, which on a CPU takes Triton's interpreter. A twin gives the
same bits as the function it replaces, which the tests hold it to.

The functions with twins are operators of torch.library in the namespace ``pcs_augment``; their first argument may be on any
device, the tables that say what to do with it are on the host.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import torch

from ..errors import InputError

_THREADS = "pcs_augment"
_library = torch.library.Library("pcs_augment", "DEF")


@functools.cache
def _load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f".{name}", __name__)
    except ModuleNotFoundError as e:
        if e.name not in ("numba", "triton"):
            raise
        return None
    except ImportError as e:
        warnings.warn(f"the {name.upper()} kernels are off: {e}", stacklevel=3)
        return None
    except RuntimeError as e:  # numba finds no place for its cache
        warnings.warn(f"the {name.upper()} kernels are off: {e}; set NUMBA_CACHE_DIR to a writable folder", stacklevel=3)
        return None


def _asked_for() -> str:
    value = os.environ.get("PCS_AUGMENT_KERNELS", "")
    if value not in ("", "numba", "torch", "triton"):
        raise InputError(f"PCS_AUGMENT_KERNELS must be numba, torch or triton, or not set, got {value!r}")
    return value


def cpu_kernels(device: torch.device) -> ModuleType | None:
    """The numba twins, where they apply."""
    return None if device.type != "cpu" or _asked_for() in ("torch", "triton") else _load("cpu")


def gpu_kernels(device: torch.device) -> ModuleType | None:
    """The Triton twins, where they apply."""
    if _asked_for() == "triton":
        return _load("gpu")
    return _launchable(device) if device.type == "cuda" and _asked_for() != "torch" else None


@functools.cache
def _launchable(device: torch.device) -> ModuleType | None:
    """The Triton twins, if a small one of them runs: Triton builds its launcher with the system's C compiler."""
    twins = _load("gpu")
    try:
        if twins is not None:
            twins.halves(torch.zeros(1, 2, dtype=torch.int64, device=device), 0, 8)
    except torch.OutOfMemoryError:
        raise
    except Exception as e:  # whatever goes wrong in a compiler, torch does the same without it
        warnings.warn(f"the GPU kernels are off, Triton cannot run here (is there a C compiler?): {e}", stacklevel=3)
        return None
    return twins


def operator(schema: str, fake: Callable[..., Any] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a torch function the operator ``pcs_augment::schema``, with the Triton twin of that name where it applies.

    The first argument says on which device. fake: what comes out, as empty tensors; None for operators that return nothing.
    """
    name = schema.partition("(")[0]

    def register(function: Callable[..., Any]) -> Any:
        def run(*args: Any) -> Any:
            twins = gpu_kernels(args[0].device)
            return (function if twins is None else getattr(twins, name))(*args)

        _library.define(schema)
        _library.impl(name, run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"pcs_augment::{name}", fake or (lambda *args: None), lib=_library)
        return getattr(torch.ops.pcs_augment, name).default

    return register


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=_THREADS)


def run_all(task: Callable[[Any], None], jobs: Iterable[Any]) -> None:
    """Run a task that releases the GIL for every job, on as many threads as torch uses."""
    threads = torch.get_num_threads()
    # a thread of the pool that waited for the pool could wait for ever
    if threads == 1 or threading.current_thread().name.startswith(_THREADS):
        for job in jobs:
            task(job)
        return
    # a forked worker process must not inherit the pool of its parent
    for _ in _pool(os.getpid(), threads).map(task, jobs):
        pass
