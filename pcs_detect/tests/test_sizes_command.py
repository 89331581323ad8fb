"""``pcs-detect sizes`` from files to files: a simulated time course comes back with its medians; bad input is named."""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcs_detect.commands import sizes
from pcs_detect.crystals.tables import COLUMNS, crystal_table, write_table
from pcs_detect.errors import DataError, InputError
from pcs_detect.sizes.output import FIGURES

SCALE = 0.84  # um per px
TIMES = (0.5, 2.0, 3.0, 5.0, 7.0)
CONCENTRATIONS = (10.0, 9.0, 7.0, 4.0, 2.5)
SPREAD = 0.4  # of the logarithm of widths


def true_median(variant, time):
    """um"""
    return {"WT": 9.0, "T102E": 6.0}[variant] * time


def write_course(folder):
    """What predict writes of two variants, replicates and dilutions over five times, two images each; none has any at first."""
    rng = np.random.default_rng(20)
    tables, groups, images = [], [], []
    for variant in ("WT", "T102E"):
        for replicate in (1, 2):
            for dilution, part in (("diluted", 1.0), ("undiluted", 0.3)):
                for time, concentration in zip(TIMES, CONCENTRATIONS):
                    for shot in "ab":
                        name = f"{variant}_{replicate}_{dilution}_{time:g}_{shot}.png"
                        count = int(part * rng.poisson(90)) if time > 0.5 else 0
                        width = true_median(variant, time) / SCALE * rng.lognormal(0, SPREAD, count)
                        angle = rng.uniform(-1.5, 1.5, count)
                        boxes = np.stack([width * 0 + 50, width * 0 + 60, width, width / rng.uniform(1, 9, count), angle], 1)
                        tables.append(crystal_table(name, boxes, rng.uniform(0.2, 1, count), rng.random(count) < 0.05, SCALE))
                        images.append({"image": name, "crystals": count})
                        key = {"replicate": replicate, "dilution": dilution, "time": time, "variant": variant}
                        groups.append({"image": name, **key, "concentration": concentration})
    folder.mkdir()
    write_table(pd.concat([t for t in tables if len(t)]), folder / "crystals.csv")
    write_table(pd.DataFrame(images), folder / "images.csv")
    write_table(pd.DataFrame(groups), folder / "groups.csv")
    return folder


def run(*arguments):
    parser = argparse.ArgumentParser(prog="pcs-detect")
    sizes.add(parser.add_subparsers())
    texts = ["sizes", *map(str, arguments)]
    args = parser.parse_args(texts)
    args.run(args, texts)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = write_course(tmp_path_factory.mktemp("course") / "predicted")
    run(folder, "--groups", folder / "groups.csv", "--out", folder / "out", "--concentration-unit", "g/L")
    return folder


def test_medians_of_a_simulated_time_course_come_back(course):
    table = pd.read_csv(course / "out/groups.csv")
    assert len(table) == 40
    assert (table["n_images"] == 2).all()
    first = table["time"] == 0.5
    assert (table["n_crystals"][first] == 0).all()
    assert table["width_um_median"][first].isna().all()
    found = table[~first]
    assert (found["n_crystals"] == found["n_measured"] + found["n_at_border"]).all()
    truth = np.array([true_median(v, t) for v, t in zip(found["variant"], found["time"])])
    error = np.log(found["width_um_median"] / truth) / (1.2533 * SPREAD / np.sqrt(found["n_measured"]))  # in standard errors
    assert np.abs(error).max() < 4
    assert error.std() == pytest.approx(1, abs=0.35)
    assert np.abs(found["width_um_median"] / truth - 1).max() < 0.25


def test_tests_accept_equal_samples_and_reject_different_variants(course):
    tests = pd.read_csv(course / "out/tests.csv")
    assert tests["compared"].drop_duplicates().tolist() == ["dilution", "replicate", "variant"]
    width = tests[(tests["measure"] == "width") & (tests["time"] > 0.5)]
    assert not width[width["compared"] != "variant"]["rejected_holm"].any()
    assert width[(width["compared"] == "variant") & (width["dilution"] == "diluted")]["rejected_holm"].all()
    none = tests[tests["time"] == 0.5]
    assert none["p_value"].isna().all()
    assert not none["rejected"].any()


def test_growth_rates_and_regressions_come_back(course):
    growth = pd.read_csv(course / "out/growth.csv")
    width = growth[growth["measure"] == "width"]
    truth = width["variant"].map({"WT": 9.0, "T102E": 6.0})
    assert (width["n_times"] == 4).all()
    assert np.abs(width["rate_um_per_h"] / truth - 1).max() < 0.2
    assert ((width["rate_low_um_per_h"] < truth) & (truth < width["rate_high_um_per_h"])).mean() >= 0.75
    lines = pd.read_csv(course / "out/regression.csv")
    assert lines["variant"].drop_duplicates().tolist() == ["WT", "T102E"]
    assert (lines["n"] == 5).all()
    assert (lines["slope"] < 0).all()
    assert pd.read_csv(course / "out/series.csv")["variant"].tolist() == ["WT", "T102E"]


def test_every_figure_is_there_and_is_a_picture(course):
    expected = {*FIGURES} - {"tests_time"}
    assert {p.name for p in (course / "out/figures").iterdir()} == {f"{n}{s}" for n in expected for s in (".png", ".svg")}
    for name in expected:
        with Image.open(course / f"out/figures/{name}.png") as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(1 << 24)) > 20
        assert (course / f"out/figures/{name}.svg").read_text().rstrip().endswith("</svg>")


def test_settings_say_what_was_done(course):
    settings = json.loads((course / "out/settings.json").read_text())
    assert settings["command"].startswith("pcs-detect sizes ")
    assert (settings["unit"], settings["border"], settings["at_time"], settings["series"]) == ("um", "drop", 7, ["variant"])
    assert set(settings["versions"]) == {"python", "numpy", "scipy", "pandas", "matplotlib"}


def test_the_summary_is_short(course, capsys, tmp_path):
    run(course / "crystals.csv", "--groups", course / "groups.csv", "--out", tmp_path, "--border", "keep", "--unit", "px")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("images 80, groups 40; sizes in px")
    assert "border" not in lines[0]
    assert lines[-1] == str(tmp_path)
    assert len(lines) < 30
    assert "width_px_median" in (tmp_path / "groups.csv").read_text().splitlines()[0]


def test_two_times_give_a_rate_without_an_interval(course, capsys, tmp_path):
    groups = pd.read_csv(course / "groups.csv")
    groups[groups["time"].isin([3, 7])].to_csv(tmp_path / "two.csv", index=False)
    run(course / "crystals.csv", "--groups", tmp_path / "two.csv", "--out", tmp_path / "out")
    said = capsys.readouterr().out
    assert "no interval from two points" in said
    assert "nan" not in said


def test_parquet_gives_the_same_as_csv(course, tmp_path):
    write_table(pd.read_csv(course / "crystals.csv"), tmp_path / "sizes.parquet")
    run(tmp_path / "sizes.parquet", "--groups", course / "groups.csv", "--out", tmp_path / "out")
    for name in ("groups", "tests", "growth", "regression", "ecdf"):
        assert (tmp_path / f"out/{name}.csv").read_bytes() == (course / f"out/{name}.csv").read_bytes()


def test_no_crystals_give_an_honest_empty_result_and_no_figure_of_an_earlier_run(course, tmp_path, capsys):
    pd.DataFrame(columns=list(COLUMNS)).to_csv(tmp_path / "crystals.csv", index=False)
    out = tmp_path / "out"
    write_table(crystal_table("a.png", [[9, 9, 8, 4, 0]], [0.9], [False]), tmp_path / "one.csv")
    run(tmp_path / "one.csv", "--out", out)
    assert (out / "figures/ecdf.png").is_file()
    capsys.readouterr()
    (out / "figures/mine.png").write_bytes(b"mine")
    run(tmp_path / "crystals.csv", "--groups", course / "groups.csv", "--out", out)
    text = capsys.readouterr().out
    assert "crystals 0, images 80, groups 40" in text
    assert "no figure was drawn: there is no crystal" in text
    assert [p.name for p in (out / "figures").iterdir()] == ["mine.png"]
    assert pd.read_csv(out / "groups.csv")["n_crystals"].tolist() == [0] * 40


@pytest.mark.parametrize("storage", ["pyarrow", "python"])
def test_a_folder_of_predict_without_crystals_is_read_alone_and_beside_another(tmp_path, capsys, storage):
    """pandas keeps text with pyarrow where that is installed; an empty column of text then stays text when it is mapped."""
    if storage == "pyarrow":
        pytest.importorskip("pyarrow")
    tables = {"none": crystal_table("", [], [], []), "one": crystal_table("b.png", [[9, 9, 8, 4, 0]], [0.9], [False])}
    for folder, table in tables.items():
        (tmp_path / folder).mkdir()
        write_table(table, tmp_path / folder / "crystals.csv")
        name = "a.png" if folder == "none" else "b.png"
        images = [{"image": name, "height_px": 60, "width_px": 80, "crystals": len(table), "error": None}]
        write_table(pd.DataFrame(images), tmp_path / folder / "images.csv")
    with pd.option_context("mode.string_storage", storage):
        for folders, crystals in ((["none"], 0), (["none", "one"], 1), (["one", "none"], 1)):
            run(*(tmp_path / name for name in folders), "--out", tmp_path / "out")
            assert capsys.readouterr().out.startswith(f"crystals {crystals}, images {len(folders)}, groups 1;")


def test_a_workbook_of_an_earlier_run_does_not_stay_unless_it_was_edited(tmp_path, capsys):
    write_table(crystal_table("a.png", [[9, 9, 8, 4, 0]], [0.9], [False]), tmp_path / "c.csv")
    workbook = tmp_path / "out" / "sizes.xlsx"
    run(tmp_path / "c.csv", "--out", tmp_path / "out", "--excel")
    assert workbook.is_file()
    run(tmp_path / "c.csv", "--out", tmp_path / "out")
    assert not workbook.exists()
    assert "sizes.xlsx of an earlier run was removed; --excel writes it anew" in capsys.readouterr().out
    workbook.write_bytes(b"mine")
    run(tmp_path / "c.csv", "--out", tmp_path / "out")
    assert workbook.read_bytes() == b"mine"
    assert "sizes.xlsx is of an earlier run and stays" in capsys.readouterr().out


def test_one_crystal_is_enough(tmp_path, capsys):
    write_table(crystal_table("a.png", [[9, 9, 8, 4, 0]], [0.9], [False]), tmp_path / "c.csv")
    run(tmp_path / "c.csv", "--out", tmp_path / "out")
    row = pd.read_csv(tmp_path / "out/groups.csv").iloc[0]
    assert (row["n_measured"], row["width_px_median"], row["width_px_q1"], row["aspect_ratio_mean"]) == (1, 8, 8, 2)
    assert np.isnan(row["width_px_std"])
    assert (tmp_path / "out/figures/ecdf.png").is_file()
    assert "groups name no concentration" in capsys.readouterr().out


def test_images_that_could_not_be_read_are_not_images_without_crystals(tmp_path, capsys):
    write_table(crystal_table("a.png", [[9, 9, 8, 4, 0]], [0.9], [False]), tmp_path / "crystals.csv")
    rows = [{"image": "a.png", "error": None}, {"image": "b.png", "error": None}, {"image": "c.png", "error": "truncated"}]
    write_table(pd.DataFrame(rows), tmp_path / "images.csv")
    write_table(pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "time": [1, 1, 2]}), tmp_path / "groups.csv")
    for options in ((), ("--groups", tmp_path / "groups.csv")):
        run(tmp_path, *options, "--out", tmp_path / "out")
        groups = pd.read_csv(tmp_path / "out/groups.csv")
        assert (list(groups.n_images), list(groups.n_crystals)) == ([2], [1])
        assert "could not be read, left out: c.png" in capsys.readouterr().out


def test_bad_input_is_named(course, tmp_path):
    with pytest.raises(DataError, match=r"no crystals\.csv in this folder"):
        run(tmp_path, "--out", tmp_path / "out")
    with pytest.raises(DataError, match=r"none\.csv"):
        run(tmp_path / "none.csv", "--out", tmp_path / "out")
    (tmp_path / "bad.csv").write_text("photo,width\na,1\n")
    with pytest.raises(DataError, match="lacks the columns image; it has photo, width"):
        run(tmp_path / "bad.csv", "--out", tmp_path / "out")
    with pytest.raises(DataError, match="lacks the column image"):
        run(course, "--groups", tmp_path / "bad.csv", "--out", tmp_path / "out")
    (tmp_path / "other.csv").write_text("image,time\nsomewhere.png,1\n")
    with pytest.raises(DataError, match=r"not searched for crystals: somewhere\.png"):
        run(course, "--groups", tmp_path / "other.csv", "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"groups\.ods.*save it as \.xlsx"):
        run(course, "--groups", tmp_path / "groups.ods", "--out", tmp_path / "out")
    with pytest.raises(InputError, match="'colour' is no column"):
        run(course, "--groups", course / "groups.csv", "--compare", "colour", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_of_it_loads_torch():
    code = "import sys, pcs_detect.sizes, pcs_detect.commands.sizes; print({'torch', 'mmcv', 'mmdet'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_terminal_of_ascii_shows_what_it_can(tmp_path):
    write_table(crystal_table("a.png", [[9, 9, 8, 4, 0]], [0.9], [False], 0.5), tmp_path / "c.csv")
    command = [sys.executable, "-m", "pcs_detect.cli", "sizes", str(tmp_path / "c.csv"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "sizes in \\xb5m" in result.stdout
