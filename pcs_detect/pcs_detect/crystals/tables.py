"""Tables of crystals: one row per crystal, the form in which ``predict``, ``sizes`` and ``report`` pass them on."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..errors import DataError, InputError
from ..extras import install
from ..files import written
from .spreadsheets import ENDINGS, Sheet, numbers_of, read_sheet

SUFFIXES = (".csv", ".parquet")  # of tables that are written
CSV: dict[str, Any] = {"skipinitialspace": True, "keep_default_na": False, "na_values": ["", "nan"], "dtype": {"image": str}}
PIXELS = ("x_px", "y_px", "width_px", "height_px", "area_px")
MICROMETRES = ("width_um", "height_um", "area_um2")
COLUMNS = ("image", "crystal", *PIXELS, *MICROMETRES, "aspect_ratio", "angle_deg", "score", "at_border")
"""image: the image's name; crystal: its number there, from 1 on; x_px, y_px: centre, pixel i spanning [i, i + 1); width: the
longer side, height: the shorter; area: width times height; aspect_ratio: width / height, at least 1; angle_deg: of the longer
side, [-90, 90), clockwise on screen; score: 0 .. 1; at_border: whether it touches the image's border, so that part of it may
be missing. Columns in um are empty where the scale is not known."""
NUMBERS = {*COLUMNS[1:-1], "um_per_px", "time_h", "white", "crystals", "cut", "seconds"}


def crystal_table(
    image: str, boxes: ArrayLike, scores: ArrayLike, at_border: ArrayLike, um_per_px: float | None = None
) -> pd.DataFrame:
    """The rows (COLUMNS) of one image, best score first.

    boxes: (N, 5) cx, cy, w, h, theta in px and radians, w >= h > 0; scores (N,); at_border (N,) bool; um_per_px: scale, um.
    Raises InputError for a scale that is not positive.
    """
    if um_per_px is not None and not 0 < um_per_px < math.inf:
        raise InputError(f"um_per_px is {um_per_px}; it takes a positive number of micrometres per pixel")
    order = np.argsort(-np.asarray(scores, dtype=np.float64).reshape(-1), kind="stable")
    x, y, w, h, theta = np.asarray(boxes, dtype=np.float64).reshape(-1, 5)[order].T
    scale = math.nan if um_per_px is None else um_per_px
    angle = np.degrees(theta)
    rows = {
        "image": np.full(len(order), image, dtype=object),
        "crystal": np.arange(1, len(order) + 1),
        **dict(zip(PIXELS, (x, y, w, h, w * h))),
        **dict(zip(MICROMETRES, (w * scale, h * scale, w * h * scale**2))),
        "aspect_ratio": w / h,
        "angle_deg": np.where(angle >= 90, angle - 180, angle),
        "score": np.asarray(scores, dtype=np.float64).reshape(-1)[order],
        "at_border": np.asarray(at_border, dtype=bool).reshape(-1)[order],
    }
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV or, by the ending .parquet, Parquet; whole or not at all. Raises InputError."""
    path = Path(path)
    _check_suffix(path)
    check_parquet(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        if path.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, float_format="%.6g")
        else:
            table.to_parquet(temporary, index=False)


def read_table(path: str | Path, needs: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read a table of ``write_table``, or any other CSV, Excel or Parquet file; all of its columns are kept, names of images as
    text. What a spreadsheet saved (semicolons, decimal commas, FALSCH, other encodings) is read as ``spreadsheets`` says.

    Raises DataError for a file that is missing or unreadable or lacks a column of ``needs``, InputError for its ending.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if not path.exists() and kind not in SUFFIXES:
        raise DataError(f"{path}: cannot be read, there is no such file or folder")
    if kind not in ENDINGS:
        raise InputError(f"{path}: tables end in {', '.join(ENDINGS)}")
    try:
        if kind == ".parquet":
            table = pd.read_parquet(path)
        elif kind == ".csv" and _as_written(path):
            try:
                table = pd.read_csv(path, **CSV)
            except UnicodeDecodeError:
                table = _typed(read_sheet(path))
        else:
            table = _typed(read_sheet(path))
    except ImportError:
        raise InputError(f"{path}: Parquet needs pyarrow; use CSV, or {install('pyarrow')}") from None
    except (OSError, ValueError, UnicodeDecodeError) as e:  # pandas' and pyarrow's errors are ValueErrors
        raise DataError(f"{path}: cannot be read as a {kind[1:]} table: {e}") from None
    missing = [c for c in needs if c not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table.columns)) or 'none'}")
    return table


def check_parquet(path: str | Path) -> None:
    """Raises InputError where a Parquet file cannot be written for want of pyarrow."""
    if Path(path).suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{path}: Parquet needs pyarrow; leave it away and use the CSV file, or {install('pyarrow')}")


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: tables end in {' or '.join(SUFFIXES)}")


def _as_written(path: Path) -> bool:
    """Whether a CSV file is as ``write_table`` writes them: commas, UTF-8, a plain header; these are read fast."""
    with open(path, "rb") as file:
        head = file.readline(10_000)
    return not re.search(rb"[;\t\x00\x80-\xff]|^\xef|(?i:^\"?sep=)", head.removeprefix(b"\xef\xbb\xbf")) and b"," in head


def _typed(sheet: Sheet) -> pd.DataFrame:
    """The cells of a sheet, those of columns that hold numbers as numbers."""
    table = sheet.cells.copy()
    known = [c for c in table.columns if str(c) in NUMBERS]
    for name, values in numbers_of(sheet, known).items():
        wrong = values.isna() & (table[name] != "")
        table[name] = values.astype(object).where(~wrong, table[name]) if wrong.any() else values
    return table.replace("", None)


def image_names(column: pd.Series) -> pd.Series:
    """Names of images as text without blanks around them, letters with accents in one way (file systems write them in two)."""
    return column.astype(str).str.strip().str.normalize("NFC")
