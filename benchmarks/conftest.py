"""The work every benchmark shares: 64 images of 384 x 384 px with 50 objects each, and a clock that tells per image."""

from __future__ import annotations

import pytest
import torch

from pcs_augment.bench import labelled_batch


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
