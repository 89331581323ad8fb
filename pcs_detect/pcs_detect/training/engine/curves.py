"""Pictures of how a training went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...files import written


def scalars(work_dir: Path) -> tuple[dict[int, tuple[float, float]], dict[int, dict[str, float]]]:
    """What the runs of a training logged: {iteration: (epoch, loss)} and {epoch: metrics without their prefix}.

    A later run replaces what an earlier one logged for the same step. Raises DataError where nothing was logged.
    """
    losses: dict[int, tuple[float, float]] = {}
    metrics: dict[int, dict[str, float]] = {}
    for file in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in file.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                continue
            if "loss" in entry:
                losses[int(entry["step"])] = (float(entry.get("epoch", 0)), float(entry["loss"]))
            found = {k.removeprefix("crystal/"): float(v) for k, v in entry.items() if k.startswith("crystal/")}
            if found:
                metrics[int(entry["step"])] = found
    if not losses and not metrics:
        raise DataError(f"{work_dir}: no log of a training (*/vis_data/scalars.json)")
    return losses, metrics


def curves(work_dir: str | Path, out: str | Path | None = None) -> Path:
    """Draw loss and average precision over the epochs of a training; returns the PNG's path (default: work_dir/curves.png).

    Raises DataError where nothing was logged.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder, path = Path(work_dir), Path(out or Path(work_dir) / "curves.png")
    losses, metrics = scalars(folder)
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_losses(left, losses)
    epochs = sorted(metrics)
    for name, style in (("AP", "o-"), ("AP50", "s--"), ("APs", ":"), ("APm", "-."), ("APl", "--")):
        known = [e for e in epochs if np.isfinite(metrics[e].get(name, np.nan))]
        if known:
            right.plot(known, [metrics[e][name] for e in known], style, label=name, markersize=3)
    right.set(xlabel="epoch", ylabel="average precision", title="validation")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return path


def _draw_losses(axes: Any, losses: dict[int, tuple[float, float]]) -> None:
    steps = sorted(losses)
    epoch = np.array([losses[s][0] for s in steps])
    loss = np.array([losses[s][1] for s in steps])
    numbers = sorted({int(e) for e in epoch})
    axes.plot(numbers, [loss[epoch == n].mean() for n in numbers], "o-", markersize=3, label="mean of the epoch")
    axes.set(xlabel="epoch", ylabel="loss", title="training")
