"""Tables as one Excel workbook, for people: units in headers, numbers as numbers, names as text whatever they begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..files import written

ROWS = 1_048_575  # of a sheet, below its header
TEXT = 32_767  # characters of a cell
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what a workbook cannot hold
UNITS = {"px": "px", "px2": "px²", "um": "µm", "um2": "µm²", "deg": "°", "h": "h", "um_per_h": "µm/h", "px_per_h": "px/h",
         "um_per_px": "µm per px"}  # fmt: skip
NAMED = {"time": "time (h)", "seconds": "duration (s)", "um_per_px": "scale (µm per px)", "from_hours": "from (h)",
         "to_hours": "to (h)", "time_h": "time (h)"}  # fmt: skip
UNIT = re.compile(r"^(?P<what>.+?)_(?P<unit>um2|px2|um_per_h|px_per_h|um|px|deg|h)(?:_(?P<of>[a-z0-9_]+))?$")


def header(name: str) -> str:
    """The name of a column for people: width_um_median becomes "width, median (µm)"."""
    if name in NAMED:
        return NAMED[name]
    found = UNIT.match(name)
    if found is None:
        return name.replace("_", " ")
    unit = UNITS[found["unit"]]
    what = found["what"].replace("_", " ")
    if what == "area":
        unit = {"px": "px²", "µm": "µm²"}.get(unit, unit)
    return f"{what}{', ' + found['of'].replace('_', ' ') if found['of'] else ''} ({unit})"


def write_workbook(sheets: Mapping[str, pd.DataFrame], path: str | Path) -> None:
    """Write tables as the sheets of a workbook (.xlsx), whole or not at all.

    Text stays text: a name that begins with = + - @ is marked so that it cannot become a formula, not even when it is
    edited. Raises InputError for another ending or more rows than a sheet has, OutputError.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    path = Path(path)
    if path.suffix.lower() != ".xlsx":
        raise InputError(f"{path}: a workbook ends in .xlsx")
    for name, table in sheets.items():
        if len(table) > ROWS:
            raise InputError(f"{name} has {len(table)} rows, a sheet of Excel at most {ROWS}; use the CSV file")
    book = Workbook(write_only=True)

    def cell(sheet: Any, value: Any) -> Any:
        if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
            return None
        if isinstance(value, str):
            made = WriteOnlyCell(sheet, FORBIDDEN.sub("\ufffd", value)[:TEXT])
            made.data_type = "s"
            if value[:1] in ("=", "+", "-", "@", "\t", "\r"):
                made.quotePrefix = True
            return made
        return value

    for name, table in sheets.items():
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        heads = [header(str(c)) for c in table.columns]
        for number, head in enumerate(heads, 1):
            longest = max([len(head), *(len(str(v)) for v in table.iloc[:200, number - 1] if isinstance(v, str))])
            sheet.column_dimensions[get_column_letter(number)].width = min(max(longest + 2, 9), 48)
        first = [WriteOnlyCell(sheet, head) for head in heads]
        for made in first:
            made.font, made.alignment, made.data_type = Font(bold=True), Alignment(wrap_text=True, vertical="top"), "s"
        sheet.append(first)
        for row in zip(*(_plain(table[c]) for c in table.columns)):
            sheet.append([cell(sheet, value) for value in row])
    with written(path) as temporary:
        book.save(temporary)


def _plain(column: pd.Series) -> list[Any]:
    """Values of Python's own types; a category as its text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values
