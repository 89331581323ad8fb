"""Images shared out over threads."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

_THREADS = "pcs_augment"


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


_rooms = threading.local()


def scratch(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Room to work in of this thread, with whatever the last task left there."""
    known = _rooms.__dict__.setdefault("of", {})
    if (shape, dtype) not in known:
        known.clear()  # sizes of images change seldom
        known[shape, dtype] = np.empty(shape, dtype)
    return known[shape, dtype]


def each_image(kernel: Callable[..., None], images: Tensor, sample: Tensor, *columns: Any, constants: tuple = ()) -> None:
    """kernel(images[sample[j]], *(c[j] for c in columns), *constants) for every j; the columns are arrays."""
    pixels, which = images.numpy(), sample.tolist()
    run_all(lambda j: kernel(pixels[which[j]], *(c[j] for c in columns), *constants), range(len(which)))
