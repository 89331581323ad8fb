"""Pictures of detections, and of how a training went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcs_render import draw
from pcs_render.files import written

from .errors import DataError

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
PREDICTED: Colour = (0, 190, 60)
LABELLED: Colour = (235, 60, 160)
ENLARGED = 6.0  # px, of boxes for display (2022 paper, Figs. 3, 4, 7)
AT_BORDER: Colour = (255, 150, 0)


def draw_boxes(
    image: ArrayLike, boxes: ArrayLike, colour: Colour = PREDICTED, width: float = 2.0, scale: float = 1.0
) -> Picture:
    """(H', W', 3) the image, ``scale`` times as large, with the outlines of oriented boxes over it.

    image: (H, W) or (H, W, 3) uint8; boxes: (N, 5) cx, cy, w, h, theta in px of the image, pixel i spanning [i, i + 1), and
    radians, clockwise on screen; width: of the lines, in px of the result.
    """
    frames = list(draw.corners(boxes))
    return draw.outlined(image, frames, [colour] * len(frames), scale=scale, line=width)


def prediction(image: ArrayLike, predicted: ArrayLike, labelled: ArrayLike = (), scale: float = 1.0) -> Picture:
    """(H', W', 3) the image with labels as thin lines below predictions; boxes as in ``draw_boxes``."""
    picture = draw_boxes(image, labelled, LABELLED, 1.0, scale)
    larger = np.asarray(predicted, dtype=np.float64).reshape(-1, 5) * np.array([scale, scale, scale, scale, 1.0])
    return draw_boxes(picture, larger, PREDICTED, 2.0)


def overlay(image: ArrayLike, boxes: ArrayLike, at_border: ArrayLike = (), enlarged: float = ENLARGED) -> Picture:
    """(H, W, 3) the photograph with its crystals, boxes as in ``draw_boxes``, ``enlarged`` px wider and higher for display as
    in the paper (2022, Figs. 3, 4, 7); those of which ``at_border`` (N,) is true in another colour."""
    larger = np.asarray(boxes, dtype=np.float64).reshape(-1, 5) + np.array([0, 0, enlarged, enlarged, 0])
    marked = np.asarray(at_border, dtype=bool)
    colours = [AT_BORDER if m else PREDICTED for m in (marked if marked.size else np.zeros(len(larger), bool))]
    return draw.outlined(image, list(draw.corners(larger)), colours, line=2.0)


def contact_sheet(pictures: Sequence[ArrayLike], columns: int = 4) -> Picture:
    """(H, W, 3) pictures, (h, w) or (h, w, 3) uint8 each, in rows on white."""
    return draw.sheet(pictures, columns)


def save_picture(picture: ArrayLike, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        Image.fromarray(np.asarray(picture)).save(temporary, format="PNG")


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
