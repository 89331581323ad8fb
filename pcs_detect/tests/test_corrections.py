"""What predict found as files that label tools edit, and those files read back."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pcs_detect.boxes import corners
from pcs_detect.crystals.labelme import OWN, labelme_shapes, write_labelme
from pcs_detect.errors import InputError
from pcs_detect.labels.conversion import convert
from pcs_detect.labels.truth import read_truths
from pcs_detect.overlaps import rotated_iou

BOXES = np.array([[60, 50, 40, 12, 0.4], [120, 80, 30, 30, -1.2], [30, 90, 20, 6, 1.5]])
SCORES = [0.9, 0.5, 0.3]
SIZE = (130, 170)


def written(folder, **options):
    photograph = folder / "ph" / "a.png"
    photograph.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full(SIZE, 90, np.uint8)).save(photograph)
    return write_labelme(folder / "labels", "a.png", photograph, None, SIZE, BOXES, SCORES, stem="a", **options)


@pytest.mark.parametrize("shape", ["polygon", "oriented_rectangle", "rotation"])
def test_what_is_written_is_read_back_as_the_same_boxes(tmp_path, shape):
    path = written(tmp_path, shape=shape).path
    document = json.loads(path.read_text())
    assert path == tmp_path / "labels" / "a.json"
    assert document["imagePath"] == "../ph/a.png"
    assert (document["imageHeight"], document["imageWidth"]) == SIZE
    for one, outline in zip(document["shapes"], corners(BOXES)):
        assert (one["shape_type"], one["label"]) == (shape, "crystal")
        np.testing.assert_allclose(one["points"], outline, atol=1e-3)
    converted = convert(tmp_path / "labels", tmp_path / "out.json", "pcs")
    assert (converted.images, converted.crystals, converted.left) == (1, 3, [])
    truths, left = read_truths(converted.path)
    assert (list(truths), left) == (["a.png"], [])
    assert (rotated_iou(truths["a.png"].crystals, BOXES).max(1) > 0.999).all()


def test_turned_boxes_have_what_x_anylabeling_asks_for():
    for one, box in zip(labelme_shapes(BOXES, SCORES, "rotation"), BOXES):
        assert {"score", "difficult", "attributes", "direction"} <= one.keys()
        assert 0 <= one["direction"] < 2 * np.pi
        x, y = np.diff(one["points"][:2], axis=0)[0]
        assert np.arctan2(y, x) % (2 * np.pi) == pytest.approx(box[4] % (2 * np.pi), abs=1e-3)
    with pytest.raises(InputError, match="'circle' is none"):
        labelme_shapes(BOXES, SCORES, "circle")


def test_files_that_somebody_edited_are_never_replaced(tmp_path):
    path = written(tmp_path).path
    first = path.read_bytes()
    assert written(tmp_path).kept == ""  # as it was written: replaced
    assert path.read_bytes() == first
    document = json.loads(first)
    document["shapes"].pop()
    for edited in (document, {k: v for k, v in document.items() if k != OWN}, {"shapes": []}):
        path.write_text(json.dumps(edited))
        before = path.read_bytes()
        assert "it stays as it is" in written(tmp_path).kept
        assert path.read_bytes() == before
    path.write_text(json.dumps(json.loads(first), indent=4))  # saved anew without a change
    assert written(tmp_path).kept == ""


def test_what_label_tools_cannot_show_comes_with_a_picture(tmp_path):
    grey = np.linspace(0, 255, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    name = "stack.tif#0003"
    done = write_labelme(tmp_path / "labels", name, None, grey, SIZE, BOXES, SCORES)
    picture = done.path.with_name(f"{name}.png")
    assert json.loads(done.path.read_text())["imagePath"] == picture.name
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), grey.round())
    assert list(read_truths(tmp_path / "labels")[0]) == [name]
    mine = b"mine"
    picture.write_bytes(mine)
    assert "was changed" in write_labelme(tmp_path / "labels", name, None, grey, SIZE, BOXES, SCORES).kept
    assert picture.read_bytes() == mine


@pytest.mark.parametrize("labels", ["ph", "ph/labels"])
def test_pictures_for_label_tools_are_no_photographs_of_the_next_run(tmp_path, labels):
    """Beside the photographs too, and where their labels were corrected; what is no such picture is a photograph."""
    from test_folders import picture, predict, put

    (tmp_path / "ph").mkdir()
    tifffile.imwrite(tmp_path / "ph" / "deep.tif", picture().astype(np.uint16) * 16, metadata=None)
    put(tmp_path / "ph" / "plain.png")
    options = {"labelme": tmp_path / labels, "recursive": True}
    first = predict(tmp_path / "ph", tmp_path / "out", **options)
    file, shown = (tmp_path / labels / f"deep.tif.{ending}" for ending in ("json", "png"))
    assert shown.is_file()
    assert set(predict(tmp_path / "ph", tmp_path / "out", **options)["image"]) == {"deep.tif", "plain.png"}
    document = json.loads(file.read_text())
    document["shapes"].pop()
    file.write_text(json.dumps(document))
    assert len(predict(tmp_path / "ph", tmp_path / "out", **options)) == len(first)
    assert set(predict(str(tmp_path / "ph" / "*.*"), tmp_path / "pattern")["image"]) == {"deep.tif", "plain.png"}
    put(shown, picture(5, 2))
    assert len(predict(tmp_path / "ph", tmp_path / "out", **options)) == len(first) + 2
    assert len(predict(shown, tmp_path / "named")) == 2


def test_the_folder_run_writes_them_and_keeps_corrections(tmp_path, capsys):
    from test_folders import picture, predict, put

    put(tmp_path / "ph" / "a.png")
    put(tmp_path / "ph" / "b.jpg")
    tifffile.imwrite(tmp_path / "ph" / "b.tif", picture(3).astype(np.uint16) * 16, metadata=None)
    labels = tmp_path / "labels"
    predict(tmp_path / "ph", tmp_path / "out", labelme=labels)
    assert {p.name for p in labels.iterdir()} == {"a.json", "b.json", "b.tif.json", "b.tif.png"}
    document = json.loads((labels / "a.json").read_text())
    document["shapes"] = document["shapes"][:1]
    (labels / "a.json").write_text(json.dumps(document))
    found = predict(tmp_path / "ph", tmp_path / "out", labelme=labels, overwrite=True)
    assert "a.json was changed since it was written" in capsys.readouterr().err
    done = convert(labels, tmp_path / "corrected.json")
    assert (done.images, done.crystals, done.left) == (3, 1 + (found["image"] != "a.png").sum(), [])
    for entry in json.loads(done.path.read_text())["images"]:
        assert (Path(tmp_path / "corrected") / entry["file_name"]).is_file()
