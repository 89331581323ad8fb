"""Tables of crystals: one row per crystal, the form in which ``predict``, ``sizes`` and ``report`` pass them on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..errors import DataError, InputError
from ..files import written

SUFFIXES = (".csv", ".parquet")
CSV: dict[str, Any] = {"skipinitialspace": True, "keep_default_na": False, "na_values": ["", "nan"]}  # a mutant may be "null"
PIXELS = ("x_px", "y_px", "width_px", "height_px", "area_px")
MICROMETRES = ("width_um", "height_um", "area_um2")
COLUMNS = ("image", "crystal", *PIXELS, *MICROMETRES, "aspect_ratio", "angle_deg", "score", "at_border")
"""image: the image's name; crystal: its number there, from 1 on; x_px, y_px: centre, pixel i spanning [i, i + 1); width: the
longer side, height: the shorter; area: width times height; aspect_ratio: width / height, at least 1; angle_deg: of the longer
side, [-90, 90), clockwise on screen; score: 0 .. 1; at_border: whether it touches the image's border, so that part of it may
be missing. Columns in um are empty where the scale is not known."""


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False, float_format="%.6g")
        else:
            table.to_parquet(temporary, index=False)


def read_table(path: str | Path, needs: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read a table of ``write_table``, or any other CSV or Parquet file; all of its columns are kept.

    Raises DataError for a file that is missing or unreadable or lacks a column of ``needs``, InputError for its ending.
    """
    path = Path(path)
    _check_suffix(path)
    try:
        table = pd.read_csv(path, **CSV) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, UnicodeDecodeError) as e:  # pandas' and pyarrow's errors are ValueErrors
        raise DataError(f"{path}: cannot be read as a {path.suffix[1:]} table: {e}") from None
    missing = [c for c in needs if c not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table.columns)) or 'none'}")
    return table


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: tables end in {' or '.join(SUFFIXES)}")
