"""Stages of ``gpu_checkup.py`` that must hold: tests, no waiting, many values, equal bits, the loader."""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import pcs_augment as pa
from pcs_augment import images as reading
from pcs_augment.bench import labelled_batch
from pcs_augment.targets import AnyTargets, on_device

NOTED = 20  # tests between two notes


def read_with_opencv() -> None:
    """Where Pillow is missing, OpenCV reads the bundled images, which are 8-bit grey."""
    if find_spec("PIL") is None and find_spec("cv2") is not None:
        import cv2

        reading.read_grey = lambda path, white=None, size=(None, None): cv2.imread(os.fspath(path), cv2.IMREAD_GRAYSCALE)


read_with_opencv()  # every stage of the check-up imports this file


def tests(device: str, note: Any) -> None:
    """``pytest tests -m gpu``; without a GPU they are only collected."""
    import pytest

    counts = {"collected": 0, "passed": 0, "failed": 0, "skipped": 0}
    failures: list[str] = []
    slowest: dict[str, float] = {}

    class Outcomes:
        def pytest_collection_finish(self, session: pytest.Session) -> None:
            counts["collected"] = len(session.items)
            note(**counts)

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when != "call" and report.passed:
                return
            counts[report.outcome] += 1
            slowest[report.nodeid] = round(report.duration, 2)
            if report.failed:
                failures.append(f"{report.nodeid}: {str(report.longrepr)[-800:]}")
            if report.failed or sum(counts.values()) % NOTED == 0:
                write()

    def write() -> None:
        said = ", ".join(f"{n} {what}" for what, n in counts.items())
        note(**counts, failures=failures, slowest=sorted(slowest.items(), key=lambda i: -i[1])[:10], headline=said)

    options = ["tests", "-m", "gpu", "-q", "-p", "no:cacheprovider", *(["--collect-only"] if device == "cpu" else [])]
    code = pytest.main(options, plugins=[Outcomes()])
    write()
    if code or not counts["collected"]:
        sys.exit(int(code) or 1)


def no_waiting(device: str, note: Any) -> None:
    """``apply`` behind a kernel of a second returns at once: the host neither copies from pageable memory nor waits."""
    found = {}
    for objects in (50, 200):
        images, targets, index = batch_for(device, objects=objects)
        pipeline = pa.default_pipeline(seed=1)
        plan = pipeline.draw(images.shape, targets, index=index)
        images = images.to(device)
        pipeline.apply(images, targets, plan)
        busy = behind_a_second(device)
        began = time.perf_counter()
        pipeline.apply(images, targets, plan)
        host = time.perf_counter() - began
        found[objects] = {"host_ms": host * 1e3, "kernel_was_running": busy()}
        note(objects=found, headline="; ".join(f"{n} objects: {f['host_ms']:.1f} ms of the host" for n, f in found.items()))
    if device != "cpu":
        assert all(f["kernel_was_running"] for f in found.values()), found


def batch_for(device: str, images: int = 64, objects: int = 50) -> tuple[Tensor, AnyTargets, Tensor]:
    """A labelled batch; for a rehearsal two small images."""
    return labelled_batch(images, objects=objects) if device != "cpu" else labelled_batch(2, 96, min(objects, 5))


def behind_a_second(device: str) -> Any:
    """Start a kernel that lasts a second; returns a function that says whether it still runs."""
    if device == "cpu":
        return lambda: None
    torch.cuda.synchronize()
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    torch.cuda._sleep(20_000_000)
    ended.record()
    torch.cuda.synchronize()
    torch.cuda._sleep(int(20_000_000 * 1000 / began.elapsed_time(ended)))
    last = torch.cuda.Event()
    last.record()
    return lambda: not last.query()


def many_values(device: str, note: Any) -> None:
    """The last images of a batch of more than 2^31 values are what they are alone."""
    side, batch = (4096, 130) if device != "cpu" else (96, 3)
    targets = [{"boxes": torch.tensor([[side / 2, side / 2, side / 4, side / 8, 0.3]])} for _ in range(batch)]
    pipeline = pa.default_pipeline(seed=3)
    plan = pipeline.draw((batch, 1, side, side), targets)
    images = torch.rand(batch, 1, side, side, device=device, generator=torch.Generator(device).manual_seed(0))
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    whole, new = pipeline.apply(images, targets, plan)
    note(values=images.numel())
    if device != "cpu":
        note(peak_GiB=torch.cuda.max_memory_allocated() / 2**30)
    different = []
    for i in (0, batch - 2, batch - 1):
        alone, one = pipeline.apply(images[i : i + 1], targets[i : i + 1], plan.slice(i, i + 1))
        if not (torch.equal(alone[0], whole[i]) and torch.equal(one[0]["keep"], new[i]["keep"])):
            different.append(i)
    note(different=different, headline=f"{images.numel():,} values, different from alone: {different or 'none'}")
    assert not different


def equal_bits(device: str, note: Any) -> None:
    """One plan twenty times beside a busy stream, and once in torch: always the same bits."""
    images, targets, index = batch_for(device, 32)
    images, pipeline = images.to(device), pa.default_pipeline(seed=2)
    plan = pipeline.draw(images.shape, targets, index=index)
    os.environ["PCS_AUGMENT_KERNELS"] = "torch"
    want, _ = pipeline.apply(images, targets, plan)
    del os.environ["PCS_AUGMENT_KERNELS"]
    times = 20 if device != "cpu" else 2
    same = 0
    for _ in range(times):
        keep_busy(device)
        out, _ = pipeline.apply(images, targets, plan)
        same += int(torch.equal(out, want))
        note(same=same, times=times, headline=f"{same} of {times} have the bits of torch")
    assert same == times


def keep_busy(device: str) -> None:
    """Matrix products on another stream."""
    if device == "cpu":
        return
    with torch.cuda.stream(torch.cuda.Stream()):
        x = torch.rand(4096, 4096, device=device)
        for _ in range(20):
            x = (x @ x).clamp_(0, 1)


def loader(device: str, note: Any) -> None:
    """The batches of AugmentedLoader, plans from workers and pinned memory, are those of the plain pipeline."""
    count = 200 if device != "cpu" else 3
    images, targets, _ = batch_for(device, 16)
    n = len(images)
    data = [((images[i % n] * 255).byte(), targets[i % n], i) for i in range(8 * count)]
    pipeline = pa.default_pipeline(seed=4)
    cuda = device != "cpu"
    source = DataLoader(data, 8, num_workers=4 if cuda else 0, collate_fn=pa.DrawingCollate(pipeline), pin_memory=cuda)
    plain = DataLoader(data, 8, collate_fn=pa.collate)
    same = 0
    for (got, got_targets), (given, theirs, index) in zip(pa.AugmentedLoader(source, pipeline, device), plain, strict=True):
        want, want_targets = pipeline(given.to(device), theirs, index=index)
        boxes = zip(got_targets, want_targets, strict=True)
        same += int(torch.equal(got, want) and all(torch.equal(a["boxes"].cpu(), b["boxes"].cpu()) for a, b in boxes))
        if same % NOTED == 0:
            note(same=same)
    note(same=same, batches=count, headline=f"{same} of {count} batches are the pipeline's")
    assert same == count


def every_kernel(device: str) -> None:
    """Every step that reaches a kernel, once, on small images of an odd size."""
    sys.path.insert(0, "tests/augment")
    from batches import random_images, random_targets
    from kernel_steps import STEPS

    images, targets = random_images(3, 97, 131), random_targets([5, 0, 3], 97, 131)
    for step in STEPS:
        step.apply(images.to(device), on_device(targets, torch.device(device)), step.draw(images.shape, targets))
    if device != "cpu":
        torch.cuda.synchronize()
