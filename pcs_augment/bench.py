"""How fast the pipeline is on this machine: ``pcs-augment bench``.

Times are medians over whole batches of the bundled images, warmed up, with the device waited for. The suites in benchmarks/
compare with other libraries and vary more.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import torch
from torch import Tensor

from . import __version__
from .base import Augmentation
from .data import PcsDataset, collate
from .errors import InputError
from .extras import missing
from .files import written
from .pipeline import Pipeline, default_pipeline
from .sample import sample_path
from .steps import InterferenceLayer, PerlinLayer
from .targets import AnyTargets, Outlines

ROWS = 3 + len(default_pipeline().steps)
EPOCHS = 4  # a step that acts on few images takes a different time in each epoch


class Row(NamedTuple):
    """What was timed; median and interquartile range, ms per image."""

    name: str
    ms: float
    spread: float


def labelled_batch(batch: int = 64, size: int = 384, objects: int = 50) -> tuple[Tensor, AnyTargets, Tensor]:
    """(images (B, 1, size, size) float32 in [0, 1], targets, index): bundled images that have enough objects, over and over.

    Images are tiled or cut to ``size``; each keeps its first ``objects`` objects, wherever they lie, repeated if it has fewer.
    """
    data = PcsDataset(sample_path())
    counts = data.counts()
    rich = [i for i in range(len(data)) if counts[i] >= objects] or [int(counts.argmax())]
    samples = []
    for n in range(batch):
        image, target, _ = data[rich[n % len(rich)]]
        times = -(-size // min(image.shape[1:]))
        chosen = [k % len(target["boxes"]) for k in range(objects)]
        image = image.repeat(1, times, times)[:, :size, :size]
        samples.append((image, {k: _picked(target[k], chosen) for k in ("boxes", "labels", "polygons")}, n))
    images, targets, index = collate(samples)
    return images.float() / 255, targets, index


def _picked(values: Tensor | list[Tensor], chosen: list[int]) -> Tensor | Outlines:
    return values[chosen] if isinstance(values, Tensor) else Outlines(values[k] for k in chosen)


def worst_case(seed: int = 0) -> Pipeline:
    """The default pipeline with every step certain to act and ten textures in all four layers of every image."""
    steps = []
    for step in default_pipeline().sequence():
        if isinstance(step, InterferenceLayer | PerlinLayer):
            step = type(step)(textures=(10, 10))
        step.p = 1.0
        steps.append(step)
    return Pipeline(steps, seed)


def rows(
    device: torch.device | str = "cpu", batch: int = 64, size: int = 384, objects: int = 50, seconds: float = 2.0
) -> Iterator[Row]:
    """The default pipeline, its drawing alone, the worst case, and each step with its own chance.

    seconds: about so long each is timed, at least three batches. Raises InputError.
    """
    if batch < 1 or size < 1 or objects < 0 or not seconds > 0:
        raise InputError(f"{batch=}, {size=}, {objects=}, {seconds=}: a benchmark takes at least an image, a pixel, some time")
    images, targets, index = labelled_batch(batch, size, objects)
    images = images.to(device)
    pipeline = default_pipeline(seed=1)
    yield _row("default pipeline", lambda e: pipeline(images, targets, index=index, epoch=e), images, seconds)
    yield _row("its drawing", lambda e: pipeline.draw(images.shape, targets, index=index, epoch=e), images, seconds)
    worst = worst_case(seed=1)
    yield _row("worst case", lambda e: worst(images, targets, index=index, epoch=e), images, seconds)
    for position, step in enumerate(pipeline.sequence()):
        work = _applied(step, images, targets, index)
        yield _row(f"{position + 1:2} {type(step).__name__}", work, images, seconds)


def _applied(step: Augmentation, images: Tensor, targets: AnyTargets, index: Tensor) -> Callable[[int], object]:
    plans = [step.draw(images.shape, targets, index=index, epoch=e) for e in range(EPOCHS)]
    return lambda e: step.apply(images, targets, plans[e % EPOCHS])


def _row(name: str, work: Callable[[int], object], images: Tensor, seconds: float) -> Row:
    def timed(epoch: int) -> float:
        began = time.perf_counter()
        work(epoch)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return (time.perf_counter() - began) * 1e3 / len(images)

    for epoch in range(EPOCHS):
        timed(epoch)
    times = [timed(epoch) for epoch in range(EPOCHS)]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        times.append(timed(len(times)))
    low, middle, high = statistics.quantiles(times, n=4)
    return Row(name, middle, high - low)


def machine(device: torch.device | str) -> str:
    """One line: what it ran on, with which versions."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor()}, {torch.get_num_threads()} threads"
    return f"{name}; pcs-augment {__version__}, torch {torch.__version__}, Python {platform.python_version()}"


def processor() -> str:
    """The processor's name where the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def check_chart() -> None:
    """Raises InputError where there is nothing to draw a chart with; found out before the work, not after it."""
    if find_spec("matplotlib") is None:
        raise InputError(missing("matplotlib", "the chart"))


def chart(measured: list[Row], title: str, path: Path) -> None:
    """Write a PNG with a bar per row, length proportional to the square root of the time so that short ones can be seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.26 * (len(measured) + 3)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    lengths = [row.ms**0.5 for row in measured]
    bars = axes.barh(range(len(measured)), lengths, color=["#173f5f"] * 3 + ["#1f77b4"] * (len(measured) - 3), height=0.7)
    axes.bar_label(bars, [_words(row) for row in measured], padding=4, fontsize=9, color="0.25")
    axes.set_yticks(range(len(measured)), [row.name for row in measured], fontsize=9)
    axes.set(ylim=(len(measured) - 0.5, -0.6), xlim=(0, 1.35 * max(lengths)), xticks=[])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle(fill(title, 130), fontsize=9, x=0.01, ha="left")
    with written(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _words(row: Row) -> str:
    return f"{row.ms:.3f} ms, {1e3 / row.ms:,.0f} images/s"


def table(measured: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'':22}{'ms per image':>14}{'spread':>9}{'images/s':>12}"]
    lines += [f"{r.name:22}{r.ms:14.3f}{r.spread:9.3f}{1e3 / r.ms:12,.0f}" for r in measured]
    return "\n".join(lines)
