"""The work every benchmark shares: 64 images of 384 x 384 px with 50 objects each, and a clock that tells per image."""

from __future__ import annotations

import pytest
import torch

import pcs_augment as pa
from pcs_augment.demo import sample_path

BATCH, OBJECTS = 64, 50


def labelled_batch(batch: int = BATCH, objects: int = OBJECTS):
    """(images float32, targets, index): the bundled images that have enough objects, over and over."""
    data = pa.PCSDataset(sample_path())
    rich = [i for i in range(len(data)) if len(data.target(i)["boxes"]) >= objects]
    samples = []
    for n in range(batch):
        image, target, _ = data[rich[n % len(rich)]]
        samples.append((image, {k: target[k][:objects] for k in ("boxes", "labels", "polygons")}, n))
    images, targets, index = pa.collate(samples)
    return images.float() / 255, targets, index


@pytest.fixture(scope="session")
def batch():
    return labelled_batch()


@pytest.fixture
def per_image(benchmark):
    """Time a call; ``images`` is how many it handles. The median per image in ms lands in the report's extra_info."""

    def run(call, images: int, rounds: int = 7):
        benchmark.pedantic(call, rounds=rounds, iterations=1, warmup_rounds=2)
        benchmark.extra_info["ms_per_image"] = round(benchmark.stats.stats.median / images * 1e3, 4)
        benchmark.extra_info["images"] = images
        benchmark.extra_info["threads"] = torch.get_num_threads()

    return run
