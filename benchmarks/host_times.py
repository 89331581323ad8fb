"""Milliseconds of the training process for a batch, without a GPU: ``python benchmarks/host_times.py``.

Triton kernels launch nothing, so what is left is the work of the host: what `apply` prepares, and what is left of it where
workers of the data loader have packed the batch. Of that, the operations of torch run once on images without memory, which
makes them slower than launches are, and once they do nothing. "Ring" is what is left where the calls have been captured in CUDA
graphs (``ring.py``): two copies, one launch. Processor time, one thread: medians, and the least, which other
programs on the machine disturb less (they take caches and halves of cores away).
"""

from __future__ import annotations

import argparse
import marshal
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any
from unittest.mock import patch

import ring
import torch
from counting import MODULES
from step_times import prepared, using

import pcs_augment as pa
from pcs_augment import packing
from pcs_augment.bench import labelled_batch, machine
from pcs_augment.packing import pack
from pcs_augment.rooms import Room
from pcs_augment.targets import landed

HERE = torch.device("cpu")


def timed(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median and least seconds of the processor, so that other programs do not count."""
    times = []
    for _ in range(rounds + 2):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times[2:]), min(times[2:])


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=384, help="px a side")
    parser.add_argument("--objects", type=int, default=50, help="per image")
    parser.add_argument("--epochs", type=int, default=4, help="batches to average over")
    parser.add_argument("--rounds", type=int, default=7, help="ten times as many of what takes a millisecond")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    images, targets, index = labelled_batch(args.batch_size, args.size, args.objects)
    pipeline = pa.default_pipeline(seed=1)
    plans = [pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(args.epochs)]
    found: dict[str, tuple[float, float]] = {}
    many = 10 * args.rounds
    with using("triton"):
        whole = sum(prepared(pipeline, plans, images.shape, targets, args.rounds).values())
        found["apply, prepared as it goes"] = whole, float("nan")
        packed = [pack(pipeline, images.shape, images.dtype, targets, plan) for plan in plans]
        found["packing, in a worker"] = _mean(
            lambda p: pack(pipeline, images.shape, images.dtype, targets, p), plans, args.rounds
        )
    launch = import_module("pcs_augment.kernels.triton.launch")
    blank = torch.empty(images.shape, device="meta")
    keep = torch.rand(int(plans[0].objects.sum())).numpy() > 0.1

    def removed(p: packing.Packed, read: bool = False) -> None:
        for target in landed(p.targets, keep, HERE):
            if read:
                target["boxes"], target["labels"]

    def process(p: packing.Packed) -> None:
        p.run(blank)
        removed(p)

    room = Room()
    with using("triton"):
        in_room = [pack(pipeline, images.shape, images.dtype, targets, plan, room) for plan in 2 * plans][len(plans) :]
    slots = ring.Ring((images.shape, images.dtype), "meta")

    def captured(p: packing.Packed, given: torch.Tensor) -> ring.Captured:
        flags = torch.cat([torch.ones(1, dtype=torch.bool), torch.from_numpy(keep)])
        return ring.Captured(torch.empty_like(p.block, device="meta"), lambda: None, given, flags)

    def around(p: packing.Packed, read: bool = False) -> None:
        for target in slots.finish(slots.start(blank, p))[1]:
            if read:
                target["boxes"], target["labels"]

    with ExitStack() as stack:
        for module in (launch, *MODULES):
            stack.enter_context(patch.object(module, "launch", lambda *a, **o: None, create=True))
        found["packed: calls, torch without memory"] = _mean(lambda p: p.run(blank), packed, many)
        stack.enter_context(patch.object(packing, "_operation", lambda name: lambda *a, **o: blank))
        found["packed: calls, torch left out"] = _mean(lambda p: p.run(blank), packed, many)
        found["packed: of that, program read"] = _mean(lambda p: marshal.loads(p.program), packed, many)
        found["packed: objects removed"] = _mean(removed, packed, many)
        found["packed: boxes and labels read too"] = _mean(lambda p: removed(p, True), packed, many)
        found["the training process, for a batch"] = _mean(process, packed, many)
        stack.enter_context(patch.object(ring, "_captured", captured))
        found["ring: copies and launch"] = _mean(lambda p: slots.start(blank, p), in_room, many)
        found["ring: the training process"] = _mean(around, in_room, many)
        found["ring: boxes and labels read too"] = _mean(lambda p: around(p, True), in_room, many)
    calls = [marshal.loads(p.program)[2] for p in packed]
    lengths = [len(c) for c in calls]
    kernels = [sum(name[0] == "launch" for name, *_ in c) for c in calls]
    print(f"{machine('cpu')}\n{args.batch_size} images of {args.size} px, {args.objects} objects each")
    print(f"{'ms':36}{'median':>8}{'least':>8}")
    for name, (middle, least) in found.items():
        print(f"{name:36}{middle * 1e3:8.2f}{least * 1e3:8.2f}")
    print(
        f"block {statistics.mean(len(p.block) for p in packed) / 1e6:.2f} MB, {statistics.mean(lengths):.0f} calls, "
        f"{statistics.mean(kernels):.0f} of Triton, program {statistics.mean(len(p.program) for p in packed) / 1e3:.0f} kB"
    )
    programs = {p.program for p in in_room}
    print(f"in a room: block {len(in_room[0].block) / 1e6:.2f} MB, {len(programs)} program for {len(in_room)} batches")
    return found


def _mean(work: Callable[[Any], Any], values: list[Any], rounds: int) -> tuple[float, float]:
    middle, least = zip(*(timed(lambda v=v: work(v), rounds) for v in values))
    return statistics.mean(middle), statistics.mean(least)


if __name__ == "__main__":
    main()
