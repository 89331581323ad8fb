"""Laws of freezing: the files depend on the settings alone, whatever happens on the way."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pcs_augment as pa
from pcs_augment import freeze as frz
from pcs_augment.files import TEMPORARY, written
from pcs_augment.freeze import freeze

SETTINGS = {"seed": 3, "epoch": 2, "min_edge": 1.5}


def make_set(
    folder: Path, count: int = 11, sizes: tuple[tuple[int, int], ...] = ((48, 64), (40, 40)), name: str = "val"
) -> Path:
    """A small data set: annotations not sorted by image, one crowd, one image without objects, one object too small."""
    rng = np.random.default_rng(0)
    (folder / name).mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        h, w = sizes[(i // 2) % len(sizes)]
        file = f"{i:010d}.png"
        Image.fromarray(rng.integers(60, 200, (h, w), dtype=np.uint8)).save(folder / name / file)
        images.append({"id": 100 - i, "file_name": file, "height": h, "width": w, "license": 1})
        for j in range(0 if i == 3 else 4):
            cx, cy, w_, h_ = rng.uniform(12, 28), rng.uniform(12, 28), rng.uniform(6, 12), 1.0 if j == 3 else rng.uniform(2, 6)
            a = rng.uniform(-90, 90)
            corners = pa.boxes.box_corners(np.array([[cx, cy, w_, h_, -np.radians(a)]]))[0]
            annotations.append(
                {
                    "id": 1000 * j + i,
                    "image_id": 100 - i,
                    "category_id": 7,
                    "iscrowd": int(i == 1 and j == 2),
                    "area": w_ * h_,
                    "bbox": [round(v, 2) for v in (cx, cy, w_, h_, a)],
                    "segmentation": [[round(v, 2) for v in corners.ravel()]],
                    "note": f"{i}/{j}",
                }
            )
    annotations.sort(key=lambda a: a["id"])
    document = {"info": {"year": 2026}, "licenses": [{"id": 1}], "categories": [{"id": 7, "name": "Crystal"}]}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**document, "images": images, "annotations": annotations}))
    return path


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(frz, "BLOCK", 4)  # three blocks
    return make_set(tmp_path / "source")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_files_for_every_run_batch_size_and_worker_count(source: Path, tmp_path: Path) -> None:
    freeze(source, tmp_path / "a", **SETTINGS)
    expected = contents(tmp_path / "a")
    assert {p.suffix for p in map(Path, expected)} == {".png", ".json", ".npz"}
    for name, options in {"b": {}, "c": {"batch_size": 1}, "d": {"batch_size": 3, "workers": 2}}.items():
        freeze(source, tmp_path / name, **SETTINGS, **options)
        assert contents(tmp_path / name) == expected


def test_result_is_the_pipelines_and_readable(source: Path, tmp_path: Path) -> None:
    result = freeze(source, tmp_path / "out", **SETTINGS)
    pipeline = pa.default_pipeline(3, min_edge=1.5)
    before, after = pa.PCSDataset(source), pa.PCSDataset(result.path)
    raw = json.loads(result.path.read_text())
    assert len(after) == len(before) == result.images
    kept = 0
    for i in range(len(before)):
        image, target, _ = before[i]
        out, (expected,) = pipeline(image[None], [target], index=[i], epoch=2)
        frozen, mine, _ = after[i]
        assert torch.equal(frozen, (out[0] * 255).round().to(torch.uint8))
        torch.testing.assert_close(mine["boxes"], expected["boxes"], atol=2e-4, rtol=0)
        torch.testing.assert_close(mine["polygons"], expected["polygons"], atol=2e-4, rtol=0)
        assert mine["image_id"] == target["image_id"]
        kept += len(expected["boxes"])
    assert len(raw["annotations"]) == kept == result.objects < sum(len(before.target(i)["boxes"]) for i in range(len(before)))
    assert not any(a["note"].endswith("/3") for a in raw["annotations"])  # thinner than min_edge
    assert all(-90 <= a["bbox"][4] < 90 and a["bbox"][2] >= a["bbox"][3] for a in raw["annotations"])
    assert raw["info"]["year"] == 2026
    assert raw["info"]["augmentation"]["seed"] == 3
    assert raw["licenses"] == [{"id": 1}]


def test_annotations_keep_ids_and_further_keys(source: Path, tmp_path: Path) -> None:
    old = {a["id"]: a for a in json.loads(source.read_text())["annotations"]}
    moved = ("bbox", "segmentation", "area")
    for a in json.loads(freeze(source, tmp_path / "out").path.read_text())["annotations"]:
        was = old[a["id"]]
        assert not was["iscrowd"]
        assert {k: v for k, v in a.items() if k not in moved} == {k: v for k, v in was.items() if k not in moved}
        assert a["area"] == pytest.approx(was["area"], rel=0.02, abs=0.1)
        assert a["bbox"][2:4] == pytest.approx(was["bbox"][2:4], abs=1e-3) or a["bbox"][2:4] == pytest.approx(
            was["bbox"][3:1:-1], abs=1e-3
        )


def test_plans_replay_the_frozen_images(tmp_path: Path) -> None:
    source = make_set(tmp_path / "source", 5, ((48, 64),))
    freeze(source, tmp_path / "out")
    data = pa.PCSDataset(source)
    (path,) = (tmp_path / "out" / "plans").glob("*.npz")
    images, targets, _ = pa.collate([data[i] for i in range(5)])
    out, _ = pa.default_pipeline(0).apply(images, targets, pa.Plan.load(path))
    frozen = pa.PCSDataset(tmp_path / "out" / "val.json")
    assert torch.equal((out * 255).round().to(torch.uint8), torch.stack([frozen[i][0] for i in range(5)]))


@pytest.mark.parametrize("writes", [1, 4, 7, 10, 13, 15])
def test_interrupted_then_resumed_is_as_if_nothing_happened(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    freeze(source, tmp_path / "whole", **SETTINGS)
    out = tmp_path / "out"
    left = [writes]

    def failing(function):
        def write(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(frz, "write_png", failing(frz.write_png))
        patch.setattr(frz, "write_json", failing(frz.write_json))
        with pytest.raises(KeyboardInterrupt):
            freeze(source, out, **SETTINGS)
    assert not (out / "val.json").exists()
    killed = []
    for path in (out / "val" / "0000000000.png", out / "plans" / "plan.npz", out / "val.json"):
        killed.append(written(path))  # entered, but not left while the test runs, as by a killed process
        killed[-1].__enter__()
    assert len([p for p in out.rglob(".*") if TEMPORARY.fullmatch(p.name)]) >= 3
    result = freeze(source, out, **SETTINGS)
    assert contents(out) == contents(tmp_path / "whole")
    assert result.resumed in (0, 4, 8, 11)
    assert freeze(source, out, **SETTINGS).resumed == 11


def test_finished_blocks_are_not_computed_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frz._Freezing, "publish", lambda self, note: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            freeze(source, tmp_path / "out", **SETTINGS)
    next((tmp_path / "out" / "plans").glob("images_00000004*")).unlink()
    assert freeze(source, tmp_path / "out", **SETTINGS).resumed == 7


def test_lost_image_is_made_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    freeze(source, out)
    expected = contents(out)
    (out / "val" / "0000000005.png").unlink()
    freeze(source, out)
    assert contents(out) == expected


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 1}, {"min_edge": 0.0}, {"threshold": 9}, {"published_labels": True}])
def test_other_settings_on_the_same_folder_are_refused(source: Path, tmp_path: Path, other: dict) -> None:
    freeze(source, tmp_path / "out", **SETTINGS)
    before = contents(tmp_path / "out")
    with pytest.raises(pa.InputError, match=f"{next(iter(other))} .*now"):
        freeze(source, tmp_path / "out", **{**SETTINGS, **other})
    assert contents(tmp_path / "out") == before


def test_other_data_on_the_same_folder_are_refused(source: Path, tmp_path: Path) -> None:
    freeze(source, tmp_path / "out")
    source.write_text(source.read_text().replace('"note": "0/0"', '"note": "changed"'))
    with pytest.raises(pa.InputError, match="data"):
        freeze(source, tmp_path / "out")


def test_source_is_never_overwritten(source: Path) -> None:
    before = contents(source.parent)
    with pytest.raises(pa.InputError, match="overwrite"):
        freeze(source, source.parent)
    assert contents(source.parent) == before


def test_foreign_files_are_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "val").mkdir(parents=True)
    (tmp_path / "out" / "val" / "mine.txt").write_text("mine")
    with pytest.raises(pa.InputError, match="other files"):
        freeze(source, tmp_path / "out")
    assert contents(tmp_path / "out") == {"val/mine.txt": b"mine"}


@pytest.mark.parametrize("name", ["../../escape.png", "0000000001.jpg"])
def test_names_that_leave_the_folder_or_clash_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    (source.with_suffix("") / name).resolve().write_bytes((source.with_suffix("") / "0000000000.png").read_bytes())
    source.write_text(source.read_text().replace("0000000000.png", name))
    with pytest.raises(pa.DataError, match=r"leads out|both become"):
        freeze(source, tmp_path / "out")


def test_full_disk_leaves_nothing_half_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.Image.save

    def full(self, path, *args, **kwargs):
        if ".0000000005" in str(path):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(pa.OutputError, match="No space left"):
            freeze(source, tmp_path / "out", **SETTINGS)
    names = list(contents(tmp_path / "out"))
    assert "val.json" not in names
    assert not any("0000000005" in n or Path(n).name.startswith(".") for n in names)
    freeze(source, tmp_path / "out", **SETTINGS)
    freeze(source, tmp_path / "whole", **SETTINGS)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_image_is_named_without_a_traceback(source: Path, tmp_path: Path, workers: int) -> None:
    (source.with_suffix("") / "0000000002.png").write_bytes(b"no image")
    with pytest.raises(pa.DataError, match=r"0000000002\.png") as caught:
        freeze(source, tmp_path / "out", workers=workers)
    assert "Traceback" not in str(caught.value)


def test_data_set_without_images_freezes_to_one(tmp_path: Path) -> None:
    result = freeze(make_set(tmp_path / "source", 0), tmp_path / "out")
    assert len(pa.PCSDataset(result.path)) == 0
