"""Exports, read back by the tools they are for."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset
import yaml
from PIL import Image
from pycocotools import mask
from pycocotools.coco import COCO
from records import HEIGHT, IDENTITY, WIDTH, data_set, record

import pcs_augment as pa
from pcs_render import export
from pcs_render.errors import DataError, InputError, OutputError
from pcs_render.shards import Reader, Writer

HERE = Path(__file__).parent
FORMATS = [export.pcs_json, export.coco, export.dota, export.yolo_obb, export.webdataset]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """44 images, 11 of them for validation; some show no crystal."""
    return data_set(tmp_path_factory.mktemp("set"), 45, give_up=(107,), validation=11, first=100)


def ids(folder, split):
    return Reader(folder, split).ids.tolist()


def corners(box):
    cx, cy, w, h, theta = np.asarray(box, float)
    c, s = np.cos(theta), np.sin(theta)
    return np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 @ np.array([[c, s], [-s, c]]) + [cx, cy]


def assert_same_box(points, box, tolerance):
    """Four corners in any order that begins anywhere describe the box, and go around it clockwise on screen."""
    expected, points = corners(box), np.asarray(points, float).reshape(4, 2)
    distance = min(np.abs(np.roll(points, k, 0) - expected).max() for k in range(4))
    assert distance < tolerance


def covered(polygon):
    """(H, W) part of each pixel that a convex polygon covers, from 8 x 8 points."""
    x, y = (np.arange(WIDTH * 8) + 0.5) / 8, (np.arange(HEIGHT * 8)[:, None] + 0.5) / 8
    sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, 0))]
    inside = (np.array(sides) >= 0).all(0) | (np.array(sides) <= 0).all(0)
    return inside.reshape(HEIGHT, 8, WIDTH, 8).mean((1, 3))


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_pcs_json_is_read_by_the_augmentation(tmp_path, folder, compress, published):
    told = []
    done = export.pcs_json(folder, tmp_path, compress=compress, published_labels=published, progress=lambda *a: told.append(a))
    assert told == [(i, 44) for i in range(1, 45)]
    assert [d.split for d in done] == ["train", "validation"]
    for split, path, images, crystals in done:
        data = pa.PCSDataset(path, published_labels=published)
        assert data.image_ids.tolist() == ids(folder, split)
        assert len(data) == images
        for i, image_id in enumerate(data.image_ids.tolist()):
            made, (image, target, _) = record(image_id), data[i]
            assert np.array_equal(image[0].numpy(), np.array(Image.open(io.BytesIO(made.png))))
            assert len(target["boxes"]) == len(made.boxes)
            crystals -= len(made.boxes)
            for box, polygon, a, p in zip(target["boxes"], target["polygons"], made.boxes, made.polygons):
                assert_same_box(corners(box), a, 0.002)
                assert np.abs(polygon.numpy() - p).max() < 0.0006
        assert crystals == 0


def test_pcs_json_has_the_published_layout(tmp_path, folder):
    done = export.pcs_json(folder, tmp_path)
    content = json.loads(done[0].path.read_text())
    assert set(content) == {"info", "licenses", "categories", "images", "annotations"}
    assert content["categories"] == [{"supercategory": "Crystal", "id": 1, "name": "Crystal"}]
    assert content["info"]["label_offset_y"] == 0.0
    for image in content["images"]:
        assert set(image) == {"id", "file_name", "width", "height", "license", "date_captured"}
        assert image["file_name"] == f"{image['id']:010d}.png"
        assert (done[0].path.with_suffix("") / image["file_name"]).is_file()
    for number, a in enumerate(content["annotations"], 1):
        assert set(a) == {"id", "image_id", "category_id", "iscrowd", "area", "bbox", "segmentation"}
        assert (a["id"], a["category_id"], a["iscrowd"]) == (number, 1, 0)
        assert len(a["bbox"]) == 5
        assert a["bbox"][2] >= a["bbox"][3] > 0
        assert -90 <= a["bbox"][4] <= 90
        assert a["area"] == pytest.approx(cv2.contourArea(np.array(a["segmentation"][0], np.float32).reshape(-1, 2)), abs=0.05)
    shifted = json.loads(export.pcs_json(folder, tmp_path / "shifted", published_labels=True)[0].path.read_text())
    assert shifted["info"]["label_offset_y"] == -1.0
    for a, b in zip(content["annotations"], shifted["annotations"], strict=True):
        assert np.allclose(np.array(b["bbox"]) - a["bbox"], [0, -1, 0, 0, 0], atol=1e-3)


@pytest.mark.parametrize("exporter", [export.pcs_json, export.coco])
def test_pycocotools_reads_labels_and_masks(tmp_path, folder, exporter):
    for split, path, _, crystals in exporter(folder, tmp_path):
        coco = COCO(str(path))
        assert sorted(coco.getImgIds()) == ids(folder, split)
        assert len(coco.getAnnIds()) == crystals
        for image_id in coco.getImgIds():
            made, found = record(image_id), coco.loadAnns(coco.getAnnIds(imgIds=image_id))
            assert len(found) == len(made.boxes)
            for a, polygon, box in zip(found, made.polygons, made.boxes):
                coverage = covered(polygon)
                theirs = coco.annToMask(a)
                assert theirs.shape == (HEIGHT, WIDTH)
                # pycocotools rounds a polygon to pixels; it must have every pixel wholly inside, and none far out
                assert theirs[coverage == 1].all()
                assert not theirs[cv2.dilate(coverage, np.ones((3, 3))) == 0].any()
                assert mask.area(coco.annToRLE(a)) == theirs.sum()
                assert a["area"] == pytest.approx(coverage.sum(), abs=0.3)
                if exporter is export.coco:
                    x, y, w, h = a["bbox"]
                    assert np.allclose([x, y, x + w, y + h], [*polygon.min(0), *polygon.max(0)], atol=0.002)
                    assert np.allclose(a["rbox"], box, atol=0.001)


def test_plain_coco_is_read_by_the_augmentation(tmp_path, folder):
    path = export.coco(folder, tmp_path)[1].path
    data = pa.PCSDataset(path)
    for i, image_id in enumerate(data.image_ids.tolist()):
        polygons = data.target(i)["polygons"]
        assert all(np.abs(p.numpy() - q).max() < 0.001 for p, q in zip(polygons, record(image_id).polygons, strict=True))


def test_dota_as_documented(tmp_path, folder):
    """Ten fields a line, corners in px, clockwise; OpenCV's rectangle around the corners, as mmrotate takes it, is the box."""
    for split, path, images, crystals in export.dota(folder, tmp_path):
        assert path == tmp_path / {"train": "train", "validation": "val"}[split]
        texts = sorted((path / "labelTxt").iterdir())
        assert [int(p.stem) for p in texts] == [int(p.stem) for p in sorted((path / "images").iterdir())] == ids(folder, split)
        assert len(texts) == images
        for text in texts:
            made, lines = record(int(text.stem)), text.read_text().splitlines()
            assert (path / "images" / f"{text.stem}.png").read_bytes() == made.png
            for line, box in zip(lines, made.boxes, strict=True):
                *numbers, category, difficulty = line.split(" ")
                assert (category, difficulty) == ("crystal", "0")
                points = np.array(numbers, np.float32).reshape(4, 2)
                assert_same_box(points, box, 0.001)
                (cx, cy), sides, _ = cv2.minAreaRect(points)
                assert np.allclose([cx, cy, max(sides), min(sides)], box[:4], atol=0.02)
                crystals -= 1
        assert crystals == 0


def test_yolo_obb_as_documented(tmp_path, folder):
    """dataset.yaml names folders of images; "images" replaced by "labels" leads to lines of a class and eight fractions."""
    done = export.yolo_obb(folder, tmp_path)
    described = yaml.safe_load((tmp_path / "dataset.yaml").read_text())
    assert described["names"] == {0: "crystal"}
    for (split, path, images, crystals), key in zip(done, ("train", "val")):
        assert path == tmp_path / "dataset.yaml"
        pictures = sorted((path.parent / described[key]).glob("*.png"))
        assert [int(p.stem) for p in pictures] == ids(folder, split)
        assert len(pictures) == images
        for picture in pictures:
            made = record(int(picture.stem))
            assert picture.read_bytes() == made.png
            text = Path("labels".join(str(picture).rsplit("images", 1))).with_suffix(".txt")
            rows = np.array([line.split() for line in text.read_text().splitlines()], float).reshape(-1, 9)
            assert (rows[:, 0] == 0).all()
            for row, box in zip(rows, made.boxes, strict=True):
                points = row[1:].reshape(4, 2)
                centre, size = (points.min(0) + points.max(0)) / 2, np.ptp(points, 0)
                assert (centre >= 0).all()  # what ultralytics checks
                assert (np.maximum(centre, size) <= 1).all()
                assert_same_box(points * [WIDTH, HEIGHT], box, 0.001)
                crystals -= 1
    assert crystals == 0


def test_webdataset_reads_it(tmp_path, folder):
    for split, path, images, crystals in export.webdataset(folder, tmp_path, per_tar=10):
        data = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).decode("l8")
        samples = list(data)
        assert [int(s["__key__"]) for s in samples] == ids(folder, split)
        assert len(samples) == images
        for sample in samples:
            made, labels = record(int(sample["__key__"])), sample["json"]
            assert np.array_equal(sample["png"], np.array(Image.open(io.BytesIO(made.png))))
            assert (labels["image_id"], labels["width"], labels["height"]) == (made.image_id, WIDTH, HEIGHT)
            for key in ("boxes", "depth", "model", "refractive_index", "targets"):
                assert np.allclose(np.array(labels[key]).reshape(getattr(made, key).shape), getattr(made, key), atol=1e-5)
            assert all(np.allclose(p, q, atol=1e-5) for p, q in zip(labels["polygons"], made.polygons, strict=True))
            crystals -= len(made.boxes)
        assert crystals == 0


@pytest.mark.parametrize("exporter", FORMATS)
def test_the_same_call_gives_the_same_files(tmp_path, folder, exporter):
    exporter(folder, tmp_path / "a")
    exporter(folder, tmp_path / "b")
    whole = files(tmp_path / "a")
    assert whole == files(tmp_path / "b")
    for i, name in enumerate(sorted(whole)):
        if i % 5 == 0 and name != "export.json":
            (tmp_path / "b" / name).unlink()
    assert exporter(folder, tmp_path / "b")
    assert whole == files(tmp_path / "b")


@pytest.mark.parametrize("exporter", FORMATS)
def test_a_killed_export_is_finished_by_the_same_call(tmp_path, folder, exporter):
    """Killed by its own progress report after ever more images."""
    script = """
        import os, signal, sys
        from pcs_render import export
        def die(done, of):
            if done >= int(sys.argv[4]):
                os.kill(os.getpid(), signal.SIGKILL)
        arguments = {"per_tar": 10} if sys.argv[1] == "webdataset" else {}
        getattr(export, sys.argv[1])(sys.argv[2], sys.argv[3], progress=die, **arguments)
    """
    for limit in (3, 38):
        call = [sys.executable, "-c", textwrap.dedent(script), exporter.__name__, folder, tmp_path / "out", limit]
        assert subprocess.run(list(map(str, call)), cwd=HERE, timeout=60).returncode == -9
    options = {"per_tar": 10} if exporter is export.webdataset else {}
    exporter(folder, tmp_path / "out", **options)
    exporter(folder, tmp_path / "whole", **options)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("exporter", FORMATS)
def test_what_cannot_be_exported_is_refused(tmp_path, folder, exporter):
    with pytest.raises(DataError, match="is not a data set"):
        exporter(tmp_path, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="is not empty"):
        exporter(folder, tmp_path / "full")
    with pytest.raises(OutputError, match="is not empty"):
        exporter(folder, folder)
    exporter(folder, tmp_path / "out")
    with pytest.raises(OutputError, match="holds another export"):
        exporter(folder, tmp_path / "out", validation=12)
    with pytest.raises(InputError, match="has 45 images"):
        exporter(folder, tmp_path / "new", validation=45)
    growing = tmp_path / "growing"
    with Writer.create_or_resume(growing, count=30, shard_size=10, **IDENTITY) as writer:
        writer.write_shard(1, map(record, range(10, 20)))
    with pytest.raises(DataError, match="2 of 3 shards are missing"):
        exporter(growing, tmp_path / "grown")
    assert sum(d.images for d in exporter(growing, tmp_path / "grown", incomplete=True, validation=3)) > 0
    path = growing / "shards" / "00000001.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"00000001\.parquet is damaged"):
        exporter(growing, tmp_path / "damaged", incomplete=True)
    assert not list((tmp_path / "damaged").rglob("*.json.gz"))


def test_impossible_tars_are_refused(tmp_path, folder):
    with pytest.raises(InputError, match="per_tar"):
        export.webdataset(folder, tmp_path, per_tar=0)


def test_tars_hold_as_many_images_as_asked(tmp_path, folder):
    (train, _) = export.webdataset(folder, tmp_path, per_tar=10)
    assert train.path.name == "train-{000000..000003}.tar"
    sizes = []
    for path in sorted(tmp_path.glob("train-*.tar")):
        with tarfile.open(path) as tar:
            sizes.append(len(tar.getnames()))
    assert sizes == [20, 20, 20, 6]


@pytest.mark.parametrize("exporter", FORMATS)
def test_a_full_disk_is_told(tmp_path, folder, exporter):
    script = """
        import resource, sys
        from pcs_render import export
        from pcs_render.errors import OutputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        try:
            getattr(export, sys.argv[1])(sys.argv[2], sys.argv[3])
        except OutputError as e:
            print(e)
    """
    call = [sys.executable, "-c", textwrap.dedent(script), exporter.__name__, str(folder), str(tmp_path / "out")]
    done = subprocess.run(call, cwd=HERE, timeout=60, capture_output=True, text=True)
    assert "cannot write" in done.stdout, done.stderr
    assert "free space" in done.stdout
    assert not list((tmp_path / "out").rglob("*.tmp"))
    exporter(folder, tmp_path / "out")


def test_memory_does_not_grow_with_the_data_set(tmp_path):
    """From 40 to 400 images come 1 MB more of pictures and, as Python holds them, 8 MB more of annotations."""
    folders = [data_set(tmp_path / f"set{count}", count, shard_size=count // 40, crystals=20) for count in (40, 400)]
    script = """
        import sys, tracemalloc
        from pcs_render import export
        for name in sys.argv[4:]:
            peaks = []
            for folder in sys.argv[1:3]:
                tracemalloc.start()
                getattr(export, name)(folder, f"{sys.argv[3]}/{name}{len(peaks)}")
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
            print(peaks[1] - peaks[0])
    """
    call = [sys.executable, "-c", textwrap.dedent(script), *folders, tmp_path, "coco", "webdataset"]
    done = subprocess.run(list(map(str, call)), cwd=HERE, timeout=60, capture_output=True, text=True, check=True)
    growth = list(map(int, done.stdout.split()))
    assert len(growth) == 2
    assert max(growth) < 2_000_000, growth
