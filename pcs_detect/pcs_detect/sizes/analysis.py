"""From crystals and groups to every table of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ..crystals.spreadsheets import dates_among
from ..crystals.tables import image_names
from ..errors import DataError, InputError
from .comparisons import check_columns, comparable, ecdf_table, ks_tests, last_common_time
from .groups import KEYS, KNOWN, checked_groups, column_names, images_as_groups, joined, keys_of, some_of
from .statistics import area_regressions, group_statistics, growth_rates, total_areas


@dataclass(frozen=True)
class Options:
    """How sizes are analysed; None: as the data have it.

    Attributes:
        unit: "auto", "um" or "px".
        border: "drop" or "keep" crystals at the image's border.
        min_score: least score, 0 .. 1.
        compare: columns whose values the tests compare.
        series: columns that make the series of distribution functions.
        at_time: time of the distribution functions, hours.
        regression_by: columns that make the series of the regression.
        growth_hours: times (from, to) for growth rates.
        alpha: level of tests, 1 - alpha that of confidence.
        concentration_unit: to show.

    Examples:
        >>> sizes.Options(unit="px", compare=("time",)).alpha
        0.05
    """

    unit: str = "auto"
    border: str = "drop"
    min_score: float = 0.0
    compare: tuple[str, ...] | None = None
    series: tuple[str, ...] | None = None
    at_time: float | None = None
    regression_by: tuple[str, ...] | None = None
    growth_hours: tuple[float, float] | None = None
    alpha: float = 0.05
    concentration_unit: str = ""


@dataclass(frozen=True)
class Analysis:
    """What ``analyse`` found.

    Attributes:
        crystals: of ``joined``.
        groups: of ``checked_groups``.
        options: with every None that the data decided filled in.
        tables: groups (``group_statistics``), tests (``ks_tests``), growth (``growth_rates``), areas (``total_areas``),
            regression (``area_regressions``), ecdf (``ecdf_table``) and series (``group_statistics`` of the same series at the
            same time).
        notes: what the user should know about the input.

    Examples:
        >>> analysis = sizes.analyse(crystals, groups)
        >>> sorted(analysis.tables)
        ['areas', 'ecdf', 'groups', 'growth', 'regression', 'series', 'tests']
    """

    crystals: pd.DataFrame
    groups: pd.DataFrame
    options: Options
    tables: dict[str, pd.DataFrame]
    notes: list[str]

    def shown_crystals(self) -> pd.DataFrame:
        """The crystals of the time that distribution functions show."""
        return _at(self.crystals, self.options.at_time)


def analyse(
    crystals: pd.DataFrame,
    groups: pd.DataFrame | None = None,
    images: Sequence[str] | None = None,
    options: Options | None = None,
    unread: Sequence[str] = (),
) -> Analysis:
    """Compute every table of sizes (paper: Figs. 5 to 8, Tables 2 and S2).

    Args:
        crystals: one row per crystal (``joined`` says which columns it takes).
        groups: which image belongs to what (``checked_groups``), None for all images in one group.
        images: the names of all images, where known, so that one without crystals can be distinguished from one misspelt.
        options: how.
        unread: images that could not be read: they belong to no group.

    Returns:
        The tables, with what they were computed from.

    Raises:
        DataError: a table lacks something.
        InputError: an option is wrong.

    Examples:
        >>> found = sizes.analyse(crystals, groups).tables["groups"]
        >>> found[found.time == 5].width_median.tolist()  # the one at the border does not count
        [45.0]
    """
    options = options or Options()
    crystal_images = list(image_names(crystals["image"])) if "image" in crystals else []
    shown = list(dict.fromkeys([*crystal_images, *(images or ())]))
    checked = images_as_groups(shown) if groups is None else checked_groups(groups)
    checked = checked[~checked["image"].isin(unread)].reset_index(drop=True)
    notes = [f"images that could not be read, left out: {some_of(unread)}"] if unread else []
    notes += [] if groups is None else _unmatched(groups, checked, shown, complete=images is not None)
    found, unit = joined(crystals, checked, unit=options.unit, border=options.border, min_score=options.min_score)
    notes += _scale_notes(crystals, found, options.unit, unit)
    options = _decided(options, checked, unit)
    described, areas = group_statistics(found, checked), total_areas(found, checked)
    then, series = _at(found, options.at_time), options.series or ()
    tables = {
        "groups": described,
        "tests": ks_tests(found, checked, options.compare, alpha=options.alpha),
        "growth": growth_rates(described, hours=options.growth_hours, alpha=options.alpha),
        "areas": areas,
        "regression": area_regressions(areas, options.regression_by or (), options.alpha),
        "ecdf": ecdf_table(then, series),
        "series": group_statistics(then, _at(checked, options.at_time), series),
    }
    return Analysis(found, checked, options, tables, notes)


def _decided(options: Options, groups: pd.DataFrame, unit: str) -> Options:
    """Options without None, except a time that does not exist and the growth's hours, which mean all."""
    for columns in (options.compare, options.series, options.regression_by):
        check_columns(columns or (), groups)
    compare = comparable(groups) if options.compare is None else options.compare
    by = [k for k in keys_of(groups) if k != "time"] if options.regression_by is None else options.regression_by
    several = [c for c in ("variant", "dilution", "replicate") if c in comparable(groups)]
    series = several[:1] if options.series is None else options.series
    at_time = options.at_time
    if at_time is None and "time" not in series:
        at_time = last_common_time(groups, series)
    if options.at_time is not None and ("time" not in groups or at_time not in set(groups["time"])):
        times = some_of(f"{t:g}" for t in sorted(set(groups["time"]))) if "time" in groups else "none"
        raise InputError(f"no image was taken at {at_time:g} h; times are {times}")
    return replace(options, unit=unit, compare=tuple(compare), series=tuple(series), at_time=at_time, regression_by=tuple(by))


def _unmatched(raw: pd.DataFrame, groups: pd.DataFrame, shown: list[str], complete: bool) -> list[str]:
    """What does not fit between the images of the groups and those of the crystals."""
    known, named = set(shown), set(groups["image"])
    absent = [name for name in groups["image"] if name not in known]
    if absent and (complete or (shown and len(absent) == len(groups))):
        raise DataError(
            f"the groups name {len(absent)} images that were not searched for crystals: {some_of(absent)}; names of those that "
            f"were: {some_of(shown, 2) or 'none'}"
        )
    left = [name for name in shown if name not in named]
    unused = [name for name in column_names(raw) if name not in KNOWN]
    notes = [f"images without any crystal: {some_of(absent)}"] if absent else []
    notes += [f"images of no group, left out: {some_of(left)}"] if left else []
    labels = [
        str(v) for c, n in zip(raw.columns, column_names(raw)) if n in KEYS and n != "time" for v in raw[c].dropna().unique()
    ]
    dates = dates_among(labels)
    notes += [f"labels that look like dates, which spreadsheets make of 1-2 or 1.2: {some_of(dates)}"] if dates else []
    return notes + ([f"columns of the groups without a meaning here: {some_of(unused)}"] if unused else [])


def _scale_notes(crystals: pd.DataFrame, found: pd.DataFrame, asked: str, unit: str) -> list[str]:
    """Sizes in px compare photographs of one scale alone. Raises DataError where the scales that are known differ."""
    if asked != "auto" or unit != "px" or "width_um" not in crystals.columns:
        return []
    own = crystals[image_names(crystals["image"]).isin(found["image"])]
    scale = pd.to_numeric(own["width_um"], errors="coerce") / pd.to_numeric(own["width_px"], errors="coerce")
    known = scale.notna()
    if not known.any():
        return []
    without = own["image"][~known].drop_duplicates()
    message = f"{len(without)} photographs have no scale ({some_of(without, 2)}), others do"
    if scale.max() > 1.01 * scale.min():
        raise DataError(
            f"{message}, of {scale.min():g} to {scale.max():g} um per px: sizes in px would mix magnifications. Predict those "
            "without a scale with --um-per-px into a folder of its own, or say unit px (--unit px)"
        )
    return [f"{message}: sizes are in px, which compare photographs of one magnification alone"]


def _at(table: pd.DataFrame, time: float | None) -> pd.DataFrame:
    return table if time is None else table[table["time"] == time]
