"""Tables as spreadsheets save them: labels stay text, numbers that may be two things are asked about, results stay safe."""

import datetime
import json
import shutil

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.crystals.spreadsheets import number, numbers_of, read_sheet, truth
from pcs_detect.crystals.tables import crystal_table, read_table, write_table
from pcs_detect.crystals.workbook import header, write_workbook
from pcs_detect.errors import DataError, InputError
from pcs_detect.sizes import analyse
from pcs_detect.sizes.analysis import Options
from pcs_detect.sizes.groups import checked_groups, concentration_unit, raw_groups, read_groups
from pcs_detect.sizes.output import check_sizes_folder, read_inputs, write_sizes


@pytest.mark.parametrize(
    ("labels", "levels"),
    [
        (["1.10", "1.1"], ["1.1", "1.10"]),
        (["10", "9", "2"], ["2", "9", "10"]),
        (["01", "1"], ["01", "1"]),
        (["1E2", "100", "20"], ["20", "100", "1E2"]),
        (["1E5"], ["1E5"]),
        (["b", "a", "10"], ["b", "a", "10"]),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_are_text_and_sort_as_numbers_where_all_are(tmp_path, labels, levels, separator):
    rows = [
        separator.join(("image", "dilution", "variant")),
        *(separator.join((f"{k}.png", v, v)) for k, v in enumerate(labels)),
    ]
    (tmp_path / "g.csv").write_text("\n".join(rows))
    groups = read_groups(tmp_path / "g.csv")
    assert groups["dilution"].astype(str).tolist() == labels
    assert groups["dilution"].cat.categories.tolist() == levels


def test_decimal_commas_in_labels_and_names_of_numbers(tmp_path):
    (tmp_path / "g.csv").write_text("image;dilution;time\n001;1,1;0,5\n1;1,10;2\n")
    groups = read_groups(tmp_path / "g.csv")
    assert groups["image"].tolist() == ["001", "1"]
    assert groups["dilution"].cat.categories.tolist() == ["1,1", "1,10"]
    assert groups["time"].tolist() == [0.5, 2]
    crystals = pd.concat([crystal_table(n, [[9, 9, 8, 4, 0]] * k, [0.9] * k, [False] * k) for n, k in (("001", 1), ("1", 3))])
    write_table(crystals, tmp_path / "c.csv")
    found = analyse(read_table(tmp_path / "c.csv"), groups)
    assert found.tables["groups"]["n_crystals"].tolist() == [1, 3]


def test_columns_of_the_template_that_stay_empty_are_none(tmp_path):
    (tmp_path / "g.csv").write_text("image,replicate,time,dilution,variant,concentration\na.png,,1,,,\nb.png,,2,,,\n")
    assert list(read_groups(tmp_path / "g.csv").columns) == ["image", "time"]


def workbook(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


TEXT = "Image,time,variant\nä.png,1.5,wt\nb.png,2,m\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", TEXT.encode()),
        ("a.CSV", b"\xef\xbb\xbf" + TEXT.encode()),
        ("a.txt", TEXT.replace(",", "\t").encode("utf-16")),
        ("a.tsv", TEXT.replace(",", "\t").encode("utf-16-le")),
        ("a.csv", TEXT.replace(",", ";").replace("1.5", "1,5").encode("cp1252")),
        ("a.csv", b"sep=;\r\n" + TEXT.replace(",", ";").encode("cp1252")),
        ("a.csv", TEXT.replace("\n", ",\n").encode()),  # a comma after every row
        ("a.csv", TEXT.replace("wt\n", "wt,\n").encode()),
        ("a.csv", TEXT.replace("\n", "\r\n").encode() + b"\r\n,,\r\n"),
        ("a.xlsx", [["Image", "time", "variant"], ["ä.png", 1.5, "wt"], ["b.png", 2, "m"], [None, None, None]]),
    ],
)
def test_tables_of_every_spreadsheet_are_read_alike(tmp_path, name, content):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        workbook(tmp_path / name, content)
    groups = read_groups(tmp_path / name)
    assert groups["image"].tolist() == ["ä.png", "b.png"]
    assert groups["time"].tolist() == [1.5, 2]
    assert groups["variant"].astype(str).tolist() == ["wt", "m"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('image,time\na,"1,500"\n', "'1,500', which may be 1.500 or 1500"),
        ("image;time\na;1.500\n", "'1.500', which may be 1.500 or 1500"),
        ("image;time\na;1,500\n", "'1,500', which may be"),
        ("image\ttime\na\t1.250\n", "'1.250', which may be"),
        ('image,time\na,"0,5"\nb,2.5\n', "decimal commas and with decimal dots"),
        ("image;time\na;0,5\nb;1.500\n", "'1.500', which may be"),
    ],
)
def test_a_number_that_may_be_two_is_a_question(tmp_path, text, asked):
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(DataError, match=asked):
        read_groups(tmp_path / "g.csv")


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("image,time\na,1.500\nb,2\n", [1.5, 2]),
        ("image;time\na;1,500\nb;0,5\n", [1.5, 0.5]),
        ("image;time\na;1.500\nb;0.5\n", [1.5, 0.5]),
        ("image;time\na;0,125\nb;7\n", [0.125, 7]),
        ("image;time\na;2\nb;1e2\n", [2, 100]),
    ],
)
def test_a_number_that_the_others_explain_is_none(tmp_path, text, times):
    (tmp_path / "g.csv").write_text(text)
    assert read_groups(tmp_path / "g.csv")["time"].tolist() == times


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_numbers_are_read_as_written_or_asked_about(tmp_path_factory, values, separator, comma):
    path = tmp_path_factory.mktemp("n") / "a.csv"
    texts = [f"{v:.5f}".replace(".", ",") if comma else f"{v:.5f}" for v in values]
    path.write_text("\n".join([f"image{separator}time", *(f'{k}{separator}"{t}"' for k, t in enumerate(texts))]))
    np.testing.assert_allclose(numbers_of(read_sheet(path), ["time"])["time"], np.round(values, 5))
    assert all(number(t, "," if comma else ".") == pytest.approx(v, abs=1e-5) for t, v in zip(texts, values))


@pytest.mark.parametrize(
    ("head", "times"),
    [("time", [30, 90]), ("Time (h)", [30, 90]), ("time (min)", [0.5, 1.5]), ("time_min", [0.5, 1.5]),
     ("time [d]", [720, 2160]),     ("TIME / s", [30 / 3600, 90 / 3600]), ("time_h", [30, 90])],
)  # fmt: skip
def test_times_are_hours_unless_the_header_says_otherwise(head, times):
    assert checked_groups(pd.DataFrame({"image": ["a", "b"], head: [30, 90]}))["time"].tolist() == pytest.approx(times)


def test_units_in_headers():
    with pytest.raises(DataError, match="times in 'weeks'"):
        checked_groups(pd.DataFrame({"image": ["a"], "time (weeks)": [1]}))
    assert concentration_unit(pd.DataFrame({"Concentration (g/L)": [1]})) == "g/L"
    assert concentration_unit(pd.DataFrame({"concentration": [1]})) == ""


def test_what_a_spreadsheet_made_a_date_is_told(tmp_path):
    workbook(tmp_path / "a.xlsx", [["image", "dilution"], ["a.png", datetime.datetime(2026, 2, 1)]])
    with pytest.raises(DataError, match="row 2: a spreadsheet has made a date of a cell"):
        read_groups(tmp_path / "a.xlsx")
    (tmp_path / "a.csv").write_text("image,dilution\na.png,01. Feb\nb.png,2-Mar\n")
    crystals = crystal_table("a.png", [[9, 9, 8, 4, 0]], [0.9], [False])
    notes = analyse(crystals, raw_groups(tmp_path / "a.csv")).notes
    assert any("look like dates" in note and "01. Feb, 2-Mar" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "it is empty"),
        ("a.csv", b"image,time\n", "has a header and no rows"),
        ("a.csv", b"image,time\na,1,2\n", "row 2 has 3 cells, the header 2"),
        ("a.xlsx", b"no workbook", "cannot be read as an Excel workbook"),
        ("a.csv", b"Bild;Zeit\na;1\n", "lacks the column image; it has Bild, Zeit.*groups_template"),
        ("a.csv", b"image\0,\xff\xfetime\n", "no text in UTF-8"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_groups(tmp_path / name)


def test_crystals_saved_by_a_german_excel_are_read(tmp_path):
    table = crystal_table("a.png", [[19.5, 9.25, 8.123456, 4.5, 0.3], [70, 60, 20, 10, 1]], [0.9, 0.5], [False, True], 0.84)
    write_table(table, tmp_path / "crystals.csv")
    text = (tmp_path / "crystals.csv").read_text()
    german = (
        text.replace(",", ";").replace(".", ",").replace("a,png", "a.png").replace("False", "FALSCH").replace("True", "WAHR")
    )
    for encoding in ("cp1252", "utf-8-sig", "utf-16"):
        (tmp_path / "crystals.csv").write_bytes(german.replace("\n", "\r\n").encode(encoding))
        found = analyse(read_inputs([tmp_path]).crystals)
        assert found.options.unit == "um"
        assert found.crystals["measured"].tolist() == [True, False]
        assert found.crystals["width"].tolist() == pytest.approx(table["width_um"].tolist(), rel=1e-5)
    assert [truth(w) for w in ("FALSCH", "vrai", " No ", "1.0", "maybe")] == [False, True, False, True, None]


def folder(path, name="a.png", um=None, count=3, size=100, **images):
    path.mkdir(parents=True, exist_ok=True)
    boxes = [[20 + 10 * k, 30, 10 + k, 5, 0] for k in range(count)]
    write_table(crystal_table(name, boxes, [0.9] * count, [False] * count, um), path / "crystals.csv")
    write_table(
        pd.DataFrame({"image": [name], "height_px": [size], "width_px": [size], "error": [""], **images}), path / "images.csv"
    )
    return path


def test_folders_of_different_scales_are_joined(tmp_path):
    a, b = folder(tmp_path / "A", "a.png", 0.5), folder(tmp_path / "B", "b.png", 2.0, 4)
    given = read_inputs([a, b])
    assert given.images == ["a.png", "b.png"]
    found = analyse(given.crystals, images=given.images)
    assert found.options.unit == "um"
    assert found.tables["groups"]["n_crystals"].tolist() == [7]
    assert given.alias["B/b.png"] == "b.png"


def test_folders_with_images_of_one_name_put_their_own_before_it(tmp_path):
    given = read_inputs(
        [folder(tmp_path / "x" / "A", um=1.0), folder(tmp_path / "x" / "B", um=1.0), folder(tmp_path / "y" / "A", um=1.0)]
    )
    assert given.images == ["x/A/a.png", "x/B/a.png", "y/A/a.png"]
    assert set(given.crystals["image"]) == set(given.images)
    with pytest.raises(InputError, match="name each folder once"):
        read_inputs([tmp_path / "x" / "A", tmp_path / "x" / "A"])


def test_scales_that_are_missing_do_not_mix_silently(tmp_path):
    a, b, c = folder(tmp_path / "A", "a.png", 0.5), folder(tmp_path / "B", "b.png"), folder(tmp_path / "C", "c.png", 2.0)
    assert any("sizes are in px" in note for note in analyse(read_inputs([a, b]).crystals).notes)
    with pytest.raises(DataError, match=r"1 photographs have no scale \(b\.png\).*mix magnifications"):
        analyse(read_inputs([a, b, c]).crystals)
    assert analyse(read_inputs([a, b, c]).crystals, options=Options(unit="px")).options.unit == "px"


def test_numbers_that_a_spreadsheet_changed_are_found(tmp_path):
    folder(tmp_path)
    text = (tmp_path / "crystals.csv").read_text().replace(",20,30,", ",20345,30,")
    (tmp_path / "crystals.csv").write_text(text)
    with pytest.raises(DataError, match=r"1 crystals outside their photographs .*20345"):
        read_inputs([tmp_path])


def test_tables_of_a_run_that_was_stopped_are_told(tmp_path):
    folder(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"program": "predict", "finished": False}))
    assert "of an earlier run" in read_inputs([tmp_path]).notes[0]


@pytest.mark.parametrize("place", [".", "groups.csv"])
def test_sizes_never_replace_their_inputs(tmp_path, place):
    """groups.csv is also the name of a result."""
    crystals = folder(tmp_path / "crystals")
    (crystals / "settings.json").write_text(json.dumps({"program": "predict"}))
    groups = tmp_path / "groups.csv"
    groups.write_text("image,time\na.png,1\n")
    inputs = [*read_inputs([crystals]).files, groups]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    found = analyse(read_inputs([crystals]).crystals, raw_groups(groups))
    for out in (tmp_path, crystals):
        for read in (inputs, ()):
            with pytest.raises(InputError, match=r"is read|holds results of pcs-detect predict|nothing there says"):
                write_sizes(found, out, inputs=read)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    check_sizes_folder(tmp_path / "new", inputs)
    shutil.rmtree(crystals)


def test_a_workbook_has_units_and_no_formulas(tmp_path):
    names = ["=1+1", "+a", "-a", "@a", "plain", "tab\x0bulator"]
    table = crystal_table("x", [[9, 9, 8, 4, 0]] * 6, [0.9] * 6, [False] * 6, 0.5).assign(image=names)
    write_workbook({"crystals": table, "images": pd.DataFrame({"image": names, "um_per_px": 0.5})}, tmp_path / "a.xlsx")
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert book.sheetnames == ["crystals", "images"]
    rows = list(book["crystals"].iter_rows())
    assert [c.value for c in rows[0]][:6] == ["image", "crystal", "x (px)", "y (px)", "width (px)", "height (px)"]
    assert [c.value for c in rows[0]][6:10] == ["area (px²)", "width (µm)", "height (µm)", "area (µm²)"]
    assert [r[0].value for r in rows[1:]] == [*names[:5], "tab\ufffdulator"]
    assert all(r[0].data_type == "s" for r in rows[1:])
    assert all(r[0].quotePrefix for r in rows[1:5])
    assert rows[1][7].value == 4.0
    with pytest.raises(InputError, match=r"\.xlsx"):
        write_workbook({"a": table}, tmp_path / "a.xls")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("width_um_median", "width, median (µm)"), ("area_px2_q1", "area, q1 (px²)"), ("rate_um_per_h", "rate (µm/h)"),
     ("rate_um_per_h_low", "rate, low (µm/h)"), ("angle_deg", "angle (°)"), ("n_images", "n images"), ("time", "time (h)"),
     ("aspect_ratio", "aspect ratio")],
)  # fmt: skip
def test_headers_for_people(name, shown):
    assert header(name) == shown


def test_sizes_as_a_workbook(tmp_path):
    given = read_inputs([folder(tmp_path / "A", "=a.png", 0.5)])
    found = analyse(given.crystals, images=given.images)
    write_sizes(found, tmp_path / "out", excel=True, crystals=given.crystals, images=given.table)
    book = openpyxl.load_workbook(tmp_path / "out" / "sizes.xlsx")
    assert book.sheetnames == ["crystals", "images", "sizes", "tests"]
    assert book["crystals"]["A2"].value == "=a.png"
    assert book["crystals"]["A2"].data_type == "s"
    assert "width, median (µm)" in [c.value for c in book["sizes"][1]]
