"""The part of a page that a folder of ``sizes`` gives: distribution functions, time courses, areas, tests."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..sizes.comparisons import DEPENDENT
from . import tables
from .folders import Sizes
from .tables import ReportTable

LARGER = 1.3  # than the letters in print, whose 8 points are small on a screen


@dataclass(frozen=True)
class Figure:
    """svg: a file; title: what it shows, for those who cannot see it."""

    svg: bytes
    title: str
    caption: str

    @property
    def source(self) -> str:
        # as an image of its own, which runs no scripts, fetches nothing and shares no names with other figures
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()

    @property
    def width(self) -> int | None:
        """px on the screen, so that letters are as large in all figures."""
        found = re.search(rb'<svg\b[^>]*\swidth="([\d.]+)pt"', self.svg[:4000])
        return None if found is None else round(LARGER * 4 / 3 * float(found[1]))


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    text: str
    parts: Sequence[Figure | ReportTable]


def courses(sizes: Sizes, crystals: int) -> tuple[list[Section], list[str]]:
    """(sections, what the reader should know); crystals: how many predict found. Raises KeyError for a missing column."""
    unit, alpha = sizes.settings.get("unit", "px"), float(sizes.settings.get("alpha", 0.05))
    sure = f"{100 * (1 - alpha):g} %"
    at_time = sizes.settings.get("at_time")
    when = "" if at_time is None else f", of images taken at {at_time:g} h"
    found = {name: table for name, table in sizes.tables.items() if len(table)}

    def figure(name: str, title: str, caption: str) -> list[Figure]:
        return [Figure(sizes.figures[name], title, caption)] if name in sizes.figures else []

    compared = list(found["tests"]["compared"].unique()) if "tests" in found else []
    sections = [
        Section(
            "courses",
            "Time courses" if "time" in sizes.tables["groups"].columns else "Groups",
            "",
            [
                *figure(
                    "sizes_over_time",
                    "Median width and height over time, with quartiles",
                    "As figure 5 of the paper: medians, and quartiles as bars. Points of one time stand a little apart.",
                ),
                *([tables.groups(found["groups"], unit)] if "groups" in found else []),
                *figure("growth", "Growth rates of the median width and height", f"Bars: {sure} confidence."),
                *([tables.growth(found["growth"], unit, alpha)] if "growth" in found else []),
            ],
        ),
        Section(
            "series",
            "Distribution functions",
            "",
            [
                *figure(
                    "ecdf",
                    f"Empirical distribution functions of width, height and aspect ratio{when}",
                    f"As figure 8 of the paper{when}.",
                ),
                *([tables.groups(found["series"], unit, "series")] if "series" in found else []),
            ],
        ),
        Section(
            "areas",
            "Crystal area and concentration",
            "",
            [
                *figure(
                    "area_concentration",
                    "Total crystal area per image against protein concentration, with regression lines",
                    f"As figure 6 of the paper; shaded: {sure} confidence of the line.",
                ),
                *([tables.regression(found["regression"], unit, alpha)] if "regression" in found else []),
            ],
        ),
        Section(
            "tests",
            "Statistical tests",
            f"The tests take crystals as independent of each other. But {DEPENDENT}.",
            [tables.tests(found["tests"], c, alpha) for c in compared],
        ),
    ]
    return [s for s in sections if s.parts], _notes(sizes, crystals)


def _notes(sizes: Sizes, crystals: int) -> list[str]:
    notes = [f"sizes: {note}" for note in sizes.settings.get("notes") or []]
    counted = sum(int(float(n)) for n in sizes.tables["groups"]["n_crystals"])
    if counted > crystals:
        notes.append(
            f"{sizes.folder} counts {counted} crystals, more than the {crystals} here: it belongs to other photographs"
        )
    if not sizes.settings:
        notes.append("settings.json of sizes is missing; sizes are taken to be in px and the level to be 0.05")
    return notes
