"""DOTA folders: text files of corners become oriented boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pcs_augment.boxes import box_corners, min_area_box
from pcs_detect.errors import DataError
from pcs_detect.training.data.dota import DotaFolder, boxes_around, read_labels

LINE = "10 8 20 8 20 12 10 12 crystal 0\n"


def folder(path, texts, labels="labelTxt", suffix=".png"):
    """One 40 x 30 px image for every text."""
    for name in ("images", labels):
        (path / name).mkdir(parents=True, exist_ok=True)
    for k, (stem, text) in enumerate(texts.items()):
        Image.fromarray(np.full((30, 40), 10 * k, np.uint8)).save(path / "images" / f"{stem}{suffix}")
        (path / labels / f"{stem}.txt").write_text(text)
    return path


quads = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=4, max_size=4)


@settings(max_examples=200)
@given(quads)
def test_boxes_around_any_four_points_are_the_smallest(points):
    corners = np.array([points])
    (box,), one = boxes_around(corners), min_area_box(corners[0])
    assert box[2] * box[3] == pytest.approx(one[2] * one[3], abs=1e-6)
    assert box[2] >= box[3] >= 0
    assert -np.pi / 2 <= box[4] < np.pi / 2
    along = np.array([np.cos(box[4]), np.sin(box[4])])
    u, v = (corners[0] - box[:2]) @ along, (corners[0] - box[:2]) @ np.array([-along[1], along[0]])
    assert abs(u).max() <= box[2] / 2 + 1e-6
    assert abs(v).max() <= box[3] / 2 + 1e-6


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_a_rectangle_is_its_own_box_whatever_the_order_of_its_corners(seed, order):
    rng = np.random.default_rng(seed)
    w = rng.uniform(3, 60)
    box = np.array([*rng.uniform(0, 300, 2), w, w * rng.uniform(0.02, 0.9), rng.uniform(-1.57, 1.57)])
    (found,) = boxes_around(box_corners(box[None])[:, order])
    assert found[:4] == pytest.approx(box[:4], abs=1e-6)
    assert abs(np.sin(found[4] - box[4])) < 1e-6


@pytest.mark.parametrize("labels", ["labelTxt", "annfiles"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".JPG"])
def test_items(tmp_path, labels, suffix):
    text = f"imagesource:GoogleEarth\ngsd:0.146343590398\n{LINE}\n30 5 34 9 32 11 28 7 needle\n"
    data = DotaFolder(folder(tmp_path, {"0000000012": text, "0000000003": ""}, labels, suffix))
    assert len(data) == 2
    (empty, none, first), (image, target, second) = data
    assert (first, second) == (0, 1)
    assert (none["image_id"], target["image_id"]) == (3, 12)
    assert (none["boxes"].shape, len(none["polygons"]), len(none["labels"])) == ((0, 5), 0, 0)
    assert image.shape == empty.shape == (1, 30, 40)
    assert image.dtype == torch.uint8
    assert abs(int(image.float().mean()) - 0) <= 1
    assert abs(int(empty.float().mean()) - 10) <= 1
    assert torch.allclose(target["boxes"][0], torch.tensor([15.0, 10, 10, 4, 0]))
    assert torch.allclose(target["boxes"][1], torch.tensor([31.0, 8, 32**0.5, 8**0.5, np.pi / 4]))
    assert target["polygons"][1].tolist() == [[30, 5], [34, 9], [32, 11], [28, 7]]
    assert target["labels"].tolist() == [0, 0]
    assert data.path(1).name == f"0000000012{suffix}"


def test_categories_choose(tmp_path):
    text = LINE + LINE.replace("crystal", "bubble") + LINE.replace("crystal", "needle").replace("8 20", "9 20")
    path = folder(tmp_path, {"a": text})
    assert len(DotaFolder(path).target(0)["boxes"]) == 3
    chosen = DotaFolder(path, ["crystal", "needle"]).target(0)
    assert len(chosen["boxes"]) == len(chosen["polygons"]) == len(chosen["labels"]) == 2
    assert chosen["labels"].tolist() == [0, 0]
    assert len(DotaFolder(path, ["none"]).target(0)["boxes"]) == 0


@pytest.mark.parametrize(("names", "ids"), [(["7", "003"], [3, 7]), (["3", "003"], [0, 1]), (["P1", "P2"], [0, 1])])
def test_image_ids_are_the_names_where_these_are_numbers(tmp_path, names, ids):
    data = DotaFolder(folder(tmp_path, dict.fromkeys(names, "")))
    assert data.image_ids.tolist() == ids


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 2 3 4 5 6 7 8", "expected"),
        ("1 2 3 4 5 6 7 crystal 0", "expected|finite"),
        ("1 2 3 4 5 6 7 8 a crystal 0", "expected"),
        ("1 2 3 4 5 6 seven 8 crystal 0", "finite numbers"),
        ("1 2 3 4 5 6 nan 8 crystal 0", "finite numbers"),
        ("1 2 3 4 5 6 inf 8 crystal 0", "finite numbers"),
    ],
)
def test_bad_lines_are_named_when_they_are_read(tmp_path, line, words):
    data = DotaFolder(folder(tmp_path, {"a": LINE, "b": f"gsd:1\n{LINE}{line}\n"}))
    assert len(data[0][1]["boxes"]) == 1
    with pytest.raises(DataError, match=rf"b\.txt, line 3: .*({words})"):
        data[1]


def test_objects_without_area_are_skipped_and_named(tmp_path):
    flat = "1 1 2 2 3 3 4 4 crystal 0\n1 1 1 1 1 1 1 1 crystal 0\n"
    data = DotaFolder(folder(tmp_path, {"a": f"gsd:1\n{LINE}{flat}{LINE}"}))
    with pytest.warns(UserWarning, match=r"a\.txt, line 3: .*skipped, and 1 more of this file"):
        target = data[0][1]
    assert len(target["boxes"]) == len(target["polygons"]) == 2
    assert torch.equal(target["boxes"][0], target["boxes"][1])


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(LINE, encoding="utf-8-sig")
    assert len(read_labels(path)[0]) == 1


def test_incomplete_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="must hold a folder images"):
        DotaFolder(tmp_path)
    path = folder(tmp_path / "both", {"a": ""})
    (path / "annfiles").mkdir()
    with pytest.raises(DataError, match="found: labelTxt, annfiles"):
        DotaFolder(path)
    with pytest.raises(DataError, match="holds no images"):
        DotaFolder(folder(tmp_path / "none", {}))
    path = folder(tmp_path / "fewer", {"a": "", "b": ""})
    (path / "labelTxt" / "b.txt").unlink()
    with pytest.raises(DataError, match=r"no b\.txt, 1 of 2 images have no labels"):
        DotaFolder(path)
    path = folder(tmp_path / "twice", {"a": ""})
    Image.new("L", (4, 4)).save(path / "images" / "a.tif")
    with pytest.raises(DataError, match="two images named a"):
        DotaFolder(path)


def test_unreadable_files_are_named(tmp_path):
    path = folder(tmp_path, {"a": LINE, "b": LINE})
    data = DotaFolder(path)
    (path / "labelTxt" / "a.txt").write_bytes(b"\xff\xfe")
    (path / "images" / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.txt: cannot be read"):
        data[0]
    with pytest.raises(DataError, match=r"b\.png: not a readable image"):
        data[1]
    with pytest.raises(IndexError):
        data[2]


def test_a_line_of_yolo_is_no_line_of_dota(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n")
    with pytest.raises(DataError, match="YOLO's oriented boxes"):
        read_labels(path)
    path.write_text("1 1 9 1 9 4 1 4 crystal\n")  # corners in px near the image's own corner stay corners
    assert len(read_labels(path)[0]) == 1
