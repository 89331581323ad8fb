"""Milliseconds of the training process for a batch, without a GPU: ``python benchmarks/host_times.py``.

Triton kernels launch nothing, so what is left is the work of the host: what `apply` prepares, and what is left of it where
workers of the data loader have packed the batch. Of that, the operations of torch run once on images without memory, which
makes them slower than launches are, and once they do nothing. Medians of processor time, one thread.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from counting import MODULES
from step_times import prepared, using

import pcs_augment as pa
from pcs_augment import packing
from pcs_augment.bench import labelled_batch, machine
from pcs_augment.packing import pack
from pcs_augment.targets import follow


def median(work: Callable[[], Any], rounds: int) -> float:
    """Seconds of the processor, so that other programs do not count."""
    times = []
    for _ in range(rounds + 2):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times[2:])


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=384, help="px a side")
    parser.add_argument("--objects", type=int, default=50, help="per image")
    parser.add_argument("--epochs", type=int, default=4, help="batches to average over")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    images, targets, index = labelled_batch(args.batch_size, args.size, args.objects)
    pipeline = pa.default_pipeline(seed=1)
    plans = [pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(args.epochs)]
    found: dict[str, float] = {}
    with using("triton"):
        found["apply, prepared as it goes"] = sum(prepared(pipeline, plans, images.shape, targets, args.rounds).values())
        packed = [pack(pipeline, images.shape, images.dtype, targets, plan) for plan in plans]
        found["packing, in a worker"] = _mean(
            lambda p: pack(pipeline, images.shape, images.dtype, targets, p), plans, args.rounds
        )
    launch = import_module("pcs_augment.kernels.triton.launch")
    blank = torch.empty(images.shape, device="meta")
    with ExitStack() as stack:
        for module in (launch, *MODULES):
            stack.enter_context(patch.object(module, "launch", lambda *a, **o: None, create=True))
        found["packed: calls, torch without memory"] = _mean(lambda p: p.run(blank), packed, args.rounds)
        stack.enter_context(patch.object(packing, "_operation", lambda name, overload="": lambda *a, **o: blank))
        found["packed: calls, torch left out"] = _mean(lambda p: p.run(blank), packed, args.rounds)
    found["packed: unpickled program"] = _mean(lambda p: pickle.loads(p.program), packed, args.rounds)
    keep = torch.rand(int(plans[0].objects.sum())).numpy() > 0.1
    found["packed: objects removed"] = _mean(lambda p: follow(p.targets, None, keep), packed, args.rounds)
    lengths = [len(pickle.loads(p.program)[1]) for p in packed]
    kernels = [sum(c[0][0] == "launch" for c in pickle.loads(p.program)[1]) for p in packed]
    print(f"{machine('cpu')}\n{args.batch_size} images of {args.size} px, {args.objects} objects each")
    for name, seconds in found.items():
        print(f"{name:36}{seconds * 1e3:8.2f} ms")
    print(
        f"block {statistics.mean(len(p.block) for p in packed) / 1e6:.2f} MB, {statistics.mean(lengths):.0f} calls, "
        f"{statistics.mean(kernels):.0f} of Triton, program {statistics.mean(len(p.program) for p in packed) / 1e3:.0f} kB"
    )
    return found


def _mean(work: Callable[[Any], Any], values: list[Any], rounds: int) -> float:
    return statistics.mean(median(lambda v=v: work(v), rounds) for v in values)


if __name__ == "__main__":
    main()
