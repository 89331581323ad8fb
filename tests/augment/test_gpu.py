"""On a CUDA device: equal to the CPU, no synchronisation in apply, bounded memory, the loader's side stream."""

import numpy as np
import pytest
import torch
from batches import SAMPLE, assert_same_targets, random_images, random_targets
from kernel_steps import STEPS
from torch.utils.data import DataLoader

import pcs_augment as pa
from pcs_augment.bench import labelled_batch, worst_case

pytestmark = pytest.mark.gpu


def to_gpu(targets):
    return pa.targets.on_device(targets, torch.device("cuda"))


def assert_close(gpu, cpu):
    """At least 99.99 % of pixels within half a grey level."""
    near = ((gpu.cpu().float() - cpu.float()).abs() <= 0.5 / 255).float().mean()
    assert float(near) >= 0.9999


@pytest.mark.parametrize("batch", [1, 12])
def test_cpu_and_gpu_agree(sample, batch):
    images, targets, index = (v[:batch] for v in sample)
    pipeline = pa.default_pipeline(seed=3)
    for epoch in range(5):
        plan = pipeline.draw(images.shape, targets, index=index, epoch=epoch)
        cpu, cpu_targets = pipeline.apply(images, targets, plan)
        gpu, gpu_targets = pipeline.apply(images.cuda(), to_gpu(targets), plan)
        assert_close(gpu, cpu)
        for a, b in zip(gpu_targets, cpu_targets):
            assert torch.allclose(a["boxes"].cpu(), b["boxes"], atol=1e-4)
            assert (a["keep"].cpu() != b["keep"]).sum() <= 1


@pytest.mark.parametrize("size", [(33, 57), (1, 1), (384, 384)])
def test_every_step_agrees(size):
    images, targets = random_images(5, *size), random_targets([3, 0, 5, 1, 2], *size)
    for step in pa.default_pipeline().steps:
        plan = step.draw(images.shape, targets)
        cpu, _ = step.apply(images, targets, plan)
        gpu, _ = step.apply(images.cuda(), to_gpu(targets), plan)
        assert_close(gpu, cpu)


@pytest.mark.parametrize("size", [(1, 1), (33, 57), (257, 130), (384, 384)])
def test_the_kernels_give_the_bits_of_torch(size, monkeypatch):
    images, targets = random_images(5, *size), random_targets([9, 0, 5, 1, 2], *size)
    images, on_gpu = images.cuda(), to_gpu(targets)
    for step in (*STEPS, pa.default_pipeline(threshold=20), worst_case()):
        plan = step.draw(images.shape, targets)
        fast, fast_targets = step.apply(images, on_gpu, plan)
        with monkeypatch.context() as patch:
            patch.setenv("PCS_AUGMENT_KERNELS", "torch")
            plain, plain_targets = step.apply(images, on_gpu, plan)
        assert torch.equal(fast, plain)
        assert_same_targets(fast_targets, plain_targets)


@pytest.mark.parametrize("make", [pa.default_pipeline, worst_case])
def test_memory_is_bounded(make):
    """64 images of 384 x 384 take 36 MiB."""
    images, targets, index = labelled_batch()
    pipeline, on_gpu, images = make(seed=1), to_gpu(targets), images.cuda()
    for epoch in range(4):
        plan = pipeline.draw(images.shape, targets, index=index, epoch=epoch)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        pipeline.apply(images, on_gpu, plan)
        assert torch.cuda.max_memory_allocated() - before <= 2**30


def test_few_kernels_are_launched():
    """The host launches about 200,000 a second."""
    images, targets, index = labelled_batch()
    pipeline, on_gpu, images = pa.default_pipeline(seed=1), to_gpu(targets), images.cuda()
    plan = pipeline.draw(images.shape, targets, index=index)
    pipeline.apply(images, on_gpu, plan)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        pipeline.apply(images, on_gpu, plan)
        torch.cuda.synchronize()
    names = [e.name for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [n for n in names if not n.startswith(("Memcpy", "Memset"))]
    assert 20 < len(kernels) <= 250


def test_random_integers_are_bit_equal():
    keys = torch.from_numpy(np.random.default_rng(0).integers(0, 2**32, (9, 2)))
    assert torch.equal(
        pa.rng.halves(keys.cuda(), pa.rng.LANE_PIXEL, 10007).cpu(), pa.rng.halves(keys, pa.rng.LANE_PIXEL, 10007)
    )


def test_apply_does_not_synchronise(sample):
    images, targets, index = sample
    pipeline = pa.default_pipeline(seed=3)
    plan = pipeline.draw(images.shape, targets, index=index)
    images, targets = images.cuda(), to_gpu(targets)
    pipeline.apply(images, targets, plan)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pipeline.apply(images, targets, plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_loader_gives_what_the_pipeline_gives(sample):
    images, targets, index = sample
    pipeline = pa.default_pipeline(seed=3)
    want, want_targets = pipeline(images.cuda(), targets, index=index)
    data = DataLoader(pa.PCSDataset(SAMPLE), batch_size=4, num_workers=2, collate_fn=pa.collate, pin_memory=True)
    out = list(pa.AugmentedLoader(data, pipeline))
    assert torch.equal(torch.cat([b[0] for b in out]), want)
    got = [t for b in out for t in b[1]]
    assert [t["labels"].is_cuda for t in got] == [True] * 12
    assert [len(t["boxes"]) for t in got] == [len(t["boxes"]) for t in want_targets]


def test_plans_from_workers_give_what_the_pipeline_gives(sample):
    images, targets, index = sample
    pipeline = pa.default_pipeline(seed=3)
    collate = pa.DrawingCollate(pipeline)
    data = DataLoader(
        pa.PCSDataset(SAMPLE), batch_size=4, num_workers=2, collate_fn=collate, pin_memory=True, persistent_workers=True
    )
    augmented = pa.AugmentedLoader(data, pipeline)
    for epoch in range(2):
        augmented.set_epoch(epoch)
        want, want_targets = pipeline(images.cuda(), targets, index=index, epoch=epoch)
        out = list(augmented)
        assert torch.equal(torch.cat([b[0] for b in out]), want)
        assert [len(t["boxes"]) for b in out for t in b[1]] == [len(t["boxes"]) for t in want_targets]
        assert all(p.is_cuda for b in out for t in b[1] for p in t["polygons"])


def test_bad_values_are_found_in_the_loop():
    with pytest.raises(pa.InputError, match="expected floats"):
        list(pa.AugmentedLoader([(torch.full((1, 1, 8, 8), 2.0), None, [0])], pa.default_pipeline()))


def test_bad_values_are_found_in_the_call():
    with pytest.raises(pa.InputError, match="expected floats"):
        pa.default_pipeline()(torch.full((1, 1, 8, 8), 2.0, device="cuda"))


def test_half_precision():
    images = random_images(4, 64, 64).half().cuda()
    pipeline = pa.default_pipeline(seed=1)
    assert torch.equal(pipeline(images, index=range(len(images))), pipeline(images.float(), index=range(len(images))).half())
