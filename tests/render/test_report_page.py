"""The report's files: a page that stands alone, pictures that are whole, samples of any size."""

import base64
import dataclasses
import hashlib
import io
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import PUBLISHED, UNBIASED, data_set, drawn, sample_of, scenes

from pcs_render import report
from pcs_render.errors import OutputError
from pcs_render.report import Analysis, figures


@pytest.fixture(scope="module")
def rendered(shapes, tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("data") / "set", scenes(shapes))


@pytest.fixture(scope="module")
def written(rendered, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    seen = []
    page = report.write(report.load(rendered), out, pictures=5, progress=lambda *told: seen.append(told))
    return out, page.read_text(encoding="utf-8"), seen


class Page(HTMLParser):
    """Everything on a page that points somewhere."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.images, self.tables, self.links, self.open, self.tags = [], {}, [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data", "poster", "background")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            kind, data = found["src"].split(",")
            assert kind == "data:image/png;base64"
            assert found["alt"]
            self.images.append(base64.b64decode(data, validate=True))
        if "download" in found:
            self.tables[found["download"]] = base64.b64decode(found["href"].split(",")[1], validate=True).decode()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(written):
    out, text, _ = written
    page = Page(text)
    assert not page.open
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not {"script", "link", "iframe", "object"} & page.tags
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text
    files = {p.name: p.read_bytes() for p in out.glob("*.png")}
    assert len(page.images) == len(files) - 3  # the three panels stand together
    for data in page.images:
        assert data in files.values()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert min(image.size) > 100
    assert {p.name for p in out.iterdir()} == {*files, report.PAGE}


def test_the_page_tells_the_sample(written, rendered):
    out, text, seen = written
    sample = report.load(rendered)
    tables = {name: [line.split(",") for line in csv.splitlines()] for name, csv in Page(text).tables.items()}
    counts = {row[0]: row[1] for row in tables["counts.csv"]}
    assert counts["images"] == "12"
    assert counts["images without crystals"] == "1"
    assert counts["crystals"] == str(len(sample.boxes))
    area = sum(float(row[3]) for row in tables["area_classes.csv"][1:])
    assert area == pytest.approx(Analysis(sample).areas.sum(), abs=16)
    assert seen == [(k, seen[-1][1]) for k in range(len(seen))]
    assert seen[-1][0] == len(list(out.glob("*.png")))
    with Image.open(out / "labels.png") as sheet, Image.open(out / "images.png") as plain:
        assert sheet.size == plain.size == (5 * 384 + 4 * 8, 384)


def test_reports_of_both_distributions_look_alike():
    """Neither needs the other, so each has the style sheet."""
    root = Path(__file__).parents[2]
    ours, theirs = root / "pcs_render/report/page.css", root / "pcs_detect/pcs_detect/report/page.css"
    assert ours.read_text(encoding="utf-8") == theirs.read_text(encoding="utf-8"), f"copy {ours} to {theirs}, or back"


@pytest.mark.parametrize("kind", ["nothing", "empty images", "one crystal", "no caps"])
def test_small_samples(tmp_path, kind):
    counts = {"nothing": [], "empty images": [0, 0], "one crystal": [0, 1], "no caps": [1]}[kind]
    targets = drawn(PUBLISHED, sum(counts))
    covered = np.full((len(counts), 2), 0.1)
    sample = sample_of(targets, PUBLISHED, known=kind != "no caps", counts=np.array(counts, np.int64))
    sample = dataclasses.replace(sample, name="<b>&", covered=None if kind == "no caps" else covered)
    page = Page(report.write(sample, tmp_path).read_text(encoding="utf-8"))
    assert "b" not in page.tags
    assert len(page.images) >= 3


def test_a_broken_report_leaves_no_page(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot create the folder"):
        report.write(sample_of(drawn(UNBIASED, 3), UNBIASED), tmp_path / "file" / "report")


def test_both_rules_in_one_picture():
    rows = [Analysis(sample_of(drawn(s, 50), s)) for s in (PUBLISHED, UNBIASED)]
    one, both = (Image.open(io.BytesIO(figures.png(figures.distributions(*r)))) for r in (rows[:1], rows))
    assert both.width == one.width
    assert both.height == 2 * one.height


def test_importing_needs_no_plotting():
    code = "import sys, pcs_render.report; print({'matplotlib', 'PIL', 'pyarrow', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
