"""The figures of a report, each drawn from an Analysis; matplotlib without its global state."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..distributions import Agreement
from .analysis import Analysis, distribution

Floats = NDArray[np.float64]

BARS, LINE, MODEL, DRAWN = "#6f9bc4", "#2f6ea5", "#b2352b", "#3a3a3a"
_FEW = 2000  # crystals; below, classes are twice as wide
_DOTS = 20_000  # of a scatter plot


def distributions(*analyses: Analysis) -> Figure:
    """Figure 1 d-f of the paper: crystals by aspect ratio and by angle, summed area by size class, and the model of each.

    One row per analysis, named by its rule if there are several.
    """
    figure, axes = _figure(13.2, 3.8 * len(analyses), 3, len(analyses))
    panels = iter(axes)
    for analysis in analyses:
        suffix = f", rule {analysis.sample.settings.rule}" if len(analyses) > 1 else ""
        for draw, title in ((ratio_panel, "(d) Aspect ratio"), (angle_panel, "(e) Angle"), (area_panel, "(f) Covered area")):
            draw(next(panels), analysis, title + suffix)
    return figure


def single(draw: Callable[[Axes, Analysis], None], analysis: Analysis) -> Figure:
    """One panel as a figure of its own."""
    figure, (axes,) = _figure(5.6, 4.0, 1)
    draw(axes, analysis)
    return figure


def ratio_panel(axes: Axes, analysis: Analysis, title: str = "Aspect ratio") -> None:
    """Crystals per class of aspect ratio."""
    edges = np.linspace(*analysis.sample.settings.aspect_ratio, 27 if len(analysis.ratios) >= _FEW else 14)
    _histogram(axes, analysis.ratios, edges, np.diff(analysis.model.ratio_cdf(edges)))
    _title(axes, title, analysis.tests[0].agreement)
    axes.set_xlabel("aspect ratio r = w / h")


def angle_panel(axes: Axes, analysis: Analysis, title: str = "Angle") -> None:
    """Crystals per class of angle."""
    edges = np.linspace(-90, 90, 37 if len(analysis.angles) >= _FEW else 19)
    _histogram(axes, analysis.angles, edges, np.diff(analysis.model.angle_cdf(edges)))
    _title(axes, title, analysis.tests[1].agreement)
    axes.set_xlabel("angle of the long side, counter-clockwise (degrees)")
    axes.set_xticks(range(-90, 91, 45))


def area_panel(axes: Axes, analysis: Analysis, title: str = "Covered area per size class") -> None:
    """Summed box area per size class of equal width."""
    classes = analysis.area_classes
    mean = float(classes.total.mean())
    scale, unit = (1e6, "10⁶") if classes.total.max() >= 1e6 else (1e3, "10³")
    axes.bar(classes.edges[:-1], classes.total / scale, np.diff(classes.edges), align="edge", **_BAR, label="labels")
    _model(axes, classes.edges, classes.expected / scale, classes.deviation / scale)
    if mean > 0:
        functions: Any = (lambda y: y * scale / mean, lambda y: y * mean / scale)
        second = axes.secondary_yaxis("right", functions=functions)
        second.set_ylabel("relative to the mean", fontsize=9)
        second.tick_params(labelsize=8)
    _title(axes, title, analysis.tests[2].agreement, "log a: ")
    axes.set_xlabel("area of the oriented box a (px²)")
    axes.set_ylabel(f"summed area ({unit} px²)")
    _room(axes)


_BAR: dict[str, Any] = {"color": BARS, "edgecolor": "white", "linewidth": 0.6}


def _histogram(axes: Axes, values: Floats, edges: Floats, part: Floats) -> None:
    """Counts, and those expected by the model when each class gets a ``part`` of the values."""
    axes.bar(edges[:-1], np.histogram(values, edges)[0], np.diff(edges), align="edge", **_BAR, label="labels")
    n = len(values)
    _model(axes, edges, n * part, np.sqrt(n * part * (1 - part)))
    axes.set_ylabel("crystals per class")
    _room(axes)


def _model(axes: Axes, edges: Floats, expected: Floats, deviation: Floats) -> None:
    axes.stairs(expected, edges, baseline=None, color=MODEL, linewidth=1.4, label="model")
    axes.stairs(
        expected + 2 * deviation,
        edges,
        baseline=np.maximum(expected - 2 * deviation, 0),
        fill=True,
        color=MODEL,
        alpha=0.22,
        linewidth=0,
        label="± 2 standard deviations",
    )
    axes.set_xlim(edges[0], edges[-1])


def _room(axes: Axes) -> None:
    """From zero, with room for a legend above the bars."""
    axes.set_ylim(0, max(axes.dataLim.y1 * 1.28, 1e-9))
    _legend(axes, loc="upper center", ncols=3, handlelength=1.4, columnspacing=1.2)


def _legend(axes: Axes, **options: Any) -> None:
    """Bars first: matplotlib lists them last."""
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: names[i] not in ("labels", "images"))
    axes.legend([handles[i] for i in order], [names[i] for i in order], fontsize=8, frameon=False, **options)


def _title(axes: Axes, text: str, agreement: Agreement | None = None, prefix: str = "") -> None:
    axes.set_title(text, loc="left", fontsize=10.5, fontweight="bold", pad=20 if agreement else 6)
    if agreement:
        text = "no crystals"
        if agreement.n:
            text = f"{prefix}D = {agreement.statistic:.4f}, 1 % level {agreement.critical:.4f}, n = {agreement.n:,}"
        axes.text(0, 1.03, text, transform=axes.transAxes, fontsize=8.5, color="#444444")


def differences(analysis: Analysis) -> Figure:
    """Empirical less model distribution functions, with the band that independent values leave once in a hundred times."""
    figure, axes = _figure(13.2, 3.6, 3)
    settings = analysis.sample.settings
    low, high = settings.area
    model = analysis.model
    rows = (
        ("Aspect ratio", "aspect ratio r", np.linspace(*settings.aspect_ratio, 400), analysis.ratios, 1, model.ratio_cdf),
        ("Angle", "angle (degrees)", np.linspace(-90, 90, 400), analysis.angles, 2, model.angle_cdf),
        ("Area", "area a (px²)", np.geomspace(low, high, 400), analysis.areas, 0, analysis.area_cdf),
    )
    for panel, (title, name, x, values, column, cdf) in zip(axes, rows):
        if len(values):
            level = Agreement(0.0, len(values)).critical
            panel.axhspan(-level, level, color=MODEL, alpha=0.14, linewidth=0, label="1 % level")
            panel.plot(x, distribution(values)(x) - cdf(x), color=LINE, linewidth=1.5, label="labels")
            panel.set_ylim(*(np.array([-1, 1]) * max(1.9 * level, 1.25 * np.abs(panel.lines[0].get_ydata()).max())))
        if analysis.drawn is not None and len(analysis.drawn):
            difference = distribution(analysis.drawn[:, column])(x) - cdf(x)
            panel.plot(x, difference, color=DRAWN, linewidth=1.2, linestyle="--", label="targets drawn, skipped or not")
        panel.axhline(0, color=MODEL, linewidth=1)
        if column == 0:
            panel.set_xscale("log")
        panel.set_xlim(x[0], x[-1])
        panel.set_xlabel(name)
        panel.set_ylabel("share below, less the model's")
        _title(panel, title)
        if panel.get_legend_handles_labels()[1]:
            panel.legend(loc="upper right", fontsize=8, frameon=False)
    return figure


def per_image(analysis: Analysis) -> Figure:
    """How many crystals the images have, and what the stopping rule gives without any geometry."""
    figure, (axes,) = _figure(6.4, 4.0, 1)
    counts, model = analysis.sample.counts, analysis.process.counts
    top = int(max(counts.max(initial=0), model.max()))
    step = max(-(-(top + 1) // 34), 1)
    edges = np.arange(0, top + 1 + step, step) - 0.5
    axes.bar(edges[:-1], np.histogram(counts, edges)[0], step, align="edge", **_BAR, label="images")
    expected = np.histogram(model, edges)[0] * (len(counts) / len(model))
    axes.stairs(expected, edges, color=MODEL, linewidth=1.4, label="stopping rule without geometry")
    if len(counts):
        axes.axvline(counts.mean(), ymax=0.82, color=DRAWN, linestyle="--", linewidth=1.2, label=f"mean {counts.mean():.1f}")
    axes.axvline(
        model.mean(), ymax=0.82, color=MODEL, linestyle=":", linewidth=1.2, label=f"mean without geometry {model.mean():.1f}"
    )
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("crystals per image")
    axes.set_ylabel("images" if step == 1 else f"images per {step} counts")
    _title(axes, "Crystals per image")
    axes.set_ylim(0, max(axes.dataLim.y1 * 1.3, 1e-9))
    _legend(axes, loc="upper left", ncols=2)
    return figure


def covered(analysis: Analysis) -> Figure:
    """Part of each image covered by the union of all hulls: asked for and reached."""
    figure, (left, right) = _figure(10.4, 4.0, 2)
    found = analysis.sample.covered
    asked, reached = (np.zeros((0, 2)) if found is None else 100 * found).T
    thin = slice(None, None, max(len(asked) // _DOTS, 1))
    alpha = float(np.clip(60 / max(len(asked), 1) ** 0.5, 0.08, 0.8))
    left.plot(asked[thin], reached[thin], ".", color=LINE, markersize=5, alpha=alpha, markeredgewidth=0)
    low, high = (100 * c for c in analysis.sample.settings.covered)
    left.plot([low, high], [low, high], color=MODEL, linewidth=1, label="as asked for")
    left.set_xlabel("asked for (% of the image)")
    left.set_ylabel("reached (% of the image)")
    left.legend(loc="upper left", fontsize=8, frameon=False)
    _title(left, "Covered area")
    edges = np.linspace(low, high, 19)
    right.stairs(np.histogram(asked, edges)[0], edges, fill=True, color=MODEL, alpha=0.3, linewidth=0, label="asked for")
    right.stairs(np.histogram(reached, edges)[0], edges, linewidth=1.5, color=LINE, label="reached")
    right.set_xlabel("covered by crystals (% of the image)")
    right.set_ylabel("images per class")
    right.set_ylim(0, max(right.dataLim.y1 * 1.25, 1e-9))
    right.legend(loc="upper center", fontsize=8, ncols=2, frameon=False)
    beyond = int(((reached < low) | (reached > high)).sum())
    _title(right, "Covered area" + (f" ({beyond:,} reached outside)" if beyond else ""))
    return figure


def deviations(analysis: Analysis) -> Figure:
    """Boxes less targets, over what equation 6 allows."""
    figure, axes = _figure(13.2, 3.4, 3)
    settings = analysis.sample.settings
    rows = (
        ("size", "Size", "√a of box less target (px)", settings.tolerance_size),
        ("ratio", "Aspect ratio", "r of box less target", settings.tolerance_ratio),
        ("angle", "Angle", "angle of box less target (degrees)", settings.tolerance_angle),
    )
    found = analysis.deviations or {}
    for panel, (key, title, name, limit) in zip(axes, rows):
        values = found[key]
        edges = np.linspace(-1.1 * limit, 1.1 * limit, 45)  # the tolerance between two classes
        panel.bar(edges[:-1], np.histogram(values, edges)[0], np.diff(edges), align="edge", color=BARS, label="crystals")
        for k, side in enumerate((-limit, limit)):
            panel.axvline(side, color=MODEL, linewidth=1.2, label=None if k else "tolerance")
        panel.set_yscale("symlog", linthresh=1)
        panel.set_ylim(0, max(panel.dataLim.y1 * 8, 10))
        panel.set_xlim(edges[0], edges[-1])
        panel.set_xlabel(name)
        panel.set_ylabel("crystals per class (logarithmic)")
        _title(panel, f"{title}: 99 % within {np.quantile(np.abs(values), 0.99):.2g}" if len(values) else title)
        panel.legend(loc="upper right", fontsize=8, frameon=False)
    return figure


def given_up(analysis: Analysis) -> Figure:
    """Which targets no pose could meet without touching the border or overlapping too much."""
    figure, axes = _figure(10.4, 3.8, 2)
    settings = analysis.sample.settings
    rows = (
        ("Skipped by area", "area of the target (px²)", 0, np.geomspace(*settings.area, 13)),
        ("Skipped by aspect ratio", "aspect ratio of the target", 1, np.linspace(*settings.aspect_ratio, 14)),
    )
    for panel, (title, name, column, edges) in zip(axes, rows):
        missed, drawn = analysis.given_up(column, edges)
        panel.bar(edges[:-1], 100 * missed / np.maximum(drawn, 1), np.diff(edges), align="edge", **_BAR)
        panel.set_ylim(0, max(panel.dataLim.y1 * 1.15, 0.1))
        for a, b, count in zip(edges[:-1], edges[1:], missed):
            if count:
                x = np.sqrt(a * b) if column == 0 else (a + b) / 2
                height = 100 * count / drawn[np.searchsorted(edges, a)]
                panel.annotate(f"{count:,}", (x, height), (0, 2), textcoords="offset points", ha="center", fontsize=7.5)
        if column == 0:
            panel.set_xscale("log")
        panel.set_xlim(edges[0], edges[-1])
        panel.set_xlabel(name)
        panel.set_ylabel("skipped (% of those drawn)")
        _title(panel, f"{title} (numbers: targets)")
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file of 150 dpi, without the date or version it was made with."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def _figure(width: float, height: float, columns: int, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
        panel.xaxis.label.set_size(9)
        panel.yaxis.label.set_size(9)
    return figure, axes
