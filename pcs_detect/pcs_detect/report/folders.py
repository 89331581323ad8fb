"""What ``predict`` and ``sizes`` wrote, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.tables import COLUMNS, read_table
from ..errors import DataError

IMAGES = ("image", "path", "height_px", "width_px", "um_per_px", "crystals", "at_border")
TABLES = ("groups", "series", "growth", "areas", "regression", "tests", "ecdf")


@dataclass(frozen=True)
class Predicted:
    """A folder of ``predict``. crystals, images: its tables, names of images as text without blanks around them; text: its
    crystals.csv and images.csv as they stand in the files; settings: empty where there is no settings.json."""

    folder: Path
    crystals: pd.DataFrame
    images: pd.DataFrame
    text: dict[str, str]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """A folder of ``sizes``. tables: every cell as the file has it, empty ones too; text: the files; figures: SVG files."""

    folder: Path
    tables: dict[str, pd.DataFrame]
    text: dict[str, str]
    figures: dict[str, bytes]
    settings: dict[str, Any]


def read_predicted(folder: Path) -> Predicted:
    """Raises DataError for a folder that lacks crystals.csv or images.csv, or whose tables lack columns."""
    if not (folder / "crystals.csv").is_file() or not (folder / "images.csv").is_file():
        raise DataError(
            f"{folder}: no crystals.csv and images.csv there; give the folder that pcs-detect predict wrote (--out)"
        )
    crystals, images = read_table(folder / "crystals.csv", COLUMNS), read_table(folder / "images.csv", IMAGES)
    for table in (crystals, images):
        table["image"] = table["image"].astype(str).str.strip()
    for name in ("path", "overlay", "sha256", "error"):
        given = images[name] if name in images.columns else pd.Series("", index=images.index)
        images[name] = given.astype(object).where(given.notna(), "").astype(str)
    if "white" not in images.columns:
        images["white"] = np.nan  # results up to 0.3
    for name in (*IMAGES[2:], "white"):
        images[name] = pd.to_numeric(images[name], errors="coerce").astype(float)
    unknown = images[["height_px", "width_px"]].isna().any(axis=1) & (images["error"] == "")
    if unknown.any():
        raise DataError(f"{folder}: images.csv lacks the size of {images['image'][unknown].iloc[0]}; let predict write it anew")
    twice = images["image"][images["image"].duplicated()]
    if len(twice):
        raise DataError(f"{folder}: images.csv names {twice.iloc[0]} more than once")
    strange = set(crystals["image"]) - set(images["image"])
    if strange:
        raise DataError(f"{folder}: crystals.csv names {min(strange)}, which images.csv lacks; let predict write both anew")
    text = {name: _text(folder / f"{name}.csv") for name in ("crystals", "images")}
    return Predicted(folder, crystals, images, text, _settings(folder))


def read_sizes(folder: Path) -> Sizes:
    """Raises DataError for a folder without groups.csv, or a table that cannot be read."""
    if not (folder / "groups.csv").is_file():
        raise DataError(f"{folder}: no groups.csv there; give the folder that pcs-detect sizes wrote (--out)")
    text = {name: _text(folder / f"{name}.csv") for name in TABLES if (folder / f"{name}.csv").is_file()}
    tables = {name: _cells(folder / f"{name}.csv") for name in text}
    figures = {path.stem: path.read_bytes() for path in sorted((folder / "figures").glob("*.svg"))}
    return Sizes(folder, tables, text, figures, _settings(folder))


def _cells(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be read as a table: {e}") from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: cannot be read as text: {e}") from None


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "settings.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be read as settings: {e}; delete it to have a report without them") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: no settings of pcs-detect; delete it to have a report without them")
    return found
