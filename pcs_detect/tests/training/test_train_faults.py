"""Trainings as people start them: twice at once, with a slip of the pen, stopped at once."""

import json

import pytest
from tiny_training import write_config, write_data

from pcs_detect import cli
from pcs_detect.errors import InputError
from pcs_detect.files import locked
from pcs_detect.training import configs
from pcs_detect.training.engine.train import train


def test_a_second_training_in_the_same_folder_is_refused(tmp_path):
    data = write_data(tmp_path / "data.json", 2)
    with locked(tmp_path / "out"), pytest.raises(OSError, match="being written by another run"):
        train("rtmdet_r_narrow", data, out=tmp_path / "out", device="cpu", random_init=True, workers=0)
    assert not list((tmp_path / "out").glob("*.pth"))


def test_a_slip_in_an_option_is_named():
    with pytest.raises(InputError, match="did you mean 'max_epochs'"):
        configs.load("rtmdet_r_narrow", {"train_cfg.max_epoch": 1})
    assert configs.load("rtmdet_r_narrow", {"train_cfg.dynamic_intervals": None}).train_cfg.dynamic_intervals is None


def test_ctrl_c_inside_a_library_that_catches_everything_is_an_interruption(capsys):
    def work():
        try:
            raise KeyboardInterrupt
        except BaseException:
            raise SyntaxError("failed to format the configuration")  # noqa: B904 - as mmengine does it

    assert cli.guarded("pcs-detect", work) == 130
    assert capsys.readouterr().err == "pcs-detect: interrupted; the same command resumes (train: with --resume)\n"
    with pytest.raises(SyntaxError):
        cli.guarded("pcs-detect", lambda: (_ for _ in ()).throw(SyntaxError("a fault of the program")))


def relabelled(path, change):
    """The data set with other annotations."""
    document = json.loads(path.read_text())
    document["annotations"] = change(document["annotations"])
    path.write_text(json.dumps(document))
    return path


def far_off(annotations):
    return [
        {**a, "bbox": [a["bbox"][0] + 500, *a["bbox"][1:]], "segmentation": [[v + 500 * (k % 2 == 0) for k, v in enumerate(o)]]}
        for a in annotations
        for o in a["segmentation"]
    ]


def test_images_without_crystals_are_pointed_out(tmp_path, capsys):
    config = write_config(tmp_path / "tiny.py", epochs=1, every_iters=None)
    good = write_data(tmp_path / "good.json", 2)
    bare = relabelled(write_data(tmp_path / "bare.json", 3), lambda _: [])
    off = relabelled(write_data(tmp_path / "off.json", 2), far_off)
    for data, val, lines in (
        (good, good, []),
        (bare, good, ["none of the 3 images for training has a crystal"]),
        (good, bare, ["none of the 3 images for validation has a crystal: AP cannot be measured"]),
        (off, off, [f"6 of the first 6 crystals for {p} are centred off their image" for p in ("training", "validation")]),
    ):
        train(config, data, val=val, out=tmp_path / f"{data.stem}_{val.stem}", device="cpu", workers=0)
        said = capsys.readouterr().err
        assert [line in said for line in lines] == [True] * len(lines)
        assert ("images for" in said or "off their image" in said) == bool(lines)
