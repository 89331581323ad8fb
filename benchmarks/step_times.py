"""Times of the pipeline's steps: of the host between launches, without a GPU, and of a CUDA device."""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from counting import MODULES, ON_GPU
from torch import Tensor

from pcs_augment import joining
from pcs_augment.base import Augmentation
from pcs_augment.kernels.triton import joining as kernels
from pcs_augment.plan import Plan
from pcs_augment.targets import AnyTargets

REST = "copy in, targets"


def names(pipeline: Augmentation) -> list[str]:
    return [f"{number:2} {type(step).__name__}" for number, step in enumerate(pipeline.sequence(), 1)]


@contextmanager
def labelled(pipeline: Augmentation, region: Callable[[str], AbstractContextManager]) -> Iterator[None]:
    """Run the pixel work of every step inside ``region(name)``, that of several at once inside that of the first."""
    waiting: list[str] = []  # steps whose operations are yet to be made

    def inside(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            with region(name):
                return work(*args)

        return run

    def noting(name: str, find: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            found = find(*args)
            if found is not None and len(found.columns[0]):
                waiting.append(name)
            return found

        return run

    def making(make: Callable[..., Any], count: Callable[..., int]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            mine, waiting[:] = waiting[: count(*args)], waiting[count(*args) :]
            return inside(mine[0], make)(*args)

        return run

    for name, step in zip(names(pipeline), pipeline.sequence()):
        assert step.settings  # known before: they name every attribute, and plans are applied with the same ones only
        vars(step)["_operation"] = noting(name, step._operation)
        for method in ("change", "drop", "move"):
            vars(step)[method] = inside(name, getattr(step, method))
    alone = patch.object(joining.Operation, "make", making(joining.Operation.make, lambda *args: 1))
    joined = patch.object(kernels, "_make", making(kernels._make, lambda images, run, totals: len(run)))
    try:
        with alone, joined:
            yield
    finally:
        for step in pipeline.sequence():
            del step.change, step.drop, step.move, step._operation


@contextmanager
def using(kernels: str) -> Iterator[None]:
    with patch.dict(os.environ, PCS_AUGMENT_KERNELS=kernels):
        yield


def prepared(
    pipeline: Augmentation, plans: list[Plan], shape: torch.Size, targets: AnyTargets, rounds: int = 7
) -> dict[str, float]:
    """Seconds of this machine's processor, one thread, by step: `apply` with Triton kernels that launch nothing.

    Medians over rounds, means over the plans. Tensors are on the meta device, where torch's operations move nothing.
    """
    spent: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[name] = spent.get(name, 0.0) + time.process_time() - began

    library = torch.library.Library("pcs_augment", "IMPL")
    for name in (n.partition("::")[2] for n in torch._C._dispatch_get_all_op_names() if n.startswith("pcs_augment::")):
        library.impl(name, partial(getattr(torch.ops.pcs_augment, name).default._op_dk, ON_GPU), "Meta")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for module in MODULES:
            stack.enter_context(patch.object(module, "launch", lambda *args, **constants: None, create=True))
        stack.enter_context(labelled(pipeline, timed))
        for plan in plans:
            results = []
            for _ in range(rounds):
                spent.clear()
                began = time.process_time()
                pipeline.apply(torch.empty(shape, device="meta"), targets, plan)
                whole = time.process_time() - began
                results.append(spent | {REST: whole - sum(spent.values())})
            for name in results[0]:
                seconds[name] += statistics.median(r[name] for r in results) / len(plans)
    torch.set_num_threads(threads)
    library._destroy()
    return dict(seconds)


def measured(
    pipeline: Augmentation, plans: list[Plan], images: Tensor, targets: AnyTargets, rounds: int
) -> tuple[dict[str, float], str]:
    """Seconds of the device by step, means over the plans; and a line on the whole.

    A kernel that only waits precedes each step, so that the host's launching is not measured with it.
    """
    marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(20_000_000)
        began.record()
        yield
        ended.record()
        marks.append((name, began, ended))

    seconds: dict[str, float] = defaultdict(float)
    with labelled(pipeline, timed):
        for number in range(rounds + 1):
            for plan in plans:
                pipeline.apply(images, targets, plan)
                torch.cuda.synchronize()
                if number:
                    for name, began, ended in marks:
                        seconds[name] += began.elapsed_time(ended) / 1e3 / rounds / len(plans)
                marks.clear()
    host, whole = [], []
    for plan in plans * rounds:
        torch.cuda.synchronize()
        began = time.perf_counter()
        pipeline.apply(images, targets, plan)
        host.append(time.perf_counter() - began)
        torch.cuda.synchronize()
        whole.append(time.perf_counter() - began)
    rate = len(images) / statistics.median(whole)
    line = f"Measured: {statistics.median(host) * 1e3:.2f} ms of the host for `apply`, {rate:,.0f} images/s with it."
    return dict(seconds), line


def copy_bandwidth() -> float:
    """Bytes/s read and written by a large copy on the device."""
    source = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        target.copy_(source)
        ended.record()
        torch.cuda.synchronize()
        times.append(began.elapsed_time(ended) / 1e3)
    return 2 * source.numel() / statistics.median(times)
