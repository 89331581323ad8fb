"""Tables as people keep them: CSV of any separator and encoding, Excel workbooks. Every cell is text until it is read as a
number; a number that could be read in two ways is a question, not a guess."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import DataError, InputError

TEXTS = (".csv", ".tsv", ".txt", ".tab")
ENDINGS = (*TEXTS, ".xlsx", ".xlsm", ".parquet")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
TRUE = ("true", "1", "1.0", "yes", "wahr", "ja", "vrai", "verdadero", "vero", "sant", "sand", "waar", "prawda", "да")
FALSE = ("false", "0", "0.0", "no", "falsch", "nein", "faux", "falso", "falskt", "falsk", "onwaar", "fałsz", "нет")
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}$")  # may be 1.234 or 1234
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(([.,])\d{3}(\2\d{3})+|(,\d{3})+\.\d+|(\.\d{3})+,\d+)$")
MONTHS = "jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
DATE = re.compile(rf"^(\d{{1,2}}[.\- ]+({MONTHS})[a-z]*\.?|({MONTHS})[a-z]*\.?[\- ]\d{{1,4}})$", re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """cells: a table of text, "" where empty; separator: of the columns, "" in a workbook; source: for messages."""

    cells: pd.DataFrame
    separator: str
    source: str


def read_sheet(path: str | Path) -> Sheet:
    """Read a table: CSV with commas, semicolons or tabs, in UTF-8, UTF-16 or the code page of Western Windows (1252), an Excel
    workbook (its first sheet), or Parquet.

    Empty rows, empty columns without a name, and a line "sep=;" are passed over. Raises DataError for what cannot be read,
    InputError for an ending that is none of these.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        remedy = "; save it as .xlsx or .csv" if kind in (".xls", ".ods", ".numbers", ".fods") else ""
        raise InputError(f"{path}: tables end in {', '.join(ENDINGS)}{remedy}")
    if not path.is_file():
        raise DataError(f"{path}: no such table")
    separator = ""
    if kind == ".parquet":
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError, ImportError) as e:
            raise DataError(f"{path}: cannot be read as a parquet table: {e}") from None
        rows = [[str(c) for c in table.columns], *([_text(v, str(path)) for v in row] for row in table.to_numpy(dtype=object))]
    elif kind in TEXTS:
        text = _decoded(path)
        separator, rows = _rows(text, path)
    else:
        rows = _workbook(path)
    rows = [row for row in ([c.strip() for c in r] for r in rows) if any(row)]
    if not rows:
        raise DataError(f"{path}: cannot be read as a table: it is empty")
    names, *body = rows
    width = max(len(names), max((_filled(row) for row in body), default=0))
    if width > len(names):
        first = next(i for i, row in enumerate(body) if _filled(row) > len(names))
        raise DataError(
            f"{path}: row {first + 2} has {_filled(body[first])} cells, the header {len(names)}: one lacks its name"
        )
    named = [i for i, name in enumerate(names) if name or any(i < len(row) and row[i] for row in body)]
    cells = [[row[i] if i < len(row) else "" for i in named] for row in body]
    table = pd.DataFrame(cells, columns=[names[i] for i in named], dtype=object)
    return Sheet(table, separator, str(path))


def numbers_of(sheet: Sheet, columns: Iterable[str]) -> dict[str, pd.Series]:
    """Columns as numbers, nan where empty; those that are no numbers stay nan too, and the caller finds them.

    Commas and dots mean what the table's other numbers show: "0,5" or "12,75" make every comma a decimal one. Where nothing
    shows it, 1,500 (in a table of tabs or semicolons also 1.500) may be 1.5 or 1500 and is a DataError that asks; in a table
    separated by commas, and in workbooks, a dot is a decimal one.
    """
    wanted = [c for c in columns if c in sheet.cells.columns]
    cells = [(c, i, str(v)) for c in wanted for i, v in enumerate(sheet.cells[c]) if v]
    marks = {mark for _, _, text in cells for mark in _marks(text)}
    if sheet.separator in (",", "") and "," not in marks:
        marks.add(".")
    if len(marks) > 1:
        shown = [
            next(t for _, _, t in cells if m in _marks(t)) for m in sorted(marks) if any(m in _marks(t) for _, _, t in cells)
        ]
        raise DataError(
            f"{sheet.source}: numbers with decimal commas and with decimal dots ({' and '.join(shown)}); write all with dots"
        )
    decimal = next(iter(marks), None)
    result = {}
    for column in wanted:
        values = []
        for row, text in enumerate(map(str, sheet.cells[column])):
            doubtful = GROUPED.match(text) and (decimal is None or decimal not in text)
            if doubtful:
                comma = "," if "," in text else "."
                raise DataError(
                    f"{sheet.source}: {column} in row {row + 2} is {text!r}, which may be {text.replace(comma, '.')} or "
                    f"{text.replace(comma, '')}; write it as one of these"
                    + ("" if comma == "." and decimal != "," else ", with a dot")
                )
            values.append(number(text, decimal))
        result[column] = pd.Series(values, index=sheet.cells.index, dtype=float)
    return result


def number(text: str, decimal: str | None = ".") -> float:
    """A number as text, nan for what is none; decimal: "," where commas are decimal."""
    text = text.strip().replace("\u2212", "-")
    if decimal == "," or ("," in text and "." not in text and not GROUPED.match(text)):
        text = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    return float(text) if PLAIN.match(text) else math.nan


def truth(text: str) -> bool | None:
    """Yes or no as spreadsheets of several languages write them; None for what is neither."""
    word = text.strip().lower()
    return True if word in TRUE else False if word in FALSE else None


def dates_among(texts: Iterable[str]) -> list[str]:
    """What a spreadsheet may have made of 1-2 or 1.2: dates such as "01. Feb"."""
    return [t for t in texts if DATE.match(t.strip())]


def sorting_key(text: str) -> tuple[float, str]:
    """Of labels that are all numbers: by value, and 1.1 before 1.10."""
    return number(text, "," if "," in text and "." not in text else "."), text


def all_numbers(texts: Iterable[str]) -> bool:
    return all(math.isfinite(sorting_key(t)[0]) for t in texts)


def _marks(text: str) -> set[str]:
    """What is surely the decimal mark of a number: not of 1,234, which may be either."""
    text = text.strip()
    if GROUPED.match(text) or not re.match(r"^[+-]?[\d.,]+([eE][+-]?\d+)?$", text):
        return set()
    if THOUSANDS.match(text):
        return set()
    found = {m for m in ".," if text.count(m) == 1}
    return found if len(found) == 1 and text.count(".") + text.count(",") == 1 else set()


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from None
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        if content[:4].count(0) >= 1 and b"\0" in content[:200]:
            return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content:
            raise DataError(f"{path}: no text in UTF-8 or UTF-16; save the table as CSV in UTF-8") from None
        return content.decode("cp1252", errors="replace")


def _rows(text: str, path: Path) -> tuple[str, list[list[str]]]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    declared = re.match(r"^\"?sep=(.)\"?\s*$", first, re.IGNORECASE)
    if declared:
        text = text.split(first, 1)[1].lstrip("\r\n")
        first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {s: first.count(s) for s in SEPARATORS}
    separator = declared[1] if declared else max(counts, key=lambda s: (counts[s], s != ","))
    if not declared and not counts[separator]:
        separator = ","
    try:
        return separator, list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True))
    except csv.Error as e:
        raise DataError(f"{path}: cannot be read as a table separated by {SEPARATORS.get(separator, separator)}: {e}") from None


def _workbook(path: Path) -> list[list[str]]:
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        rows = [[_text(v, f"{path}, row {n}") for v in row] for n, row in enumerate(sheet.iter_rows(values_only=True), 1)]
        book.close()
    except (BadZipFile, InvalidFileException, KeyError, IndexError, OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be read as an Excel workbook ({e}); save it anew as .xlsx, or as CSV") from None
    return rows


def _text(value: Any, where: str) -> str:
    """A cell as the text that was typed, as far as that is known."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, datetime | date | time) and not isinstance(value, pd.Timestamp):
        raise DataError(
            f"{where}: a spreadsheet has made a date of a cell ({value}); format the column as text and type it again, times "
            "as hours since the start"
        )
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _filled(row: list[str]) -> int:
    return max((i + 1 for i, c in enumerate(row) if c), default=0)
