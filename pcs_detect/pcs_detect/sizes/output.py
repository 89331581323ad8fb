"""Sizes as files: what goes in, and the folder of tables and figures that comes out."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import __version__
from ..crystals.tables import image_names, read_table, write_table
from ..crystals.workbook import write_workbook
from ..errors import DataError, InputError
from ..files import made_folder, written
from ..results import check_output, program_of, read_settings, remove_earlier
from . import figures
from .analysis import Analysis
from .axes import UNIT_TEXTS, named, save_figure
from .comparisons import DEPENDENT
from .groups import KEYS, keys_of, parts
from .statistics import DESCRIBED
from .table_picture import ks_table

TESTS = tuple(f"tests_{key}" for key in KEYS)
FIGURES = ("sizes_over_time", "growth", "area_concentration", "ecdf", *TESTS)
TABLES = ("groups", "tests", "growth", "areas", "regression", "ecdf", "series")
LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")


class Input(NamedTuple):
    """crystals: a table; images: the names of all images, None where unknown; unread: of those that could not be read; notes:
    what the user should know; files: what was read; table: images.csv, None where there is none; alias: {FOLDER/NAME: name in
    these tables} of several folders."""

    crystals: pd.DataFrame
    images: list[str] | None
    unread: list[str]
    notes: list[str]
    files: list[Path]
    table: pd.DataFrame | None
    alias: dict[str, str]


def read_input(path: str | Path) -> tuple[pd.DataFrame, list[str] | None, list[str]]:
    """Read a table of crystals, or the folder that ``predict`` wrote.

    Args:
        path: of the table or folder.

    Returns:
        (crystals, names of all images, names of those that could not be read). The names come from images.csv beside a
        crystals.csv; without it they are None and none.

    Raises:
        DataError: it is missing or unreadable.
        InputError: a file has another ending.

    Examples:
        >>> table, images, unread = sizes.read_input("found")
        >>> images, unread
        (['drop.png'], [])
    """
    return read_inputs([path])[:3]


def read_inputs(paths: Sequence[str | Path]) -> Input:
    """One input of several tables of crystals or folders of ``predict``, whose scales may differ.

    Where folders have images of the same name, all names get their folder before them, FOLDER/NAME. Raises as ``read_input``,
    and DataError where crystals lie outside their photographs, for then a spreadsheet has changed their numbers.
    """
    parts = [_one(Path(p)) for p in paths]
    if len(parts) == 1:
        return parts[0]
    names = [set(p.images or ()) | set(p.unread) | set(p.crystals["image"]) for p in parts]
    twice = len(set().union(*names)) < sum(map(len, names))
    heads = _heads(paths)
    if twice and len(set(heads)) < len(heads):
        raise InputError(f"{', '.join(map(str, paths))}: name each folder once")
    alias = {f"{head}/{n}": f"{head}/{n}" if twice else n for head, own in zip(heads, names) for n in own}
    if twice:
        parts = [p if not h else _renamed(p, h) for p, h in zip(parts, heads)]
    known = [p.images for p in parts if p.images is not None]
    tables = [p.table for p in parts if p.table is not None]
    return Input(
        pd.concat([p.crystals for p in parts if len(p.crystals)] or [parts[0].crystals], ignore_index=True),
        [n for own in known for n in own] if len(known) == len(parts) else None,
        [n for p in parts for n in p.unread],
        [note for p in parts for note in p.notes],
        [f for p in parts for f in p.files],
        pd.concat(tables, ignore_index=True) if tables else None,
        alias,
    )


def _one(path: Path) -> Input:
    if path.is_dir():
        found = [file for file in (path / "crystals.csv", path / "crystals.parquet") if file.is_file()]
        if not found:
            owner = program_of(path)
            owned = f"; it holds results of {owner}" if owner == "sizes" else ""
            raise DataError(
                f"{path}: no crystals.csv in this folder; give the folder that predict wrote, or a table of crystals{owned}"
            )
        path = found[0]
    table = read_table(path, needs=("image",))
    table["image"] = image_names(table["image"])
    beside = path.with_name("images.csv")
    if path.stem != "crystals" or not beside.is_file():
        return Input(table, None, [], [], [path], None, {})
    images = read_table(beside, needs=("image",))
    images["image"] = names = image_names(images["image"])
    failed = images["error"].notna() if "error" in images else names.isna()
    _check_places(table, images, path)
    notes = []
    settings = read_settings(path.parent)
    if settings is not None and settings.get("finished") is False:
        notes.append(
            f"{path.parent}: predict was stopped before it wrote its tables; these are of an earlier run. Start it again to "
            "have all photographs"
        )
    return Input(table, list(names[~failed]), list(names[failed]), notes, [path, beside], images, {})


def _heads(paths: Sequence[str | Path]) -> list[str]:
    """What distinguishes inputs: the names of their folders, as short as that is possible."""
    places = [Path(os.path.abspath(p)) for p in paths]
    places = [p if p.is_dir() else p.parent if p.stem == "crystals" else p.with_suffix("") for p in places]
    for length in range(1, max(len(p.parts) for p in places) + 1):
        heads = ["/".join(p.parts[-length:]).lstrip("/") for p in places]
        if len(set(heads)) == len(heads):
            return heads
    return [p.name for p in places]


def _renamed(part: Input, head: str) -> Input:
    crystals = part.crystals.assign(image=head + "/" + part.crystals["image"])
    table = None if part.table is None else part.table.assign(image=head + "/" + part.table["image"])
    images = None if part.images is None else [f"{head}/{n}" for n in part.images]
    return part._replace(crystals=crystals, images=images, unread=[f"{head}/{n}" for n in part.unread], table=table)


def _check_places(crystals: pd.DataFrame, images: pd.DataFrame, path: Path) -> None:
    """Crystals lie in their photographs: 12.3457 that a spreadsheet took for 123457 shows here."""
    if not {"x_px", "y_px", "width_px"} <= set(crystals.columns) or not {"height_px", "width_px"} <= set(images.columns):
        return
    sizes = images.drop_duplicates("image").set_index("image")[["width_px", "height_px"]].apply(pd.to_numeric, errors="coerce")
    # an empty column of text stays text when it is mapped
    side = {k: crystals["image"].map(sizes[f"{k}_px"]).astype(float) for k in ("width", "height")}
    x, y, w = (pd.to_numeric(crystals[c], errors="coerce") for c in ("x_px", "y_px", "width_px"))
    wrong = (x > side["width"] + 1) | (y > side["height"] + 1) | (w > 2 * np.hypot(side["width"], side["height"]))
    if wrong.any():
        raise DataError(
            f"{path} places {wrong.sum()} crystals outside their photographs (first: x {x[wrong].iloc[0]:g}, y "
            f"{y[wrong].iloc[0]:g}, width {w[wrong].iloc[0]:g} px in {crystals['image'][wrong].iloc[0]}); a spreadsheet may "
            "have changed the numbers: let predict write the table anew"
        )


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
        missing.append("sizes_over_time was not drawn: the groups name no two times")
    if tables["growth"]["rate"].notna().any():
        made["growth"] = figures.growth(tables["growth"], options.unit, options.alpha)
    elif "time" in analysis.groups:
        missing.append("growth was not drawn: no series has crystals at two times")
    if len(tables["areas"]):
        by, unit = options.regression_by or (), options.concentration_unit
        made["area_concentration"] = figures.area_against_concentration(tables["areas"], by, options.unit, unit, options.alpha)
    else:
        missing.append("area_concentration was not drawn: the groups name no concentration")
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


def check_sizes_folder(out: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """Raises InputError where tables and figures would replace an input or what ``write_sizes`` did not write."""
    files = (*(f"{name}.csv" for name in TABLES), "settings.json", "sizes.xlsx")
    check_output(out, "sizes", inputs, (*files, *(f"figures/{name}.*" for name in FIGURES)))


def write_sizes(
    analysis: Analysis,
    out: str | Path,
    command: str = "",
    *,
    inputs: Iterable[str | Path] = (),
    excel: bool = False,
    crystals: pd.DataFrame | None = None,
    images: pd.DataFrame | None = None,
) -> list[str]:
    """Write OUT/*.csv, OUT/figures/*.png and .svg and OUT/settings.json.

    Tables have the unit in the names of their columns (``with_units``). Figures of an earlier run that this one does not
    draw are removed, and so is its workbook, unless it was edited.

    Args:
        analysis: of ``analyse``.
        out: folder; made where it is not there.
        command: the words of the command, for settings.json.
        inputs: files that were read, none of which is replaced.
        excel: OUT/sizes.xlsx as well, with tables of crystals, images, sizes (of groups) and tests.
        crystals: those of the workbook; by default the ones that were analysed.
        images: those of the workbook.

    Returns:
        What could not be drawn, and why; what became of the workbook of an earlier run.

    Raises:
        InputError: the folder holds inputs or files of others (``check_sizes_folder``).
        OutputError: the file system refuses something.

    Examples:
        >>> not_drawn = sizes.write_sizes(sizes.analyse(crystals, groups), "sizes")
        >>> not_drawn
        ['area_concentration was not drawn: the groups name no concentration']
    """
    check_sizes_folder(out, inputs)
    out = made_folder(out)
    unit = analysis.options.unit
    digests = (read_settings(out) or {}).get("written") or {}
    settings: dict[str, Any] = {"program": "sizes", "version": __version__, "command": command, "finished": False}
    settings["written"] = digests
    _write_settings(out, settings)
    for name, table in analysis.tables.items():
        write_table(with_units(table, unit), out / f"{name}.csv")
    made, missing = draw_figures(analysis)
    folder = made_folder(out / "figures")
    for name in set(FIGURES) - set(made):
        for suffix in (".png", ".svg"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    for name, figure in made.items():
        save_figure(figure, folder, name)
    if excel:
        sheets = {"crystals": analysis.crystals if crystals is None else crystals}
        sheets |= {} if images is None else {"images": images}
        sheets |= {"sizes": with_units(analysis.tables["groups"], unit), "tests": with_units(analysis.tables["tests"], unit)}
        write_workbook(sheets, out / "sizes.xlsx")
    missing += remove_earlier(out, {"sizes.xlsx": "--excel"}, ["sizes.xlsx"] if excel else [], digests)
    settings |= {
        **asdict(analysis.options),
        "notes": [*analysis.notes, *missing],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "finished": True,
    }
    _write_settings(out, settings)
    return missing


def _write_settings(out: Path, settings: dict[str, Any]) -> None:
    with written(out / "settings.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


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
    """Say what an analysis found, in a few lines.

    Args:
        analysis: of ``analyse``.

    Returns:
        Text for a terminal.

    Examples:
        >>> print(sizes.summary(sizes.analyse(crystals, groups)).splitlines()[0])
        crystals 5 (1 at the border left out of sizes), images 2, groups 2; sizes in px
    """
    options, tables, found = analysis.options, analysis.tables, analysis.crystals
    unit = UNIT_TEXTS[options.unit]
    left = len(found) - int(found["measured"].sum())
    lines = [
        f"crystals {len(found)}{f' ({left} at the border left out of sizes)' if left else ''}, images {len(analysis.groups)}, "
        f"groups {len(tables['groups'])}; sizes in {unit}"
    ]
    lines += [f"note: {note}" for note in analysis.notes]
    for compared in options.compare or ():
        lines += _tests_listed(tables["tests"], compared, options.alpha)
    sure = f"{100 * (1 - options.alpha):g} %"
    rates = []
    for key, rows in parts(tables["growth"], keys_of(tables["growth"])):
        known = [r for r in rows.to_dict("records") if r["n_times"] > 1]
        listed = [f"{r['measure']} {_estimate(r['rate'], r['rate_low'], r['rate_high'], 3)}" for r in known]
        rates += [f"  {named(key) or 'all'}: {', '.join(listed)}"] if listed else []
    if rates:
        lines += [f"growth of the median in {unit}/h ({sure} confidence)", *_first(rates, "growth.csv")]
    slopes = [
        f"  {named({k: r[k] for k in options.regression_by or ()}) or 'all'}: "
        f"{_estimate(r['slope'], r['slope_low'], r['slope_high'], 4)}, R² {r['r_squared']:.3f}, {r['n']} points"
        for r in tables["regression"].to_dict("records")
        if r["n"] > 1
    ]
    if slopes:
        lines += [f"slope of the area per image, {unit}², against the concentration", *_first(slopes, "regression.csv")]
    return "\n".join(lines)


def _estimate(value: float, low: float, high: float, digits: int) -> str:
    """A slope with its interval; a line through two points has none."""
    interval = "no interval from two points" if math.isnan(low) else f"{low:.{digits}g} .. {high:.{digits}g}"
    return f"{value:.{digits}g} ({interval})"


def _tests_listed(tests: pd.DataFrame, compared: str, alpha: float) -> list[str]:
    some = tests[tests["compared"] == compared]
    if not len(some):
        return []
    done = some["p_value"].notna().groupby(some["measure"]).sum().max()
    found = [
        f"{str(measure).replace('_', ' ')} {rows['rejected'].sum()} ({rows['rejected_holm'].sum()})"
        for measure, rows in some.groupby("measure", sort=False)
    ]
    return [
        f"{compared}: of {done} Kolmogorov-Smirnov tests, p < {alpha:g} (also after Holm's adjustment): {', '.join(found)}",
        f"  {DEPENDENT}",
    ]


def _first(lines: list[str], file: str, most: int = 8) -> list[str]:
    return lines[:most] + ([f"  and {len(lines) - most} more in {file}"] if len(lines) > most else [])
