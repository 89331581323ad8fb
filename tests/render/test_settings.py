"""Settings: defaults, files, the published file, and what is refused."""

import dataclasses
import json

import pytest
import yaml

from pcs_render.errors import DataError, InputError
from pcs_render.settings import Settings, load_settings, settings_from

PUBLISHED = {  # names and values of the settings file released with the published generator
    "number_threads": 16, "n_frames": 1, "res_x": 384, "res_y": 384, "field_of_view": 0.7854, "camera_distance": 15.0,
    "cw_depth": -15.0, "number_crystals": 100, "number_crystals_std_dev": 0, "distributor": "DEFAULT",
    "total_crystal_area_min": 0.05, "total_crystal_area_max": 0.5, "crystal_area_min": 4, "crystal_area_max": 16384,
    "crystal_edge_min": 2, "crystal_edge_max": 384, "crystal_aspect_ratio_max": 11.4, "smooth_shading_distributor": True,
    "scaling_crystals_average": [1.0, 1.0, 1.0], "scaling_crystals_std_dev": 0.0,
    "rotation_crystals_average": [0.0, 0.0, 0.0], "rotation_crystals_std_dev": 0.0, "crystal_material_name": "GLASS",
    "crystal_material_min_ior": 1.1, "crystal_material_max_ior": 1.8, "crystal_material_min_brightness": 0.75,
    "crystal_material_max_brightness": 0.9, "light_type": "AREA", "light_angle_min": 30, "light_angle_max": 60,
    "use_bottom_light": True, "crystal_object": "CUSTOM", "crystal_import_path": "crystals.obj", "output_path": "examples",
    "number_variants": 1, "number_images": 10,
}  # fmt: skip


def test_the_defaults_are_the_published_settings_but_for_the_pose():
    theirs = settings_from(PUBLISHED)
    assert theirs == dataclasses.replace(Settings(), shapes="crystals.obj", roll=(0.0, 180.0), tilt=(0.0, 180.0))


@pytest.mark.parametrize("form", [json.dumps, yaml.safe_dump])
def test_files_in_json_and_yaml(tmp_path, form):
    path = tmp_path / "settings"
    path.write_text(form({"width": 100, "area": [4, 400], "long_side": 90, "rule": "unbiased"}))
    read = load_settings(path)
    assert (read.width, read.height, read.area, read.long_side, read.rule) == (100, 384, (4.0, 400.0), 90.0, "unbiased")
    assert load_settings(_saved(tmp_path, read)) == read
    assert read.hash == load_settings(_saved(tmp_path, read)).hash != Settings().hash


def _saved(tmp_path, settings):
    path = tmp_path / "again.json"
    path.write_text(json.dumps(settings.to_dict()))
    return path


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "empty").write_text("")
    assert load_settings(tmp_path / "empty") == Settings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"area": [4, 200000]}, "larger than the image"),
        ({"area": [16, 4]}, "must not be above"),
        ({"area": [4, 4]}, "below the largest"),
        ({"area": [0, 4]}, "positive"),
        ({"area": 4}, "two numbers"),
        ({"aspect_ratio": [0.5, 3]}, "at least 1"),
        ({"long_side": 100}, "already longer"),
        ({"long_side": 600}, "diagonal"),
        ({"width": 384.0}, "whole number"),
        ({"width": True}, "whole number"),
        ({"width": 4}, "8 to 16384"),
        ({"rule": "biased"}, "published, unbiased"),
        ({"covered": [0, 0.5]}, "part of the image"),
        ({"covered": [0.1, 1.5]}, "part of the image"),
        ({"max_crystals": 0}, "at least one"),
        ({"refractive_index": [1.0, 1.5]}, "above 1"),
        ({"field_of_view": float("nan")}, "finite"),
        ({"depth": -15}, "positive"),
        ({"smooth": "yes"}, "true or false"),
        ({"max_iou": 0}, "in \\(0, 1\\]"),
        ({"max_layers": 0}, "at least one"),
        ({"lamp": "NEON"}, "AREA"),
        ({"aspect_ration": [1, 2]}, "did you mean aspect_ratio"),
        ({"crystal_area_max": 10, "distributor": "RANDOM"}, "DEFAULT"),
        ({"crystal_area_max": 10, "number_crystals_std_dev": 3}, "fixed"),
        ({"crystal_area_max": 10, "colour": 3}, "colour"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        settings_from(values)


@pytest.mark.parametrize(
    ("content", "message"), [(b"[1, 2]", "hold a list"), (b"a: [", "neither"), (b"\xff\xfe\x00", "neither")]
)
def test_broken_files_are_refused(tmp_path, content, message):
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_settings(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing"):
        load_settings(tmp_path / "nothing.yaml")
