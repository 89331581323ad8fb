"""What the GPU path of the pipeline launches and moves, step by step, counted without a GPU: ``python benchmarks/traffic.py``.

The pipeline runs on fake CUDA tensors, which have shapes but no memory; a dispatch mode counts every operation that would be a
kernel (views are none) and the bytes of its inputs and outputs. Beside that stands the least that each step can do: read
and write the images it acts on once, and evaluate its textures. Times are predicted from the rates in the options, which are
assumptions; ``--measure`` adds the times on a real device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from counting import Cost, Counting, Indexing, Rates
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pcs_augment import rng
from pcs_augment.base import Augmentation, Step
from pcs_augment.bench import labelled_batch, machine, worst_case
from pcs_augment.pipeline import default_pipeline
from pcs_augment.plan import Plan, Tables
from pcs_augment.targets import Targets

REST = "copy in, targets"
# instructions per texture and pixel, at the least: a wave adds two phases and looks up a rank; gradient noise is interpolated
# twice (its histogram comes first), then looked up
OPERATIONS = {"interference": 4, "perlin": 28}

Costs = dict[str, Cost]


def names(pipeline: Augmentation) -> list[str]:
    return [f"{number:2} {type(step).__name__}" for number, step in enumerate(pipeline.sequence(), 1)]


@contextmanager
def labelled(pipeline: Augmentation, region: Callable[[str], AbstractContextManager]) -> Iterator[None]:
    """Run the pixel work of every step inside ``region(name)``."""

    def inside(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            with region(name):
                return work(*args)

        return run

    for name, step in zip(names(pipeline), pipeline.sequence()):
        for method in ("_change", "_filter"):
            setattr(step, method, inside(name, getattr(step, method)))
    try:
        yield
    finally:
        for step in pipeline.sequence():
            del step._change, step._filter


def counted(pipeline: Augmentation, plans: list[Plan], shape: torch.Size, targets: Targets, rates: Rates) -> Costs:
    """Means over the plans, by step."""
    mode = Counting(rates, REST)
    _tables_on_the_host()
    try:
        for number, plan in enumerate([plans[0], *plans]):  # once to fill caches
            if number == 1:
                mode.costs.clear()
            with labelled(pipeline, mode.step), FakeTensorMode(allow_non_fake_inputs=True), mode, Indexing():
                pipeline.apply(torch.empty(shape, device="cuda"), targets, plan)
    finally:
        rng._tables.clear()  # fake ones
    costs: Costs = {}
    for name, total in mode.costs.items():
        costs[name] = Cost()
        costs[name].add(total, 1 / len(plans))
    return costs


def _tables_on_the_host() -> None:
    for name in ("normal", "unit"):
        rng._table(name, torch.device("cpu"))


def floor(step: Step, tables: Tables, shape: torch.Size) -> Cost:
    """The least a step can do: images it acts on are read and written once, textures evaluated."""
    pixels = int(np.prod(shape[1:])) * 4
    if "dropped" in tables:
        return Cost()
    if "textures" in tables:
        table = tables["textures"]
        images = len(np.unique(table["sample"]))
        work = len(table["sample"]) * shape[2] * shape[3] * OPERATIONS[step.kind]
        return Cost(images=images, floor=2 * images * pixels, operations=work)
    if "images" not in tables:
        images = len(np.unique(next(iter(tables.values()))["sample"]))
        return Cost(images=images, floor=images * pixels * (2 if "curves" in tables else 1))
    table = tables["images"]
    images = len(table["sample"]) if "kind" not in table else int((table["kind"] > 0).sum())
    return Cost(images=images, floor=2 * images * pixels)


def measured(
    pipeline: Augmentation, plans: list[Plan], images: Tensor, targets: Targets, rounds: int
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


def report(title: str, costs: Costs, rates: Rates, batch: int, line: str) -> str:
    """A Markdown table and what follows from its last row."""
    columns = [
        ("images", lambda c: f"{c.images:.1f}"),
        ("launches", lambda c: f"{c.launches:.0f}"),
        ("copies", lambda c: f"{c.copies:.0f}"),
        ("MB copied", lambda c: f"{c.copied / 1e6:.2f}"),
        ("MB moved", lambda c: f"{c.moved / 1e6:.0f}"),
        ("MB floor", lambda c: f"{c.floor / 1e6:.0f}"),
        ("ratio", lambda c: f"{c.moved / c.floor:.1f}" if c.floor else ""),
        ("M atomics", lambda c: f"{c.atomics / 1e6:.1f}"),
        ("G operations floor", lambda c: f"{c.operations / 1e9:.2f}" if c.operations else ""),
        ("ms device", lambda c: f"{c.device * 1e3:.2f}"),
        ("ms host", lambda c: f"{_host(c, rates) * 1e3:.2f}"),
        ("ms predicted", lambda c: f"{max(c.device, _host(c, rates)) * 1e3:.2f}"),
        ("ms floor", lambda c: f"{_least(c, rates) * 1e3:.3f}"),
    ]
    if any(c.measured for c in costs.values()):
        columns.append(("ms measured", lambda c: f"{c.measured * 1e3:.2f}" if c.measured else ""))
    total = Cost()
    for c in costs.values():
        total.add(c)
    lines = [f"### {title}", "", "| step | " + " | ".join(n for n, _ in columns) + " |", "|---" + "|---:" * len(columns) + "|"]
    for name, cost in [*costs.items(), ("total", total)]:
        lines.append(f"| {name} | " + " | ".join(write(cost) for _, write in columns) + " |")
    lines += [
        "",
        f"Predicted: {batch / total.device:,.0f} images/s by the device, {batch / _host(total, rates):,.0f} by the host, "
        f"{batch / sum(_least(c, rates) for c in costs.values()):,.0f} at the floor. {line}".strip(),
        "",
    ]
    return "\n".join(lines)


def _host(cost: Cost, rates: Rates) -> float:
    return (cost.launches + cost.copies) * rates.launch


def _least(cost: Cost, rates: Rates) -> float:
    return max(cost.floor / rates.bandwidth, cost.operations / rates.operations)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=384, help="px a side")
    parser.add_argument("--objects", type=int, default=50, help="per image")
    parser.add_argument("--epochs", type=int, default=4, help="batches to average over")
    parser.add_argument("--bandwidth", type=float, default=4.0, help="assumed TB/s of the device's memory, read and written")
    parser.add_argument("--link", type=float, default=20.0, help="assumed GB/s from the host to the device")
    parser.add_argument("--atomics", type=float, default=100.0, help="assumed G atomic operations per s")
    parser.add_argument("--operations", type=float, default=30.0, help="assumed T instructions per s")
    parser.add_argument("--launch", type=float, default=5.0, help="assumed us of the host per launch or copy")
    parser.add_argument("--kernel", type=float, default=2.0, help="assumed us of the shortest kernel")
    parser.add_argument("--measure", action="store_true", help="also measure; needs a CUDA device")
    args = parser.parse_args(argv)
    bandwidth = copy_bandwidth() if args.measure else args.bandwidth * 1e12
    rates = Rates(bandwidth, args.link * 1e9, args.atomics * 1e9, args.operations * 1e12, args.launch / 1e6, args.kernel / 1e6)
    images, targets, index = labelled_batch(args.batch_size, args.size, args.objects)
    shape = images.shape
    source = "measured" if args.measure else "assumed"
    print(
        f"{machine('cuda' if args.measure else 'cpu')}\n\n{shape[0]} images of {shape[2]} x {shape[3]} px, {args.objects} "
        f"objects each, means over {args.epochs} batches. {bandwidth / 1e12:.2f} TB/s ({source}); assumed: "
        f"{args.link:g} GB/s from the host, {args.atomics:g} G atomic operations/s, {args.operations:g} T instructions/s, "
        f"{args.launch:g} us of the host per launch or copy, kernels of {args.kernel:g} us and more.\n"
    )
    for title, pipeline in (("Default pipeline", default_pipeline(seed=1)), ("Worst case", worst_case(seed=1))):
        plans = [pipeline.draw(shape, targets, index=index, epoch=e) for e in range(args.epochs)]
        # measured first, since what the pipeline keeps of the counting would be fake
        seconds, line = measured(pipeline, plans, images.cuda(), targets, rounds=5) if args.measure else ({}, "")
        found = counted(pipeline, plans, shape, targets, rates)
        costs = {name: found.pop(name, Cost()) for name in names(pipeline)} | found
        for plan in plans:
            for name, step, tables in zip(names(pipeline), pipeline.sequence(), plan.steps):
                costs[name].add(floor(step, tables, shape), 1 / len(plans))
        costs.setdefault(REST, Cost()).add(Cost(images=shape[0], floor=2 * images.numel() * 4))
        for name, value in seconds.items():
            costs[name].measured = value
        print(report(title, costs, rates, shape[0], line), flush=True)


if __name__ == "__main__":
    main()
