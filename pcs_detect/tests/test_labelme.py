"""Labelme folders become COCO and PCS files with the same crystals, or a message that names file and shape."""

import argparse
import base64
import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from shapely import Polygon

from pcs_detect.commands.convert import add
from pcs_detect.errors import DataError, InputError
from pcs_detect.labels.conversion import convert, cut_open
from pcs_detect.labels.labelme import read_labelme

SIZE = (40, 60)
SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25]]


def png(size=SIZE, **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


def shape(points=SQUARE, label="crystal", kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def write(path, shapes, image=None, **more):
    """A Labelme file with its image inside, or beside it where ``image`` names one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = png()
    if image:
        (path.parent / image).write_bytes(content)
    data = None if image else base64.b64encode(content).decode()
    document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image or "a.png", "imageData": data}
    path.write_text(json.dumps(document | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | more))
    return path


def converted(tmp_path, format="coco", **options):
    done = convert(tmp_path / "labels", tmp_path / "out.json", format, **options)
    document = json.loads(done.path.read_text())
    assert (done.images, done.crystals) == (len(document["images"]), len(document["annotations"]))
    return document


def area(annotation):
    """Pixels that pycocotools sees in an annotation's polygons."""
    rle = coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], *SIZE))
    return int(coco_mask.area(rle))


def test_shapes_of_every_kind(tmp_path):
    bits = np.zeros((4, 6), np.uint8)
    bits[1:3, 1:5] = 255
    buffer = io.BytesIO()
    Image.fromarray(bits).save(buffer, "PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    shapes = [
        shape(),
        shape([[50, 30], [40, 20]], "b", "rectangle"),
        shape([[20, 20], [23, 24]], "a", "circle"),
        shape([[30, 30], [35, 33]], "a", "mask", mask=mask),
        {"label": "old", "points": [[1, 1], [9, 1], [1, 9]]},  # as version 3 wrote
    ]
    write(tmp_path / "labels" / "one.json", shapes)
    document = converted(tmp_path)
    assert [c["name"] for c in document["categories"]] == ["a", "b", "crystal", "old"]
    square, rectangle, circle, pixels, old = document["annotations"]
    assert sorted(np.reshape(square["segmentation"], (-1, 2)).tolist()) == sorted(SQUARE)
    assert (square["bbox"], square["area"]) == ([10, 5, 20, 20], 400)
    assert (rectangle["bbox"], rectangle["area"]) == ([40, 20, 10, 10], 100)
    assert circle["bbox"] == [15, 15, 10, 10]
    assert circle["area"] == pytest.approx(math.pi * 25, rel=2e-3)
    assert (pixels["bbox"], pixels["area"]) == ([31, 31, 4, 2], 8)  # whole pixels
    assert old["area"] == 32
    assert [a["category_id"] for a in document["annotations"]] == [3, 2, 1, 1, 4]


def test_images_and_masks_may_be_larger_than_pillow_allows(tmp_path, monkeypatch):
    mask = base64.b64encode(png((20, 30))).decode()
    write(tmp_path / "labels" / "one.json", [shape(), shape([[10, 10], [39, 29]], "a", "mask", mask=mask)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert len(converted(tmp_path)["annotations"]) == 2


def test_parts_of_a_group_are_one_crystal(tmp_path):
    parts = [shape([[2, 2], [8, 2], [8, 8], [2, 8]], group_id=1), shape([[20, 2], [26, 2], [26, 8], [20, 8]], group_id=1)]
    other = [shape([[2, 20], [8, 20], [8, 26]], group_id=2), shape([[40, 20], [48, 20], [48, 26]], "b", group_id=1)]
    write(tmp_path / "labels" / "one.json", parts + other)
    document = converted(tmp_path)
    assert len(document["annotations"]) == 3
    first = document["annotations"][0]
    assert len(first["segmentation"]) == 2
    assert (first["bbox"], first["area"], area(first)) == ([2, 2, 24, 6], 72, 72)
    pcs = converted(tmp_path, "pcs")["annotations"][0]
    assert pcs["bbox"] == pytest.approx([14, 5, 24, 6, 0])
    assert (pcs["area"], len(pcs["segmentation"])) == (144, 1)  # the hull
    assert {a["category_id"] for a in converted(tmp_path, "pcs")["annotations"]} == {1}


def test_parts_that_overlap_count_once(tmp_path):
    parts = [shape([[2, 2], [12, 2], [12, 8], [2, 8]], group_id=1), shape([[6, 2], [20, 2], [20, 8], [6, 8]], group_id=1)]
    write(tmp_path / "labels" / "one.json", parts)
    (only,) = converted(tmp_path)["annotations"]
    assert (len(only["segmentation"]), only["area"]) == (1, 108)


@pytest.mark.parametrize("group", [None, 4])
def test_holes_are_cut_out(tmp_path, group):
    holes = [[[13, 8], [17, 8], [17, 12], [13, 12]], [[20, 15], [26, 15], [26, 20], [20, 20]]]
    shapes = [shape(group_id=group), *(shape(h, "hole", group_id=group) for h in holes), shape([[40, 5], [50, 5], [50, 30]])]
    write(tmp_path / "labels" / "one.json", shapes)
    document = converted(tmp_path)
    assert [c["name"] for c in document["categories"]] == ["crystal"]
    first, second = document["annotations"]
    assert len(first["segmentation"]) == 1
    assert first["area"] == area(first) == 400 - 16 - 30
    pixels = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(first["segmentation"], *SIZE)))
    assert pixels[8:12, 13:17].sum() == pixels[15:20, 20:26].sum() == 0
    assert second["area"] == 125
    pcs = converted(tmp_path, "pcs")["annotations"][0]
    assert (pcs["area"], len(pcs["segmentation"][0])) == (400, 8)  # an outline without them
    named = converted(tmp_path, labels=["hole", "crystal"])
    assert [a["category_id"] for a in named["annotations"]].count(1) == (1 if group else 2)  # then they are crystals


def test_a_hole_goes_to_the_crystal_that_it_covers_most_of(tmp_path):
    """Of two that hold it whole, the smaller one."""
    inner = [[12, 7], [24, 7], [24, 20], [12, 20]]
    shapes = [shape(), shape(inner), shape([[14, 9], [18, 9], [18, 13], [14, 13]], "hole")]
    write(tmp_path / "labels" / "one.json", shapes)
    assert [a["area"] for a in converted(tmp_path)["annotations"]] == [400, 12 * 13 - 16]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_cut_outline_encloses_the_polygon(seed):
    rng = np.random.default_rng(seed)
    places = rng.permutation(9)[: rng.integers(0, 6)]
    holes = []
    for k in places:
        angle = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 7)))
        x, y = 10 + 20 * (k % 3) + 8 * np.cos(angle), 10 + 20 * (k // 3) + 8 * np.sin(angle)
        hole = Polygon(np.stack((x, y), -1))
        if hole.area > 4:
            holes.append(hole)
    whole = Polygon([(0, 0), (60, 0), (60, 60), (0, 60)], [h.exterior.coords for h in holes])
    ring = cut_open(whole)
    x, y = ring.T
    assert abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 == pytest.approx(whole.area)
    rle = coco_mask.merge(coco_mask.frPyObjects([ring.flatten().tolist()], 60, 60))
    assert int(coco_mask.area(rle)) == pytest.approx(whole.area, abs=3 + sum(0.7 * h.length for h in holes))
    pixels = coco_mask.decode(rle)
    for hole in holes:
        centre = hole.representative_point()
        if hole.buffer(-1.5).contains(centre):
            assert pixels[int(centre.y), int(centre.x)] == 0


def test_what_crosses_itself_or_leaves_the_image(tmp_path):
    bow = [[10, 10], [20, 20], [20, 10], [10, 20]]
    outside = [[50, 30], [80, 30], [80, 60], [50, 60]]
    write(tmp_path / "labels" / "one.json", [shape(bow), shape(outside)])
    crossed, cut = converted(tmp_path)["annotations"]
    assert (len(crossed["segmentation"]), crossed["area"], crossed["bbox"]) == (2, 50, [10, 10, 10, 10])
    assert cut["bbox"] == [50, 30, 10, 10]


def test_images_inside_and_beside_in_folders_and_turned(tmp_path):
    write(tmp_path / "labels" / "b" / "one.json", [shape()], image="photo.jpg.png")
    write(tmp_path / "labels" / "a" / "one.json", [])
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    sideways = png((SIZE[1], SIZE[0]), format="JPEG", exif=turned)
    third = write(tmp_path / "labels" / "c.json", [shape()], imagePath="..\\photos\\c.jpg", imageData=None)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "c.jpg").write_bytes(sideways)
    assert read_labelme(third).size == SIZE
    document = converted(tmp_path)
    names = {image["file_name"]: image["id"] for image in document["images"]}
    assert sorted(names) == ["a/one.png", "b/one.png", "c.png"]
    assert (tmp_path / "out" / "a" / "one.png").read_bytes() == png()
    assert {a["image_id"] for a in document["annotations"]} == {names["b/one.png"], names["c.png"]}
    for name in names:
        with Image.open(tmp_path / "out" / name) as image:
            assert sorted(image.size) == sorted(SIZE)


def test_labels_choose_and_order_categories(tmp_path):
    write(tmp_path / "labels" / "one.json", [shape(), shape(label="needle"), shape([[1, 1]], "dust", "point")])
    document = converted(tmp_path, labels=["needle", "crystal"])
    assert [c["name"] for c in document["categories"]] == ["needle", "crystal"]
    assert [a["category_id"] for a in document["annotations"]] == [2, 1]
    assert len(converted(tmp_path, labels=["needle"])["annotations"]) == 1
    with pytest.raises(InputError, match="labelled plate; there are crystal"):
        converted(tmp_path, labels=["crystal", "plate"])


BAD = {
    "a point": ([shape([[1, 1]], kind="point")], {}, r"one\.json: shape 1 \('crystal'\) is a point"),
    "two corners": ([shape(), shape(SQUARE[:2])], {}, r"shape 2 \('crystal'\): a polygon has at least 3 points, got 2"),
    "a circle": ([shape(SQUARE, kind="circle")], {}, "a circle has 2 points, got 4"),
    "no area": ([shape([[1, 1], [5, 5], [9, 9]])], {}, "encloses no area"),
    "beside it": ([shape([[70, 1], [90, 1], [90, 9]])], {}, "encloses no area inside the image of 60 x 40 px"),
    "no number": ([shape([[1, 1], [None, 5], [9, 9]])], {}, "finite"),
    "infinite": ([shape([[1, 1], [float("inf"), 5], [9, 9]])], {}, "finite"),
    "no points": ([shape("abc")], {}, r"shape 1 \('crystal'\): 'points'"),
    "no label": ([{"points": SQUARE}], {}, "shape 1 .*no label"),
    "no object": (["x"], {}, "shape 1 .*no label"),
    "a list for a group": ([shape(group_id=[1])], {}, "group_id"),
    "a mask": ([shape(SQUARE[:2], kind="mask", mask="xyz!")], {}, "its mask is no base64 text of a PNG"),
    "a lonely hole": ([shape([[40, 30], [50, 30], [50, 38]], "hole"), shape()], {}, "a hole in no crystal"),
    "all hole": ([shape(), shape(label="hole")], {}, "leaves nothing"),
    "no shapes": (None, {}, "no file of Labelme"),
    "another size": ([shape()], {"imageHeight": 41}, "imageHeight is 41, the image has 40 px"),
    "no image": ([shape()], {"imageData": None, "imagePath": "lost.png"}, "no image 'lost.png'"),
    "no name": ([shape()], {"imageData": None, "imagePath": None}, "neither imageData nor imagePath"),
    "broken text": ([shape()], {"imageData": "ab!c"}, "imageData is no base64"),
    "broken image": ([shape()], {"imageData": base64.b64encode(png()[:200]).decode()}, "not a readable image"),
    "no picture": ([shape()], {"imageData": base64.b64encode(b"text").decode()}, "not a readable image"),
}


@pytest.mark.parametrize(("shapes", "more", "words"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_used_is_left_out_and_named_and_stops_nothing(tmp_path, shapes, more, words):
    write(tmp_path / "labels" / "one.json", shapes, **more)
    write(tmp_path / "labels" / "two.json", [shape()])
    done = convert(tmp_path / "labels", tmp_path / "out.json")
    assert len(done.left) == 1
    assert re.search(words, done.left[0])
    assert "one.json" in done.left[0]
    whole = shapes is None or more
    assert done.images == (1 if whole else 2)
    assert done.crystals == 1 + (0 if whole else sum(s == shape() for s in shapes))


def test_files_of_which_none_can_be_used_are_an_error_and_nothing_is_written(tmp_path):
    write(tmp_path / "labels" / "one.json", None)
    with pytest.raises(DataError, match=r"none of its 1 files can be used; .*one\.json"):
        convert(tmp_path / "labels", tmp_path / "out.json")
    assert [p.name for p in tmp_path.iterdir()] == ["labels"]


TURNED = [[20, 4.0], [34.142, 18.142], [27.071, 25.213], [12.929, 11.071]]  # 20 by 10 px, at 45 degrees


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation", "quadrilateral"])
def test_turned_rectangles_of_todays_tools_are_the_oriented_box(tmp_path, kind):
    write(tmp_path / "labels" / "one.json", [shape(TURNED, kind=kind, direction=0.785)])
    (only,) = converted(tmp_path, "pcs")["annotations"]
    assert only["bbox"] == pytest.approx([23.5355, 14.6065, 20, 10, -45], abs=2e-3)


def test_a_rectangle_may_name_all_its_corners(tmp_path):
    write(tmp_path / "labels" / "one.json", [shape(SQUARE, kind="rectangle")])
    assert converted(tmp_path)["annotations"][0]["bbox"] == [10, 5, 20, 20]


def test_hidden_and_foreign_files_and_other_encodings(tmp_path):
    file = write(tmp_path / "labels" / "one.json", [shape(label="Kristall")])
    (tmp_path / "labels" / "._one.json").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "labels" / "other.json").write_text('{"a": 1}')
    text = file.read_text().replace("Kristall", "Kristallgröße")
    (tmp_path / "labels" / "two.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "labels" / "three.json").write_bytes(text.encode("cp1252"))
    done = convert(tmp_path / "labels", tmp_path / "out.json")
    assert done.images == 3
    assert {c["name"] for c in json.loads(done.path.read_text())["categories"]} == {"Kristall", "Kristallgröße"}
    assert [left.partition(": ")[0].rpartition("/")[2] for left in done.left] == ["other.json"]


def test_originals_are_never_replaced(tmp_path):
    """The folder of NAME.json's name holds the photographs themselves, and the labels embed other pictures."""
    write(tmp_path / "labels" / "i.json", [shape()], imagePath="../train/i.png")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "i.png").write_bytes(png((50, 50)))
    (tmp_path / "other.json").write_text('{"mine": 1}')
    for name, words in (("train.json", r"train/i\.png is there"), ("other.json", "did not write it")):
        with pytest.raises(InputError, match=words):
            convert(tmp_path / "labels", tmp_path / name)
    assert (tmp_path / "train" / "i.png").read_bytes() == png((50, 50))
    assert (tmp_path / "other.json").read_text() == '{"mine": 1}'
    assert not (tmp_path / "train.json").exists()
    first = convert(tmp_path / "labels", tmp_path / "own.json").path.read_bytes()
    assert convert(tmp_path / "labels", tmp_path / "own.json").path.read_bytes() == first


def test_places_that_do_not_count_are_no_crystals(tmp_path):
    write(tmp_path / "labels" / "one.json", [shape(), shape(label="ignore"), shape(label="region")])
    assert len(converted(tmp_path)["annotations"]) == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff"])
def test_files_that_are_no_json(tmp_path, text):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "one.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"one\.json"):
        convert(tmp_path / "labels", tmp_path / "out.json")


def test_where_it_must_not_write(tmp_path):
    """Neither among the labels, which it would read the next time, nor over their images."""
    write(tmp_path / "labels" / "one.json", [shape()], image="one.png")
    for out in ("labels/out.json", "labels.json", "out.txt"):
        with pytest.raises(InputError, match=r"name a \.json outside"):
            convert(tmp_path / "labels", tmp_path / out)
    with pytest.raises(DataError, match="no folder"):
        convert(tmp_path / "absent", tmp_path / "out.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Labelme files"):
        convert(tmp_path / "empty", tmp_path / "out.json")
    with pytest.raises(InputError, match="format 'voc'"):
        convert(tmp_path / "labels", tmp_path / "out.json", "voc")


def test_an_image_without_crystals_counts(tmp_path):
    write(tmp_path / "labels" / "one.json", [])
    document = converted(tmp_path)
    assert (len(document["images"]), document["annotations"]) == (1, [])


def test_the_command(tmp_path, capsys):
    write(tmp_path / "labels" / "one.json", [shape(), shape(label="dust")])
    arguments = [str(tmp_path / "labels"), "--out", str(tmp_path / "out.json"), "--labels", "crystal", "--format", "pcs"]
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    args = parser.parse_args(["convert", *arguments])
    args.run(args, arguments)
    assert "1 images, 1 crystals" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["annotations"][0]["bbox"][:4] == [20, 15, 20, 20]
