"""Images shared out over threads."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import turns

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


def for_images(task: Callable[[int], None], sample: NDArray[np.int64]) -> None:
    """task(j), which works on image ``sample[j]`` of the batch, for every j: in that image's turn, or now where none waits."""
    waiting = turns.waiting()
    if waiting is None:
        run_all(task, range(len(sample)))
        return
    for j, image in enumerate(sample.tolist()):
        waiting.tasks[image].append(partial(task, j))


def each_image(kernel: Callable[..., None], images: Tensor, sample: Tensor, *columns: Any, constants: tuple = ()) -> None:
    """kernel(images[sample[j]], *(c[j] for c in columns), *constants) for every j; the columns are arrays."""
    pixels, which = images.numpy(), sample.numpy()
    for_images(lambda j: kernel(pixels[which[j]], *(c[j] for c in columns), *constants), which)


_rooms = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: type) -> NDArray:
    """Room to work in of this thread, with whatever the last task of this name left there."""
    known = _rooms.__dict__
    if name not in known or known[name].shape != shape or known[name].dtype != dtype:
        known[name] = np.empty(shape, dtype)  # sizes of images change seldom
    return known[name]
