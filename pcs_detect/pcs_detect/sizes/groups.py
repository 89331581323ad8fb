"""Which image belongs to which sample: the table of groups, and crystals joined to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.spreadsheets import all_numbers, numbers_of, read_sheet, sorting_key, truth
from ..crystals.tables import image_names
from ..errors import DataError, InputError

KEYS = ("replicate", "time", "dilution", "variant")
"""The columns that make groups, each optional: replicate, dilution, variant: any text; time: hours."""
NUMBERS = ("time", "concentration")
KNOWN = ("image", *KEYS, "concentration")
HOURS = {"": 1.0, **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "std"), 1.0), **dict.fromkeys(("d", "day", "days"), 24.0),
         **dict.fromkeys(("min", "mins", "minute", "minutes"), 1 / 60),
         **dict.fromkeys(("s", "sec", "second", "seconds"), 1 / 3600)}  # fmt: skip
"""hours of a unit of time"""
UNITS = ("auto", "um", "px")
BORDERS = ("drop", "keep")
SIZES = ("width", "height")


def read_groups(path: str | Path) -> pd.DataFrame:
    """Read and check (``checked_groups``) a table of groups: CSV of any separator and encoding, Excel (.xlsx), or Parquet.

    Args:
        path: of the file.

    Returns:
        One row per image.

    Raises:
        DataError: it cannot be read or lacks something.
        InputError: it has another ending.

    Examples:
        >>> groups.to_csv("groups.csv", index=False)
        >>> sizes.read_groups("groups.csv").time.tolist()
        [1.0, 5.0]
    """
    return checked_groups(raw_groups(path), str(path))


def raw_groups(path: str | Path) -> pd.DataFrame:
    """The table as it stands in the file: text in every cell but those of times and concentrations that are numbers.

    Raises as ``read_groups``, and DataError for a number that could be read in two ways (``spreadsheets.numbers_of``).
    """
    sheet = read_sheet(path)
    if not len(sheet.cells):
        raise DataError(f"{path} has a header and no rows; every image needs a row that says what it belongs to")
    table = sheet.cells.copy()
    numeric = [c for c, (name, _) in zip(table.columns, map(_meaning, table.columns)) if name in NUMBERS]
    for name, values in numbers_of(sheet, numeric).items():
        if table.columns.tolist().count(name) == 1:
            table[name] = values.astype(object).where(values.notna(), table[name])
    return table.replace("", None)


def _meaning(header: Any) -> tuple[str, str]:
    """(name as it is looked up, unit) of a header such as "Time (min)", "time_h" or "concentration [g/L]"."""
    text = " ".join(str(header).strip().lower().split())
    found = re.fullmatch(r"(time|concentration)[ _]*[(\[/]?[ ]*(.*?)[ ]*[)\]]?", text)
    if found is None or (found[2] and text[len(found[1])] not in " _([/"):
        return text, ""
    return found[1], found[2]


def column_names(table: pd.DataFrame) -> list[str]:
    """Names of the columns as they are looked up: without regard to capitals and surrounding blanks, and without units."""
    return [_meaning(c)[0] for c in table.columns]


def concentration_unit(table: pd.DataFrame) -> str:
    """The unit that the header of the concentrations names, "" where it names none."""
    headers = [str(c) for c in table.columns if _meaning(c)[0] == "concentration"]
    if not headers or not _meaning(headers[0])[1]:
        return ""
    inside = re.search(r"concentration[ _]*[(\[/]?[ ]*(.*?)[ ]*[)\]]?$", headers[0].strip(), re.IGNORECASE)
    return inside[1] if inside else ""


def checked_groups(table: pd.DataFrame, source: str = "the table of groups") -> pd.DataFrame:
    """Check the table that says which image belongs to what.

    Times are hours; the header may name another unit, as in "time (min)" (HOURS). Replicate, dilution and variant are text, so
    that 1.1 and 1.10, 01 and 1, 1E2 and 100 are different, and become ordered categories: sorted as numbers where all are such,
    else in the order in which they appear, which is the order in tables and figures. An empty concentration is one that is not
    known, a column that is all empty none.

    Args:
        table: with a column ``image``; replicate, time, dilution, variant and concentration are optional.
        source: what errors call it.

    Returns:
        One row per image: image and those of these columns that the table has; others are left out.

    Raises:
        DataError: a column is missing, an image named twice, any other entry empty, a number text; it names the rows.

    Examples:
        >>> sizes.checked_groups(pd.DataFrame({"image": ["a.png"], "time (min)": ["90"], "dilution": ["1.10"]}))
           image  time dilution
        0  a.png   1.5     1.10
    """
    headers, names = list(table.columns), column_names(table)
    if "image" not in names:
        raise DataError(
            f"{source} lacks the column image; it has {_names(table)}. Call the one with the names of the photographs so, as "
            "groups_template.csv of predict does"
        )
    twice = sorted({n for n in names if n in KNOWN and names.count(n) > 1})
    if twice:
        raise DataError(f"{source} has the column {twice[0]} more than once")
    table = table.set_axis(names, axis="columns").reset_index(drop=True)
    if not len(table):
        raise DataError(f"{source} has no rows; every image needs one that says what it belongs to")
    units = dict(map(_meaning, headers))
    if units.get("time", "") not in HOURS:
        raise DataError(
            f"{source}: times in {units['time']!r}; the header takes {', '.join(u for u in HOURS if u)}, or no unit for h"
        )
    groups = pd.DataFrame({"image": image_names(_texts(table["image"], "image", source))})
    repeated = groups["image"][groups["image"].duplicated()]
    if len(repeated):
        raise DataError(f"{source} names {some_of(repeated.unique())} more than once; every image belongs to one group")
    empty = {n for n in KNOWN[1:] if n in names and (table[n].isna() | (table[n].astype(str).str.strip() == "")).all()}
    for name in KNOWN[1:]:
        if name in empty:  # as in groups_template.csv, of which few need every column
            continue
        if name in NUMBERS and name in names:
            groups[name] = _numbers(table[name], name, groups["image"], source)
            if name == "time":
                groups[name] *= HOURS[units["time"]]
        elif name in names:
            groups[name] = _categories(table[name], name, source)
    return groups


def images_as_groups(images: Iterable[str]) -> pd.DataFrame:
    """The table of groups that puts all images into one."""
    return pd.DataFrame({"image": pd.Series(list(dict.fromkeys(images)), dtype=object)})


def keys_of(groups: pd.DataFrame) -> list[str]:
    """The columns of KEYS that a table has."""
    return [k for k in KEYS if k in groups.columns]


def parts(table: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """({column: value}, its rows) for every combination of values that occurs, sorted; without columns, all rows if any."""
    if not by:
        yield from [({}, table)] if len(table) else []
        return
    for values, rows in table.groupby(list(by), observed=True, sort=True):
        yield dict(zip(by, values)), rows


def joined(
    crystals: pd.DataFrame, groups: pd.DataFrame, *, unit: str = "auto", border: str = "drop", min_score: float = 0.0
) -> tuple[pd.DataFrame, str]:
    """Join crystals to the groups of their images.

    Args:
        crystals: a table with image, width_px and height_px (sides of the box, width >= height > 0) or width_um and height_um,
            and at_border.
        groups: of ``checked_groups``.
        unit: "um", "px", or "auto", which takes um where every crystal has them.
        border: "drop" leaves crystals at the image's border out of ``measured``, "keep" does not and needs no at_border.
        min_score: least score, 0 .. 1, above 0 it needs a column score.

    Returns:
        The crystals of the images that ``groups`` names, and the unit of their sizes. Columns: those of ``groups``, width,
        height, aspect_ratio = width / height, area = width * height, at_border where the crystals have it, and measured
        (bool), whether a crystal's size counts.

    Raises:
        InputError: an option is wrong.
        DataError: a column is missing, or a value cannot be.

    Examples:
        >>> table, unit = sizes.joined(crystals, sizes.checked_groups(groups))
        >>> unit, int(table.measured.sum()), table.area.tolist()[:2]
        ('px', 4, [200.0, 288.0])
    """
    if unit not in UNITS or border not in BORDERS:
        raise InputError(f"unit is {unit!r}, border {border!r}; they take {', '.join(UNITS)}, and {', '.join(BORDERS)}")
    if not 0 <= min_score <= 1:
        raise InputError(f"min_score is {min_score}; it takes a number from 0 to 1")
    if "image" not in crystals.columns:
        raise DataError(f"the table of crystals lacks the column image; it has {_names(crystals)}")
    crystals = crystals.assign(image=image_names(crystals["image"]))
    crystals = crystals[crystals["image"].isin(groups["image"])]
    if min_score > 0:
        crystals = crystals[_column(crystals, "score", "give no least score, or add it") >= min_score]
    unit = _unit(crystals, unit)
    table = pd.DataFrame({"image": crystals["image"].astype(object), **_measures(crystals, unit)})
    if border == "drop" or "at_border" in crystals.columns:
        table["at_border"] = _flags(crystals)
    table["measured"] = ~table["at_border"] if border == "drop" else True
    return groups.merge(table, on="image", how="inner"), unit


def _measures(crystals: pd.DataFrame, unit: str) -> dict[str, pd.Series]:
    width, height = (_column(crystals, f"{name}_{unit}", "run predict, or choose another unit") for name in SIZES)
    for name, values in ((f"width_{unit}", width), (f"height_{unit}", height)):
        wrong = ~(np.isfinite(values) & (values > 0))
        if wrong.any():
            raise DataError(
                f"{name} of {wrong.sum()} crystals is empty or not a positive number (first: {values[wrong].iloc[0]}, image "
                f"{crystals['image'][wrong].iloc[0]}); correct the table" + (" or use px" if unit == "um" else "")
            )
    turned = height > width
    if turned.any():
        raise DataError(
            f"height_{unit} is larger than width_{unit} in {turned.sum()} crystals (first: {height[turned].iloc[0]} and "
            f"{width[turned].iloc[0]}, image {crystals['image'][turned].iloc[0]}); width is the longer side of a crystal's box"
        )
    return {"width": width, "height": height, "aspect_ratio": width / height, "area": width * height}


def _unit(crystals: pd.DataFrame, unit: str) -> str:
    if unit != "auto":
        return unit
    known = all(f"{name}_um" in crystals.columns and crystals[f"{name}_um"].notna().all() for name in SIZES)
    return "um" if known else "px"


def _column(crystals: pd.DataFrame, name: str, remedy: str) -> pd.Series:
    if name not in crystals.columns:
        raise DataError(f"the table of crystals lacks the column {name}; {remedy}; it has {_names(crystals)}")
    values = pd.to_numeric(crystals[name], errors="coerce").astype(np.float64)
    wrong = values.isna() & crystals[name].notna()
    if wrong.any():
        image, found = crystals["image"][wrong].iloc[0], crystals[name][wrong].iloc[0]
        raise DataError(f"{name} of image {image} is {str(found)!r}; it takes a number")
    return values


def _flags(crystals: pd.DataFrame) -> pd.Series:
    if "at_border" not in crystals.columns:
        raise DataError(
            "the table of crystals lacks the column at_border, which says whose size the image's border cuts; add it, or give "
            "border keep to count them all"
        )
    words = crystals["at_border"].astype(str)
    meaning = {word: truth(word) for word in words.unique()}
    values = words.map(meaning)
    wrong = values.isna()
    if wrong.any():
        image, found = crystals["image"][wrong].iloc[0], crystals["at_border"][wrong].iloc[0]
        raise DataError(f"at_border of image {image} is {str(found)!r}; it takes True or False")
    return values.astype(bool)


def _texts(column: pd.Series, name: str, source: str) -> pd.Series:
    empty = column.isna() | (column.astype(str).str.strip() == "")
    if empty.any():
        raise DataError(f"{source}: {name} is empty in {_rows(empty)}; fill it in, or leave out the row or the whole column")
    return column.astype(str).str.strip().astype(object)


def _numbers(column: pd.Series, name: str, images: pd.Series, source: str) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(values) & (column.notna() if name == "concentration" else True)
    if wrong.any():
        unit = ", hours" if name == "time" else ""
        found = column[wrong].iloc[0]
        shown = "empty" if pd.isna(found) else repr(str(found))
        raise DataError(f"{source}: {name} of {images[wrong].iloc[0]} is {shown}; it takes a number{unit}")
    return values


def _categories(column: pd.Series, name: str, source: str) -> pd.Series:
    texts = _texts(column, name, source)
    levels = list(dict.fromkeys(texts))
    if all_numbers(levels):
        levels.sort(key=sorting_key)
    return pd.Series(pd.Categorical(texts, categories=levels, ordered=True), index=column.index)


def _names(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns)) or "none"


def _rows(wrong: pd.Series) -> str:
    numbers = [str(i + 2) for i in np.flatnonzero(wrong)]  # as a spreadsheet numbers them below the header
    return f"row{'s' if len(numbers) > 1 else ''} {some_of(numbers)}"


def some_of(names: Iterable[Any], most: int = 5) -> str:
    """The first names as text, and how many more there are."""
    names = [str(n) for n in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
