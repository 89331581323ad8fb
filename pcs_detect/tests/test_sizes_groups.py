"""The table of groups, and crystals joined to it: what is read, what is refused, and in which words."""

import numpy as np
import pandas as pd
import pytest

from pcs_detect.errors import DataError, InputError
from pcs_detect.sizes.analysis import Options, analyse
from pcs_detect.sizes.groups import checked_groups, joined, read_groups


def crystal_rows(**changes):
    columns = {
        "image": ["a.png", "a.png", "b.png"],
        "width_px": [10.0, 20.0, 30.0],
        "height_px": [5.0, 4.0, 3.0],
        "width_um": [8.4, 16.8, 25.2],
        "height_um": [4.2, 3.36, 2.52],
        "score": [0.9, 0.3, 0.6],
        "at_border": [False, True, False],
    }
    return pd.DataFrame({**columns, **changes})


def group_rows(**changes):
    return pd.DataFrame({"image": ["a.png", "b.png"], "time": [1.0, 2.0], "replicate": [1, 1], **changes})


def test_names_of_columns_may_have_capitals_and_blanks(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("Image, Time ,REPLICATE\na.png,1,x\n b.png ,2.5,y\n")
    groups = read_groups(file)
    assert groups["image"].tolist() == ["a.png", "b.png"]
    assert groups["time"].tolist() == [1, 2.5]
    assert groups["replicate"].tolist() == ["x", "y"]


def test_tables_of_spreadsheets_with_semicolons_and_decimal_commas_are_read(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_bytes("\ufeffimage;time;dilution;concentration\na.png;2,5;1:10;3,25\nb.png;3;unverdünnt;\n".encode())
    groups = read_groups(file)
    assert groups["time"].tolist() == [2.5, 3]
    for text in ("image,variant\na.png,null\nb.png,NA\n", "image;variant\na.png;null\nb.png;NA\n"):
        file.write_text(text)
        assert read_groups(file)["variant"].tolist() == ["null", "NA"]
    file.write_text("image;time\na.png;1\nb.png;1,5\n;\n")
    assert read_groups(file)["time"].tolist() == [1, 1.5]
    assert groups["dilution"].tolist() == ["1:10", "unverdünnt"]
    assert groups["concentration"].iloc[0] == 3.25
    assert np.isnan(groups["concentration"].iloc[1])


def test_groups_come_in_the_order_of_the_table_unless_they_are_numbers():
    table = pd.DataFrame({"image": list("abc"), "variant": ["WT", "T102E", "Q126K"], "replicate": [10, 9, 2]})
    groups = checked_groups(table)
    assert groups["variant"].cat.categories.tolist() == ["WT", "T102E", "Q126K"]
    assert groups["replicate"].cat.categories.tolist() == ["2", "9", "10"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": ["a.png", "a.png"]}, "a.png more than once"),
        ({"image": ["a.png", None]}, "image is empty in row 3"),
        ({"time": [1.0, None]}, "time of b.png is empty.*hours"),
        ({"time": [1.0, "late"]}, "time of b.png is 'late'"),
        ({"time": [np.inf, 1.0]}, "time of a.png is 'inf'"),
        ({"replicate": ["x", " "]}, "replicate is empty in row 3"),
        ({"concentration": ["high", 2.0]}, "concentration of a.png is 'high'"),
        ({"Time": [1, 2]}, "column time more than once"),
    ],
)
def test_wrong_entries_of_groups_are_named(changes, words):
    with pytest.raises(DataError, match=words):
        checked_groups(group_rows(**changes), "groups.csv")


def test_groups_need_images():
    with pytest.raises(DataError, match="lacks the column image; it has name, time"):
        checked_groups(pd.DataFrame({"name": ["a"], "time": [1]}))


def test_joined_crystals_have_groups_sizes_and_flags():
    table, unit = joined(crystal_rows(), checked_groups(group_rows()))
    assert unit == "um"
    assert table["width"].tolist() == [8.4, 16.8, 25.2]
    np.testing.assert_allclose(table["aspect_ratio"], [2, 5, 10])
    np.testing.assert_allclose(table["area"], table["width"] * table["height"])
    assert table["time"].tolist() == [1, 1, 2]
    assert table["measured"].tolist() == [True, False, True]
    assert joined(crystal_rows(), checked_groups(group_rows()), border="keep")[0]["measured"].all()


def test_um_need_a_size_of_every_crystal_that_counts():
    groups = checked_groups(group_rows())
    crystals = crystal_rows(width_um=[8.4, None, 25.2])
    assert joined(crystals, groups)[1] == "px"
    assert joined(crystals, groups, min_score=0.5)[1] == "um"  # the one without a size does not count
    assert joined(crystals.drop(columns=["width_um", "height_um"]), groups)[1] == "px"
    with pytest.raises(DataError, match=r"width_um of 1 crystals is empty.*image a.png"):
        joined(crystals, groups, unit="um")
    with pytest.raises(DataError, match="lacks the column width_um"):
        joined(crystals.drop(columns="width_um"), groups, unit="um")


def test_low_scores_and_images_of_no_group_are_left_out():
    groups = checked_groups(group_rows())
    assert len(joined(crystal_rows(), groups, min_score=0.6)[0]) == 2
    assert len(joined(crystal_rows(image=["a.png", "x.png", "y.png"]), groups)[0]) == 1


@pytest.mark.parametrize("flags", [[0, 1, 0], ["False", "true", " FALSE "], [0.0, 1.0, 0.0]])
def test_flags_may_be_written_in_several_ways(flags):
    table, _ = joined(crystal_rows(at_border=flags), checked_groups(group_rows()))
    assert table["measured"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"at_border": ["left", "no", "no"]}, "at_border of image a.png is 'left'"),
        ({"width_um": [0.0, 1.0, 1.0], "height_um": 0.5}, "width_um of 1 crystals .*not a positive number.*0.0"),
        ({"height_um": [9.0, 3.36, 2.52]}, "height_um is larger than width_um in 1 crystals"),
        ({"width_um": ["wide", 1, 1]}, "width_um of image a.png is 'wide'"),
        ({"score": ["good", 1, 1]}, "score of image a.png is 'good'"),
    ],
)
def test_wrong_values_of_crystals_are_named(changes, words):
    with pytest.raises(DataError, match=words):
        joined(crystal_rows(**changes), checked_groups(group_rows()), min_score=0.1)


@pytest.mark.parametrize(
    ("missing", "words"), [("image", "column image"), ("score", "column score"), ("at_border", "border keep")]
)
def test_missing_columns_of_crystals_are_named(missing, words):
    with pytest.raises(DataError, match=words):
        joined(crystal_rows().drop(columns=missing), checked_groups(group_rows()), min_score=0.1)


@pytest.mark.parametrize("options", [{"unit": "mm"}, {"border": "cut"}, {"min_score": 1.5}, {"min_score": float("nan")}])
def test_wrong_options_are_named(options):
    with pytest.raises(InputError, match=next(iter(options))):
        joined(crystal_rows(), checked_groups(group_rows()), **options)


def test_images_that_do_not_match_are_told_from_images_without_crystals():
    crystals, groups = crystal_rows(), group_rows(image=["a.png", "c.png"])
    found = analyse(crystals, groups, images=["a.png", "b.png", "c.png"])
    assert found.notes == ["images of no group, left out: b.png"]
    assert found.tables["groups"]["n_crystals"].tolist() == [2, 0]
    assert "images without any crystal: c.png" in analyse(crystals, groups).notes
    with pytest.raises(DataError, match=r"1 images that were not searched.*c\.png"):
        analyse(crystals, groups, images=["a.png", "b.png"])
    with pytest.raises(DataError, match="2 images that were not searched"):
        analyse(crystals, group_rows(image=["A.PNG", "B.PNG"]))
    assert any("comment" in note for note in analyse(crystals, group_rows(comment=["", "x"])).notes)


def test_without_groups_all_images_are_one():
    tables = analyse(crystal_rows(), images=["a.png", "b.png", "c.png"]).tables
    assert tables["groups"][["n_images", "n_crystals", "n_at_border", "n_measured"]].to_numpy().tolist() == [[3, 3, 1, 2]]
    assert tables["tests"].empty
    assert tables["growth"].empty
    assert tables["regression"].empty


def test_no_crystals_at_all_give_counts_of_zero():
    empty = crystal_rows().iloc[:0]
    for crystals in (empty, empty.astype(object)):
        tables = analyse(crystals, group_rows(replicate=[1, 2], time=[1, 1], concentration=[2.0, 3.0])).tables
        assert tables["groups"]["n_images"].tolist() == [1, 1]
        assert tables["groups"]["n_crystals"].tolist() == [0, 0]
        assert tables["groups"]["width_median"].isna().all()
        assert tables["tests"]["p_value"].isna().all()
        assert not tables["tests"]["rejected"].any()
        assert tables["areas"]["total_area"].tolist() == [0, 0]
        assert tables["ecdf"].empty


def test_options_name_columns_and_times_that_exist():
    for options in (Options(compare=("variant",)), Options(series=("colour",)), Options(regression_by=("image",))):
        with pytest.raises(InputError, match="is no column of the groups that can be used here; there are replicate, time"):
            analyse(crystal_rows(), group_rows(), options=options)
    assert set(analyse(crystal_rows(), group_rows(), options=Options(series=("time",))).tables["ecdf"]["time"]) == {1, 2}
    with pytest.raises(InputError, match="no image was taken at 7 h; times are 1, 2"):
        analyse(crystal_rows(), group_rows(), options=Options(at_time=7))
    with pytest.raises(InputError, match="times are none"):
        analyse(crystal_rows(), options=Options(at_time=7))
