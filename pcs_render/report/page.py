"""One HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6370; --line: #d0d4da; --paper: #fff; --shade: #f4f5f7 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e5e8; --soft: #a2a9b4; --line: #3c4149; --paper: #17191c; --shade: #22252a }
}
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.7rem; margin: 0 0 .4rem } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem }
p { max-width: 48rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
figure { margin: 1rem 0; break-inside: avoid }
img { display: block; max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: 4px }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem; max-width: 60rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .4rem 0 }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right }
th { background: var(--shade) } th.text, td.text { text-align: left }
a { color: inherit }
@media print {
  :root { --ink: #000; --soft: #333; --line: #999; --paper: #fff; --shade: #eee }
  body { max-width: none; padding: 0; font-size: 10pt } a { display: none } h2 { break-after: avoid }
  .scroll, tr { break-inside: avoid; overflow: visible } p { break-after: avoid }
  img { border: 0; max-height: 150mm; width: auto }
  @page { size: A4 landscape; margin: 12mm }
}
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Table:
    """Cells as text; columns whose every cell reads as a number are set right."""

    name: str  # of the CSV file
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        left = [not all(_NUMBER.fullmatch(row[k]) for row in self.rows) for k in range(len(self.head))]
        text = [' class="text"' if is_text else "" for is_text in left]
        head = "".join(f'<th scope="col"{t}>{escape(h)}</th>' for h, t in zip(self.head, text))
        body = "".join(
            "<tr>" + "".join(f"<td{t}>{escape(cell)}</td>" for cell, t in zip(row, text)) + "</tr>\n" for row in self.rows
        )
        caption = f"<caption>{escape(self.caption)} {self._link()}</caption>"
        return f'<div class="scroll"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n'

    def csv(self) -> str:
        """As a file; numbers without the commas that group their digits."""
        file = io.StringIO()
        rows = [[c.replace(",", "") if _NUMBER.fullmatch(c) else c for c in row] for row in self.rows]
        csv.writer(file, lineterminator="\n").writerows([self.head, *rows])
        return file.getvalue()

    def _link(self) -> str:
        data = base64.b64encode(self.csv().encode()).decode()
        return f'<a download="{escape(self.name)}.csv" href="data:text/csv;charset=utf-8;base64,{data}">CSV</a>'


_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?( %)?|n/a|")


@dataclass(frozen=True)
class Illustration:
    png: bytes
    title: str  # what it shows, for those who cannot see it
    caption: str

    def html(self) -> str:
        data = base64.b64encode(self.png).decode()
        image = f'<img alt="{escape(self.title)}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}\n<figcaption>{escape(self.caption)}</figcaption></figure>\n"


@dataclass(frozen=True)
class Section:
    title: str
    text: str  # one paragraph, may be empty
    parts: Sequence[Table | Illustration]

    def html(self) -> str:
        text = f"<p>{escape(self.text)}</p>\n" if self.text else ""
        return f"<section><h2>{escape(self.title)}</h2>\n{text}{''.join(p.html() for p in self.parts)}</section>\n"


def page(title: str, facts: dict[str, str], sections: Sequence[Section]) -> str:
    """The whole document."""
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>\n" for k, v in facts.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n<dl>\n{listed}</dl>\n{''.join(s.html() for s in sections)}</body></html>\n"
    )
