"""Folders of photographs in, tables, labels and pictures out; a run that was killed resumes where it was."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..crystals import drawing
from ..crystals.labelme import Shape, check_shape, write_labelme
from ..crystals.tables import check_parquet, crystal_table
from ..errors import DataError
from ..files import locked, made_folder
from ..photographs.finding import search, shown
from ..photographs.frames import Projection, check_projection
from ..photographs.grey import Grey, grey_values
from ..photographs.reading import as_data_errors, frames_of, read_levels
from ..results import file_digest, remove_earlier
from . import folder as results
from .detector import Detector
from .folder import overlay_name, part_file, read_part, write_part
from .outcome import Photograph, place_notes, row, scale_notes, size_notes, write_tables
from .series import Doubt, Series, described, largest_level, series_of, whites_of

AnyPath = str | os.PathLike[str]
SHOWN = (".png", ".jpg", ".jpeg", ".bmp")  # what label tools open as it is, if it has 8 bits


def predict_folder(
    detector: Detector,
    images: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    um_per_px: float | None = None,
    recursive: bool = False,
    z: Projection | None = None,
    overlays: bool = True,
    parquet: bool = False,
    excel: bool = False,
    labelme: AnyPath | None = None,
    shape: Shape = "polygon",
    overwrite: bool = False,
    progress: bool | None = None,
    command: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Find the crystals of many photographs and write them to a folder.

    Written are ``crystals.csv`` (with ``parquet``, ``excel`` also .parquet, .xlsx; columns as ``tables.COLUMNS``),
    ``images.csv`` (one row per photograph: image, path, height_px, width_px, um_per_px, scale_from: who says so, time_h: hours
    since the first frame of its file, white: the level taken as white, crystals, at_border: how many of them touch the border,
    cut: pieces of objects that tiles cut and that are left out, seconds of reading and detecting, overlay: its picture, sha256
    of its file, error), ``detections.json`` (PCS layout with scores), ``coco.json`` (upright boxes, outlines and scores, for
    COCO's tools), ``groups_template.csv`` (to be filled in for ``sizes``), ``settings.json`` and, unless ``overlays`` is False,
    ``overlays/IMAGE.png``, boxes enlarged by 6 px over the grey photograph. Neither the template nor a file in ``labelme``
    replaces one that was edited. .parquet and .xlsx of an earlier run are removed where this one is not asked for them, unless
    they were edited.

    A photograph that cannot be read, or that changes meanwhile, stops nothing: its row in ``images.csv`` says why, and a line
    does on stderr. What was found in each photograph is kept in ``out/parts`` at once. The same call resumes from there, finds
    crystals in photographs that are new or have changed, tries failed ones again and writes the tables anew, of the photographs
    that ``images`` names now.

    Args:
        detector: what finds them.
        images: files, folders and glob patterns (``photographs.search``); the pages of a TIFF and the frames of a microscope's
            file are photographs of their own, named stack.tif#0003. Deep photographs of one folder, kind and size are a series
            with one level of white.
        out: folder; made where it is not there.
        um_per_px: scale, for all; by default what each file says.
        recursive: search folders inside folders too.
        z: makes one photograph of the planes of each Z stack: "max", "min" or "focus".
        overlays: whether pictures of the photographs with their boxes are written.
        parquet: write ``crystals.parquet`` too.
        excel: write ``crystals.xlsx`` too.
        labelme: a folder for what was found as shapes that label tools edit (``crystals.labelme``).
        shape: of these, "polygon" or "rotation".
        overwrite: remove results of another checkpoint, other settings or another device.
        progress: a bar on stderr, by default on a terminal.
        command: the words of the command, for settings.json.

    Returns:
        The table of all crystals.

    Raises:
        InputError: an argument is wrong; ``out`` holds results of another checkpoint, settings or device, the photographs, or
            files of others with the names of results. Nothing has been written then.
        DataError: nothing is there to read; or, when all others are done and written, some photographs could not be read.

    Examples:
        >>> table = predict_folder(detector, ["drop.png"], "found", progress=False)  # resumes: nothing is left to do
        >>> len(table) == len(found)
        True
    """
    several = [images] if isinstance(images, str | os.PathLike) else list(images)
    check_projection(z)
    check_shape(shape)
    crystal_table("", [], [], [], um_per_px)  # a wrong scale is said now
    if parquet:
        check_parquet("crystals.parquet")
    found = search(several, recursive, leave_out=out)
    results.check_folder(Path(out), [f.path for f in found.files])
    photographs = [p for f in found.files for p in _photographs(f.path, f.name, z)]
    folder = made_folder(out)
    with locked(folder):
        document = results.begin(folder, detector, {"z": z}, overwrite, command)
        run = _Run(detector, folder, overlays, None if labelme is None else Path(labelme), shape, progress)
        notes = [*found.notes, *run.find(photographs)]
        images_table = pd.DataFrame([row(p, um_per_px, overlays) for p in photographs])
        table = write_tables(folder, photographs, images_table, um_per_px, parquet, excel)
        notes += [*scale_notes(photographs, um_per_px), *place_notes(photographs), *size_notes(detector, table)]
        notes += results.write_template(folder, document, images_table)
        asked = [name for name, wanted in (("crystals.parquet", parquet), ("crystals.xlsx", excel)) if wanted]
        notes += remove_earlier(folder, results.ON_DEMAND, asked, document["written"])
        besides = results.kept_besides(folder, [p.name for p in photographs])
        if besides:
            notes.append(
                f"{folder} keeps crystals of {besides} other photographs of earlier runs, which the tables do not have; name "
                "all photographs in one run, or join folders with pcs-detect sizes A B"
            )
        document |= {"finished": True, "photographs": len(photographs), "um_per_px": um_per_px, "notes": notes}
        results.write_settings(folder, document)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    failed = [p.name for p in photographs if p.error]
    if failed:
        some = ", ".join(failed[:5]) + (f" and {len(failed) - 5} more" if len(failed) > 5 else "")
        raise DataError(
            f"{len(failed)} of {len(photographs)} photographs could not be read: {some}; images.csv says why, {folder} has the "
            "others"
        )
    return table


def _photographs(path: Path, name: str, z: Projection | None) -> list[Photograph]:
    try:
        with as_data_errors(path):
            source = _source(path)  # before anything is read: what is kept is of the file as it was then
        return [Photograph(f"{name}{f.ending}", path, f, source=source) for f in frames_of(path, z)]
    except DataError as e:
        return [Photograph(name, path, None, shown(str(e)))]


class _Run:
    """Reading, finding and drawing of one run: while the network works at a photograph, the next is read and the last drawn."""

    def __init__(
        self, detector: Detector, folder: Path, overlays: bool, labelme: Path | None, shape: Shape, progress: bool | None
    ) -> None:
        self.detector, self.folder, self.overlays, self.labelme, self.shape = detector, folder, overlays, labelme, shape
        self.hidden = None if progress is None else not progress
        self.whites: dict[Series, float] = {}
        self.doubts: dict[Series, Doubt] = {}
        self.kept: list[str] = []
        self.stems: dict[str, str] = {}

    def find(self, photographs: list[Photograph]) -> list[str]:
        """Find crystals in photographs, whose parts are filled in; returns what the user should know."""
        for p in photographs:
            self._recall(p)
        notes = self._find_whites(photographs)
        stems = Counter(_stem(p) for p in photographs)
        self.stems = {p.name: _stem(p) if stems[_stem(p)] == 1 else p.name for p in photographs}
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as drawer:
            drawn: list[Future[None]] = []
            with tqdm(total=len(photographs), desc="photographs", unit="", disable=self.hidden, file=sys.stderr) as bar:
                for p, grey, seconds in self._read_ahead(reader, photographs):
                    try:
                        self._finish(p, grey, seconds, bar)
                        if p.part and (grey is not None or self.labelme is not None):
                            drawn.append(drawer.submit(self._draw, p, grey))
                        while len(drawn) > 2:  # photographs that wait for the drawer hold memory
                            drawn.pop(0).result()
                    except BaseException:
                        for waiting in drawn:
                            waiting.cancel()
                        raise
                    bar.update()
                for waiting in drawn:
                    waiting.result()
        return notes + self.kept

    def _recall(self, p: Photograph) -> None:
        """What an earlier run found, where the photograph is as it was."""
        if p.frame is None:
            return
        part = read_part(part_file(self.folder, p.name))
        if part is not None and part["source"] == p.source and not part["error"]:
            p.part, p.known = part, True

    def _find_whites(self, photographs: list[Photograph]) -> list[str]:
        """One white for every series of deep photographs whose files do not say it."""
        if self.detector.white is not None:
            return []
        deep = [p for p in photographs if p.frame is not None and p.frame.deep]
        count = Counter(series_of(p.frame) for p in deep if p.frame is not None)
        largest: dict[Series, dict[str, float]] = {}
        hidden = self.hidden if any(not p.known for p in deep) else True
        for p in tqdm(deep, desc="levels", unit="", disable=hidden, file=sys.stderr):
            assert p.frame is not None
            most = p.part.get("largest") if p.known else None
            if most is None and not (p.known and p.part.get("white_said")):
                try:
                    levels = read_levels(p.frame)
                    with as_data_errors(p.path):
                        most = largest_level(levels) if levels.white is None else None
                except DataError as e:
                    p.error, p.known, p.part = shown(str(e)), False, {}
                    continue
            if most is not None:
                largest.setdefault(series_of(p.frame), {})[p.name] = float(most)
                p.part.setdefault("largest", float(most))
        self.whites, self.doubts = whites_of(largest)
        for p in deep:  # a photograph that joined may have changed the white of its series
            assert p.frame is not None
            if p.known and "largest" in p.part and p.part.get("white") != self.whites.get(series_of(p.frame)):
                p.known, p.part = False, {"largest": p.part["largest"]}
        return described(self.whites, count)

    def _read_ahead(
        self, reader: ThreadPoolExecutor, photographs: list[Photograph]
    ) -> Iterator[tuple[Photograph, Grey | None, float]]:
        """(photograph, its grey values where they are needed, seconds of reading), the next one being read meanwhile."""
        ahead: list[Future[tuple[Grey | None, float]]] = [reader.submit(self._read, p) for p in photographs[:1]]
        for i, p in enumerate(photographs):
            ahead += [reader.submit(self._read, q) for q in photographs[i + 1 : i + 2]]
            grey, seconds = ahead.pop(0).result()
            yield p, grey, seconds

    def _read(self, p: Photograph) -> tuple[Grey | None, float]:
        if p.frame is None or p.error or (p.known and not self._to_draw(p)):
            return None, 0.0
        began = time.monotonic()
        try:
            if changed := _changed(p):
                raise DataError(changed)
            if not p.known:
                with as_data_errors(p.path):
                    p.part["sha256"] = file_digest(p.path)
            levels = read_levels(p.frame)
            series = series_of(p.frame)
            if p.frame.deep and levels.white is None and self.detector.white is None and series in self.doubts:
                raise DataError(f"{p.path}: {self.doubts[series].about(p.name)}")
            white = self.detector.white or levels.white or (self.whites.get(series) if p.frame.deep else None)
            try:
                grey = grey_values(levels.pixels, white)
            except DataError as e:
                raise DataError(f"{p.path}: {e}") from None
        except (DataError, OSError) as e:
            p.error, p.known, p.part = shown(str(e)), False, {}
            return None, 0.0
        if not p.known:
            p.part |= {"white": 255.0 if white is None else white, "white_said": levels.white is not None}
        return grey, time.monotonic() - began

    def _to_draw(self, p: Photograph) -> bool:
        if self.overlays and not (self.folder / overlay_name(p.name)).is_file():
            return True
        return self.labelme is not None and not _plain(p)

    def _finish(self, p: Photograph, grey: Grey | None, seconds: float, bar: Any) -> None:
        """Find crystals, and keep what was found."""
        assert p.frame is not None or p.error
        if not p.known and not p.error and grey is not None:
            began = time.monotonic()
            (self.folder / overlay_name(p.name)).unlink(missing_ok=True)  # of what the photograph was before
            found = self.detector.detect(grey)
            p.part |= {
                "source": p.source,
                "height_px": grey.shape[0],
                "width_px": grey.shape[1],
                "boxes": found.boxes.tolist(),
                "scores": found.scores.tolist(),
                "at_border": self.detector.at_border(found, grey.shape).tolist(),
                "cut": len(found.cut),
                "seconds": round(seconds + time.monotonic() - began, 3),
                "error": "",
            }
            p.error = _changed(p)
            if not p.error:
                write_part(part_file(self.folder, p.name), p.part)
        if p.error:
            bar.write(f"left out: {p.error}", file=sys.stderr)
            p.part = {}
            self._forget(p)
        elif p.part["cut"]:
            bar.write(f"{p.name}: {self.detector.cut_message(p.part['cut'])}", file=sys.stderr)

    def _forget(self, p: Photograph) -> None:
        """What was kept of a photograph that can no longer be read is of what it was before."""
        if read_part(part_file(self.folder, p.name)) is not None:
            part_file(self.folder, p.name).unlink()
            (self.folder / overlay_name(p.name)).unlink(missing_ok=True)

    def _draw(self, p: Photograph, grey: Grey | None) -> None:
        boxes, scores = np.array(p.part["boxes"], np.float64).reshape(-1, 5), p.part["scores"]
        picture = self.folder / overlay_name(p.name)
        if self.overlays and grey is not None and not picture.is_file():
            drawing.save_picture(drawing.overlay(grey.round().astype(np.uint8), boxes, p.part["at_border"]), picture)
        if self.labelme is not None:
            size = (int(p.part["height_px"]), int(p.part["width_px"]))
            photograph = p.path if _plain(p) else None
            done = write_labelme(self.labelme, p.name, photograph, grey, size, boxes, scores, self.shape, self.stems[p.name])
            self.kept += [done.kept] if done.kept else []


def _source(path: Path) -> list[Any]:
    state = path.stat()
    return [shown(path.resolve()), state.st_size, state.st_mtime_ns]


def _changed(p: Photograph) -> str:
    """Why a photograph is no longer the file that the run found, in words; "" where it is."""
    try:
        with as_data_errors(p.path):
            if _source(p.path) == p.source:
                return ""
    except DataError as e:
        return shown(str(e))
    return shown(f"{p.path}: was changed while this run went on; start the command again when the file is whole")


def _plain(p: Photograph) -> bool:
    """Whether label tools show the photograph's own file as it was measured."""
    return p.frame is not None and p.frame.number is None and not p.frame.deep and p.path.suffix.lower() in SHOWN


def _stem(p: Photograph) -> str:
    """Of the Labelme file of a photograph: label tools look for the name of the picture without its ending."""
    return results.filed(p.name.rpartition(".")[0] if _plain(p) else p.name)
