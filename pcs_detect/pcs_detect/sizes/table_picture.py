"""The table of Kolmogorov-Smirnov tests as a picture, laid out as the paper's Table 2."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .axes import named, new_figure, styled
from .comparisons import DEPENDENT
from .groups import KEYS

ROW, FIRST, BLOCK = 0.2, 0.6, 2.0  # height of a row, widths of the first column and of a block of three, inches
ACROSS = 4  # blocks


def ks_table(tests: pd.DataFrame, compared: str, measure: str = "width", alpha: float = 0.05) -> Figure:
    """Table 2: p-values and numbers of crystals of one comparison, a row per time, a block of columns per replicate and pair.

    tests: of ``ks_tests``. p-values of at least alpha are bold: there the test fails to reject that the distributions are
    identical. Those that are below alpha even after Holm's adjustment for the number of tests have an asterisk.
    """
    some = tests[(tests["compared"] == compared) & (tests["measure"] == measure)]
    keys = [k for k in KEYS if k in some.columns and k not in (compared, "time")]
    timed = "time" in some.columns and compared != "time"
    blocks: dict[tuple[str, str, str], dict[float, pd.Series]] = {}
    for _, row in some.iterrows():
        head = (named({k: row[k] for k in keys}), str(row["sample_1"]), str(row["sample_2"]))
        blocks.setdefault(head, {})[row["time"] if timed else 0.0] = row
    times = sorted({time for block in blocks.values() for time in block})
    done = some["p_value"].notna().sum()
    caption = (
        f"Two-sided two-sample Kolmogorov-Smirnov tests that the distribution of {measure.replace('_', ' ')} does not depend "
        f"on the {compared}. Bold: not rejected at the level {alpha:g}; asterisk: rejected after Holm's adjustment for {done} "
        f"tests. {DEPENDENT[:1].upper()}{DEPENDENT[1:]}."
    )
    with styled():
        return _drawn(blocks, times, timed, caption, alpha)


def _drawn(blocks: dict[Any, dict[float, pd.Series]], times: list[float], timed: bool, caption: str, alpha: float) -> Figure:
    bands = [list(blocks.items())[i : i + ACROSS] for i in range(0, len(blocks), ACROSS)]
    width = FIRST + BLOCK * max(len(bands[0]), 1.5)
    lines = textwrap.wrap(caption, int(16 * width))
    band = (len(times) + 3) * ROW
    height = 0.25 + band * len(bands) + 0.13 * len(lines)
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.1, width + 0.1), ylim=(height, 0))
    axes.axis("off")
    for number, members in enumerate(bands):
        top = 0.1 + band * number
        _band(axes, top, top + 2.3 * ROW, members, times, timed, alpha)
    bottom = 0.1 + band * len(bands)
    axes.text(0, bottom, "\n".join(lines), va="top", fontsize=6.5, color="0.3", linespacing=1.3)
    return figure


def _band(axes: Axes, top: float, head: float, blocks: list, times: list[float], timed: bool, alpha: float) -> None:
    end = FIRST + BLOCK * len(blocks)
    for y, weight in ((top, 1.0), (head, 0.6), (head + (len(times) + 0.2) * ROW, 1.0)):
        axes.plot((0, end), (y, y), color="black", linewidth=weight)
    for row, text in enumerate(["t (h)", *(f"{time:g}" for time in times)] if timed else []):
        axes.text(0.05, head + (row - 0.4) * ROW, text, va="center")
    for number, (names, rows) in enumerate(blocks):
        _block(axes, FIRST + BLOCK * number, head, names, [rows.get(time) for time in times], alpha)


def _block(axes: Axes, left: float, head: float, names: tuple[str, str, str], rows: list[Any], alpha: float) -> None:
    places = left + BLOCK * np.array([0.3, 0.65, 0.97])
    title = names[0][:1].upper() + names[0][1:] or f"{_short(names[1], 14)}, {_short(names[2], 14)}"
    axes.text(left + BLOCK * 0.52, head - 1.5 * ROW, title, ha="center", va="center")
    axes.plot((left + 0.12, left + BLOCK * 0.97), (head - 0.95 * ROW,) * 2, color="black", linewidth=0.4)
    texts = ("p", *(f"N {_short(name, 9)}" for name in names[1:]))
    size = 8 if max(map(len, texts)) < 10 else 6.2
    for x, text in zip(places, texts):
        axes.text(x, head - 0.4 * ROW, text, ha="right", va="center", fontsize=size)
    for number, row in enumerate(rows):
        y = head + (number + 0.6) * ROW
        if row is None:
            continue
        kept = not row["rejected"] and math.isfinite(row["p_value"])
        axes.text(places[0], y, p_text(row["p_value"]), ha="right", va="center", weight="bold" if kept else "normal")
        if row["rejected_holm"]:
            axes.text(places[0] + 0.02, y, "*", va="center")
        for x, count in zip(places[1:], (row["n_1"], row["n_2"])):
            axes.text(x, y, str(count), ha="right", va="center")


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def p_text(p: float) -> str:
    """A p-value as text: two decimals, three below 0.1; a hyphen where there is none."""
    if not math.isfinite(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
