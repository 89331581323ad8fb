"""What a run of ``predict`` found, as rows and tables, and what its user should know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..crystals.detections import Detections, write_coco, write_detections
from ..crystals.tables import crystal_table, write_table
from ..crystals.workbook import write_workbook
from ..photographs.finding import shown
from ..photographs.frames import Frame
from ..photographs.scale import same
from .detector import Detector
from .folder import overlay_name

COUNTS = ("height_px", "width_px", "crystals", "at_border", "cut")
LARGEST = 384.0  # px, of crystals in training where a model does not say its own


@dataclass
class Photograph:
    """One photograph of a run. frame: None where its file cannot be read, and error says why; part: what is kept of it; source:
    its file as the run found it, path, bytes and time of the last change."""

    name: str
    path: Path
    frame: Frame | None
    error: str = ""
    part: dict[str, Any] = field(default_factory=dict)
    known: bool = False
    source: list[Any] = field(default_factory=list)


def row(p: Photograph, um_per_px: float | None, overlays: bool) -> dict[str, Any]:
    part, frame, failed = p.part, p.frame, bool(p.error)
    scale = None if frame is None else frame.scale
    given = um_per_px is not None
    return {
        "image": p.name,
        "path": shown(p.path.resolve()),
        "height_px": part.get("height_px"),
        "width_px": part.get("width_px"),
        "um_per_px": um_per_px if given else None if scale is None else scale.um_per_px,
        "scale_from": "--um-per-px" if given else "" if scale is None else scale.source,
        "time_h": None if frame is None else frame.hours,
        "white": part.get("white"),
        "crystals": None if failed else len(part["boxes"]),
        "at_border": None if failed else sum(part["at_border"]),
        "cut": part.get("cut"),
        "seconds": part.get("seconds"),
        "overlay": "" if failed or not overlays else overlay_name(p.name),
        "sha256": part.get("sha256", ""),
        "error": p.error,
    }


def write_tables(
    folder: Path, photographs: list[Photograph], images: pd.DataFrame, um_per_px: float | None, parquet: bool, excel: bool
) -> pd.DataFrame:
    tables: list[pd.DataFrame] = []
    found: list[Detections] = []
    for number, p in enumerate(photographs, 1):
        if p.error or p.frame is None:
            continue
        boxes = np.array(p.part["boxes"], dtype=np.float64).reshape(-1, 5)
        scores = np.array(p.part["scores"], dtype=np.float64)
        scale = p.frame.scale.um_per_px if um_per_px is None else um_per_px
        tables.append(crystal_table(p.name, boxes, scores, p.part["at_border"], scale))
        found.append(Detections(number, p.name, (p.part["height_px"], p.part["width_px"]), boxes, scores))
    full = [t for t in tables if len(t)]
    table = pd.concat(full, ignore_index=True) if full else crystal_table("", [], [], [])
    images = images.astype(dict.fromkeys(COUNTS, "Int64")).astype({"time_h": float, "white": float, "um_per_px": float})
    write_table(table, folder / "crystals.csv")
    if parquet:
        write_table(table, folder / "crystals.parquet")
    write_table(images, folder / "images.csv")
    if excel:
        write_workbook({"crystals": table, "images": images}, folder / "crystals.xlsx")
    write_detections(folder / "detections.json", found)
    write_coco(folder / "coco.json", found)
    return table


def scale_notes(photographs: list[Photograph], um_per_px: float | None) -> list[str]:
    """Which scales there are, and what makes them doubtful."""
    frames = [(p.name, p.frame.scale) for p in photographs if p.frame is not None and not p.error]
    notes = []
    if um_per_px is not None:
        other = [(n, s) for n, s in frames if s.um_per_px is not None and not same(s.um_per_px, um_per_px)]
        if other:
            name, scale = other[0]
            notes.append(
                f"{len(other)} photograph{'s say' if len(other) > 1 else ' says'} another scale than --um-per-px "
                f"{um_per_px:g}, which is used: {name} says {scale.um_per_px:g} ({scale.source})"
            )
        return notes
    known = Counter(f"{s.um_per_px:g}" for _, s in frames if s.um_per_px is not None)
    doubts = [(n, s.doubt) for n, s in frames if s.doubt]
    missing = [n for n, s in frames if s.um_per_px is None]
    if frames and len(missing) == len(frames):
        notes.append(
            "no scale is known, so sizes are in px alone; say it with --um-per-px (the report's ruler measures a scale bar)"
        )
    elif missing:
        notes.append(
            f"{len(missing)} of {len(frames)} photographs say no scale ({missing[0]}); their sizes are in px alone. "
            "--um-per-px gives one to all: predict those of each scale into a folder of its own, and join them with pcs-detect "
            "sizes A B"
        )
    if len(known) > 1:
        notes.append(f"scales differ, um per px (photographs): {', '.join(f'{k} ({n})' for k, n in sorted(known.items()))}")
    notes += [f"{len(doubts)} without a scale: {doubts[0][0]}: {doubts[0][1]}"] if doubts else []
    return notes


def place_notes(photographs: list[Photograph]) -> list[str]:
    """What files hold besides, or more than once."""
    frames = [p.frame for p in photographs if p.frame is not None]
    notes = []
    stacked = next((f for f in frames if f.planes > 1), None)
    if stacked is not None:
        notes.append(
            f"{shown(stacked.path.name)} holds {stacked.planes} planes of one place, each a photograph here, so that crystals "
            "count several times; --z max, min or focus makes one of them"
        )
    passed_over = {f.path: f.passed_over for f in frames if f.passed_over}
    if passed_over:
        count = sum(passed_over.values())
        notes.append(
            f"passed over: {count} page{'s' if count > 1 else ''} of the shape of a larger one and at most half its size, as "
            f"thumbnails are ({shown(next(iter(passed_over)).name)}); save any that is a photograph as a file of its own"
        )
    return notes


def size_notes(detector: Detector, table: pd.DataFrame) -> list[str]:
    most = detector.largest
    large = int((table["width_px"] > most).sum())
    if not large:
        return []
    return [
        f"{large} crystal{'s span' if large > 1 else ' spans'} more than {most:g} px, larger than any in training: others like "
        "them may be missed or measured badly; let the detector see photographs smaller (--scale)"
    ]
