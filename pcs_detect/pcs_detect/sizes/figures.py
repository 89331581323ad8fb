"""The paper's figures of crystal sizes, each drawn from tables; matplotlib without its global state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .axes import COLOURS, UNIT_TEXTS, headed, named, new_figure, series_of, size_label, styled
from .comparisons import TESTED, ecdf_table
from .groups import keys_of, parts
from .statistics import describe, fit_line

BELOW: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.2),
    "ncols": 2,
    "handlelength": 1,
    "columnspacing": 1,
}
Drawing = Callable[..., Figure]


def _in_style(draw: Drawing) -> Drawing:
    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with styled():
            return draw(*args, **kwargs)

    return drawn


@_in_style
def sizes_over_time(statistics: pd.DataFrame, unit: str = "um") -> Figure:
    """Fig. 5: medians of width and height over time, quartiles as vertical bars; a column per replicate, a colour per sample.

    statistics: of ``group_statistics``, with a column time, hours; unit: "um" or "px". Points of one time stand a little apart.
    """
    by = [k for k in keys_of(statistics) if k not in ("time", "replicate")]
    columns = list(parts(statistics, [k for k in keys_of(statistics) if k == "replicate"]))
    series = series_of(statistics, by)
    looks = dict(series)
    times = np.unique(statistics["time"])
    apart = min(0.09, 0.4 / len(series)) * (np.diff(times).min() if len(times) > 1 else 1.0)
    figure = new_figure(max(1.2 + 2.1 * len(columns), 3.4), 4.3)
    panels = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for column, (key, rows) in enumerate(columns):
        for panel, measure in zip(panels[:, column], ("width", "height")):
            for sample, points in parts(rows, by):
                number = [name for name, _ in series].index(named(sample))
                shift = apart * (number - (len(series) - 1) / 2)
                _quartiles(panel, points, measure, shift, looks[named(sample)], named(sample))
            if column == 0:
                panel.set_ylabel(size_label(measure, unit))
        panels[0, column].set_title(headed(key))
        panels[1, column].set_xlabel("Time (h)")
    for panel in panels.flat:  # once everything is drawn, for panels of a row share their scale
        panel.set_ylim(bottom=0)
    margin = (0.03 * np.ptp(times) or 0.5) + apart * len(series) / 2
    panels[0, 0].set_xlim(times[0] - margin, times[-1] + margin)
    figure.align_ylabels()
    _legend_of(figure, series, panels)
    return figure


def _quartiles(axes: Axes, points: pd.DataFrame, measure: str, shift: float, look: dict[str, Any], label: str) -> None:
    known = points[points[f"{measure}_median"].notna()]
    middle = known[f"{measure}_median"]
    bars = np.stack([middle - known[f"{measure}_q1"], known[f"{measure}_q3"] - middle])
    axes.errorbar(
        known["time"] + shift, middle, yerr=bars, label=label, linestyle="-", capsize=2, elinewidth=0.8, capthick=0.8, **look
    )


@_in_style
def area_against_concentration(
    areas: pd.DataFrame, by: Sequence[str], unit: str = "um", concentration_unit: str = "", alpha: float = 0.05
) -> Figure:
    """Fig. 6: total crystal area per image against the concentration, with regression lines and their confidence bands.

    areas: of ``total_areas``; by: columns of a series, as for ``area_regressions``; other columns than replicate make panels;
    unit: "um" or "px"; concentration_unit: to show; the band covers the line, pointwise, with confidence 1 - alpha.
    """
    split = [k for k in by if k != "replicate"]
    inner = [k for k in by if k == "replicate"]
    panels = list(parts(areas, split))
    looks = dict(series_of(areas, inner))
    columns, rows = min(len(panels), 4), -(-len(panels) // 4)
    figure = new_figure(max(0.9 + 2.6 * columns, 3.4), 2.9 * rows)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (key, points) in zip(grid.flat, panels):
        for sample, some in parts(points, inner):
            _regression(axes, some, looks[named(sample)], named(sample), alpha)
        axes.set(title=headed(key), xlabel=f"Protein concentration{f' ({concentration_unit})' if concentration_unit else ''}")
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.legend(loc="best", handlelength=1.2, frameon=True, framealpha=0.8, edgecolor="none")
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"Total crystal area per image ({UNIT_TEXTS[unit]}²)")
    return figure


def _regression(axes: Axes, points: pd.DataFrame, look: dict[str, Any], label: str, alpha: float) -> None:
    x, y = points["concentration"].to_numpy(), points["area_per_image"].to_numpy()
    line = fit_line(x, y, alpha)
    quality = f"R² = {line.r_squared:.2f}" if line.n > 2 and np.isfinite(line.r_squared) else ""
    axes.plot(x, y, linestyle="none", label=", ".join(t for t in (label, quality) if t) or None, **look)
    if np.isfinite(line.slope):
        at = np.linspace(x.min(), x.max(), 100)
        middle, low, high = line.band(at)
        axes.plot(at, middle, color=look["color"])
        axes.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)


@_in_style
def distribution_functions(crystals: pd.DataFrame, by: Sequence[str], unit: str = "um", title: str = "") -> Figure:
    """Fig. 8: empirical distribution functions of width (length), height and aspect ratio, a colour per series.

    The legend below a panel gives mean and standard deviation, the one above the numbers of crystals. crystals: of
    ``joined``; by: columns of a series, such as variant; unit: "um" or "px"; title: above the legend.
    """
    measured = crystals[crystals["measured"]]
    curves = ecdf_table(crystals, by)
    looks = {name: look["color"] for name, look in series_of(measured, by)}
    figure = new_figure(7.1, 3.2 + 0.17 * ((len(looks) - 1) // 2))
    panels = figure.subplots(1, len(TESTED), sharey=True)
    for axes, measure in zip(panels, TESTED):
        # a few very large crystals would squeeze all others into a corner; the curves continue outside
        end = 1.15 * float(np.quantile(measured[measure], 0.99))
        for key, part in parts(measured, by):
            curve = curves[(curves["measure"] == measure) & _equal(curves, key)]
            x = np.concatenate([curve["value"].iloc[:1], curve["value"], [max(end, curve["value"].iloc[-1])]])
            y = np.concatenate([[0.0], curve["fraction"], [1.0]])
            look = {"color": looks[named(key)], "drawstyle": "steps-post"}
            axes.plot(x, y, label=_mean_text(describe(part[measure])), **look)
        axes.set(xlabel=size_label(measure, unit), xlim=(measure == "aspect_ratio", end), ylim=(0, 1.02))
        axes.legend(title="mean ± SD", title_fontsize=7.5, **BELOW)
    panels[0].set_ylabel("Cumulative fraction of crystals")
    counts = [f"{named(key) or 'all'} (n = {len(part)})" for key, part in parts(measured, by)]
    figure.legend(panels[0].lines, counts, loc="outside upper center", ncols=min(len(counts), 4), title=title or None)
    return figure


def _equal(table: pd.DataFrame, key: dict[str, Any]) -> pd.Series:
    same = pd.Series(True, index=table.index)
    for column, value in key.items():
        same &= table[column] == value
    return same


def _mean_text(row: dict[str, float]) -> str:
    decimals = max(0, 2 - int(np.floor(np.log10(row["mean"]))))
    return f"{row['mean']:.{decimals}f}" + (f" ± {row['std']:.{decimals}f}" if np.isfinite(row["std"]) else "")


@_in_style
def growth(rates: pd.DataFrame, unit: str = "um", alpha: float = 0.05) -> Figure:
    """Growth rates of the median width and height of every series, with their confidence intervals.

    rates: of ``growth_rates``; unit: "um" or "px"; alpha: the one that the rates were computed with.
    """
    rates = rates[rates["rate"].notna()]
    by = keys_of(rates)
    names = [named(key) or "all" for key, _ in parts(rates, by)]
    figure = new_figure(5.2, 1.3 + 0.24 * len(names))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure in zip(panels, ("width", "height")):
        some = rates[rates["measure"] == measure]
        places = [names.index(named({k: row[k] for k in by}) or "all") for _, row in some.iterrows()]
        reach = np.stack([some["rate"] - some["rate_low"], some["rate_high"] - some["rate"]])
        axes.errorbar(some["rate"], places, xerr=np.nan_to_num(reach), fmt="o", color=COLOURS[0], capsize=2.5, elinewidth=1)
        axes.axvline(0, color="0.6", linewidth=0.7, zorder=0)
        axes.set(
            title=f"Median {measure}", xlabel=f"Growth rate ({UNIT_TEXTS[unit]}/h)", yticks=range(len(names)), yticklabels=names
        )
        axes.set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(f"bars: {100 * (1 - alpha):g} % confidence", fontsize=7, color="0.4")
    return figure


def _legend_of(figure: Figure, series: list, panels: np.ndarray) -> None:
    """One legend for all panels, each series from the first panel that shows it."""
    if len(series) < 2:
        return
    found: dict[str, Any] = {}
    for axes in panels.flat:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    names = [name for name, _ in series if name in found]
    figure.legend([found[n] for n in names], names, loc="outside upper center", ncols=min(len(names), 4))
