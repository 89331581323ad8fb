"""The command line: pictures are drawn as asked; what goes wrong is told in one line with the right exit status."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_freeze import make_set

import pcs_augment as pa
from pcs_augment import demo, gallery
from pcs_augment.cli import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, shape in {"a.png": (50, 70), "b.jpg": (90, 60, 3), "c.tif": (40, 40)}.items():
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def coloured(path: Path) -> int:
    """How many pixels look like an outline."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.ptp(picture, axis=2) > 60).sum())


@pytest.mark.parametrize("options", [[], ["--each-step", "--count", "1"], ["--versions", "2", "--columns", "2", "--seed", "9"]])
def test_preview_of_photographs_draws_a_picture(photos: Path, tmp_path: Path, capsys, options: list[str]) -> None:
    out = tmp_path / "new" / "gallery.png"
    assert main(["preview", str(photos), "--out", str(out), "--size", "64", *options]) == 0
    assert str(out) in capsys.readouterr().out
    assert Image.open(out).width >= 480
    assert coloured(out) == 0  # no labels, no outlines


def test_preview_outlines_objects_unless_told_not_to(tmp_path: Path) -> None:
    source = make_set(tmp_path / "source", 2)
    for name, options in {"with.png": [], "without.png": ["--no-outlines"]}.items():
        assert main(["preview", str(source), "--out", str(tmp_path / name), "--device", "cpu", *options]) == 0
    assert coloured(tmp_path / "with.png") > 500
    assert coloured(tmp_path / "without.png") == 0


def test_scaling_moves_labels_with_the_pixels(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    pixels = np.full((200, 400), 200, np.uint8)
    pixels[40:80, 100:300] = 20
    Image.fromarray(pixels).save(tmp_path / "big" / "1.png")
    box = '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [200, 60, 200, 40, 0]}'
    (tmp_path / "big.json").write_text(
        f'{{"images": [{{"id": 1, "file_name": "1.png"}}], "categories": [{{"id": 1}}], "annotations": [{box}]}}'
    )
    (sample,) = gallery.load([tmp_path / "big.json"], 1, 100)
    assert sample.image.shape == (1, 50, 100)
    assert sample.target is not None
    assert sample.target["boxes"].tolist() == [[50, 15, 50, 10, 0]]
    x, y = sample.target["polygons"][0].T
    inside = sample.image[0, int(y.min()) : int(y.max()), int(x.min()) : int(x.max())]
    assert inside.float().mean() < 40
    assert sample.image[0, 30:].min() > 150


def test_each_step_is_the_step_alone_with_outlines_following(tmp_path: Path) -> None:
    (sample,) = gallery.load([make_set(tmp_path / "source", 1)], 1, 768)
    tiles = {t.caption: t for t in gallery.each_step_tiles(sample, seed=5, epoch=0)}
    assert len(tiles) == 15
    step = pa.Contrast(seed=5)
    expected = (step(sample.image[None], index=[0]) * 255).round().to(torch.uint8)
    assert torch.equal(tiles["Contrast"].grey, expected[0, 0])
    base, flipped = tiles[sample.name], tiles["Flip"]
    axis = 1 if torch.equal(flipped.grey, base.grey.flip(1)) else 0
    assert torch.equal(flipped.grey, base.grey.flip(axis))
    for before, after in zip(base.outlines, flipped.outlines):
        moved = before.clone()
        moved[:, 1 - axis] = base.grey.shape[axis] - before[:, 1 - axis]
        assert torch.equal(after, moved)


@pytest.mark.parametrize(
    ("count", "side", "columns"), [(1, 64, None), (6, 384, 6), (26, 384, None), (9, 96, None), (4, 768, None)]
)
def test_captions_can_be_read_where_a_page_shows_the_picture(monkeypatch, count, side, columns):
    """900 px wide, as in the README: type of at least 13 px, and names of steps are whole."""
    said, sizes = [], set()
    whole, font = gallery._fitted, gallery._font
    monkeypatch.setattr(gallery, "_fitted", lambda *a: said.append(whole(*a)) or said[-1])
    monkeypatch.setattr(gallery, "_font", lambda size: sizes.add(size) or font(size))
    tile = gallery.Tile("CrossedPolarisers", torch.zeros(side, side, dtype=torch.uint8), [], [])
    picture = gallery.sheet("every step", [[[tile] * count]], columns)
    assert min(sizes) * 900 / max(picture.width, 900) >= 13
    assert said == ["every step", *["CrossedPolarisers"] * count]


def test_demo_reports_speed_and_draws(tmp_path: Path, capsys) -> None:
    out = tmp_path / "demo.png"
    assert demo.main(["--out", str(out), "--epochs", "1", "--workers", "0", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "images per second on CPU" in printed
    assert str(out) in printed
    assert coloured(out) > 10_000
    assert demo.sample_path().is_file()


def test_freeze_command(tmp_path: Path, capsys) -> None:
    source = make_set(tmp_path / "source", 3)
    command = ["freeze", str(source), "--out", str(tmp_path / "out"), "--workers", "0", "--device", "cpu"]
    assert main([*command, "--seed", "1"]) == 0
    streams = capsys.readouterr()
    assert "3 images" in streams.out
    assert streams.err == ""  # progress is a line a minute where there is no terminal
    assert main([*command, "--seed", "1", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*command, "--seed", "2"]) == 1
    assert "seed 1, now 2" in capsys.readouterr().err


def test_what_goes_wrong_is_one_line_and_status_1(photos: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad.json").write_text('{"images": [')
    (tmp_path / "nofolder.json").write_text("{}")
    picture = ["--out", str(tmp_path / "g.png")]
    cases = {
        "no such image file": ["preview", str(tmp_path / "missing.png"), *picture],
        "no images in this folder": ["preview", str(tmp_path / "empty"), *picture],
        "not a readable image": ["preview", str(photos / "notes.txt"), *picture],
        "not valid JSON": ["preview", str(tmp_path / "bad.json"), *picture],
        "no such folder of images": ["freeze", str(tmp_path / "nofolder.json"), "--out", str(tmp_path / "o")],
        "must end in one of": ["preview", str(photos), "--out", str(tmp_path / "g.xyz")],
        "cannot create the folder": ["preview", str(photos), "--out", str(tmp_path / "file" / "g.png")],
        "--device nonsense: not usable": ["preview", str(photos), *picture, "--device", "nonsense"],
        "--device cuda:99: not usable": ["preview", str(photos), *picture, "--device", "cuda:99"],
        "threshold must": ["freeze", str(make_set(tmp_path / "s", 1)), "--out", str(tmp_path / "o"), "--threshold", "300"],
        "seed must": ["preview", str(photos), *picture, "--seed", str(2**70)],
    }
    for message, command in cases.items():
        assert main(command) == 1, command
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1, error
        assert not (tmp_path / "g.png").exists()


def test_full_disk_leaves_no_picture(photos: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self, path, *args, **kwargs):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    (tmp_path / "out").mkdir()
    assert main(["preview", str(photos), "--out", str(tmp_path / "out" / "g.png"), "--count", "1", "--size", "32"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_interrupt_is_130(photos: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery, "preview", interrupted)
    assert main(["preview", str(photos)]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["nonsense"], ["preview"], ["freeze", "x.json"], ["preview", "x", "--count", "0"]])
def test_wrong_usage_is_2(command: list[str], capsys) -> None:
    assert main(command) == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["--help"], ["preview", "--help"], ["freeze", "--help"], ["--version"]])
def test_help_is_0(command: list[str], capsys) -> None:
    assert main(command) == 0
    assert "pcs-augment" in capsys.readouterr().out
