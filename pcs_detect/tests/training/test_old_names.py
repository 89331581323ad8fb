"""Configurations and checkpoints of earlier versions name modules that have moved."""

import pytest
from fixed_detector import SETTINGS, write_fixed

import pcs_detect
from pcs_detect import Detector
from pcs_detect.training import configs


def test_a_configuration_that_names_the_parts_where_they_were_is_read(tmp_path):
    file = tmp_path / "old.py"
    folder = configs.configs_folder()
    file.write_text(
        f"_base_ = {str(folder / 's2anet_tiny.py')!r}\n"
        "custom_imports = dict(imports=['pcs_detect.components'], allow_failed_imports=False)\n"
    )
    assert configs.load(file).model.type == configs.load("s2anet_tiny").model.type


def test_a_checkpoint_with_such_settings_is_a_detector(tmp_path):
    settings = {"model": SETTINGS, "custom_imports": {"imports": ["pcs_detect.components"], "allow_failed_imports": False}}
    path = write_fixed(tmp_path / "old.pth", settings)
    assert Detector(path, "cpu").source["epoch"] == 7


def test_what_has_no_such_name_says_so():
    with pytest.raises(AttributeError, match="Detektor"):
        pcs_detect.Detektor  # noqa: B018
