"""Sizes as files: what goes in, and the folder of tables and figures that comes out."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from .. import __version__
from ..crystals.tables import read_table, write_table
from ..errors import DataError
from ..files import made_folder, written
from . import figures
from .analysis import Analysis
from .axes import UNIT_TEXTS, named, save_figure
from .groups import KEYS, keys_of, parts
from .statistics import DESCRIBED
from .table_picture import ks_table

TESTS = tuple(f"tests_{key}" for key in KEYS)
FIGURES = ("sizes_over_time", "growth", "area_concentration", "ecdf", *TESTS)
LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")


def read_input(path: str | Path) -> tuple[pd.DataFrame, list[str] | None, list[str]]:
    """(crystals, names of all images, names of those that could not be read) of a table of crystals or ``predict``'s folder.

    The names come from images.csv beside a crystals.csv; without it they are None and none. Raises DataError for what is
    missing or unreadable, InputError for a file's ending.
    """
    path = Path(path)
    if path.is_dir():
        found = [file for file in (path / "crystals.csv", path / "crystals.parquet") if file.is_file()]
        if not found:
            raise DataError(
                f"{path}: no crystals.csv in this folder; give the folder that predict wrote, or a table of crystals"
            )
        path = found[0]
    table = read_table(path, needs=("image",))
    beside = path.with_name("images.csv")
    if path.stem != "crystals" or not beside.is_file():
        return table, None, []
    images = read_table(beside, needs=("image",))
    names = images["image"].astype(str).str.strip()
    failed = images["error"].notna() if "error" in images else names.isna()
    return table, list(names[~failed]), list(names[failed])


def draw_figures(analysis: Analysis) -> tuple[dict[str, Figure], list[str]]:
    """({name: figure}, what could not be drawn and why)."""
    tables, options = analysis.tables, analysis.options
    if not analysis.crystals["measured"].any():
        return {}, ["no figure was drawn: there is no crystal whose size counts"]
    made: dict[str, Figure] = {}
    missing = []
    if "time" in analysis.groups and analysis.groups["time"].nunique() > 1:
        made["sizes_over_time"] = figures.sizes_over_time(tables["groups"], options.unit)
    else:
        missing.append("sizes_over_time was not drawn: the groups tell no two times")
    if tables["growth"]["rate"].notna().any():
        made["growth"] = figures.growth(tables["growth"], options.unit, options.alpha)
    elif "time" in analysis.groups:
        missing.append("growth was not drawn: no series has crystals at two times")
    if len(tables["areas"]):
        by, unit = options.regression_by or (), options.concentration_unit
        made["area_concentration"] = figures.area_against_concentration(tables["areas"], by, options.unit, unit, options.alpha)
    else:
        missing.append("area_concentration was not drawn: the groups tell no concentration")
    shown, at_time = analysis.shown_crystals(), options.at_time
    if shown["measured"].any():
        title = "" if at_time is None else f"{at_time:g} h"
        made["ecdf"] = figures.distribution_functions(shown, options.series or (), options.unit, title)
    else:
        missing.append(f"ecdf was not drawn: there is no crystal at {at_time:g} h whose size counts")
    for compared in options.compare or ():
        if (tables["tests"]["compared"] == compared).any():
            made[f"tests_{compared}"] = ks_table(tables["tests"], compared, alpha=options.alpha)
    return made, missing


def write_sizes(analysis: Analysis, out: str | Path, command: str = "") -> list[str]:
    """Write OUT/*.csv, OUT/figures/*.png and .svg and OUT/settings.json; returns what could not be drawn and why.

    Tables have the unit in the names of their columns (``with_units``). Figures of an earlier run that this one does not
    draw are removed. Raises OutputError for what the file system refuses.
    """
    out = made_folder(out)
    for name, table in analysis.tables.items():
        write_table(with_units(table, analysis.options.unit), out / f"{name}.csv")
    made, missing = draw_figures(analysis)
    folder = made_folder(out / "figures")
    for name in set(FIGURES) - set(made):
        for suffix in (".png", ".svg"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    for name, figure in made.items():
        save_figure(figure, folder, name)
    settings = {
        "version": __version__,
        "command": command,
        **asdict(analysis.options),
        "notes": [*analysis.notes, *missing],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }
    with written(out / "settings.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n")
    return missing


def with_units(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """The table with "um" or "px" in the names of columns: width_median becomes width_um_median, rate rate_um_per_h.

    Distribution functions, whose measures share a column, get a column unit instead, empty for the aspect ratio.
    """
    if "value" in table.columns:
        units = table["measure"].map({"width": unit, "height": unit, "aspect_ratio": ""})
        return table.assign(unit=units)
    names = {}
    for name in map(str, table.columns):
        first, _, rest = name.partition("_")
        if first in ("width", "height", "area") and rest in DESCRIBED:
            names[name] = f"{first}_{unit}{'2' if first == 'area' else ''}_{rest}"
        elif name in ("total_area", "area_per_image"):
            names[name] = f"{name}_{unit}2"
        elif first == "rate":
            names[name] = f"{name}_{unit}_per_h"
    return table.rename(columns=names)


def summary(analysis: Analysis) -> str:
    """What an analysis found, in a few lines."""
    options, tables, found = analysis.options, analysis.tables, analysis.crystals
    unit = UNIT_TEXTS[options.unit]
    left = len(found) - int(found["measured"].sum())
    lines = [
        f"crystals {len(found)}{f' ({left} at the border left out of sizes)' if left else ''}, images {len(analysis.groups)}, "
        f"groups {len(tables['groups'])}; sizes in {unit}"
    ]
    lines += [f"note: {note}" for note in analysis.notes]
    for compared in options.compare or ():
        lines += _tests_told(tables["tests"], compared, options.alpha)
    sure = f"{100 * (1 - options.alpha):g} %"
    rates = []
    for key, rows in parts(tables["growth"], keys_of(tables["growth"])):
        known = [r for r in rows.to_dict("records") if r["n_times"] > 1]
        told = [f"{r['measure']} {r['rate']:.3g} ({r['rate_low']:.3g} .. {r['rate_high']:.3g})" for r in known]
        rates += [f"  {named(key) or 'all'}: {', '.join(told)}"] if told else []
    if rates:
        lines += [f"growth of the median in {unit}/h ({sure} confidence)", *_first(rates, "growth.csv")]
    slopes = [
        f"  {named({k: r[k] for k in options.regression_by or ()}) or 'all'}: {r['slope']:.4g} ({r['slope_low']:.4g} .. "
        f"{r['slope_high']:.4g}), R² {r['r_squared']:.3f}, {r['n']} points"
        for r in tables["regression"].to_dict("records")
        if r["n"] > 1
    ]
    if slopes:
        lines += [f"slope of the area per image, {unit}², against the concentration", *_first(slopes, "regression.csv")]
    return "\n".join(lines)


def _tests_told(tests: pd.DataFrame, compared: str, alpha: float) -> list[str]:
    some = tests[tests["compared"] == compared]
    if not len(some):
        return []
    done = some["p_value"].notna().groupby(some["measure"]).sum().max()
    found = [
        f"{str(measure).replace('_', ' ')} {rows['rejected'].sum()} ({rows['rejected_holm'].sum()})"
        for measure, rows in some.groupby("measure", sort=False)
    ]
    return [f"{compared}: of {done} Kolmogorov-Smirnov tests, p < {alpha:g} (also after Holm's adjustment): {', '.join(found)}"]


def _first(lines: list[str], file: str, most: int = 8) -> list[str]:
    return lines[:most] + ([f"  and {len(lines) - most} more in {file}"] if len(lines) > most else [])
