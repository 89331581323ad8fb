"""The default pipeline beside the published code in one process, in processor time, which other work hardly moves.

    pip install ".[bench]" setuptools && pip install --no-build-isolation --no-deps pyfastnoisesimd
    python benchmarks/beside_published.py [--threads 1] [--rounds 5]

Rounds of both take turns: 64 bundled images of 384 x 384 px with 52 objects each through the published code, then four times,
in four epochs, through ours. Medians over rounds; where more than one thread works, look at the clock too, on a quiet machine.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

import pcs_augment as pa
from pcs_augment import published
from pcs_augment.bench import EPOCHS, labelled_batch, machine

BATCH, SIZE, OBJECTS = 64, 384, 52


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the processor and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="on each side (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="of both (default: 5)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    vars(np).setdefault("product", np.prod)  # pyfastnoisesimd is older than NumPy 2
    noise = published.noise_package()

    images, targets, index = labelled_batch(BATCH, SIZE, OBJECTS)
    pipeline, epoch = pa.default_pipeline(seed=1), itertools.count()
    host, rng = [(i[0].numpy(), t) for i, t in zip(images, targets)], np.random.default_rng(1)

    def theirs() -> None:
        for image, target in host:
            published.augment(image, target, rng)

    def ours() -> None:
        for _ in range(EPOCHS):
            pipeline(images, targets, index=index, epoch=next(epoch) % EPOCHS)

    ours()  # which compiles
    rounds = [(seconds(theirs), seconds(ours)) for _ in range(options.rounds)]
    print(f"{machine('cpu')}; Perlin noise of the published code from {noise.__name__}; {options.rounds} rounds")
    for which, name in enumerate(("processor", "clock")):
        published_ms = statistics.median(r[0][which] for r in rounds) * 1e3 / BATCH
        ms = statistics.median(r[1][which] for r in rounds) * 1e3 / BATCH / EPOCHS
        ratios = [r[0][which] / r[1][which] * EPOCHS for r in rounds]
        spread = f"{min(ratios):.1f} .. {max(ratios):.1f}"
        line = f"as published {published_ms:.2f}, this library {ms:.3f} ms per image; ratio {published_ms / ms:.1f} ({spread})"
        print(f"{name:10} {line}")


if __name__ == "__main__":
    main()
