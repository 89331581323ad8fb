"""The command pcs-render, but for Blender itself."""

import json
import subprocess
import sys

import pytest
import yaml

from pcs_render.cli import main
from pcs_render.scene import Scene
from pcs_render.settings import Settings

SMALL = {"width": 64, "height": 48, "area": [4, 400], "long_side": 48, "max_crystals": 3, "shapes": "cube"}


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return str(path)


def test_scenes_are_written_and_reported(tmp_path, settings, capsys):
    out = tmp_path / "scenes"
    assert main(["scenes", "--count", "3", "--seed", "5", "--settings", settings, "--out", str(out)]) == 0
    scenes = [Scene.load(p) for p in sorted(out.glob("*.json"))]
    assert [s.image for s in scenes] == [0, 1, 2]
    assert {s.seed for s in scenes} == {5}
    assert main(["report", str(out), "--settings", settings, "--out", str(tmp_path / "report"), "--quiet"]) == 0
    page = capsys.readouterr().out.splitlines()[-1]
    assert page.endswith("report.html")
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!")


def test_settings_can_be_printed_edited_and_given_back(tmp_path, capsys):
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed) == Settings().to_dict()
    (tmp_path / "again.yaml").write_text(printed)
    assert main(["settings", "--settings", str(tmp_path / "again.yaml")]) == 0
    assert capsys.readouterr().out == printed


def test_shapes_are_drawn_and_exported(tmp_path, settings, capsys):
    assert main(["shapes", "--settings", settings, "--out", str(tmp_path / "s.png"), "--obj", str(tmp_path / "s.obj")]) == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "1 shape" in capsys.readouterr().out
    (tmp_path / "own.json").write_text(json.dumps({**SMALL, "shapes": str(tmp_path / "s.obj")}))
    assert main(["scenes", "--count", "1", "--settings", str(tmp_path / "own.json"), "--out", str(tmp_path / "o")]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["verify", "nowhere"], 1, "nowhere"),
        (["export", "nowhere", "--out", "x"], 1, "nowhere"),
        (["export", "nowhere", "--out", "x", "--format", "dota", "--gzip"], 1, "--gzip"),
        (["report", "nowhere"], 1, "nowhere"),
        (["estimate", "nowhere"], 1, "nowhere"),
        (["scenes", "--settings", "nowhere.yaml"], 1, "nowhere.yaml"),
        (["render", "--profile", "best"], 1, "best"),
        (["render", "--blender", "/nowhere/blender"], 1, "/nowhere/blender"),
        (["render", "--count", "0"], 2, "at least 1"),
        (["render", "--seed", "-1"], 2, "at least 0"),
        (["render", "--validation", "some"], 2, "0.03"),
        (["paint"], 2, "paint"),
        ([], 2, "COMMAND"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, status, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not [p for p in tmp_path.iterdir() if p.name != ".lock"]


def test_an_unknown_setting_names_the_one_that_was_meant(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("max_crystal: 3")
    assert main(["scenes", "--settings", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "o")]) == 1
    assert "did you mean max_crystals" in capsys.readouterr().err


def test_help_and_version_need_nothing_heavy():
    code = (
        "import sys; from pcs_render.cli import main; main(['--version']); main(['render', '--help']);"
        "assert not {'torch', 'matplotlib', 'ray', 'bpy', 'pcs_augment.base'} & set(sys.modules), sys.modules.keys()"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pcs-render" in out.stdout


def test_nothing_of_the_renderer_touches_its_neighbours():
    """pcs_render imports the ground floor of pcs_augment alone, and no torch but for its torch data sets."""
    code = (
        "import sys; import pcs_render.production, pcs_render.shards, pcs_render.export, pcs_render.report, pcs_render.cli;"
        "assert not {'torch', 'pcs_augment.base', 'bpy', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
