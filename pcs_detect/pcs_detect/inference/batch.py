"""Folders of photographs in, tables, labels and pictures out; a run that was killed goes on where it was."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .. import __version__
from ..crystals import drawing
from ..crystals.detections import Detections, write_coco, write_detections
from ..crystals.tables import crystal_table, write_table
from ..errors import DataError, InputError
from ..files import locked, made_folder, written
from ..photographs.reading import find_photographs, names_of, read_photograph
from .detector import Detector

AnyPath = str | os.PathLike[str]
Part = dict[str, Any]
PARTS = "parts"
COUNTS = ("height_px", "width_px", "crystals", "at_border", "cut")
HARMLESS = ("batch_size",)  # of the settings: what may change when a run goes on
LIBRARIES = (
    *("numpy", "pillow", "opencv-python-headless", "tifffile", "onnxruntime"),
    *("torch", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "onedl-mmrotate"),
)


def predict_folder(
    detector: Detector,
    images: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    um_per_px: float | None = None,
    recursive: bool = False,
    overlays: bool = True,
    parquet: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
    command: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Find the crystals of many photographs and write them to the folder ``out``; returns the table of all crystals.

    images: files, folders and glob patterns, see ``find_photographs``. Written are ``crystals.csv`` (with ``parquet`` also
    ``crystals.parquet``; columns as ``crystals.COLUMNS``), ``images.csv`` (one row per photograph: image, path, height_px,
    width_px, um_per_px, crystals, at_border: how many of them touch the border, cut: pieces of objects that tiles cut and that
    are left out, seconds of reading and detecting, overlay: its picture, error), ``detections.json`` (PCS layout with
    scores), ``coco.json`` (upright boxes, outlines and scores, as COCO's tools read them), ``settings.json`` and, unless
    ``overlays`` is False, ``overlays/IMAGE.png``, boxes enlarged by 6 px over the grey photograph.

    A photograph that cannot be read stops nothing: its row in ``images.csv`` says why, a line does on stderr, and when all
    others are done and written DataError is raised. What was found in each photograph is kept in ``out/parts`` at once. The
    same call goes on from there, finds crystals in photographs that are new or have changed, tries failed ones again and
    writes the tables anew, of the photographs that ``images`` names now. Results of another checkpoint, other settings or
    another device in ``out`` are an InputError; with ``overwrite`` they are deleted. progress: a bar on stderr, by default on
    a terminal. command: the words of the command, for settings.json.
    """
    several = [images] if isinstance(images, str | os.PathLike) else list(images)
    photographs = find_photographs(several, recursive, leave_out=out)
    folder = made_folder(out)
    crystal_table("", [], [], [], um_per_px)  # a wrong scale is said now
    with locked(folder):
        _begin(folder, detector, um_per_px, overwrite, command)
        rows: list[Part] = []
        tables: list[pd.DataFrame] = []
        found: list[Detections] = []
        names = names_of(photographs)
        bar = tqdm(names, desc="photographs", unit="", disable=None if progress is None else not progress, file=sys.stderr)
        for number, (name, path) in enumerate(zip(bar, photographs), 1):
            part = _part(folder, detector, name, path, overlays)
            row = _row(part, name, path, um_per_px, f"overlays/{name}.png" if overlays else "")
            rows.append(row)
            if part["error"]:
                bar.write(f"left out: {part['error']}", file=sys.stderr)
                continue
            if part["cut"]:
                bar.write(f"{name}: {detector.cut_message(part['cut'])}", file=sys.stderr)
            boxes, scores = np.array(part["boxes"], dtype=np.float64).reshape(-1, 5), np.array(part["scores"], dtype=np.float64)
            tables.append(crystal_table(name, boxes, scores, part["at_border"], um_per_px))
            found.append(Detections(number, name, (part["height_px"], part["width_px"]), boxes, scores))
        table = _together(tables)
        write_table(table, folder / "crystals.csv")
        if parquet:
            write_table(table, folder / "crystals.parquet")
        write_table(pd.DataFrame(rows).astype(dict.fromkeys(COUNTS, "Int64")), folder / "images.csv")
        write_detections(folder / "detections.json", found)
        write_coco(folder / "coco.json", found)
    failed = [row["image"] for row in rows if row["error"]]
    if failed:
        some = ", ".join(failed[:5]) + (f" and {len(failed) - 5} more" if len(failed) > 5 else "")
        raise DataError(
            f"{len(failed)} of {len(rows)} photographs could not be read: {some}; images.csv says why, {folder} has the others"
        )
    return table


def _begin(folder: Path, detector: Detector, um_per_px: float | None, overwrite: bool, command: Sequence[str] | None) -> None:
    """Write settings.json, or see that what is there was found with the same settings."""
    path = folder / "settings.json"
    decisive = {"checkpoint": detector.source, "settings": detector.settings, "device": detector.device}
    if overwrite:
        for old in (PARTS, "overlays"):
            shutil.rmtree(folder / old, ignore_errors=True)
    else:
        before = _read(path)
        if not isinstance(before, dict) and any((folder / PARTS).glob("*")):
            raise InputError(
                f"{folder} holds crystals, but {path.name} does not say how they were found; take another folder (--out) or "
                "have them replaced (--overwrite)"
            )
        changes = _changes(before, decisive)
        if changes:
            raise InputError(
                f"{folder} holds crystals found with other settings ({'; '.join(changes)}); take another folder (--out) or "
                "have them replaced (--overwrite)"
            )
    document = {
        "version": __version__,
        "command": None if command is None else shlex.join(command),
        **decisive,
        "um_per_px": um_per_px,
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "machine": platform.machine(),
    }
    with written(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")


def _changes(before: Any, now: dict[str, Any]) -> list[str]:
    """Where settings differ that decide about the crystals; what a file is called does not."""
    if not isinstance(before, dict):
        return []
    then, after = _decisive(before), _decisive(now)
    return [f"{k} was {then.get(k)!r}, is {after[k]!r}" for k in after if then.get(k) != after[k]]


def _decisive(document: dict[str, Any]) -> dict[str, Any]:
    settings = {k: v for k, v in (document.get("settings") or {}).items() if k not in HARMLESS}
    return {"checkpoint": (document.get("checkpoint") or {}).get("sha256"), **settings, "device": document.get("device")}


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _part(folder: Path, detector: Detector, name: str, path: Path, overlays: bool) -> Part:
    """What is in one photograph: read if an earlier run found it, else found now and kept."""
    file, picture = folder / PARTS / f"{name}.json", folder / "overlays" / f"{name}.png"
    state = path.stat()
    source = [str(path.resolve()), state.st_size, state.st_mtime_ns]
    part = _read(file)
    known = isinstance(part, dict) and part.get("source") == source and not part.get("error")
    if known and (picture.is_file() or not overlays):
        return part
    if not known:
        picture.unlink(missing_ok=True)  # of what the photograph was before
    began = time.monotonic()
    try:
        grey = read_photograph(path, detector.white)
    except DataError as e:
        part = {"source": source, "error": str(e)}
    else:
        if not known:
            found = detector.detect(grey)
            part = {
                "source": source,
                "height_px": grey.shape[0],
                "width_px": grey.shape[1],
                "boxes": found.boxes.tolist(),
                "scores": found.scores.tolist(),
                "at_border": detector.at_border(found, grey.shape).tolist(),
                "cut": len(found.cut),
                "seconds": round(time.monotonic() - began, 3),
                "error": "",
            }
        if overlays:
            shown = drawing.overlay(grey.round().astype(np.uint8), part["boxes"], part["at_border"])
            drawing.save_picture(shown, picture)
    file.parent.mkdir(parents=True, exist_ok=True)
    with written(file) as temporary:
        temporary.write_text(json.dumps(part))
    return part


def _row(part: Part, name: str, path: Path, um_per_px: float | None, overlay: str) -> dict[str, Any]:
    failed = bool(part["error"])
    return {
        "image": name,
        "path": str(path.resolve()),
        "height_px": part.get("height_px"),
        "width_px": part.get("width_px"),
        "um_per_px": um_per_px,
        "crystals": None if failed else len(part["boxes"]),
        "at_border": None if failed else sum(part["at_border"]),
        "cut": part.get("cut"),
        "seconds": part.get("seconds"),
        "overlay": "" if failed else overlay,
        "error": part["error"],
    }


def _together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    full = [t for t in tables if len(t)]
    return pd.concat(full, ignore_index=True) if full else crystal_table("", [], [], [])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # not there, or no file of ours
        return None
