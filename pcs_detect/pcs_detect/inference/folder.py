"""The folder that ``predict`` writes: its settings, what is kept of each photograph, and what may be removed or replaced."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from .. import __version__
from ..errors import InputError
from ..files import written
from ..results import SETTINGS, check_output, file_digest, program_of, read_settings
from .detector import Detector

PARTS, OVERLAYS = "parts", "overlays"
TABLES = ("crystals.csv", "crystals.parquet", "crystals.xlsx", "images.csv", "detections.json", "coco.json")
ON_DEMAND = {"crystals.parquet": "--parquet", "crystals.xlsx": "--excel"}  # of these: which option asks for them
TEMPLATE = "groups_template.csv"
HARMLESS = ("batch_size",)  # of the settings: what may change when a run is resumed
LIBRARIES = (
    *("numpy", "pillow", "opencv-python-headless", "tifffile", "onnxruntime"),
    *("torch", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "onedl-mmrotate"),
)
LONGEST = 180  # bytes of a file's name that are kept, so that endings fit into the 255 of file systems
TEMPORARY = re.compile(r"^\..+\.[0-9a-f]{16}\.tmp$")  # what a killed run leaves of a file


def filed(name: str) -> str:
    """The name of a photograph as part of the names of files: as it is, unless it is too long."""
    head, slash, last = name.rpartition("/")
    if len(os.fsencode(last)) <= LONGEST:
        return name
    short = os.fsencode(last)[: LONGEST - 20].decode(errors="ignore")
    return f"{head}{slash}{short}~{hashlib.sha256(last.encode()).hexdigest()[:12]}"


def check_folder(folder: Path, inputs: Sequence[Path]) -> None:
    """Raises InputError where results would meet inputs or files that are not ``predict``'s."""
    check_output(folder, "predict", inputs, (*TABLES, TEMPLATE, SETTINGS, f"{PARTS}/**/*", f"{OVERLAYS}/**/*"))


def begin(
    folder: Path, detector: Detector, run: dict[str, Any], overwrite: bool, command: Sequence[str] | None
) -> dict[str, Any]:
    """Write settings.json, or see that what is there was found with the same settings; returns the document.

    run: what else decides about crystals, {"z": ...}. overwrite: results of before are removed.
    """
    decisive = {"checkpoint": detector.source, "settings": detector.settings, "device": detector.device, **run}
    before = read_settings(folder)
    if overwrite:
        _remove_own(folder)
    elif before is not None and (changes := _changes(before, decisive)):
        raise InputError(
            f"{folder} holds crystals found with other settings ({'; '.join(changes)}); take another folder (--out) or "
            "have them replaced (--overwrite)"
        )
    document = {
        "program": "predict",
        "version": __version__,
        "command": None if command is None else shlex.join(command),
        "finished": False,
        **decisive,
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "machine": platform.machine(),
        "written": (before or {}).get("written") or {},
    }
    write_settings(folder, document)
    return document


def write_settings(folder: Path, document: dict[str, Any]) -> None:
    with written(folder / SETTINGS) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_template(folder: Path, document: dict[str, Any], images: pd.DataFrame) -> list[str]:
    """Write groups_template.csv, a table of groups to fill in, with the photographs' names and the times that files give.

    One that differs from what was written before stays as it is. Returns what the user should know.
    """
    good = images[images["error"] == ""]
    table = pd.DataFrame({"image": good["image"], "replicate": "", "time": good["time_h"], "dilution": "", "variant": "",
                          "concentration": ""})  # fmt: skip
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, float_format="%.6g", lineterminator="\n")
    content, path = buffer.getvalue().encode("utf-8", "replace"), folder / TEMPLATE
    if path.exists():
        digest = file_digest(path)
        if digest == hashlib.sha256(content).hexdigest():
            document["written"][TEMPLATE] = digest
            return []
        if digest != document["written"].get(TEMPLATE):
            return [f"{path} has been changed and stays as it is; the names of all photographs are in images.csv"]
    with written(path) as temporary:
        temporary.write_bytes(content)
    document["written"][TEMPLATE] = hashlib.sha256(content).hexdigest()
    return []


def part_file(folder: Path, name: str) -> Path:
    return folder / PARTS / f"{filed(name)}.json"


def overlay_name(name: str) -> str:
    """Of the picture of a photograph, from the folder of results."""
    return f"{OVERLAYS}/{filed(name)}.png"


def read_part(path: Path) -> dict[str, Any] | None:
    """What is kept of a photograph; None where there is nothing of ours."""
    try:
        part = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return part if isinstance(part, dict) and "source" in part and "error" in part else None


def write_part(path: Path, part: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        temporary.write_text(json.dumps(part), encoding="utf-8")


def kept_besides(folder: Path, names: Sequence[str]) -> int:
    """How many photographs are kept of earlier runs that are not among those of this one."""
    now = {part_file(folder, name) for name in names}
    return sum(path not in now and read_part(path) is not None for path in (folder / PARTS).rglob("*.json"))


def _remove_own(folder: Path) -> None:
    """Remove the files that earlier runs made here, and no other."""
    if program_of(folder) != "predict":
        return
    for path in list((folder / PARTS).rglob("*.json")):
        if read_part(path) is not None:
            name = path.relative_to(folder / PARTS).as_posix().removesuffix(".json")
            path.unlink()
            (folder / OVERLAYS / f"{name}.png").unlink(missing_ok=True)
    for name in TABLES:
        (folder / name).unlink(missing_ok=True)
    for top in (PARTS, OVERLAYS):
        for path in list((folder / top).rglob(".*.tmp")):
            if TEMPORARY.match(path.name):
                path.unlink()
        places = [p for p in (folder / top).rglob("*") if p.is_dir()] if (folder / top).is_dir() else []
        for place in (*sorted(places, key=lambda p: -len(p.parts)), folder / top):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()


def _changes(before: Any, now: dict[str, Any]) -> list[str]:
    """Where settings differ that decide about the crystals; what a file is called does not."""
    then, after = _decisive(before), _decisive(now)
    return [f"{k} was {then.get(k)!r}, is {after[k]!r}" for k in after if then.get(k) != after[k]]


def _decisive(document: dict[str, Any]) -> dict[str, Any]:
    settings = {k: v for k, v in (document.get("settings") or {}).items() if k not in HARMLESS}
    checkpoint, others = (document.get("checkpoint") or {}).get("sha256"), {k: document.get(k) for k in ("device", "z")}
    return {"checkpoint": checkpoint, **settings, **others}


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
