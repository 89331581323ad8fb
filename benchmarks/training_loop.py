"""Steps per second of a training loop with and without augmentation: ``python benchmarks/training_loop.py``.

A detector is trained on the bundled images, which workers of a DataLoader hand over from memory. Blocks of steps take turns:
one plain, its images just moved to the device, one with ``AugmentedLoader``; the medians over the blocks are compared. With
``--profile`` a picture shows what ran when, on the host and on each stream.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detector_model import Detector, dense_targets, loss
from timeline import draw_timeline
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.data import DataLoader, Dataset

import pcs_augment as pa
from pcs_augment.bench import machine
from pcs_augment.cli import add_device, chosen_device
from pcs_augment.demo import sample_path
from pcs_augment.targets import AnyTargets, on_device

WARM_UP = 3  # steps at the start of a block that are not timed
AHEAD = 2  # batches after the timed ones, so that the last timed step also starts the augmentation of another
KINDS = ("plain", "augmented")

Batches = Iterable[tuple[Tensor, AnyTargets]]


class InMemory(Dataset):
    """The bundled images over and over, under ever new indices."""

    def __init__(self, length: int) -> None:
        data = pa.PcsDataset(sample_path())
        self.samples = [data[i][:2] for i in range(len(data))]
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Any, int]:
        return *self.samples[index % len(self.samples)], index


class Plain:
    """Batches moved to the device, as a training loop without augmentation does."""

    def __init__(self, loader: DataLoader, device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterator[tuple[Tensor, AnyTargets]]:
        for images, targets, _ in self.loader:
            yield images.to(self.device, non_blocking=True).float().div_(255), on_device(targets, self.device)


class Block(NamedTuple):
    """One block of steps: steps per s, s of the host per step inside the loader, peak bytes on the device."""

    rate: float
    loading: float
    peak: int


class Training:
    """Model and optimiser; calling it makes one step."""

    def __init__(self, model: Detector, device: torch.device, amp: bool) -> None:
        self.model = model.to(device).train()
        self.device, self.amp = device, amp
        self.optimiser = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)

    def __call__(self, images: Tensor, targets: AnyTargets) -> None:
        wanted = dense_targets(targets, self.model.strides, tuple(images.shape[2:]), self.device)
        with torch.autocast(self.device.type, torch.bfloat16) if self.amp else nullcontext():
            predictions = self.model(images)
        loss(predictions, wanted).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 35)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run_block(train: Training, batches: Batches, steps: int) -> Block:
    device = train.device
    began = loading = 0.0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    source = iter(batches)
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            wait_for(device)
            began, loading = time.perf_counter(), 0.0
        asked = time.perf_counter()
        images, targets = next(source)
        loading += time.perf_counter() - asked
        train(images, targets)
    wait_for(device)
    elapsed = time.perf_counter() - began
    for _ in source:  # to its end, which leaves the workers ready for the next block
        pass
    wait_for(device)
    return Block(steps / elapsed, loading / steps, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0)


def compare(train: Training, sources: dict[str, Batches], blocks: int, steps: int) -> dict[str, list[Block]]:
    """Blocks in turn, after one of each that does not count."""
    measured: dict[str, list[Block]] = {kind: [] for kind in sources}
    for turn in range(blocks + 1):
        for kind, batches in sources.items():
            if isinstance(batches, pa.AugmentedLoader):
                batches.set_epoch(turn)
            block = run_block(train, batches, steps)
            if turn:
                measured[kind].append(block)
    return measured


def report(measured: dict[str, list[Block]]) -> str:
    lines = [f"{'':12}{'steps/s':>10}{'from':>10}{'to':>10}{'ms in loader':>14}{'peak MiB':>10}"]
    for kind, blocks in measured.items():
        rates = [b.rate for b in blocks]
        loading = statistics.median(b.loading for b in blocks) * 1e3
        peak = f"{max(b.peak for b in blocks) / 2**20:10.0f}" if any(b.peak for b in blocks) else f"{'-':>10}"
        lines.append(f"{kind:12}{statistics.median(rates):10.3f}{min(rates):10.3f}{max(rates):10.3f}{loading:14.2f}{peak}")
    plain, augmented = ([b.rate for b in measured[kind]] for kind in KINDS)
    ratios = [a / p for a, p in zip(augmented, plain)]
    lines.append(
        f"ratio of the medians {statistics.median(augmented) / statistics.median(plain):.4f}; "
        f"of neighbouring blocks {min(ratios):.4f} .. {max(ratios):.4f}"
    )
    return "\n".join(lines)


def profiled(train: Training, batches: pa.AugmentedLoader, steps: int, out: Path, title: str) -> str:
    """Write the trace of some steps and its picture; returns a line on the overlap."""
    pipeline, loader = batches.pipeline, batches.loader

    def named(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            with record_function(name):
                return work(*args)

        return run

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if train.device.type == "cuda" else [])]
    with profile(activities=activities):  # the first one takes long to start
        train.optimiser.zero_grad()
    pipeline.draw, pipeline._run = named("draw", pipeline.draw), named("augment", pipeline._run)  # type: ignore[method-assign]
    batches.loader = _Named(loader)
    source = iter(batches)
    recorder = profile(activities=activities)
    try:
        with ExitStack() as stack:
            for number in range(WARM_UP + steps):
                if number == WARM_UP:
                    wait_for(train.device)
                    stack.enter_context(recorder)
                images, targets = next(source)
                with record_function("train"):
                    train(images, targets)
            wait_for(train.device)
    finally:
        del pipeline.draw, pipeline._run
        batches.loader = loader
    for _ in source:
        pass
    trace = out.with_suffix(".trace.json.gz")
    recorder.export_chrome_trace(str(trace))
    line = draw_timeline(trace, out.with_suffix(".png"), title)
    return f"{line}\nwritten: {trace}, {out.with_suffix('.png')}"


class _Named:
    """A loader whose handing over shows in the profile."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        source = iter(self.loader)
        while True:
            with record_function("load"):
                batch = next(source, None)
            if batch is None:
                return
            yield batch


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device(parser)
    parser.add_argument("--model", choices=("detector", "nopool", "small"), help="default: detector on a GPU, else small")
    parser.add_argument("--batch-size", type=int, help="images per step (default: 8 on a GPU, else 2)")
    parser.add_argument("--blocks", type=int, default=5, help="of each kind (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of each kind in all blocks together (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="processes of each loader (default: 4 on a GPU, else 1)")
    parser.add_argument("--amp", action="store_true", help="train in bfloat16 where torch.autocast does")
    parser.add_argument("--profile", action="store_true", help="also write a trace and a picture of a few steps")
    parser.add_argument("--profile-steps", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/training_loop"), help="without ending (default: %(default)s)")
    args = parser.parse_args(argv)
    device = chosen_device(args.device)
    cuda = device.type == "cuda"
    kind = args.model or ("detector" if cuda else "small")
    batch_size = args.batch_size or (8 if cuda else 2)
    workers = args.workers if args.workers is not None else (4 if cuda else 1)
    steps = max(1, args.steps // args.blocks)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    model = Detector(8, (1, 1, 1, 1), 16, 1) if kind == "small" else Detector(pool=kind == "detector")
    train = Training(model, device, args.amp)

    def loader(length: int) -> DataLoader:
        options = {"collate_fn": pa.collate, "num_workers": workers, "persistent_workers": workers > 0, "pin_memory": cuda}
        return DataLoader(InMemory(length * batch_size), batch_size, **options)

    length = WARM_UP + steps + AHEAD
    augmented = pa.AugmentedLoader(loader(length), pa.default_pipeline(seed=1), device)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    where = f"{machine(device)}\n{kind} of {parameters:.1f} M parameters, {batch_size} images of 384 x 384 px per step"
    where += f", {'bfloat16' if args.amp else 'float32'}, {workers} workers"
    print(f"{where}, {args.blocks} blocks of {steps} steps", flush=True)
    sources = {"plain": Plain(loader(length), device), "augmented": augmented}
    print(report(compare(train, sources, args.blocks, steps)), flush=True)
    if args.profile:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        few = pa.AugmentedLoader(loader(WARM_UP + args.profile_steps + AHEAD), augmented.pipeline, device)
        print(profiled(train, few, args.profile_steps, args.out, where.replace("\n", "; ")))


if __name__ == "__main__":
    main()
