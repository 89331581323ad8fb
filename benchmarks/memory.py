"""Peak memory of the default pipeline, and whether it grows: ``python benchmarks/memory.py [batches]``."""

from __future__ import annotations

import resource
import sys

import torch

import pcs_augment as pa
from pcs_augment.bench import labelled_batch


def resident() -> float:
    """MiB resident now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main(batches: int) -> None:
    images, targets, index = labelled_batch()
    pipeline = pa.default_pipeline(seed=1)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, batches of {len(images)}; before: {resident():.0f} MiB"
    )
    for b in range(batches):
        pipeline(images, targets, index=index, epoch=b)
        if b in (9, batches // 10 - 1, batches // 2 - 1, batches - 1):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"after {b + 1:5d} batches: {resident():.0f} MiB resident, peak {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
