"""Trainings as people start them: twice at once, with a slip of the pen, stopped at once."""

import pytest
from tiny_training import write_data

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
