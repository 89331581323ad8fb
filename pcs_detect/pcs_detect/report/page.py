"""The page: everything a folder of ``predict`` and one of ``sizes`` hold, as one HTML file."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from .. import __version__
from ..crystals.drawing import ENLARGED
from ..errors import DataError, InputError
from ..files import written
from ..sizes import joined
from ..sizes.groups import images_as_groups
from ..sizes.statistics import group_statistics
from . import plots, tables
from .courses import Figure, Section, courses
from .folders import Predicted, Sizes, read_predicted, read_sizes
from .pictures import Picture, boxes_of, outlines, pictures

ENDINGS = (".html", ".htm")
PRINTED = 12  # photographs on paper
ROWS = 30_000_000  # characters of crystals.csv in a page
SCALE_TEXT = "not known: sizes are in px (the ruler below measures a scale bar; predict takes the scale as --um-per-px)"


@dataclass(frozen=True)
class Download:
    """A CSV file inside the page."""

    file: str
    rows: int
    what: str
    text: str


WHAT = {
    "crystals": "a row per crystal: place, sizes, angle, score",
    "images": "a row per photograph",
    "groups": "sizes per group: counts, means, deviations, quartiles",
    "series": "the same for the series of the distribution functions",
    "growth": "growth rates",
    "areas": "total crystal area per group",
    "regression": "lines of area against concentration",
    "tests": "Kolmogorov-Smirnov tests",
    "ecdf": "distribution functions, point by point",
}


def write_report(
    predicted: str | Path,
    out: str | Path,
    sizes: str | Path | None = None,
    *,
    photographs: str | Path | None = None,
    title: str = "",
    megabytes: float = 25.0,
    progress: bool | None = None,
) -> list[str]:
    """Write one HTML page of a folder of ``predict``.

    The page needs no network and no other file. It has crystals.csv up to 30 million characters, about 270,000 crystals, shows
    up to 200 rows of each table of sizes (whose files are inside as a whole), and on paper the first 12 photographs.

    Args:
        predicted: a folder of ``predict``.
        out: the file to write, ending in .html.
        sizes: a folder of ``sizes``, for time courses and tests.
        photographs: the folder where the photographs lie now, if not where predict read them.
        title: of the page.
        megabytes: of all pictures together, at most; above 0.
        progress: a bar on stderr, by default on a terminal.

    Returns:
        What the page leaves out, and why.

    Raises:
        DataError: a folder that predict or sizes did not write.
        InputError: an argument is wrong.
        OutputError: the file cannot be written.

    Examples:
        >>> left_out = report.write_report("found", "report.html", progress=False)
        >>> open("report.html").read(15)
        '<!DOCTYPE html>'
    """
    if not 0 < megabytes < np.inf:
        raise InputError(f"megabytes is {megabytes}; it takes a positive number")
    if Path(out).suffix.lower() not in ENDINGS:
        raise InputError(f"{out}: the page is an HTML file, name one that ends in .html; nothing that is read ends so")
    if photographs is not None and not Path(photographs).is_dir():
        raise DataError(f"{photographs}: no such folder of photographs")
    found = read_predicted(Path(predicted))
    measured = None if sizes is None else read_sizes(Path(sizes))
    elsewhere = None if photographs is None else Path(photographs)
    budget = int(megabytes * 1e6 * 3 / 4)  # three bytes take four characters
    shown, notes = pictures(found.images, found.folder, elsewhere, found.settings, budget, progress)
    content = contents(found, measured, shown, title)
    content["notes"] = [*content["notes"], *notes]
    with written(out) as temporary:
        temporary.write_text(html(content), encoding="utf-8", newline="")
    return content["notes"]


def contents(found: Predicted, sizes: Sizes | None, shown: dict[int, Picture], title: str = "") -> dict[str, Any]:
    """What the template shows."""
    images = found.images
    groups = images_as_groups(images["image"])
    empty = "px" if _scale(found) is None else "um"
    crystals, unit = joined(found.crystals, groups, unit="auto" if len(found.crystals) else empty)
    by_image = pd.DataFrame()
    if len(images):
        by_image = group_statistics(crystals, groups, ["image"]).set_index("image").reindex(images["image"]).reset_index()
    together = group_statistics(crystals, groups, [])
    measured = crystals[crystals["measured"]]
    notes = _found_notes(found)
    figures = []
    if len(measured):
        description = "Histograms of width, height and aspect ratio of all crystals"
        figures.append(Figure(plots.svg(plots.distributions(measured, unit)), description, "All photographs together."))
    if len(measured) and len(images) > 1:
        description = "Median and quartiles of width and height of every photograph"
        caption = "Points: medians; bars: quartiles. Photographs without crystals are gaps."
        figures.append(Figure(plots.svg(plots.per_photograph(by_image, unit)), description, caption))
    crystals_file, cut = _bounded(found)
    files = {
        "crystals": crystals_file,
        "images": Download("images.csv", len(images), WHAT["images"], found.text["images"]),
    }
    sections: list[Section] = []
    if sizes is not None:
        try:
            sections, warnings = courses(sizes, len(found.crystals))
        except KeyError as e:
            raise DataError(
                f"{sizes.folder}: a table there lacks the column {e}; let pcs-detect sizes write them anew"
            ) from None
        notes += warnings
        files |= {n: Download(f"{n}.csv", len(sizes.tables[n]), WHAT[n], text) for n, text in sizes.text.items()}
    rows = dict(list(found.crystals.groupby("image")))
    listed = [
        _photograph(i, image, rows.get(image["image"], found.crystals[:0]), shown.get(i))
        for i, image in enumerate(images.to_dict("records"))
    ]
    return {
        "title": title or f"Crystals in {len(images)} photograph{'s' if len(images) != 1 else ''}",
        "facts": _facts(found, unit),
        "notes": [*notes, *cut],
        "photographs": listed,
        "printed": PRINTED,
        "table": tables.photographs(images, by_image, unit) if len(images) else None,
        "figures": figures,
        "overall": tables.overall(together, unit) if len(measured) else None,
        "sections": sections,
        "courses": sizes is not None,
        "settings": _settings(found, sizes),
        "files": files,
        "data": {
            "files": {name: {"file": f.file, "text": f.text} for name, f in files.items()},
            "photographs": [{k: p[k] for k in ("name", "width", "height", "scale", "boxed", "error")} for p in listed],
            "unit": unit,
            "scale": _scale(found),
            "enlarged": ENLARGED,
            "histograms": _histograms(measured),
        },
    }


def html(content: dict[str, Any]) -> str:
    """The document. Scripts and styles run only if they are those of this package (Content-Security-Policy)."""
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}
    folder = resources.files(__package__)
    texts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "viewer.css", "report.js")}
    assets = {"css": texts["page.css"] + texts["viewer.css"], "js": texts["report.js"]}
    hashes = {n: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for n, text in assets.items()}
    return environment.get_template("report.html").render(**content, assets=assets, hashes=hashes, version=__version__)


def _photograph(row: int, image: Any, crystals: pd.DataFrame, picture: Picture | None) -> dict[str, Any]:
    border = crystals["at_border"].astype(bool)
    failed = bool(image["error"])
    paths = {"inside": "", "border": ""}
    if picture is not None and not picture.boxed:
        paths = {"inside": outlines(boxes_of(crystals[~border])), "border": outlines(boxes_of(crystals[border]))}
    return {
        "row": row,
        "name": image["image"],
        "width": 0 if failed else int(image["width_px"]),
        "height": 0 if failed else int(image["height_px"]),
        "scale": float(image["um_per_px"]) if np.isfinite(image["um_per_px"]) else None,
        "error": image["error"],
        "crystals": len(crystals),
        "at_border": int(border.sum()),
        "picture": None if picture is None else "data:image/webp;base64," + base64.b64encode(picture.webp).decode(),
        "percent": None if picture is None or picture.scale == 1 else round(100 * picture.scale),
        "boxed": picture is not None and picture.boxed,
        **paths,
    }


def _bounded(found: Predicted) -> tuple[Download, list[str]]:
    """crystals.csv as it is, or, where it is too long, the rows of as many photographs as fit."""
    text = found.text["crystals"]
    if len(text) <= ROWS:
        return Download("crystals.csv", len(found.crystals), WHAT["crystals"], text), []
    order = {name: i for i, name in enumerate(found.images["image"])}
    place = found.crystals["image"].map(order)
    many = int(len(found.crystals) * ROWS / len(text))
    last = int(np.sort(place.to_numpy())[many])  # the photograph that the limit cuts
    while True:
        some = found.crystals[place < last]
        text = some.to_csv(index=False, float_format="%.6g")
        if len(text) <= ROWS:
            break
        last -= 1
    note = f"crystals.csv has {len(found.crystals)} rows; the {len(some)} of the first {last} photographs are in this page"
    return Download("crystals_part.csv", len(some), WHAT["crystals"], text), [note]


def _found_notes(found: Predicted) -> list[str]:
    notes = []
    failed = found.images["error"] != ""
    if failed.any():
        notes.append(f"{failed.sum()} of {len(failed)} photographs could not be read; the table of photographs says why")
    cut = int(pd.to_numeric(found.images["cut"], errors="coerce").sum()) if "cut" in found.images.columns else 0
    if cut:
        notes.append(f"predict left out {cut} piece{'s' if cut > 1 else ''} of objects too large for its tiles")
    if not len(found.crystals):
        notes.append("no crystals were found")
    if found.settings.get("finished") is False:
        notes.append("predict was stopped before it wrote its tables; these are of an earlier run: start it again to have all")
    said = [str(note) for note in found.settings.get("notes") or []]
    notes += [f"predict: {note}" for note in said if not note.startswith("no scale is known")]  # which the facts say
    if not found.settings:
        notes.append("settings.json of predict is missing, so it is not known what found the crystals")
    return notes


def _scale(found: Predicted) -> float | None:
    """um per px, where it is one for all."""
    values = found.images["um_per_px"].unique()
    return float(values[0]) if len(values) == 1 and np.isfinite(values[0]) else None


def _facts(found: Predicted, unit: str) -> dict[str, str]:
    images, border = found.images, int(found.crystals["at_border"].astype(bool).sum())
    known = sorted(set(images["um_per_px"].dropna()))
    missing = int(images["um_per_px"].isna().sum())
    given = (
        SCALE_TEXT
        if not known
        else f"{known[0]:g} µm per px"
        if len(known) == 1
        else f"{known[0]:g} to {known[-1]:g} µm per px"
    )
    sources = sorted({str(s) for s in images.get("scale_from", pd.Series(dtype=object)).dropna()} - {""})
    given += f" ({', '.join(sources)})" if sources else ""
    given += f"; not known of {missing} photographs" if known and missing else ""
    checkpoint = found.settings.get("checkpoint") or {}
    least = (found.settings.get("settings") or {}).get("score")
    return {
        "Photographs": f"{len(images)}, {int((found.crystals.groupby('image').size()).gt(0).sum())} of them with crystals",
        "Crystals": f"{len(found.crystals)}, {border} of them at the border of a photograph",
        "Scale": given,
        "Detector": str(checkpoint.get("config") or checkpoint.get("file") or "not known"),
        **({} if least is None else {"Least score": f"{least:g}"}),
    }


def _settings(found: Predicted, sizes: Sizes | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """(of which command, its settings) as text."""
    said = [("predict", _flat(found.settings))]
    if sizes is not None:
        said.append(("sizes", _flat({k: v for k, v in sizes.settings.items() if k != "notes"})))
    return [(name, rows) for name, rows in said if rows]


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if name in ("written", "notes", "finished", "program"):
            continue
        if isinstance(value, dict):
            rows += _flat(value, "" if name == "settings" else f"{prefix}{name}: ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
            rows.append((f"{prefix}{name}".replace("_", " "), text or "-"))
    return rows


def _histograms(measured: pd.DataFrame) -> dict[str, Any]:
    """Classes, and the share of all crystals in each, for the page to draw those of one photograph beside."""
    made = {}
    for measure in ("width", "height") if len(measured) else ():
        edges = plots.edges_of(measured[measure])
        counts = np.histogram(measured[measure], edges)[0]
        made[measure] = {"edges": edges.round(6).tolist(), "shares": (counts / len(measured)).round(6).tolist()}
    return made
