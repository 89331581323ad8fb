"""Tables as a report shows them: fewer columns and digits than their files have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..sizes.axes import UNIT_TEXTS
from ..sizes.comparisons import DEPENDENT
from ..sizes.groups import KEYS

ROWS = 200  # of one table shown; its file has all
NONE = "-"


@dataclass(frozen=True)
class ReportTable:
    """Cells as text. file: name of the CSV that has it whole, empty if there is none; numeric: columns that are set right;
    bold: rows that stand out; left_out: rows not shown; opens: whether a row's number opens the photograph of that row."""

    caption: str
    file: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    bold: frozenset[int] = frozenset()
    left_out: int = 0
    opens: bool = False


def number(value: Any, digits: int = 3) -> str:
    """A number, or its text, with so many digits or all before the point; a dash for none."""
    try:
        x = float(value)
    except (TypeError, ValueError):
        return str(value) or NONE
    if not math.isfinite(x):
        return NONE
    return f"{x:.0f}" if x == round(x) or abs(x) >= 10 ** (digits - 1) else f"{x:.{digits}g}"


def probability(value: Any) -> str:
    """A p-value with three digits."""
    shown = number(value)
    return shown if shown == NONE else "< 0.001" if float(value) < 0.001 else f"{float(value):.3g}"


def photographs(images: pd.DataFrame, statistics: pd.DataFrame, unit: str) -> ReportTable:
    """A row per photograph; statistics: of ``group_statistics``, in the same order."""
    rows = []
    for i, (image, found) in enumerate(zip(images.to_dict("records"), statistics.to_dict("records")), 1):
        size = f"{number(image['width_px'])} x {number(image['height_px'])}"
        counts = [number(image["crystals"]), number(image["at_border"])]
        rest = [size, *counts, _quartiles(found, "width_"), _quartiles(found, "height_")]
        rows.append([str(i), image["image"], *(rest if not image["error"] else [NONE] * 5), image["error"]])
    unit_text = UNIT_TEXTS[unit]
    head = ["", "photograph", "size (px)", "crystals", "at border", f"width ({unit_text})", f"height ({unit_text})", "error"]
    keep = len(head) if images["error"].any() else len(head) - 1
    caption = "Median (quartiles) of crystals that do not touch the border, whose sizes it would cut."
    numeric = [h not in ("photograph", "error") for h in head]
    return ReportTable(caption, "images", head[:keep], [r[:keep] for r in rows], numeric[:keep], opens=True)


def overall(statistics: pd.DataFrame, unit: str) -> ReportTable:
    """Mean, deviation and quartiles of all crystals together; statistics: one row of ``group_statistics``."""
    found = statistics.iloc[0]
    unit_text = UNIT_TEXTS[unit]
    names = {
        "width": f"width ({unit_text})",
        "height": f"height ({unit_text})",
        "aspect_ratio": "aspect ratio",
        "area": f"area ({unit_text}²)",
    }
    columns = ("mean", "std", "q1", "median", "q3")
    rows = [[names[m], *(number(found[f"{m}_{c}"]) for c in columns)] for m in names]
    counts = (f"{found[name]:.0f}" for name in ("n_measured", "n_crystals"))
    caption = "All photographs together: {} crystals that do not touch the border, of {}.".format(*counts)
    head = ["", "mean", "standard deviation", "first quartile", "median", "third quartile"]
    return ReportTable(caption, "", head, rows, [False, *[True] * 5])


def groups(table: pd.DataFrame, unit: str, file: str = "groups") -> ReportTable:
    """groups.csv or series.csv of ``sizes``: numbers, medians with quartiles, mean and deviation of the aspect ratio."""
    keys = _keys(table)
    counts = {"n_images": "images", "n_crystals": "crystals", "n_measured": "measured"}
    known = {c: name for c, name in counts.items() if c in table.columns}
    unit_text = UNIT_TEXTS[unit]
    rows = []
    for row in table.to_dict("records"):
        sizes = [_quartiles(row, f"width_{unit}_"), _quartiles(row, f"height_{unit}_")]
        mean, spread = number(row.get("aspect_ratio_mean", "")), number(row.get("aspect_ratio_std", ""))
        ratio = mean if NONE in (mean, spread) else f"{mean} ± {spread}"
        rows.append([*(_key(k, row[k]) for k in keys), *(row[c] for c in known), *sizes, ratio])
    head = [*keys, *known.values(), f"width ({unit_text})", f"height ({unit_text})", "aspect ratio"]
    caption = "Width and height: median (quartiles); aspect ratio: mean ± standard deviation."
    return _cut(caption, file, head, rows, [k == "time" for k in keys] + [True] * (len(known) + 3))


def tests(table: pd.DataFrame, compared: str, alpha: float) -> ReportTable:
    """The Kolmogorov-Smirnov tests of one comparison."""
    some = table[table["compared"] == compared]
    keys = [k for k in _keys(some) if k != compared]
    rows: list[list[str]] = []
    bold = set()
    for row in some.to_dict("records"):
        values = [number(row["statistic"]), probability(row["p_value"]), probability(row["p_holm"])]
        verdict = NONE if NONE in values else _verdict(row)
        if verdict == "not rejected":
            bold.add(len(rows))
        places = [row["measure"].replace("_", " "), *(_key(k, row[k]) for k in keys), row["sample_1"], row["sample_2"]]
        rows.append([*places, row["n_1"], row["n_2"], *values, verdict])
    head = ["measure", *keys, "sample 1", "sample 2", "n 1", "n 2", "D", "p", "p (Holm)", "same distribution"]
    caption = (
        f"By {compared}: two-sided two-sample Kolmogorov-Smirnov tests, level {alpha:g}. D: largest distance; p (Holm): "
        "adjusted for all tests of a measure. In bold: not rejected. A dash: a sample is empty. Note: "
        f"{DEPENDENT}."
    )
    numeric = [False, *(k == "time" for k in keys), False, False, *[True] * 5, False]
    return _cut(caption, "tests", head, rows, numeric, frozenset(bold))


def _interval(low: str, high: str) -> str:
    return NONE if low == high == NONE else f"{low} to {high}"


def growth(table: pd.DataFrame, unit: str, alpha: float) -> ReportTable:
    """growth.csv of ``sizes``."""
    keys, unit_text = _keys(table), UNIT_TEXTS[unit]
    rows = []
    for row in table.to_dict("records"):
        rate, low, high = (number(row[f"{name}_{unit}_per_h"]) for name in ("rate", "rate_low", "rate_high"))
        times = [row["n_times"], f"{number(row['from_hours'])} to {number(row['to_hours'])}"]
        rest = [*times, rate, _interval(low, high), number(row["r_squared"]), probability(row["p_value"])]
        rows.append([*(_key(k, row[k]) for k in keys), row["measure"], *rest])
    sure = f"{100 * (1 - alpha):g} % confidence"
    head = [*keys, "median", "times", "hours", f"rate ({unit_text}/h)", sure, "R²", "p"]
    caption = "Slope of the median over time by least squares, every time with the same weight; p: of a slope of 0."
    return _cut(caption, "growth", head, rows, [False] * (len(keys) + 1) + [True] * 6)


def regression(table: pd.DataFrame, unit: str, alpha: float) -> ReportTable:
    """regression.csv of ``sizes``."""
    keys = _keys(table)
    rows = []
    for row in table.to_dict("records"):
        lines = [[number(row[f"{name}{end}"]) for end in ("", "_low", "_high")] for name in ("slope", "intercept")]
        fits = [cell for middle, low, high in lines for cell in (middle, _interval(low, high))]
        rows.append([*(_key(k, row[k]) for k in keys), row["n"], *fits, number(row["r_squared"]), probability(row["p_value"])])
    sure = f"{100 * (1 - alpha):g} % confidence"
    head = [*keys, "points", "slope", sure, f"intercept ({UNIT_TEXTS[unit]}²)", sure, "R²", "p"]
    caption = "Total crystal area per image on the concentration, least squares; p: of a slope of 0."
    return _cut(caption, "regression", head, rows, [False] * len(keys) + [True] * 7)


def _cut(
    caption: str,
    file: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    bold: frozenset[int] = frozenset(),
) -> ReportTable:
    return ReportTable(caption, file, head, rows[:ROWS], numeric, bold, max(len(rows) - ROWS, 0))


def _quartiles(row: Any, prefix: str) -> str:
    low, middle, high = (number(row.get(f"{prefix}{name}", "")) for name in ("q1", "median", "q3"))
    return NONE if middle == NONE else f"{middle} ({low} to {high})"


def _keys(table: pd.DataFrame) -> list[str]:
    return [k for k in KEYS if k in table.columns]


def _key(name: str, value: str) -> str:
    return f"{number(value)} h" if name == "time" and value else value


def _verdict(row: Any) -> str:
    if row["rejected"] != "True":
        return "not rejected"
    return "rejected" if row["rejected_holm"] == "True" else "rejected, but not after Holm"
