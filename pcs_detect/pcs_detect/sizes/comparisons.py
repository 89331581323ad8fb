"""Do two samples have the same distribution of sizes? Kolmogorov-Smirnov tests, and empirical distribution functions."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..errors import InputError
from .groups import KEYS, keys_of, parts
from .statistics import check_level

TESTED = ("width", "height", "aspect_ratio")
"""The measures that are tested and whose distribution functions are drawn."""
DEPENDENT = "crystals of one drop are not independent of each other: p is too small, so look whether replicates agree"
"""What stands beside p-values."""
COMPARED = ("dilution", "replicate", "variant")


def ks_test(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """(statistic, p-value) of the two-sided two-sample Kolmogorov-Smirnov test; (nan, nan) where a sample is empty.

    The p-value is exact for up to 10,000 values a sample, without regard to ties (with many ties it is too large, on
    the safe side), and asymptotic above: SciPy's ks_2samp.
    """
    a, b = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (first, second))
    if not len(a) or not len(b):
        return math.nan, math.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful")  # also where p is 1
        found = stats.ks_2samp(a, b)
    return float(found.statistic), float(found.pvalue)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values (N,) adjusted for their number by Holm's step-down method; nan stays nan and is not counted."""
    p = np.asarray(p_values, dtype=np.float64).reshape(-1)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # nan comes last
    adjusted = np.full_like(p, math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def comparable(groups: pd.DataFrame) -> list[str]:
    """The columns of COMPARED with at least two values."""
    return [c for c in COMPARED if c in groups.columns and groups[c].nunique() > 1]


def ks_tests(
    crystals: pd.DataFrame,
    groups: pd.DataFrame,
    compare: Sequence[str] | None = None,
    measures: Sequence[str] = TESTED,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Two-sided two-sample Kolmogorov-Smirnov tests between samples that differ in one column alone: the paper's Table 2.

    For each column of ``compare`` (default: ``comparable``), each measure, and each group of images that agree in all
    other columns of KEYS, every pair of values of that column is tested; crystals of several images are pooled.

    Columns: compared, measure, KEYS that there are (empty in the one compared), sample_1, sample_2, n_1, n_2 (crystals),
    statistic, p_value, p_holm (adjusted for all tests of the same compared and measure), rejected (p_value < alpha),
    rejected_holm. A sample without crystals gives nan, which rejects nothing. Crystals count as independent of each other;
    those of one drop are not, which makes p-values too small. Raises InputError for a column that is not there.
    """
    check_level(alpha)
    keys = keys_of(groups)
    compare = comparable(groups) if compare is None else list(compare)
    check_columns(compare, groups)
    measured = crystals[crystals["measured"]]
    rows: list[dict] = []
    for column in compare:
        others = [k for k in keys if k != column]
        found = {tuple(key.values()): part for key, part in parts(measured, [*others, column])}
        for measure in measures:
            family = []
            for key, images in parts(groups, others):
                for pair in itertools.combinations(images[column].sort_values().unique(), 2):
                    samples = [found.get((*key.values(), value), measured.iloc[:0])[measure] for value in pair]
                    statistic, p = ks_test(*samples)
                    names = {"compared": column, "measure": measure, **{k: key.get(k) for k in keys}}
                    tested = {"sample_1": pair[0], "sample_2": pair[1], "n_1": len(samples[0]), "n_2": len(samples[1])}
                    family.append({**names, **tested, "statistic": statistic, "p_value": p})
            for row, adjusted in zip(family, holm([row["p_value"] for row in family])):
                row.update(p_holm=float(adjusted), rejected=row["p_value"] < alpha, rejected_holm=bool(adjusted < alpha))
            rows += family
    columns = ["compared", "measure", *keys, "sample_1", "sample_2", "n_1", "n_2", "statistic", "p_value", "p_holm"]
    return pd.DataFrame(rows, columns=[*columns, "rejected", "rejected_holm"])


def ecdf_table(crystals: pd.DataFrame, by: Sequence[str], measures: Sequence[str] = TESTED) -> pd.DataFrame:
    """Empirical cumulative distribution functions per series: the paper's Fig. 8.

    Columns: ``by``, measure, value (distinct, ascending), fraction (of crystals up to the value and with it, ending in 1). A
    series without measured crystals has no rows.
    """
    tables = [pd.DataFrame(columns=[*by, "measure", "value", "fraction"])]
    for key, part in parts(crystals[crystals["measured"]], by):
        for measure in measures if len(part) else ():
            curve = stats.ecdf(part[measure].to_numpy()).cdf
            tables.append(pd.DataFrame({**key, "measure": measure, "value": curve.quantiles, "fraction": curve.probabilities}))
    return pd.concat(tables[1:], ignore_index=True) if len(tables) > 1 else tables[0]


def last_common_time(groups: pd.DataFrame, by: Sequence[str]) -> float | None:
    """The last time, in hours, of which every series has an image, or else the last of all; None without times."""
    if "time" not in groups.columns or not len(groups):
        return None
    series = [set(part["time"]) for _, part in parts(groups, by)]
    return float(max(set.intersection(*series) or set.union(*series)))


def check_columns(columns: Sequence[str], groups: pd.DataFrame) -> None:
    """Raises InputError unless ``groups`` has all of these columns and they make groups."""
    for column in columns:
        if column not in keys_of(groups):
            there = ", ".join(keys_of(groups)) or "none"
            raise InputError(
                f"{column!r} is no column of the groups that can be used here; there are {there} (of {', '.join(KEYS)})"
            )
