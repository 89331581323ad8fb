"""Stages of ``gpu_checkup.py`` that need NVIDIA's tools, and the attempt to capture batches in CUDA graphs."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_checks import batch_for
from ring import Ring

import pcs_augment as pa
from pcs_augment.packing import pack
from pcs_augment.rooms import Room
from pcs_augment.targets import landed

HEAVIEST = 6
METRICS = {
    "gpu__time_duration.sum": "ns",
    "dram__bytes.sum": "bytes",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "% of memory",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "% of arithmetic",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "% of warps",
    "launch__registers_per_thread": "registers",
}
# what the tools look at, as programs of their own
PROGRAMS = {
    "every kernel": "import sys; sys.path.insert(0, 'benchmarks'); import gpu_checks; gpu_checks.every_kernel({device!r})",
    "one batch": "import sys; sys.path.insert(0, 'benchmarks'); import gpu_tools; gpu_tools.one_batch({device!r})",
}


def one_batch(device: str) -> None:
    images, targets, index = batch_for(device)
    pipeline = pa.default_pipeline(seed=1)
    pipeline.apply(images.to(device), targets, pipeline.draw(images.shape, targets, index=index))
    if device != "cpu":
        torch.cuda.synchronize()


def _program(name: str, device: str, tool: list[str]) -> subprocess.CompletedProcess:
    """Run a program under a tool; where the tool is missing or there is no GPU, without it."""
    found = shutil.which(tool[0]) if device != "cpu" else None
    command = [*([found, *tool[1:]] if found else []), sys.executable, "-c", PROGRAMS[name].format(device=device)]
    return subprocess.run(command, capture_output=True, text=True)


def sanitizer(device: str, note: Any) -> None:
    """No access out of bounds, no race in shared memory."""
    found, bad = {}, []
    for tool in ("memcheck", "racecheck"):
        done = _program("every kernel", device, ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9"])
        errors = [line for line in done.stdout.splitlines() if "=========" in line]
        found[tool] = {"code": done.returncode, "said": errors[-12:], "stderr": done.stderr[-1500:]}
        bad += [tool] if done.returncode else []
        where = (
            "" if shutil.which("compute-sanitizer") and device != "cpu" else "; without compute-sanitizer, which is not here"
        )
        note(tools=found, headline=", ".join(f"{t}: code {f['code']}" for t, f in found.items()) + where)
    assert not bad, f"{bad}: {found}"


def counters(device: str, note: Any) -> None:
    """Counters of the kernels that take longest in the default pipeline."""
    one_batch(device)
    kind = torch.profiler.ProfilerActivity.CUDA if device != "cpu" else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[kind]) as profile:
        one_batch(device)
    spent: dict[str, float] = {}
    for e in profile.key_averages():
        spent[e.key] = e.self_device_time_total if device != "cpu" else e.self_cpu_time_total
    mine = {k: v for k, v in spent.items() if not k.startswith(("Memcpy", "Memset"))}
    heaviest = sorted(mine, key=lambda k: -mine[k])[:HEAVIEST]
    note(us={k: round(mine[k], 1) for k in heaviest}, headline=", ".join(f"{k[:30]} {mine[k]:.0f} us" for k in heaviest))
    names = "|".join(k for k in heaviest if k.startswith("_"))
    options = ["--csv", "--clock-control", "none", "--kernel-name", f"regex:^({names})$", "--metrics", ",".join(METRICS)]
    done = _program("one batch", device, ["ncu", *options])
    if device == "cpu" or not shutil.which("ncu"):
        note(ncu="not here; the program ran without it", code=done.returncode)
        assert done.returncode == 0, done.stderr[-1500:]
        return
    found = counted(done.stdout)
    note(counters=found, code=done.returncode, said=done.stdout[-800:] if not found else "")
    head = ["kernel", *METRICS.values()]
    rows = [f"| {k} | " + " | ".join(f"{v.get(m, float('nan')):,.4g}" for m in METRICS) + " |" for k, v in found.items()]
    note(table="\n".join([f"| {' | '.join(head)} |", "|---" + "|--:" * len(METRICS) + "|", *rows]))
    assert found, done.stderr[-1500:]


def counted(text: str) -> dict[str, dict[str, float]]:
    """Means over launches, by kernel and metric, from what ``ncu --csv`` prints after its own messages."""
    start = text.find('"ID"')
    sums: dict[str, dict[str, list[float]]] = {}
    for row in csv.DictReader(io.StringIO(text[start:] if start >= 0 else "")):
        try:
            value = float(row["Metric Value"].replace(",", ""))
        except (KeyError, AttributeError, ValueError):
            continue
        sums.setdefault(row["Kernel Name"], {}).setdefault(row["Metric Name"], []).append(value * _unit(row["Metric Unit"]))
    return {k: {m: sum(v) / len(v) for m, v in by.items()} for k, by in sums.items()}


def _unit(name: str) -> float:
    """Of times in ns and sizes in bytes."""
    large = {"us": 1e3, "ms": 1e6, "s": 1e9, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}
    return large.get(name, {"usecond": 1e3, "msecond": 1e6, "second": 1e9}.get(name, 1.0))


def graph(device: str, note: Any) -> None:
    """Which steps can be captured in a CUDA graph, whether the whole can, and whether replays give the same bits.

    First one batch and its own replay; last twenty batches of one room, replayed in a ring of three slots.
    """
    images, targets, index = batch_for(device)
    images = images.to(device)
    whole = pa.default_pipeline(seed=1)
    found: dict[str, str] = {}
    for name, pipeline in [*((type(s).__name__, pa.Pipeline([s], seed=1)) for s in whole.steps), ("whole", whole)]:
        plan = pipeline.draw(images.shape, targets, index=index)
        try:
            found[name] = _tried(pipeline, images, targets, plan, device)
        except Exception as e:  # whatever prevents it is what this is about
            found[name] = f"{type(e).__name__}: {str(e).splitlines()[0][:120]}"
        can = sum(said.startswith("captured") for said in found.values())
        said = f"{can} of {len(found)} captured; whole: {found.get('whole', 'not tried')}"
        note(found=found, headline=said)
    try:
        in_room = _in_a_room(whole, device, note)
    except (RuntimeError, AttributeError) as e:  # of capturing; wrong bits are an AssertionError
        in_room = f"{type(e).__name__}: {str(e).splitlines()[0][:120]}"
    note(in_room=in_room, headline=f"in a room {in_room}; {said}")


def _in_a_room(pipeline: pa.Augmentation, device: str, note: Any) -> str:
    """Batches of different counts, captured once per slot and replayed, beside the same batches launched call by call."""
    images, targets, index = batch_for(device)
    plans = [pipeline.draw(images.shape, targets, index=index, epoch=e) for e in range(20 if device != "cpu" else 3)]
    room = Room()
    packed = [pack(pipeline, images.shape, images.dtype, targets, plan, room) for plan in 2 * plans][len(plans) :]
    if None in packed:
        return "cannot be packed"
    programs = len({p.program for p in packed if p})
    note(room=room.sizes(), programs=programs)
    assert programs == 1
    if device == "cpu":
        return f"{len(packed)} batches have {programs} program"
    given, pinned, ready = images.to(device), images.pin_memory(), [p.pin_memory() for p in packed if p]
    ring, same = Ring((images.shape, images.dtype), device), 0
    for plan, (out, new) in zip(plans, ring.over((pinned, p) for p in ready), strict=True):
        alone = pack(pipeline, images.shape, images.dtype, targets, plan)
        want, keep = alone.run(given)
        boxes = zip(new, landed(alone.targets, keep.cpu().numpy(), torch.device(device)), strict=True)
        same += int(torch.equal(out, want) and all(torch.equal(a["boxes"], b["boxes"]) for a, b in boxes))
        note(same=same, batches=len(plans))
    assert same == len(plans), f"{same} of {len(plans)} replays have the same bits"
    host, device_ms = [], []
    for p in ready:
        torch.cuda.synchronize()
        began, start, end = time.perf_counter(), *(torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(ring.stream)
        ring.start(pinned, p)
        host.append(time.perf_counter() - began)
        end.record(ring.stream)
        end.synchronize()
        device_ms.append(start.elapsed_time(end))
    host_ms, whole_ms = sorted(host)[len(host) // 2] * 1e3, sorted(device_ms)[len(host) // 2]
    note(host_ms=host_ms, device_ms=whole_ms)
    return (
        f"{same} of {len(plans)} replays equal, {host_ms:.3f} ms of the host, {whole_ms:.3f} of the device, copies among them"
    )


def _tried(pipeline: pa.Augmentation, images: torch.Tensor, targets: Any, plan: pa.Plan, device: str) -> str:
    """Capture the packed calls of a batch whose block is on the device already: nothing is copied, nothing pinned."""
    if device == "cpu":
        return f"ran, {tuple(pipeline.apply(images, targets, plan)[0].shape)}"
    packed = pack(pipeline, images.shape, images.dtype, targets, plan)
    if packed is None:
        return "cannot be packed"
    block = packed.block.to(device)
    want, _ = pipeline.apply(images, targets, plan)
    return _captured(lambda: packed.run(images, block)[0], want)


def _captured(call: Callable[[], torch.Tensor], want: torch.Tensor) -> str:
    call()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        call()
    stream.synchronize()
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        out = call()
    times = []
    for _ in range(5):
        began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began.record()
        recorded.replay()
        ended.record()
        torch.cuda.synchronize()
        times.append(began.elapsed_time(ended))
    return f"captured, replay {sorted(times)[2]:.3f} ms, bits {'equal' if torch.equal(out, want) else 'DIFFERENT'}"
