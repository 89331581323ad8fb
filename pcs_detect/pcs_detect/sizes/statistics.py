"""Statistics of crystal sizes: per group, of total area, over time, and against the concentration.

Every function takes and returns data frames. ``crystals`` is what ``groups.joined`` returns, ``groups`` what
``groups.checked_groups`` returns: an image without crystals has a row in the latter only, and so counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import InputError
from .groups import keys_of, parts

MEASURES = ("width", "height", "aspect_ratio", "area")
DESCRIBED = ("mean", "std", "q1", "median", "q3")
Floats = NDArray[np.float64]


def describe(values: ArrayLike) -> dict[str, float]:
    """{mean, std, q1, median, q3} of values (N,); nan where there are none, and the deviation of a single one.

    std: of the sample, divided by N - 1; q1, median, q3: quartiles, linear between order statistics (NumPy's default).
    """
    x = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(x) == 0:
        return dict.fromkeys(DESCRIBED, math.nan)
    quartiles = np.quantile(x, (0.25, 0.5, 0.75))
    spread = x.std(ddof=1) if len(x) > 1 else math.nan
    return dict(zip(DESCRIBED, map(float, (x.mean(), spread, *quartiles))))


def group_statistics(crystals: pd.DataFrame, groups: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """One row per group, sorted: the paper's Fig. 5 in numbers.

    by: columns that make the groups (default: all of KEYS that there are); crystals of all images of a group are pooled.
    Columns: ``by``; n_images, some perhaps without crystals; n_crystals; n_at_border where it is known; n_measured, whose sizes
    count; and MEASURE_mean, _std, _q1, _median, _q3 (``describe``) for each of MEASURES.
    """
    by = keys_of(groups) if by is None else list(by)
    rows = []
    for key, images, found in _matched(crystals, groups, by):
        row = {**key, "n_images": len(images), "n_crystals": len(found)}
        if "at_border" in found.columns:
            row["n_at_border"] = int(found["at_border"].sum())
        measured = found[found["measured"]]
        row["n_measured"] = len(measured)
        for measure in MEASURES:
            row.update({f"{measure}_{name}": value for name, value in describe(measured[measure]).items()})
        rows.append(row)
    return _frame(rows, groups, by)


def total_areas(crystals: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """One row per group and concentration: the points of the paper's Fig. 6.

    Columns: those of KEYS that there are, concentration, n_images, n_crystals, total_area (sum of width times height) and
    area_per_image = total_area / n_images. Crystals at the border count, with what was found of them, for their area is part of
    what the image shows. Images of unknown concentration are left out. Without the column, no rows.
    """
    by = [*keys_of(groups), "concentration"]
    names = [*by, "n_images", "n_crystals", "total_area", "area_per_image"]
    if "concentration" not in groups.columns:
        return pd.DataFrame(columns=names)
    known = groups[groups["concentration"].notna()]
    rows = []
    for key, images, found in _matched(crystals, known, by):
        total = float(found["area"].sum())
        counts = {"n_images": len(images), "n_crystals": len(found)}
        rows.append({**key, **counts, "total_area": total, "area_per_image": total / len(images)})
    return _frame(rows, groups, by, names)


@dataclass(frozen=True)
class Line:
    """A line through n points by least squares (``fit_line``); its uncertain numbers with their confidence limits."""

    n: int
    alpha: float
    slope: float = math.nan
    slope_low: float = math.nan
    slope_high: float = math.nan
    slope_stderr: float = math.nan
    intercept: float = math.nan
    intercept_low: float = math.nan
    intercept_high: float = math.nan
    intercept_stderr: float = math.nan
    r_squared: float = math.nan
    p_value: float = math.nan  # two-sided, of the slope against 0
    x_mean: float = math.nan
    x_squares: float = math.nan  # sum of (x - x_mean)^2

    def band(self, x: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """(line, low, high) at x: confidence band of the mean, pointwise 1 - alpha; nan limits for fewer than three points."""
        at = np.asarray(x, dtype=np.float64)
        y = self.intercept + self.slope * at
        if self.n < 3:
            return y, np.full_like(y, math.nan), np.full_like(y, math.nan)
        spread = self.slope_stderr * np.sqrt(self.x_squares / self.n + (at - self.x_mean) ** 2)
        half = stats.t.ppf(1 - self.alpha / 2, self.n - 2) * spread
        return y, y - half, y + half


def fit_line(x: ArrayLike, y: ArrayLike, alpha: float = 0.05) -> Line:
    """Ordinary least squares of y (N,) on x (N,) with Student confidence intervals of level 1 - alpha.

    Points with a nan are left out. nan where there is no answer: without two different x everything, for two points every
    limit, standard error and p-value, where all y are equal r_squared and p_value. Raises InputError for a wrong alpha.
    """
    check_level(alpha)
    at, values = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (x, y))
    known = np.isfinite(at) & np.isfinite(values)
    at, values = at[known], values[known]
    n = len(at)
    if n < 2 or np.ptp(at) == 0:
        return Line(n, alpha)
    found, flat = stats.linregress(at, values), np.ptp(values) == 0
    line = Line(
        n,
        alpha,
        slope=float(found.slope),
        intercept=float(found.intercept),
        r_squared=math.nan if flat else float(found.rvalue) ** 2,
        x_mean=float(at.mean()),
        x_squares=float(((at - at.mean()) ** 2).sum()),
    )
    if n < 3:
        return line
    t = float(stats.t.ppf(1 - alpha / 2, n - 2))
    slope, intercept = (0.0, 0.0) if flat else (float(found.stderr), float(found.intercept_stderr))
    return replace(
        line,
        slope_low=line.slope - t * slope,
        slope_high=line.slope + t * slope,
        slope_stderr=slope,
        intercept_low=line.intercept - t * intercept,
        intercept_high=line.intercept + t * intercept,
        intercept_stderr=intercept,
        p_value=math.nan if flat else float(found.pvalue),
    )


def area_regressions(areas: pd.DataFrame, by: Sequence[str], alpha: float = 0.05) -> pd.DataFrame:
    """Area per image on the concentration, a line per series ``by``: the paper's Table S2.

    areas: of ``total_areas``. Columns: ``by``, n, slope, slope_low, slope_high, slope_stderr, the same of the intercept,
    r_squared, p_value (of slope 0), as in ``fit_line``.
    """
    fits = ((key, fit_line(points["concentration"], points["area_per_image"], alpha)) for key, points in parts(areas, by))
    return _frame([{**key, **{name: getattr(line, name) for name in LINE}} for key, line in fits], areas, by, [*by, *LINE])


def growth_rates(
    statistics: pd.DataFrame,
    by: Sequence[str] | None = None,
    hours: tuple[float, float] | None = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """How fast the median crystal grows: the slope of the median width and height over time, a line per series.

    Ordinary least squares through the medians of the groups, each time point with the same weight whatever its number of
    crystals; the confidence interval comes from the scatter of the medians about the line and needs three times.
    Growth slows down as protein runs out, so that the rate is the mean one over the times used.

    statistics: of ``group_statistics``; by: columns of a series (default: all of KEYS but time); hours: only times from .. to.
    Columns: ``by``, measure, n_times (with crystals), from_hours, to_hours, rate, rate_low, rate_high, rate_stderr (unit of
    size per hour), r_squared, p_value (of rate 0). Without a column time, no rows. Raises InputError for hours that go back.
    """
    by = [k for k in keys_of(statistics) if k != "time"] if by is None else list(by)
    names = [*by, "measure", "n_times", "from_hours", "to_hours", "rate", "rate_low", "rate_high", "rate_stderr"]
    names += ["r_squared", "p_value"]
    if hours is not None and not hours[0] < hours[1]:
        raise InputError(f"growth hours are {hours[0]:g} to {hours[1]:g}; the first must be the smaller")
    rows = []
    for key, points in parts(statistics, by) if "time" in statistics.columns else ():
        if hours is not None:
            points = points[points["time"].between(*hours)]
        for measure in ("width", "height"):
            known = points[points[f"{measure}_median"].notna()]
            line = fit_line(known["time"], known[f"{measure}_median"], alpha)
            rates = (line.slope, line.slope_low, line.slope_high, line.slope_stderr, line.r_squared, line.p_value)
            values = (measure, line.n, known["time"].min(), known["time"].max(), *rates)
            rows.append({**key, **dict(zip(names[len(by) :], values))})
    return _frame(rows, statistics, by, names)


def check_level(alpha: float) -> None:
    """Raises InputError for a level of significance outside (0, 1)."""
    if not 0 < alpha < 1:
        raise InputError(f"the level alpha is {alpha}; it takes a number between 0 and 1, such as 0.05")


LINE = (
    "n",
    *(f"{name}{suffix}" for name in ("slope", "intercept") for suffix in ("", "_low", "_high", "_stderr")),
    "r_squared",
    "p_value",
)


def _matched(
    crystals: pd.DataFrame, groups: pd.DataFrame, by: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """(group, its images, its crystals, perhaps none)"""
    found = {tuple(key.values()): rows for key, rows in parts(crystals, by)}
    for key, images in parts(groups, by):
        yield key, images, found.get(tuple(key.values()), crystals.iloc[:0])


def _frame(rows: list[dict], like: pd.DataFrame, by: Sequence[str], names: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows as a table whose columns ``by`` keep the types, and so the order of categories, that they have in ``like``."""
    table = pd.DataFrame(rows, columns=(list(by) if not rows else None) if names is None else list(names))
    return table.astype({c: like[c].dtype for c in by}) if len(rows) else table
