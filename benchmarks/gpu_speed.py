"""Stages of ``gpu_checkup.py`` that measure: versions, rates, steps, peers, the pipeline, training."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from gpu_checks import batch_for, behind_a_second
from torch import Tensor

import pcs_augment as pa
from pcs_augment.bench import machine, worst_case

PACKAGES = ("torch", "triton", "numpy", "numba", "opencv-python-headless", "pytest", "hypothesis", "pillow", "kornia")
PEERS = ("torchvision", "triton-augment", "albumentations")
BIN_COUNT = 8192  # of a Perlin texture's histogram


def timed(work: Callable[[], Any], device: str, seconds: float = 0.4, waits: bool = False) -> tuple[float, float]:
    """Median and interquartile range of a call in s, after two; on a GPU its own time, unless the host's waits count."""
    on_gpu = device != "cpu"

    def once() -> float:
        if on_gpu and not waits:
            began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            began.record()
            work()
            ended.record()
            ended.synchronize()
            return began.elapsed_time(ended) / 1e3
        start = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    times = [once() for _ in range(2)]
    until = time.perf_counter() + seconds
    times = []
    while len(times) < 5 or (time.perf_counter() < until and len(times) < 1000):
        times.append(once())
    low, middle, high = statistics.quantiles(times, n=4)
    return middle, high - low


def versions(device: str, note: Any) -> None:
    """What the machine is and has."""
    found = {}
    for name in (*PACKAGES, *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    tools = {t: shutil.which(t) for t in ("cc", "gcc", "nvcc", "ncu", "compute-sanitizer", "nvidia-smi")}
    note(python=platform.python_version(), versions=found, tools=tools, cpus=os.cpu_count(), cuda=torch.version.cuda)
    note(machine=machine(device), headline=machine(device))
    if device != "cpu":
        about = torch.cuda.get_device_properties(device)
        note(device={k: getattr(about, k) for k in ("name", "major", "minor", "total_memory", "multi_processor_count")})
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit", "--format=csv"]
        if tools["nvidia-smi"]:
            note(smi=subprocess.run(asked, capture_output=True, text=True).stdout.strip())
        assert pa.perlin([40.0], (64, 64), device=device).is_cuda


def rates(device: str, note: Any) -> None:
    """What ``traffic.py`` assumes of the device and its host."""
    cuda, mega = device != "cpu", 2**20
    sync = torch.cuda.synchronize if cuda else lambda: None
    big = torch.zeros(1024 * mega if cuda else 8 * mega, dtype=torch.uint8, device=device)
    other = torch.empty_like(big)
    copy = 2 * big.numel() / timed(lambda: other.copy_(big), device)[0]
    note(copy_TB_s=copy / 1e12)
    for size in (mega, 64 * mega) if cuda else (mega,):
        for pinned in (True, False):
            source = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned and cuda)
            rate = size / timed(lambda s=source: s.to(device, non_blocking=True, copy=True), device)[0]
            note(**{f"{'pinned' if pinned else 'pageable'}_{size // mega}_MiB_GB_s": rate / 1e9})
    note(pageable_copy_waits=waiting_copies(device))
    texture = pa.perlin([40.0] * 16, (384, 384), device=device)
    bins = ((texture - texture.min()) / (texture.max() - texture.min()) * (BIN_COUNT - 1)).long().flatten()
    counts, ones = torch.zeros(BIN_COUNT, dtype=torch.int32, device=device), torch.ones_like(bins, dtype=torch.int32)
    note(atomics_G_s=len(bins) / timed(lambda: counts.scatter_add_(0, bins, ones), device)[0] / 1e9)
    small = torch.zeros(8, device=device)
    keys = torch.zeros(1, 2, dtype=torch.int64, device=device)
    calls = {"torch": lambda: small.add_(1), "operator": lambda: pa.rng.halves(keys, 0, 8)}
    for name, call in calls.items():
        host = []
        for _ in range(7):
            sync()
            began = time.perf_counter()
            for _ in range(300):  # fewer than the queue of the device takes before it makes the host wait
                call()
            host.append((time.perf_counter() - began) / 300)
        sync()
        note(**{f"host_us_per_{name}": statistics.median(host) * 1e6})

    def many() -> None:
        for _ in range(500):
            small.add_(1)

    note(shortest_kernel_us=timed(many, device)[0] / 500 * 1e6)
    found = note.found
    note(
        headline=f"copy {found['copy_TB_s']:.2f} TB/s, pinned {found['pinned_1_MiB_GB_s']:.1f} GB/s, atomics "
        f"{found['atomics_G_s']:.1f} G/s, host {found['host_us_per_torch']:.1f} us per launch of torch, "
        f"{found['host_us_per_operator']:.1f} per operator, shortest kernel {found['shortest_kernel_us']:.1f} us"
    )


def waiting_copies(device: str) -> dict[str, float]:
    """ms of the host for a copy from pageable memory behind a kernel of 50 ms, by KB."""
    if device == "cpu":
        return {}
    found = {}
    for kilobytes in (32, 128, 4096):
        source = torch.zeros(kilobytes * 1024, dtype=torch.uint8)
        behind_a_second(device)
        began = time.perf_counter()
        source.to(device, non_blocking=True)
        found[str(kilobytes)] = (time.perf_counter() - began) * 1e3
        torch.cuda.synchronize()
    return found


def steps(device: str, note: Any) -> None:
    """ms of each step on the device and of the host, for a batch of the default pipeline and of the worst case."""
    from step_times import measured, prepared

    cuda = device != "cpu"
    images, targets, index = batch_for(device)
    columns = ("ms device", "ms host", "ms device, worst case", "ms host, worst case")
    lines = [f"| step | {' | '.join(columns)} |", "|---" + "|--:" * len(columns) + "|"]
    table: dict[str, list[float]] = {}
    said = []
    for pipeline in (pa.default_pipeline(seed=1), worst_case(seed=1)):
        plans = [pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(4 if cuda else 1)]
        seconds: dict[str, float] = {}
        if cuda:
            seconds, line = measured(pipeline, plans, images.to(device), targets, rounds=5)
            said.append(line)
        os.environ["PCS_AUGMENT_KERNELS"] = "triton"
        host = prepared(pipeline, plans, images.shape, targets, rounds=3)
        del os.environ["PCS_AUGMENT_KERNELS"]
        for name in host:
            table.setdefault(name, []).extend((seconds.get(name, 0.0) * 1e3, host[name] * 1e3))
        totals = [sum(v[i] for v in table.values()) for i in range(len(next(iter(table.values()))))]
        note(ms=table, totals=totals, lines=said, headline=f"device and host, ms: {[round(t, 3) for t in totals]}")
    rows = [f"| {name} | {' | '.join(f'{x:.3f}' for x in v)} |" for name, v in {**table, "all": totals}.items()]
    note(table="\n".join([*lines, *rows]))


def peers(device: str, note: Any) -> None:
    """The contests of the benchmarks on the device: this library, kornia eager and compiled, torchvision, triton-augment."""
    import pytest
    import test_peers_images as on_images
    import test_peers_textures as on_textures
    from contests import as_float, forms

    images = batch_for(device)[0].to(device)
    inputs = {on_textures.perlin: torch.zeros(16, 1, 384, 384), on_textures.equalization: _textures(device)}
    rows: list[dict[str, Any]] = []
    contests = [*on_images.CONTESTS, *on_textures.CONTESTS]
    for contest, entry in ((c, e) for c in contests for e in c.entries if e.data.endswith("device")):
        for compiled in (False, True) if entry.library.startswith("kornia") and device != "cpu" else (False,):
            row = {"work": contest.work, "library": entry.library + (", compiled" if compiled else ""), "data": entry.data}
            rows.append(row)
            try:
                work = entry.make(torch.device(device)) if "device" in signature(entry.make).parameters else entry.make()
                work = torch.compile(work) if compiled else work
                given = forms(inputs.get(contest, images), entry.data)[: entry.most]
                before = as_float(given).clone()
                if device != "cpu":  # two images are too few for the laws
                    row["checked"] = contest.law(before, as_float(work(given)), 1 / 255 if "uint8" in entry.data else 0) or ""
                middle, spread = timed(lambda w=work, g=given: w(g), device, waits=True, seconds=0.4 if device != "cpu" else 0)
                row |= {"ms": middle * 1e3, "iqr": spread * 1e3, "items": len(given)}
            except (Exception, pytest.skip.Exception) as e:  # a peer that cannot run stands in the table as such
                row["failed"] = (str(e).splitlines() or [type(e).__name__])[0][:90]
            note(rows=rows)
    lost = _losses(rows)
    note(lost=lost, table=_peers_table(rows), headline=f"{sum('ms' in r for r in rows)} timed; lost: {lost or 'none'}")
    assert all("ms" in r for r in rows if r["library"].startswith("pcs_augment")), rows


def _textures(device: str) -> Tensor:
    made = pa.perlin(torch.linspace(8, 200, 16).tolist(), (384, 384), device=device)[:, None]
    low, high = made.amin((2, 3), keepdim=True), made.amax((2, 3), keepdim=True)
    return (made - low) / (high - low)


def _losses(rows: list[dict[str, Any]]) -> list[str]:
    """Where a peer was faster than this library at the same work."""
    ours: dict[str, float] = {}
    for r in rows:
        if r["library"].startswith("pcs_augment") and "ms" in r:
            ours[r["work"]] = min(ours.get(r["work"], float("inf")), r["ms"] / r["items"])
    slower = [r for r in rows if "ms" in r and not r["library"].startswith("pcs_augment") and r["work"] in ours]
    return [f"{r['work']}: {r['library']}" for r in slower if r["ms"] / r["items"] < ours[r["work"]]]


def _peers_table(rows: list[dict[str, Any]]) -> str:
    """Median and interquartile range of a batch, as kornia's benchmarks give them."""
    lines = ["| work | library | data | ms a batch | IQR | per s | checked before |", "|---|---|---|--:|--:|--:|---|"]
    for r in rows:
        if "ms" in r:
            figures = f"{r['ms']:.3f} | {r['iqr']:.3f} | {r['items'] / r['ms'] * 1e3:,.0f} | {r.get('checked', '')}"
        else:
            figures = f"| | | {r['failed']}"
        lines.append(f"| {r['work']} | {r['library']} | {r['data']} | {figures} |")
    return "\n".join(lines)


def pipeline(device: str, note: Any) -> None:
    """The default pipeline, in each precision and for several batch sizes, its parts, and in torch alone."""
    images, targets, index = batch_for(device)
    large = len(images)
    whole, number = pa.default_pipeline(seed=1), itertools.count()
    rows: dict[str, tuple[float, float, int]] = {}

    def row(name: str, call: Callable[[], Any], items: int) -> None:
        middle, spread = timed(call, device, waits=True, seconds=1.5 if device != "cpu" else 0)
        rows[name] = (middle * 1e3, spread * 1e3, items)
        rate = rows["float32"][2] / rows["float32"][0] * 1e3
        note(rows=rows, headline=f"{rate:,.0f} images/s in float32, objects removed")

    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.uint8):
        given = ((images * 255).round().byte() if kind == torch.uint8 else images.to(kind)).to(device)
        row(str(kind)[6:], lambda g=given: whole(g, targets, index=index, epoch=next(number)), large)
    on_device = images.to(device)
    plans = itertools.cycle([whole.draw(images.shape, targets, index=index, epoch=e) for e in range(8)])
    row("apply alone", lambda: whole.apply(on_device, targets, next(plans)), large)
    row("draw alone", lambda: whole.draw(images.shape, targets, index=index, epoch=next(number)), large)
    for n in (1, 4, 16):
        some = on_device[:n], targets[:n]
        row(f"{n} images", lambda s=some, n=n: whole(*s, index=index[:n], epoch=next(number)), min(n, large))
    os.environ["PCS_AUGMENT_KERNELS"] = "torch"
    row("in torch alone", lambda: whole(on_device, targets, index=index, epoch=next(number)), large)
    lines = ["| default pipeline | ms a batch | IQR | images/s |", "|---|--:|--:|--:|"]
    lines += [f"| {name} | {ms:.3f} | {iqr:.3f} | {items / ms * 1e3:,.0f} |" for name, (ms, iqr, items) in rows.items()]
    note(table="\n".join(lines))


def training(device: str, note: Any) -> None:
    """A training loop with and without augmentation; the timeline lands in ``training.png``."""
    import contextlib
    import io

    import training_loop

    small = ["--model", "small", "--batch-size", "2", "--steps", "2", "--blocks", "1", "--workers", "0"]
    options = ["--steps", "60", "--blocks", "3"] if device != "cpu" else small
    if device != "cpu":
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            note(picture="no matplotlib here")
        else:
            options += ["--profile"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        training_loop.main(["--device", device, "--out", str(note.folder / "training"), *options])
    lines = said.getvalue().strip().splitlines()
    note(lines=lines, headline=next((line for line in lines if line.startswith("ratio")), ""))
    note(table="```\n" + "\n".join(lines) + "\n```")
