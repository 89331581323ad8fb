"""Warming up runs every kernel, in every variant, that a pipeline may run later."""

import marshal

import pytest
import torch
from batches import random_targets

import pcs_augment as pa
from pcs_augment import packing, warming

SHAPE = (4, 1, 96, 130)


def variants(augmentation, shape, targets, plan):
    """Kernels with what they are compiled for, without running them."""
    calls = marshal.loads(packing.pack(augmentation, shape, torch.float32, targets, plan).program)[2]
    return {(name[1:], str(sorted(options.items()))) for name, _, _, options, *_ in calls if name[0] == "launch"}


def test_every_variant_of_every_kernel_is_compiled():
    pytest.importorskip("triton", reason="there is no Triton for this system")
    pipeline = pa.default_pipeline(3)
    warm = set().union(*(variants(s, SHAPE, t, plan) for s, t, plan in warming._work(pipeline, SHAPE)))
    targets = random_targets([9, 0, 5, 20], *SHAPE[2:])
    needed = set()
    for epoch in range(12):
        needed |= variants(pipeline, SHAPE, targets, pipeline.draw(SHAPE, targets, epoch=epoch))
    assert len({name for name, _ in needed}) > 15
    assert needed <= warm


def test_it_runs_and_leaves_the_pipeline_as_it_was():
    pipeline = pa.Pipeline([pa.Highlight(p=0.1), pa.Blur(p=0.2), pa.RandomCrop(8), pa.Flip()], seed=2)
    before = repr(pipeline)
    pa.warm_up((2, 1, 20, 30), "cpu", pipeline)
    pa.warm_up((1, 3, 1, 1), "cpu")
    assert repr(pipeline) == before
    assert pipeline.steps[0].p == 0.1


def test_bad_input():
    with pytest.raises(pa.InputError, match="every size at least 1"):
        pa.warm_up((2, 3), "cpu")
    with pytest.raises(pa.InputError, match="pipeline must be"):
        pa.warm_up((1, 1, 8, 8), "cpu", "default")
