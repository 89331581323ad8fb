"""Folders of photographs and of results: whose files are whose, and what a run does with what is odd."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile
from fixed_network import FixedNetwork
from PIL import Image

from pcs_detect import cli, files
from pcs_detect.crystals.tables import read_table
from pcs_detect.errors import DataError, InputError, OutputError
from pcs_detect.files import locked
from pcs_detect.inference import batch
from pcs_detect.inference.batch import predict_folder
from pcs_detect.inference.detector import Detector
from pcs_detect.photographs.finding import search


def picture(seed=0, crystals=3, size=(120, 160), level=230):
    pixels = np.random.default_rng(seed).integers(20, 60, size).astype(np.uint8)
    for k in range(crystals):
        pixels[20 + 30 * k : 34 + 30 * k, 40:70] = level
    return pixels


def put(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture() if pixels is None else pixels).save(path)
    return path


def predict(places, out, **options):
    return predict_folder(Detector(FixedNetwork(), score=0.05), places, out, **options)


def tree(folder):
    """Every file with its content."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("where", ["a.png", "overlays/a.png", "parts/deep/a.png"])
def test_a_folder_that_holds_the_photographs_is_refused_before_anything_is_written(tmp_path, where, overwrite):
    put(tmp_path / "w" / where)
    put(tmp_path / "other" / "b.png")
    (tmp_path / "w" / "parts").mkdir(exist_ok=True)
    (tmp_path / "w" / "parts" / "notes.txt").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"holds a\.png, which is read.*--out"):
        predict([tmp_path / "other", tmp_path / "w" / where], tmp_path / "w", overwrite=overwrite)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["crystals.csv", "parts/notes.txt", "overlays/mine.png", "groups_template.csv", "settings.json"]
)
def test_files_of_others_with_the_names_of_results_are_refused(tmp_path, name):
    put(tmp_path / "photographs" / "a.png")
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("{}")
    before = tree(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="nothing there says that pcs-detect predict wrote it"):
            predict(tmp_path / "photographs", tmp_path / "out", overwrite=overwrite)
    assert tree(tmp_path) == before


def test_overwriting_removes_what_the_command_made_and_nothing_else(tmp_path):
    put(tmp_path / "photographs" / "a.png")
    put(tmp_path / "photographs" / "b" / "c.png")
    out = tmp_path / "out"
    predict(tmp_path / "photographs", out, recursive=True)
    mine = ["notes.txt", "parts/notes.txt", "parts/other.json", "overlays/mine.png", "overlays/b/mine.txt", "figure.svg"]
    for name in mine:
        (out / name).write_text('{"mine": 1}')
    put(tmp_path / "other" / "z.png")
    predict(tmp_path / "other", out, overwrite=True)
    kept = tree(out)
    assert all(kept[name] == b'{"mine": 1}' for name in mine)
    assert {n for n in kept if n.startswith(("parts/", "overlays/"))} == {*mine[1:5], "parts/z.png.json", "overlays/z.png.png"}


def test_results_inside_the_photographs_folder_are_no_photographs(tmp_path):
    """Nor are the figures of sizes, nor what convert copies."""
    put(tmp_path / "ph" / "a.png")
    first = predict(tmp_path / "ph", tmp_path / "ph" / "crystals")
    (tmp_path / "ph" / "sizes" / "figures").mkdir(parents=True)
    put(tmp_path / "ph" / "sizes" / "figures" / "ecdf.png")
    (tmp_path / "ph" / "sizes" / "settings.json").write_text('{"program": "sizes"}')
    again = predict(tmp_path / "ph", tmp_path / "all", recursive=True)
    assert len(first) == len(again) == 3
    put(tmp_path / "ph" / "mine" / "overlays" / "b.png")  # a folder of that name alone says nothing
    assert len(predict(tmp_path / "ph", tmp_path / "third", recursive=True)) == 6


def test_a_name_in_latin_1_is_done_and_shown(tmp_path):
    folder = tmp_path / "l"
    folder.mkdir()
    put(tmp_path / "x.png").rename(os.fsdecode(os.fsencode(folder) + b"/Prob\xe9.png"))
    put(folder / "plain.png")
    out = tmp_path / "out"
    table = predict(folder, out, labelme=tmp_path / "labelme", excel=True)
    assert set(table["image"]) == {"Prob%E9.png", "plain.png"}
    assert (out / "overlays" / "Prob%E9.png.png").is_file()
    images = read_table(out / "images.csv", ("image", "path"))
    assert images["path"].str.endswith(("Prob%E9.png", "plain.png")).all()
    from pcs_detect.report import write_report

    assert not any("not found" in note for note in write_report(out, tmp_path / "r.html"))


def test_names_stay_when_other_folders_join(tmp_path):
    put(tmp_path / "ph" / "a" / "1.png")
    names = {f.name for f in search([tmp_path / "ph"], recursive=True).files}
    put(tmp_path / "ph" / "b" / "1.png")
    assert names < {f.name for f in search([tmp_path / "ph"], recursive=True).files} == {"a/1.png", "b/1.png"}
    put(tmp_path / "ph" / "UPPER.PNG")
    put(tmp_path / "ph" / "upper.png")
    assert {f.name for f in search([tmp_path / "ph"]).files} == {"UPPER.PNG", "upper.png"}


def test_long_names_stop_nothing(tmp_path):
    put(tmp_path / "ph" / ("é" * 120 + ".png"))
    out = tmp_path / "out"
    assert set(predict(tmp_path / "ph", out)["image"]) == {"é" * 120 + ".png"}
    assert len(list((out / "overlays").iterdir())) == 1


def test_one_white_for_a_series(tmp_path):
    """The same scene by a 12-bit camera, its brightest spot a little different each time."""
    scene = picture().astype(np.uint16) * 3
    for k, most in enumerate((900, 1000, 1030, 1100)):
        levels = scene.copy()
        levels[0, 0] = most
        (tmp_path / "ph").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "ph" / f"{k}.tif", levels, metadata=None)
    out = tmp_path / "out"
    table = predict(tmp_path / "ph", out)
    images = read_table(out / "images.csv", ("image", "white"))
    assert set(images["white"]) == {4095}
    assert len(set(table.groupby("image").size().reindex([f"{k}.tif" for k in range(4)], fill_value=0))) == 1
    shutil.rmtree(out)
    predict(tmp_path / "ph" / "0.tif", out)  # alone its white is another
    assert set(read_table(out / "images.csv", ("white",))["white"]) == {1023}
    predict(tmp_path / "ph", out)  # and is found anew when the series is known
    assert set(read_table(out / "images.csv", ("white",))["white"]) == {4095}
    pd.testing.assert_frame_equal(read_table(out / "crystals.csv"), table, check_dtype=False, rtol=1e-5)


def test_a_white_beyond_8_bits_is_refused_for_8_bits(tmp_path):
    put(tmp_path / "ph" / "a.png")
    with pytest.raises(DataError, match="1 of 1 photographs"):
        predict_folder(Detector(FixedNetwork(), white=4095), tmp_path / "ph", tmp_path / "out")
    assert "8-bit" in read_table(tmp_path / "out" / "images.csv", ("error",))["error"][0]


def stack(path, scale=2.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.stack([picture(seed) for seed in range(3)])
    options = {"imagej": True, "resolution": (1 / scale, 1 / scale)}
    tifffile.imwrite(path, pictures, metadata={"axes": "TYX", "unit": "um", "finterval": 3600.0}, **options)


def test_a_stack_becomes_photographs_with_scale_and_time(tmp_path, capsys):
    stack(tmp_path / "ph" / "stack.tif")
    put(tmp_path / "ph" / "none.png")
    out = tmp_path / "out"
    table = predict(tmp_path / "ph", out, labelme=tmp_path / "labels")
    names = ["none.png", "stack.tif#0001", "stack.tif#0002", "stack.tif#0003"]
    images = read_table(out / "images.csv", ("image", "um_per_px", "scale_from", "time_h")).set_index("image")
    assert list(images.index) == names
    assert images["um_per_px"].tolist()[1:] == [2, 2, 2]
    assert images["scale_from"].tolist()[1:] == ["ImageJ"] * 3
    assert images["time_h"].tolist()[1:] == [0, 1, 2]
    of_stack = table[table["image"] != "none.png"]
    np.testing.assert_allclose(of_stack["width_um"], 2 * of_stack["width_px"])
    assert table[table["image"] == "none.png"]["width_um"].isna().all()
    told = capsys.readouterr().err
    assert told.count("1 of 4 photographs say no scale (none.png)") == 1
    template = pd.read_csv(out / "groups_template.csv")
    assert template["image"].tolist() == names
    assert template["time"].tolist()[1:] == [0, 1, 2]
    assert (tmp_path / "labels" / "stack.tif#0002.png").is_file()
    predict(tmp_path / "ph", out, um_per_px=0.5)
    assert "3 photographs say another scale than --um-per-px 0.5, which is used: stack.tif#0001 says 2 (ImageJ)" in (
        capsys.readouterr().err
    )
    assert set(read_table(out / "images.csv", ("um_per_px",))["um_per_px"]) == {0.5}


def test_planes_of_one_place_are_told_or_projected(tmp_path, capsys):
    (tmp_path / "ph").mkdir()
    tifffile.imwrite(tmp_path / "ph" / "z.tif", np.stack([picture(s) for s in range(4)]), imagej=True, metadata={"axes": "ZYX"})
    assert len(predict(tmp_path / "ph", tmp_path / "all")) == 12
    assert "z.tif holds 4 planes of one place" in capsys.readouterr().err
    one = predict(tmp_path / "ph", tmp_path / "max", z="max")
    assert set(one["image"]) == {"z.tif"}
    assert len(one) == 3
    with pytest.raises(InputError, match="z was 'max', is 'min'"):
        predict(tmp_path / "ph", tmp_path / "max", z="min")


def test_scales_that_differ_are_told_once(tmp_path, capsys):
    stack(tmp_path / "ph" / "a.tif", 0.5)
    stack(tmp_path / "ph" / "b.tif", 2.0)
    predict(tmp_path / "ph", tmp_path / "out")
    assert capsys.readouterr().err.count("scales differ, um per px (photographs): 0.5 (3), 2 (3)") == 1
    shutil.rmtree(tmp_path / "ph")
    put(tmp_path / "ph" / "a.png")
    predict(tmp_path / "ph", tmp_path / "none")
    assert capsys.readouterr().err.count("no scale is known") == 1


def test_crystals_larger_than_in_training_are_told(tmp_path, capsys):
    pixels = np.full((400, 900), 40, np.uint8)
    pixels[100:200, 50:650] = 230
    put(tmp_path / "ph" / "a.png", pixels)
    predict_folder(Detector(FixedNetwork(), tile=None, score=0.01), tmp_path / "ph", tmp_path / "out")
    assert "1 crystal spans more than 384 px, larger than any in training" in capsys.readouterr().err


def test_files_of_other_formats_are_named_and_stop_nothing(tmp_path, capsys):
    put(tmp_path / "ph" / "a.png")
    for name in ("b.heic", "c.HEIC", "d.nef", "notes.txt"):
        (tmp_path / "ph" / name).write_bytes(b"x")
    (tmp_path / "ph" / "e.nd2").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 of 2 photographs could not be read: e\.nd2"):
        predict(tmp_path / "ph", tmp_path / "out")
    told = capsys.readouterr().err
    assert "passed over: 2 .heic files (export JPEG" in told
    assert "1 .nef file (develop raw" in told
    assert len(read_table(tmp_path / "out" / "crystals.csv")) == 3
    (tmp_path / "ph" / "a.png").unlink()
    (tmp_path / "ph" / "e.nd2").unlink()
    with pytest.raises(DataError, match=r"no images there.*there are 2 \.heic files"):
        predict(tmp_path / "ph", tmp_path / "out")


def while_measured(monkeypatch, change):
    """Does something to the files once, while the first photograph is measured."""
    plain, done = Detector.detect, []

    def detect(self, grey):
        done.append(done or change())
        return plain(self, grey)

    monkeypatch.setattr(Detector, "detect", detect)


@pytest.mark.parametrize("name", ["a.png", "b.png"])
def test_a_photograph_that_changes_while_it_is_measured_is_measured_again(tmp_path, monkeypatch, name):
    """It, or one that comes after it."""
    for one in ("a.png", "b.png"):
        put(tmp_path / "ph" / one)
    out = tmp_path / "out"
    other = put(tmp_path / "other.png", picture(1, 2, (90, 110)))
    while_measured(monkeypatch, lambda: os.replace(other, tmp_path / "ph" / name))
    with pytest.raises(DataError, match=rf"1 of 2 photographs could not be read: {name}"):
        predict(tmp_path / "ph", out)
    images = read_table(out / "images.csv", ("image", "error", "crystals")).set_index("image")
    assert "was changed while this run went on; start the command again" in images["error"][name]
    assert images["crystals"].dropna().tolist() == [3]
    assert not (out / "parts" / f"{name}.json").exists()
    assert predict(tmp_path / "ph", out).groupby("image").size()[name] == 2
    images = read_table(out / "images.csv", ("image", "width_px", "sha256")).set_index("image")
    assert images["width_px"][name] == 110
    assert images["sha256"].tolist() == [digest_of(tmp_path / "ph" / one) for one in ("a.png", "b.png")]


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_photographs_that_vanish_while_a_run_goes_on_stop_nothing(tmp_path, monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        put(tmp_path / "ph" / name)
    tifffile.imwrite(tmp_path / "ph" / "d.tif", picture().astype(np.uint16) * 16, metadata=None)
    gone = [tmp_path / "ph" / name for name in ("a.png", "b.png", "d.tif")]
    while_measured(monkeypatch, lambda: [path.unlink() for path in gone])
    with pytest.raises(DataError, match=r"3 of 4 photographs could not be read: a\.png, b\.png, d\.tif"):
        predict(tmp_path / "ph", tmp_path / "out")
    images = read_table(tmp_path / "out" / "images.csv", ("image", "error")).set_index("image")
    assert images["error"].fillna("").str.contains("no such image file").tolist() == [True, True, False, True]
    assert len(read_table(tmp_path / "out" / "crystals.csv")) == 3


def test_a_photograph_that_vanishes_after_it_was_listed_stops_nothing(tmp_path, monkeypatch):
    """What an earlier run found in it counts: that is of the file that was listed."""
    plain = batch.frames_of

    def frames_of(path, z):
        frames = plain(path, z)
        if path.name == "a.png":
            path.unlink()
        return frames

    for name in ("a.png", "b.png"):
        put(tmp_path / "ph" / name)
    out = tmp_path / "out"
    predict(tmp_path / "ph", out)
    monkeypatch.setattr(batch, "frames_of", frames_of)
    assert len(predict(tmp_path / "ph", out)) == 6
    put(tmp_path / "ph" / "a.png")
    with pytest.raises(DataError, match=r"1 of 2 photographs could not be read: a\.png"):
        predict(tmp_path / "ph", out)
    assert set(read_table(out / "crystals.csv")["image"]) == {"b.png"}


def test_a_template_that_was_filled_in_stays(tmp_path, capsys):
    put(tmp_path / "ph" / "a.png")
    out = tmp_path / "out"
    predict(tmp_path / "ph", out)
    put(tmp_path / "ph" / "b.png")
    predict(tmp_path / "ph", out)  # not edited: the new name joins
    assert pd.read_csv(out / "groups_template.csv")["image"].tolist() == ["a.png", "b.png"]
    (out / "groups_template.csv").write_text("image,time\na.png,1\nb.png,2\n")
    put(tmp_path / "ph" / "c.png")
    for overwrite in (False, True):
        capsys.readouterr()
        predict(tmp_path / "ph", out, overwrite=overwrite)
        assert (out / "groups_template.csv").read_text() == "image,time\na.png,1\nb.png,2\n"
        assert "groups_template.csv has been changed and stays as it is" in capsys.readouterr().err


def test_tables_that_a_run_is_not_asked_for_do_not_stay_as_they_were(tmp_path, capsys):
    """Those of an earlier run would lack its photographs; one that somebody edited is theirs."""
    pytest.importorskip("pyarrow")
    put(tmp_path / "ph" / "a.png")
    out = tmp_path / "out"
    workbook, parquet = out / "crystals.xlsx", out / "crystals.parquet"
    predict(tmp_path / "ph", out, excel=True, parquet=True)
    put(tmp_path / "ph" / "b.png")
    predict(tmp_path / "ph", out, parquet=True)
    assert not workbook.exists()
    assert len(read_table(parquet)) == 6
    told = capsys.readouterr().err
    assert "crystals.xlsx of an earlier run was removed; --excel writes it anew" in told
    assert "parquet" not in told
    predict(tmp_path / "ph", out, excel=True)
    assert not parquet.exists()
    workbook.write_bytes(b"edited")
    capsys.readouterr()
    predict(tmp_path / "ph", out)
    assert workbook.read_bytes() == b"edited"
    assert "crystals.xlsx is of an earlier run and stays, since it may have been edited" in capsys.readouterr().err


def test_a_second_folder_in_one_result_is_told(tmp_path, capsys):
    put(tmp_path / "day1" / "a.png")
    put(tmp_path / "day2" / "b.png")
    predict(tmp_path / "day1", tmp_path / "out")
    capsys.readouterr()
    predict(tmp_path / "day2", tmp_path / "out")
    assert "keeps crystals of 1 other photographs of earlier runs" in capsys.readouterr().err


def test_a_run_that_was_stopped_is_told_by_its_settings(tmp_path, monkeypatch):
    put(tmp_path / "ph" / "a.png")
    out = tmp_path / "out"
    predict(tmp_path / "ph", out)
    assert json.loads((out / "settings.json").read_text())["finished"] is True
    put(tmp_path / "ph" / "b.png")

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Detector, "detect", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path / "ph", out)
    assert json.loads((out / "settings.json").read_text())["finished"] is False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows starts processes afresh")
def test_a_lock_ends_with_its_process_even_where_workers_of_it_live_on(tmp_path):
    code = (
        "import os, sys, time; from pcs_detect.files import locked\n"
        "with locked(sys.argv[1]):\n"
        "    if os.fork() == 0:\n"  # says so itself: only then has it let go of the lock
        "        print('held', flush=True); time.sleep(30); os._exit(0)\n"
        "    time.sleep(30)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="another run"), locked(tmp_path / "out"):
        pass
    run.kill()
    run.wait()
    with locked(tmp_path / "out"):
        pass


def command(shell, cwd, *arguments):
    line = f'"{sys.executable}" -m pcs_detect.cli {" ".join(arguments)} {shell}'
    return subprocess.run(line, shell=True, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(tmp_path, shell):
    predict([put(tmp_path / "p" / "a.png")], tmp_path / "c")
    done = command(shell, tmp_path, "sizes", "c", "--out", "s")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "s" / "groups.csv").exists()


@pytest.mark.parametrize(
    "arguments", [["predict", ""], ["predict", "p", "--out", ""], ["sizes", "c", "--groups", " "], ["report", "c", "--out", ""]]
)
def test_an_empty_name_is_wrong_usage(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert "is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_is_called_that(tmp_path, monkeypatch):
    def refuse(number):
        def lock(_):
            raise OSError(number, os.strerror(number))

        return lock

    for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
        monkeypatch.setattr(files, "_lock", refuse(number))
        with pytest.raises(OutputError, match="has no locks"), locked(tmp_path):
            pass
    monkeypatch.setattr(files, "_lock", refuse(errno.EWOULDBLOCK))
    with pytest.raises(OutputError, match="written by another run"), locked(tmp_path):
        pass
