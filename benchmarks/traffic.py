"""What the GPU path of the pipeline launches and moves, step by step, counted without a GPU: ``python benchmarks/traffic.py``.

The pipeline runs on fake CUDA tensors, which have shapes but no memory; a dispatch mode counts every operation that would be a
kernel (views are none) and the bytes of its inputs and outputs, with the operators in torch or in Triton.
Beside that stands the least that each step can do: read and write the images it acts on once, and evaluate its textures. Times
are predicted from the rates in the options, which are assumptions; ``--measure`` adds the times on a real device. What the
host does between the launches of Triton is measured where this runs.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from counting import Cost, Counting, Indexing, Rates
from step_times import REST, copy_bandwidth, labelled, measured, names, prepared, using
from torch._subclasses.fake_tensor import FakeTensorMode

from pcs_augment import rng
from pcs_augment.base import Augmentation, Step
from pcs_augment.bench import labelled_batch, machine, worst_case
from pcs_augment.kernels.triton import sums
from pcs_augment.pipeline import default_pipeline
from pcs_augment.plan import Plan, Tables
from pcs_augment.targets import AnyTargets

LONGEST = 12  # kernels that are listed
# instructions per texture and pixel, at the least: a wave adds two phases and looks up a rank; gradient noise is interpolated
# twice (its histogram comes first), then looked up
OPERATIONS = {"interference": 4, "perlin": 28}
Costs = dict[str, Cost]


def counted(
    pipeline: Augmentation, plans: list[Plan], shape: torch.Size, targets: AnyTargets, rates: Rates
) -> tuple[Costs, Costs]:
    """Means over the plans, by step and by kernel."""
    mode = Counting(rates, REST)
    for name in ("normal", "unit"):
        rng.device_table(name, torch.device("cpu"))  # not a fake one
    try:
        for number, plan in enumerate([plans[0], *plans]):  # once to fill caches
            if number == 1:
                mode.costs.clear()
                mode.kernels.clear()
            fake = FakeTensorMode(allow_non_fake_inputs=True)
            with labelled(pipeline, mode.step), fake, mode, mode.kernels_here(), Indexing():
                pipeline.apply(torch.empty(shape, device="cuda"), targets, plan)
    finally:
        rng._tables.clear()  # fake ones
    return _means(mode.costs, len(plans)), _means(mode.kernels, len(plans))


def _means(totals: Costs, count: int) -> Costs:
    means: Costs = defaultdict(Cost)
    for name, total in totals.items():
        means[name].add(total, 1 / count)
    return dict(means)


def floor(step: Step, tables: Tables, shape: torch.Size) -> Cost:
    """The least a step can do: images it acts on are read and written once, textures evaluated."""
    pixels = int(np.prod(shape[1:])) * 4
    if "dropped" in tables:
        return Cost()
    if "textures" in tables:
        table = tables["textures"]
        images = len(np.unique(table["sample"]))
        work = len(table["sample"]) * shape[2] * shape[3] * OPERATIONS[step.kind]
        return Cost(images=images, floor=2 * images * pixels, least=work)
    if "images" not in tables:
        images = len(np.unique(next(iter(tables.values()))["sample"]))
        return Cost(images=images, floor=images * pixels * (2 if "curves" in tables else 1))
    table = tables["images"]
    images = len(table["sample"]) if "kind" not in table else int((table["kind"] > 0).sum())
    return Cost(images=images, floor=2 * images * pixels)


COLUMNS: dict[str, Callable[[Cost, Rates], str]] = {
    "images": lambda c, r: f"{c.images:.1f}",
    "launches": lambda c, r: f"{c.launches:.0f}",
    "of Triton": lambda c, r: f"{c.triton:.0f}",
    "copies": lambda c, r: f"{c.copies:.0f}",
    "MB copied": lambda c, r: f"{c.copied / 1e6:.2f}",
    "MB moved": lambda c, r: f"{c.moved / 1e6:.0f}",
    "MB floor": lambda c, r: f"{c.floor / 1e6:.0f}",
    "M atomics": lambda c, r: f"{c.atomics / 1e6:.1f}",
    "G operations": lambda c, r: f"{c.operations / 1e9:.2f}",
    "G floor": lambda c, r: f"{c.least / 1e9:.2f}",
    "ms device": lambda c, r: f"{c.device * 1e3:.3f}",
    "ms prepared": lambda c, r: f"{c.prepared * 1e3:.3f}" if c.prepared else "",
    "ms host": lambda c, r: f"{_host(c, r) * 1e3:.3f}",
    "ms floor": lambda c, r: f"{_least(c, r) * 1e3:.3f}",
    "ms measured": lambda c, r: f"{c.measured * 1e3:.3f}",
}
OF_KERNELS = ("launches", "MB moved", "M atomics", "G operations", "ms device")


def table(first: str, costs: Costs, rates: Rates, columns: tuple[str, ...]) -> str:
    """In Markdown."""
    lines = [f"| {first} | " + " | ".join(columns) + " |", "|---" + "|---:" * len(columns) + "|"]
    lines += [f"| {name} | " + " | ".join(COLUMNS[c](cost, rates) for c in columns) + " |" for name, cost in costs.items()]
    return "\n".join(lines) + "\n"


def report(title: str, costs: Costs, kernels: Costs, rates: Rates, batch: int, line: str) -> Cost:
    """Print tables by step and by kernel, and what follows; returns the total."""
    total = Cost()
    for c in costs.values():
        total.add(c)
    columns = tuple(c for c in COLUMNS if c != "ms measured" or total.measured)
    longest = sorted(kernels, key=lambda name: -kernels[name].device)[:LONGEST]
    print(f"### {title}\n\n{table('step', costs | {'total': total}, rates, columns)}")
    print(table("kernel", {name: kernels[name] for name in longest}, rates, OF_KERNELS))
    print(
        f"Predicted: {batch / total.device:,.0f} images/s by the device, {batch / _host(total, rates):,.0f} by the host, "
        f"{batch / sum(_least(c, rates) for c in costs.values()):,.0f} at the floor. {line}\n",
        flush=True,
    )
    return total


def _host(cost: Cost, rates: Rates) -> float:
    return cost.prepared + (cost.launches - cost.triton + cost.copies) * rates.launch + cost.triton * rates.triton


def _least(cost: Cost, rates: Rates) -> float:
    return max(cost.floor / rates.bandwidth, cost.least / rates.operations)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", choices=("triton", "torch", "both"), default="triton")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=384, help="px a side")
    parser.add_argument("--objects", type=int, default=50, help="per image")
    parser.add_argument("--epochs", type=int, default=4, help="batches to average over")
    parser.add_argument("--bandwidth", type=float, default=3.0, help="assumed TB/s of the device's memory, read and written")
    parser.add_argument("--link", type=float, default=20.0, help="assumed GB/s from the host to the device")
    parser.add_argument("--atomics", type=float, default=100.0, help="assumed G atomic operations per s")
    parser.add_argument("--operations", type=float, default=30.0, help="assumed T instructions per s")
    parser.add_argument("--launch", type=float, default=5.0, help="assumed us of the host per launch of torch or copy")
    parser.add_argument(
        "--triton", type=float, default=15.0, help="assumed us of the host per launch of Triton, 7 to 9 in its Python"
    )
    parser.add_argument("--kernel", type=float, default=2.0, help="assumed us of the shortest kernel")
    parser.add_argument("--shared", action="store_true", help="count Perlin values in shared memory, as from Triton 3.8 on")
    parser.add_argument("--measure", action="store_true", help="also measure; needs a CUDA device")
    args = parser.parse_args(argv)
    sums.IN_SHARED_MEMORY |= args.shared
    bandwidth = copy_bandwidth() if args.measure else args.bandwidth * 1e12
    host = (args.launch / 1e6, args.triton / 1e6)
    rates = Rates(bandwidth, args.link * 1e9, args.atomics * 1e9, args.operations * 1e12, *host, args.kernel / 1e6)
    images, targets, index = labelled_batch(args.batch_size, args.size, args.objects)
    shape = images.shape
    print(
        f"{machine('cuda' if args.measure else 'cpu')}\n\n{shape[0]} images of {shape[2]} x {shape[3]} px, {args.objects} "
        f"objects each, means over {args.epochs} batches. {bandwidth / 1e12:.2f} TB/s "
        f"({'measured' if args.measure else 'assumed'}); assumed: {args.link:g} GB/s from the host, {args.atomics:g} G atomic "
        f"operations/s, {args.operations:g} T instructions/s, {args.launch:g} us of the host per launch of torch or copy, "
        f"{args.triton:g} us per launch of Triton, kernels of {args.kernel:g} us and more. ms prepared: of this machine's "
        "processor, between the launches of Triton. What steps do at once counts for the first of them.\n"
    )
    totals: Costs = {}
    for title, pipeline in (("Default pipeline", default_pipeline(seed=1)), ("Worst case", worst_case(seed=1))):
        plans = [pipeline.draw(shape, targets, index=index, epoch=e) for e in range(args.epochs)]
        for kernels in ("torch", "triton") if args.kernels == "both" else (args.kernels,):
            name = f"{title}, {kernels}"
            with using(kernels):
                # measured first, since what the pipeline keeps of the counting would be fake
                seconds, line = measured(pipeline, plans, images.cuda(), targets, rounds=5) if args.measure else ({}, "")
                host_seconds = prepared(pipeline, plans, shape, targets) if kernels == "triton" else {}
                found, by_kernel = counted(pipeline, plans, shape, targets, rates)
            costs = {step: found.get(step, Cost()) for step in (*names(pipeline), REST)}
            for plan in plans:
                for step, what, tables in zip(names(pipeline), pipeline.sequence(), plan.steps):
                    costs[step].add(floor(what, tables, shape), 1 / len(plans))
            costs[REST].add(Cost(images=shape[0], floor=2 * images.numel() * 4))
            for step, cost in costs.items():
                cost.measured, cost.prepared = seconds.get(step, 0.0), host_seconds.get(step, 0.0)
            totals[name] = report(name, costs, by_kernel, rates, shape[0], line)
    print(f"### Totals\n\n{table('', totals, rates, tuple(c for c in COLUMNS if c not in ('images', 'ms measured')))}")


if __name__ == "__main__":
    main()
