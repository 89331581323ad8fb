"""One HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from .. import __version__

_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?( %)?|n/a|")


@dataclass(frozen=True)
class ReportTable:
    """Cells as text."""

    name: str  # of the CSV file
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> list[bool]:
        """Columns whose every cell reads as a number, which are set right."""
        return [all(_NUMBER.fullmatch(row[k]) for row in self.rows) for k in range(len(self.head))]

    def csv(self) -> str:
        """As a file; numbers without the commas that group their digits."""
        file = io.StringIO()
        rows = [[c.replace(",", "") if _NUMBER.fullmatch(c) else c for c in row] for row in self.rows]
        csv.writer(file, lineterminator="\n").writerows([self.head, *rows])
        return file.getvalue()

    @property
    def source(self) -> str:
        return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(self.csv().encode()).decode()}"


@dataclass(frozen=True)
class Illustration:
    """A PNG file; kind: "plot", which is dark on a dark screen, or "picture", which is what it is."""

    png: bytes
    title: str  # what it shows, for those who cannot see it
    caption: str
    kind: str = "plot"

    @property
    def source(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    @property
    def width(self) -> int:
        """px on the screen; plots have half as many again in their file, to be sharp."""
        pixels = int.from_bytes(self.png[16:20], "big")
        return round(pixels / 1.5) if self.kind == "plot" else pixels


@dataclass(frozen=True)
class Section:
    title: str
    text: str  # one paragraph, may be empty
    parts: Sequence[ReportTable | Illustration]


def page(title: str, facts: dict[str, str], sections: Sequence[Section]) -> str:
    """The whole document. No script runs in it, and no other style (Content-Security-Policy)."""
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    content = {"title": title, "facts": facts, "sections": sections, "version": __version__}
    return environment.get_template("report.html").render(content, style=style, hash=digest)
