"""The page of ``pcs-detect report`` as text: what is in it, what can never be, and what it says of poor input."""

import argparse
import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import report_folders as folders
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pcs_detect.boxes import corners
from pcs_detect.commands import report
from pcs_detect.crystals.tables import write_table
from pcs_detect.errors import DataError, InputError, OutputError
from pcs_detect.report import page, write_report
from pcs_detect.report.pictures import outlines, shrunk
from pcs_detect.report.tables import number, probability

EVIL = ("<img src=x onerror=alert(1)>.png", "\"quoted\", 'comma' & {{7*7}}.png", "<script>alert(2)<.png")


class Page(HTMLParser):
    """elements: (tag, attributes) of all; texts: of scripts and styles; rows: cells of all tables' rows; words: the rest."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.texts, self.rows, self.words, self.inside = [], {"script": [], "style": []}, [], "", []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.data = json.loads(self.texts["script"][0])

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and self.inside[-1] in self.texts:
            self.texts[self.inside[-1]][-1] += data
            return
        if self.rows and {"td", "th"} & set(self.inside):
            self.rows[-1][-1] += data
        self.words += data

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def pictures(self):
        found = [a["src"] for a in self.of("img") if a["src"].startswith("data:image/webp;base64,")]
        return [Image.open(io.BytesIO(base64.b64decode(f.partition(",")[2]))) for f in found]


def made(tmp_path, *arguments, **options):
    notes = write_report(arguments[0], tmp_path / "report.html", *arguments[1:], **options)
    return Page(tmp_path / "report.html"), notes


@pytest.fixture(scope="module")
def detector():
    return folders.detector()


@pytest.fixture(scope="module")
def course(tmp_path_factory, detector):
    return folders.time_course(tmp_path_factory.mktemp("course"), detector)


@pytest.fixture(scope="module")
def whole(course, tmp_path_factory):
    return made(tmp_path_factory.mktemp("report"), *course)[0]


def test_everything_is_inside_and_only_the_package_s_script_and_style_can_run(whole):
    for tag, attrs in whole.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            assert attrs.get(name, "#").startswith(("#", "data:image/")), (tag, name)
    assert not re.search(r"url\(|@import", whole.texts["style"][0])
    (policy,) = [a["content"] for a in whole.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    for rule, text in (("style-src", whole.texts["style"][0]), ("script-src", whole.texts["script"][1])):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert len(whole.texts["script"]) == 2


def test_every_csv_file_is_in_the_page_byte_for_byte(whole, course):
    files = [path for folder in course for path in folder.glob("*.csv") if path.name != "groups_template.csv"]
    assert len(files) == 9
    for path in files:
        inside = whole.data["files"][path.stem]
        assert inside["file"] == path.name
        assert inside["text"].encode() == path.read_bytes()
        assert path.stem in [a.get("data-download") for a in whole.of("button")]


def test_shown_tables_agree_with_the_files(whole, course):
    images = pd.read_csv(course[0] / "images.csv")
    crystals = pd.read_csv(course[0] / "crystals.csv")
    for i, image in enumerate(images.to_dict("records"), 1):
        row = next(r for r in whole.rows if r[:2] == [str(i), image["image"]])
        assert row[2:5] == [f"{image['width_px']} x {image['height_px']}", str(image["crystals"]), str(image["at_border"])]
        inside = crystals[(crystals["image"] == image["image"]) & ~crystals["at_border"]]["width_um"]
        shown = [float(v) for v in re.findall(r"[\d.]+", row[5])]
        assert shown == pytest.approx(inside.quantile([0.5, 0.25, 0.75]).tolist(), rel=6e-3)
    tests = pd.read_csv(course[1] / "tests.csv")
    width = tests[(tests["compared"] == "dilution") & (tests["measure"] == "width")]
    shown = [r for r in whole.rows if len(r) == 11 and r[0] == "width" and r[3:5] == ["1:1", "1:4"]]
    assert [(int(r[5]), int(r[6]), float(r[7])) for r in shown] == [
        (a, b, pytest.approx(d, rel=6e-3)) for a, b, d in zip(width["n_1"], width["n_2"], width["statistic"])
    ]
    assert [r[-1] == "not rejected" for r in shown] == (~width["rejected"]).tolist()
    settings = json.loads((course[0] / "settings.json").read_text())
    for value in (settings["checkpoint"]["sha256"], settings["versions"]["numpy"], settings["command"], "0.5 µm per px"):
        assert value in whole.words


def test_every_part_of_the_analysis_has_its_place_and_every_picture_words(whole):
    titles = ("Time courses", "Distribution functions", "Crystal area and concentration", "Statistical tests")
    for title in ("Photographs", "Size distributions", *titles, "Settings and versions", "Tables"):
        assert title in whole.words
    plots = [a for a in whole.of("img") if a["src"].startswith("data:image/svg+xml;base64,")]
    assert len(plots) == 6
    for plot in plots:
        assert base64.b64decode(plot["src"].partition(",")[2]).rstrip().endswith(b"</svg>")
    assert all(a["alt"].strip() for a in whole.of("img"))
    ids = [a["id"] for _, a in whole.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {a["href"][1:] for a in whole.of("a")} <= set(ids)


def test_pictures_are_the_photographs_and_outlines_their_boxes(whole, course):
    names = pd.read_csv(course[0] / "images.csv")["path"]
    pictures = whole.pictures()
    assert len(pictures) == len(names)
    for path, picture in zip(names, pictures):
        with Image.open(path) as photograph:
            assert picture.size == photograph.size
            difference = np.asarray(picture.convert("L"), float) - np.asarray(photograph.convert("L"), float)
        assert np.sqrt((difference**2).mean()) < 8
    boxes = np.array([[50.0, 40.0, 20.0, 10.0, 0.5], [10.0, 90.0, 8.0, 8.0, -1.2]])
    drawn = np.array(re.findall(r"-?\d+", outlines(boxes)), float).reshape(2, 4, 2)
    assert np.abs(drawn - corners(boxes + np.array([0, 0, 6, 6, 0]))).max() <= 0.5


def test_the_same_folders_give_the_same_page(whole, course, tmp_path):
    assert made(tmp_path, *course)[0].source == whole.source


def test_names_of_files_are_text_and_nothing_else(detector, tmp_path):
    photographs = tmp_path / "photographs"
    for name in EVIL:
        folders.draw(photographs / name, 2)
    for parent in ("<", "b"):  # files of one name are told apart by their folders: this one is called </script><b>.png
        folders.draw(photographs / parent / "script><b>.png", 3)
    out = folders.predicted(detector, photographs, tmp_path / "out", recursive=True)
    text, _ = made(tmp_path, out, title="<b>&amp;</b>")
    assert {tag for tag, _ in text.elements}.isdisjoint({"b", "iframe", "object"})
    assert len(text.of("script")) == 2
    assert all(a["src"].startswith("data:") for a in text.of("img"))
    names = [*EVIL, "</script><b>.png", "b/script><b>.png"]
    assert {r[1] for r in text.rows if len(r) == 7 and r[0]} == set(names)
    assert [p["name"] for p in text.data["photographs"]] == [r[1] for r in text.rows if len(r) == 7 and r[0]]
    assert "49" not in "".join(r[1] for r in text.rows if len(r) == 7)
    assert "<b>&amp;</b>" in text.words


def test_no_crystals_and_no_photographs_are_said(detector, tmp_path):
    folders.draw(tmp_path / "photographs/dark.png", 0)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out", um_per_px=None)
    text, notes = made(tmp_path, out)
    assert "no crystals were found" in notes
    assert "There is no crystal whose size counts" in text.words
    assert len(text.of("img")) == 1
    assert ["1", "dark.png", "320 x 240", "0", "0", "-", "-"] in text.rows
    for name in ("crystals", "images"):
        table = pd.read_csv(out / f"{name}.csv")
        write_table(table[:0], out / f"{name}.csv")
    text, _ = made(tmp_path, out)
    assert "no photographs" in text.words
    assert not text.of("img")


def test_without_a_scale_sizes_are_in_px(detector, tmp_path):
    folders.draw(tmp_path / "photographs/one.png", 2)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out", um_per_px=None)
    text, notes = made(tmp_path, out)
    assert notes == []
    assert "not known: sizes are in px" in text.words
    assert text.words.count("µm") == 1  # of the ruler
    assert text.data["unit"] == "px"
    assert text.data["scale"] is None
    assert "Time courses, comparisons" in text.words
    assert "1 crystals that do not touch the border, of 2" in text.words


def test_crystals_that_all_touch_the_border_have_no_sizes(detector, tmp_path):
    folders.draw(tmp_path / "photographs/one.png", 1)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    text, _ = made(tmp_path, out)
    assert "all touch the border" in text.words
    assert text.data["histograms"] == {}


def test_photographs_that_could_not_be_read_have_their_reason(detector, tmp_path):
    folders.draw(tmp_path / "photographs/good.png", 2)
    (tmp_path / "photographs/bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 2"):
        folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    text, notes = made(tmp_path, tmp_path / "out")
    assert "1 of 2 photographs could not be read; the table of photographs says why" in notes
    row = next(r for r in text.rows if r[1:2] == ["bad.png"])
    assert row[2:7] == ["-"] * 5
    assert "not a readable image" in row[7]
    assert len(text.pictures()) == 1


def test_photographs_that_moved_or_changed_are_replaced_by_overlays_or_boxes(detector, tmp_path, monkeypatch):
    photographs, moved = tmp_path / "photographs", tmp_path / "moved"
    for name in ("a.png", "b.png"):
        folders.draw(photographs / name, 3)
    out = folders.predicted(detector, photographs, tmp_path / "out")
    moved.mkdir()
    (photographs / "a.png").rename(moved / "a.png")
    folders.draw(photographs / "b.png", 1, size=(200, 200))  # another one of the same name
    text, notes = made(tmp_path, out)
    assert notes == ["not found, or changed since: a.png, b.png; the overlays of predict are shown, whose boxes stay"]
    assert [p["boxed"] for p in text.data["photographs"]] == [True, True]
    assert {a.get("d") for a in text.of("path")} == {""}
    text, notes = made(tmp_path, out, photographs=moved)
    assert [p["boxed"] for p in text.data["photographs"]] == [False, True]
    with monkeypatch.context() as limited:
        limited.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # of which overlays may have more
        assert "the overlays of predict are shown" in made(tmp_path, out)[1][0]
    for overlay in (out / "overlays").iterdir():
        overlay.unlink()
    text, notes = made(tmp_path, out)
    assert notes == ["neither photograph nor overlay found: a.png, b.png; boxes are shown alone"]
    assert not text.pictures()
    assert len(text.data["photographs"]) == 2


def test_pictures_together_have_the_bytes_that_they_may(detector, tmp_path):
    for i in range(8):
        folders.draw(tmp_path / f"photographs/{i}.png", 3, seed=i)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    full, _ = made(tmp_path, out)
    size = sum(len(a["src"]) for a in full.of("img") if "webp" in a["src"][:20])
    small, notes = made(tmp_path, out, megabytes=0.12)
    assert notes == ["2 of 8 photographs are shown, spread evenly, to bound the size of this page"]
    bounded = sum(len(a["src"]) for a in small.of("img") if "webp" in a["src"][:20])
    assert bounded < 120_000 < size
    numbers = [a["data-open"] for a in small.of("a") if a.get("class") == "thumb"]
    assert numbers == ["0", "7"]
    assert len(small.data["photographs"]) == 8


def test_many_rows_are_cut_and_the_page_says_so(course, tmp_path, monkeypatch):
    text = (course[0] / "crystals.csv").read_text()
    monkeypatch.setattr(page, "ROWS", len(text) // 2)
    monkeypatch.setattr("pcs_detect.report.tables.ROWS", 5)
    cut, notes = made(tmp_path, *course)
    found, all_rows = cut.data["files"]["crystals"], pd.read_csv(course[0] / "crystals.csv")
    assert found["file"] == "crystals_part.csv"
    part = pd.read_csv(io.StringIO(found["text"]))
    complete = [name for name, rows in all_rows.groupby("image", sort=False) if (part["image"] == name).sum() == len(rows)]
    assert part["image"].drop_duplicates().tolist() == complete
    assert 3 <= len(complete) <= 6
    assert len(found["text"]) <= len(text) // 2
    assert notes == [
        f"crystals.csv has {len(all_rows)} rows; the {len(part)} of the first {len(complete)} photographs are in this page"
    ]
    assert "7 more rows are in the CSV file." in cut.words


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90)), elements=st.integers(0, 255)),
    st.integers(400, 6000),
)
def test_pictures_shrink_until_they_fit(pixels, most):
    webp, scale = shrunk(pixels, most)
    assert len(webp) <= most
    with Image.open(io.BytesIO(webp)) as picture:
        assert picture.size == tuple(max(round(v * scale), 1) for v in pixels.shape[::-1])
    assert scale == 1 or len(shrunk(pixels, 10**9)[0]) > most


@given(st.floats(-1e12, 1e12))
def test_shown_numbers_are_right_to_three_digits(x):
    assert float(number(x)) == pytest.approx(x, rel=5.1e-3, abs=1e-300)
    assert number(float("nan")) == number("") == "-"


@given(st.floats(0, 1))
def test_small_p_values_are_only_said_to_be_small(p):
    shown = probability(str(p))
    assert shown == "< 0.001" if p < 0.001 else float(shown) == pytest.approx(p, rel=5.1e-3)


def test_wrong_folders_and_options_are_named(course, tmp_path):
    predicted = course[0]
    out = tmp_path / "report.html"
    with pytest.raises(DataError, match="the folder that pcs-detect predict wrote"):
        write_report(tmp_path, out)
    with pytest.raises(DataError, match=r"no groups\.csv"):
        write_report(predicted, out, predicted)
    with pytest.raises(DataError, match="no such folder of photographs"):
        write_report(predicted, out, photographs=tmp_path / "nowhere")
    with pytest.raises(InputError, match="megabytes is 0"):
        write_report(predicted, out, megabytes=0)
    with pytest.raises(OutputError, match="cannot write"):
        write_report(predicted, tmp_path / "nowhere/report.html")
    with pytest.raises(InputError, match=r"name one that ends in \.html"):
        write_report(predicted, predicted / "crystals.csv")
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "images.csv").write_text("image,path\na.png,a.png\n"), "lacks the columns height_px"),
        (
            lambda f: (f / "images.csv").write_text((f / "images.csv").read_text().replace(",240,", ",,")),
            "lacks the size of a.png",
        ),
        (lambda f: (f / "settings.json").write_text("{"), r"settings\.json: cannot be read"),
        (lambda f: (f / "settings.json").write_text("[]"), "no settings of pcs-detect"),
        (lambda f: (f / "crystals.csv").write_bytes(b"\xff\xfe\x00"), r"crystals\.csv"),
        (
            lambda f: (f / "images.csv").write_text((f / "images.csv").read_text().replace("a.png", "c.png")),
            "which images.csv lacks",
        ),
    ],
)
def test_damaged_folders_are_named(detector, tmp_path, change, message):
    folders.draw(tmp_path / "photographs/a.png", 2)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    change(out)
    with pytest.raises(DataError, match=message):
        write_report(out, tmp_path / "report.html")


def test_sizes_of_other_photographs_or_without_columns_are_noticed(course, detector, tmp_path):
    folders.draw(tmp_path / "photographs/a.png", 2)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    _, notes = made(tmp_path, out, course[1])
    assert any("it belongs to other photographs" in note for note in notes)
    copy = tmp_path / "sizes"
    copy.mkdir()
    (copy / "groups.csv").write_text("replicate,n_crystals\n1,2\n")
    (copy / "tests.csv").write_text("compared,measure\nreplicate,width\n")
    with pytest.raises(DataError, match="lacks the column 'statistic'"):
        write_report(out, tmp_path / "report.html", copy)


def test_the_command_writes_and_tells(course, tmp_path, capsys):
    parser = argparse.ArgumentParser(prog="pcs-detect")
    report.add(parser.add_subparsers())
    words = ["report", str(course[0]), "--sizes", str(course[1]), "--out", str(tmp_path / "r.html"), "--title", "Day 1"]
    args = parser.parse_args(words)
    args.run(args, words)
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/r\.html: \d+\.\d MB\n", capsys.readouterr().out)
    assert "<title>Day 1</title>" in (tmp_path / "r.html").read_text()
    with pytest.raises(SystemExit):
        parser.parse_args([*words, "--megabytes", "-1"])
    assert "must be a number above 0" in capsys.readouterr().err


def test_a_photograph_that_was_replaced_is_told_even_if_it_is_as_large(detector, tmp_path):
    for name in ("a.png", "b.png"):
        folders.draw(tmp_path / "photographs" / name, 4)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    assert write_report(out, tmp_path / "r.html") == []
    folders.draw(tmp_path / "photographs" / "b.png", 4, seed=9)
    (note,) = write_report(out, tmp_path / "r.html")
    assert "not found, or changed since: b.png" in note


def test_pictures_of_a_stack_are_shown(detector, tmp_path):
    import tifffile

    folders.draw(tmp_path / "a.png", 4)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    (tmp_path / "ph").mkdir()
    tifffile.imwrite(tmp_path / "ph" / "s.tif", np.stack([pixels, pixels[::-1]]), metadata=None)
    out = folders.predicted(detector, tmp_path / "ph", tmp_path / "out")
    assert write_report(out, tmp_path / "r.html") == []
    assert write_report(out, tmp_path / "r.html", photographs=tmp_path / "ph") == []


def test_what_predict_noted_and_a_stop_are_in_the_page(detector, tmp_path):
    folders.draw(tmp_path / "photographs" / "a.png", 4)
    out = folders.predicted(detector, tmp_path / "photographs", tmp_path / "out")
    settings = json.loads((out / "settings.json").read_text())
    (out / "settings.json").write_text(json.dumps(settings | {"finished": False, "notes": ["scales differ"]}))
    assert "predict: scales differ" in write_report(out, tmp_path / "r.html")
    assert any("these are of an earlier run" in note for note in write_report(out, tmp_path / "r.html"))
