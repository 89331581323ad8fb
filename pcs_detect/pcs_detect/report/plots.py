"""Figures of a report that need no groups: distributions of sizes, overall and per photograph."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ..sizes.axes import COLOURS, new_figure, size_label, styled

MEASURES = ("width", "height", "aspect_ratio")


def edges_of(values: ArrayLike, start: float = 0.0) -> NDArray[np.float64]:
    """Edges of a histogram's classes from ``start`` to just beyond 99 % of the values (N,), N >= 1; more classes for more
    values. A few very large crystals would squeeze all others into a corner."""
    x = np.asarray(values, dtype=np.float64)
    end = max(1.05 * float(np.quantile(x, 0.99)), start + 1e-6)
    return np.linspace(start, end, int(np.clip(np.sqrt(len(x)), 6, 36)) + 1)


def distributions(crystals: pd.DataFrame, unit: str) -> Figure:
    """Histograms of width, height and aspect ratio of crystals (rows with these columns, at least one); unit: "um" or "px"."""
    with styled():
        figure = new_figure(7.4, 2.5)
        for axes, measure in zip(figure.subplots(1, 3), MEASURES):
            values = crystals[measure].to_numpy()
            edges = edges_of(values, 1.0 if measure == "aspect_ratio" else 0.0)
            beyond = int((values > edges[-1]).sum())
            axes.stairs(np.histogram(values, edges)[0], edges, fill=True, color=COLOURS[0], alpha=0.55)
            middle = float(np.median(values))
            axes.axvline(middle, color=COLOURS[1], linewidth=1.1, label=f"median {middle:.3g}")
            axes.set(xlabel=size_label(measure, unit), xlim=(edges[0], edges[-1]))
            axes.yaxis.get_major_locator().set_params(integer=True)
            axes.set_ylim(0, 1.18 * max(axes.dataLim.y1, 1))
            axes.legend(loc="upper right", title=f"{beyond} beyond" if beyond else None, title_fontsize=7)
        figure.axes[0].set_ylabel("Crystals")
    return figure


def per_photograph(statistics: pd.DataFrame, unit: str) -> Figure:
    """Median and quartiles of width and height of every photograph, by its number.

    statistics: a row per photograph, in order, of ``group_statistics``; those without crystals are gaps.
    """
    number = np.arange(1, len(statistics) + 1)
    with styled():
        figure = new_figure(7.4, 3.4)
        panels = figure.subplots(2, 1, sharex=True)
        for axes, measure in zip(panels, ("width", "height")):
            low, middle, high = (statistics[f"{measure}_{name}"].to_numpy(np.float64) for name in ("q1", "median", "q3"))
            axes.vlines(number, low, high, color=COLOURS[0], alpha=0.5, linewidth=max(1.0, min(6.0, 240 / len(number))))
            axes.plot(number, middle, "o", color=COLOURS[0], markersize=max(1.5, min(4.5, 200 / len(number))))
            axes.set_ylabel(size_label(measure, unit))
            axes.set_ylim(bottom=0)
        panels[0].set_xlim(0.4, len(number) + 0.6)
        panels[1].xaxis.get_major_locator().set_params(integer=True)
        panels[1].set_xlabel("Photograph (number in the table)")
        figure.align_ylabels()
    return figure


def svg(figure: Figure) -> bytes:
    """The figure as an SVG file, the same for the same data."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
