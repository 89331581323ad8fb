"""Samples of every kind of data set, whole or broken."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
from samples import SMALL, data_set, scenes

from pcs_augment.coco_json import folder_beside
from pcs_render import export, report
from pcs_render.errors import DataError
from pcs_render.shards import Reader


def test_every_source_gives_the_same_sample(shapes, tmp_path_factory, tmp_path):
    made = scenes(shapes)
    folder = data_set(tmp_path_factory.mktemp("data") / "set", made)
    shard = report.load(folder)
    direct = report.from_scenes(made[:11], SMALL)
    assert direct.settings == shard.settings
    assert direct.counts.tolist() == shard.counts.tolist()[:11]
    assert shard.counts[11] == 0
    for name, tolerance in (("boxes", 1e-4), ("targets", 1e-2), ("unmet", 1e-9)):
        assert getattr(shard, name) == pytest.approx(getattr(direct, name), abs=tolerance), name
    assert shard.covered[:11].tolist() == direct.covered.tolist()
    for scene in made:
        (tmp_path / f"{scene.image:010d}.json").write_text(scene.to_json())
    loose = report.load(tmp_path)
    assert loose.counts.tolist() == [len(s.crystals) for s in made]
    assert loose.settings.rule == "unbiased"
    assert (loose.settings.width, loose.settings.area) == (384, (4, 16384))  # the published model does not fit 128 x 128
    (tmp_path / "settings.yaml").write_text(json.dumps(SMALL.to_dict()))
    assert report.load(tmp_path).settings == SMALL
    for number, write in enumerate((export.pcs_json, export.coco)):
        splits = write(folder, tmp_path / str(number), validation=0, compress=True)
        read = report.load(next(s.path for s in splits if s.split == "train"))
        assert read.counts.tolist() == shard.counts.tolist()
        assert read.targets is None
        assert read.boxes == pytest.approx(shard.boxes, abs=2e-3)
        for a, b in zip(read.pictures(3), shard.pictures(3)):
            assert a.known
            assert (a.pixels == b.pixels).all()
            assert a.boxes == pytest.approx(b.boxes, abs=2e-3)
            assert all(p == pytest.approx(q, abs=2e-3) for p, q in zip(a.polygons, b.polygons))


BOX = {"image_id": 1, "category_id": 1, "bbox": [50, 40, 30, 10, 30.0]}
HULL = {"segmentation": [[40, 30, 60, 30, 60, 35, 40, 35]]}


def pcs_file(folder, annotations, images=({"id": 1, "file_name": "a.png", "width": 100, "height": 80},), name="x.json", **more):
    path = folder / name
    content = json.dumps({"images": list(images), "annotations": annotations, "categories": [], **more}).encode()
    path.write_bytes(gzip.compress(content) if name.endswith("z") or name.endswith("gzip") else content)
    return path


def test_boxes_of_any_json(tmp_path):
    plain = {"image_id": 1, "bbox": [40, 30, 10, 20]}
    annotations = [BOX, {**plain, **HULL}, plain, {**plain, "rbox": [5, 6, 7, 3, 0.25]}, {**plain, "iscrowd": 1}]
    expected = [
        (50, 40, 30, 10, -np.pi / 6),  # counter-clockwise in the file
        (50, 32.5, 20, 5, 0),  # around the polygon
        (45, 40, 20, 10, -np.pi / 2),  # upright, long side first
        (5, 6, 7, 3, 0.25),
    ]
    for name in ("x.json", "x.json.gz", "x.gzip"):
        sample = report.load(pcs_file(tmp_path, annotations, name=name))
        assert sample.boxes == pytest.approx(np.array(expected), abs=1e-9)
        assert sample.counts.tolist() == [4]
        (picture,) = sample.pictures(9)
        assert not picture.known
        assert picture.pixels.shape == (80, 100)
        assert picture.polygons[1].tolist() == [[40, 30], [60, 30], [60, 35], [40, 35]]


def test_labels_that_lie_high_are_moved_down(tmp_path):
    for note, published, y in (({}, False, 40), ({}, True, 41), ({"info": {"label_offset_y": -1.0}}, False, 41)):
        sample = report.from_json(pcs_file(tmp_path, [{**BOX, **HULL}], **note), published_labels=published)
        (picture,) = sample.pictures(1)
        assert sample.boxes[0, 1] == y
        assert picture.polygons[0][:, 1].min() == y - 10


def test_an_annotation_of_no_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="image 7"):
        report.load(pcs_file(tmp_path, [{**BOX, "image_id": 7}]))


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        ({**BOX, "bbox": [1, 2, 3]}, "bbox"),
        ({**BOX, "bbox": [1, 2, 0, 4, 5]}, "positive sides"),
        ({**BOX, "bbox": [1, 2, float("nan"), 4, 5]}, "bbox"),
        ({**BOX, "bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 2, 2, 3, 3]]}, "encloses nothing"),
        ({**BOX, "bbox": [1, 2, 3, 4], "segmentation": [[1, 1, 2]]}, "segmentation"),
    ],
)
def test_broken_annotations_are_named_and_skipped(tmp_path, annotation, why):
    """As data sets read them."""
    with pytest.warns(UserWarning, match=f"1 annotations cannot be used and are skipped.*{why}"):
        sample = report.load(pcs_file(tmp_path, [{**BOX, **HULL}, annotation]))
    assert sample.counts.sum() == 1


def test_files_that_are_no_data_set(tmp_path):
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    (tmp_path / "text.json").write_text("[1, 2")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    for name in ("missing.json", "cut.json.gz", "text.json", "list.json", "other.json", "folder"):
        with pytest.raises(DataError, match=name):
            report.load(tmp_path / name)
    twice = [{"id": 1}, {"id": 1}]
    with pytest.raises(DataError, match="twice"):
        report.load(pcs_file(tmp_path, [], twice))


def test_images_outside_the_folder_or_broken(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "bad.png").write_bytes(b"no picture")
    for name, told in (("../../etc/passwd", "leads out"), ("bad.png", "cannot be read")):
        sample = report.load(pcs_file(tmp_path, [BOX], [{"id": 1, "file_name": name}]))
        with pytest.raises(DataError, match=told):
            report.write(sample, tmp_path / "out")
        assert not (tmp_path / "out" / report.PAGE).exists()
    assert folder_beside(tmp_path / "x.json.gzip") == tmp_path / "x"


def test_a_damaged_scene_is_told(shapes, tmp_path, monkeypatch):
    folder = data_set(tmp_path / "set", scenes(shapes, 2))
    original = Reader.record
    monkeypatch.setattr(Reader, "record", lambda self, p: dataclasses.replace(original(self, p), scene="{}"))
    with pytest.raises(DataError, match="scene of image 0"):
        report.load(folder)
