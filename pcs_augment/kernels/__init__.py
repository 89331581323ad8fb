"""Fast twins of the torch functions that a profile names; the torch ones are the definition.

``cpu``: the same arithmetic in numba, one image at a time in the cache, images shared out over threads. Used on CPU tensors
when numba is installed (``pip install 'pcs-augment[cpu]'``); ``PCS_AUGMENT_KERNELS=torch`` switches it off. A twin gives the
same bits as the function it replaces, which the tests hold it to.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import torch


@functools.cache
def _load() -> ModuleType | None:
    try:
        from . import cpu
    except ImportError:
        return None
    except RuntimeError as e:  # numba finds no place for its cache
        warnings.warn(f"the CPU kernels are off: {e}; set NUMBA_CACHE_DIR to a writable folder", stacklevel=2)
        return None
    return cpu


def cpu_kernels(device: torch.device) -> ModuleType | None:
    """The numba twins, where they apply."""
    if device.type != "cpu" or os.environ.get("PCS_AUGMENT_KERNELS") == "torch":
        return None
    return _load()


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="pcs_augment")


def run_all(task: Callable[[Any], None], jobs: Iterable[Any]) -> None:
    """Run a task that releases the GIL for every job, on as many threads as torch uses."""
    threads = torch.get_num_threads()
    if threads == 1:
        for job in jobs:
            task(job)
        return
    # a forked worker process must not inherit the pool of its parent
    for _ in _pool(os.getpid(), threads).map(task, jobs):
        pass
