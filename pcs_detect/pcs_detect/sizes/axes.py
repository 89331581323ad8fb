"""How the figures of sizes look: colours, labels, panels, files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import made_folder, written
from .groups import parts

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")  # the colour-blind distinguish them too
MARKERS = "osD^vPX"
UNIT_TEXTS = {"um": "µm", "px": "px"}
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "mathtext.fontset": "dejavusans",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.2,
    "svg.hashsalt": "pcs-detect",  # the same data give the same file
}
Series = list[tuple[str, dict[str, Any]]]


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The style of these figures, while they are made and saved."""
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, that needs no screen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write name.png, 300 dots per inch, and name.svg into the folder, each whole or not at all; returns their paths."""
    paths = [made_folder(folder) / f"{name}.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        kind = path.suffix[1:]
        with written(path) as temporary, styled():
            figure.savefig(temporary, format=kind, dpi=300, metadata={"Date": None} if kind == "svg" else None)
    return paths


def size_label(measure: str, unit: str) -> str:
    """Label of an axis of width, height, aspect_ratio or area; unit "um" or "px"."""
    text = UNIT_TEXTS[unit]
    labels = {"width": f"Crystal width ({text})", "height": f"Crystal height ({text})", "aspect_ratio": "Aspect ratio"}
    return {**labels, "area": f"Crystal area ({text}²)"}[measure]


def named(key: dict[str, Any]) -> str:
    """The name of a group: its values, numbers after the name of their column."""
    text = ", ".join(f"{v:g} h" if k == "time" else f"{k} {v}" if _numeric(v) else str(v) for k, v in key.items())
    return text.replace("$", r"\$")  # or what stands between two of them would be set as a formula


def headed(key: dict[str, Any]) -> str:
    """The name of a group at the head of a panel."""
    text = named(key)
    return text[:1].upper() + text[1:]


def series_of(table: pd.DataFrame, by: Sequence[str]) -> Series:
    """(name, how it is drawn) of every series, in order, the same in all panels of a figure."""
    keys = [key for key, _ in parts(table, by)]
    shapes = [MARKERS[(i + i // len(COLOURS)) % len(MARKERS)] for i in range(len(keys))]
    return [(named(key), {"color": COLOURS[i % len(COLOURS)], "marker": shapes[i]}) for i, key in enumerate(keys)]


def _numeric(value: Any) -> bool:
    return str(value).replace(".", "", 1).replace("-", "", 1).isdigit()
