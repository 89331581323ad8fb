"""Reading labelled images: the published layout, ordinary COCO, and files that are wrong."""

import gc
import gzip
import json
import threading

import numpy as np
import pytest
import torch
from batches import SAMPLE
from PIL import Image

import pcs_augment as pa
from pcs_augment import images
from pcs_augment.boxes import box_corners


def document(**changes):
    base = {
        "info": {},
        "images": [{"id": 7, "file_name": "a.png", "width": 30, "height": 20}, {"id": 3, "file_name": "b.png"}],
        "categories": [{"id": 1, "name": "Crystal"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 1,
                "bbox": [10, 8, 6, 2, 30.0],
                "segmentation": [[8, 9, 12, 7, 12, 8, 9, 10]],
                "area": 5,
            }
        ],
    }
    return base | changes


def annotation(**changes):
    return [document()["annotations"][0] | changes]


def write(folder, content=None, name="data.json"):
    images = folder / "data"
    images.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(images / "a.png")
    Image.fromarray(rng.integers(0, 256, (9, 5), dtype=np.uint8)).save(images / "b.png")
    raw = json.dumps(document() if content is None else content).encode()
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith("z") or name.endswith("gzip") else raw)
    return folder / name


@pytest.mark.parametrize("name", ["data.json", "data.json.gz", "data.gzip", "data.json.gzip"])
def test_the_published_layout_in_every_spelling(tmp_path, name):
    data = pa.PCSDataset(write(tmp_path, name=name))
    image, target, index = data[0]
    assert (len(data), index, target["image_id"]) == (2, 0, 7)
    assert image.shape == (1, 20, 30)
    assert image.dtype == torch.uint8
    assert target["boxes"][0].tolist() == pytest.approx([10, 8, 6, 2, -np.pi / 6], abs=1e-6)
    assert target["polygons"][0].tolist() == [[8, 9], [12, 7], [12, 8], [9, 10]]
    assert target["labels"].tolist() == [0]
    image, target, index = data[1]
    assert target["boxes"].shape == (0, 5)
    assert target["polygons"] == []


@pytest.mark.parametrize(
    ("degrees", "theta"), [(90, -np.pi / 2), (-90, -np.pi / 2), (0, 0), (45, -np.pi / 4), (-30, np.pi / 6)]
)
def test_degrees_counter_clockwise_become_le90(tmp_path, degrees, theta):
    data = pa.PCSDataset(write(tmp_path, document(annotations=annotation(bbox=[10, 8, 6, 2, degrees]))))
    assert float(data[0][1]["boxes"][0, 4]) == pytest.approx(theta, abs=1e-6)


def test_sample_boxes_lie_on_their_outlines():
    data = pa.PCSDataset(SAMPLE)
    assert len(data) == 12
    assert sum(len(data.target(i)["boxes"]) for i in range(12)) == 682
    for i in range(12):
        target = data.target(i)
        for corners, outline in zip(box_corners(target["boxes"].double()), target["polygons"]):
            box = pa.boxes.min_area_box(outline.double().numpy())
            from_outline = box_corners(torch.from_numpy(box)[None])[0]
            assert float(torch.cdist(from_outline, corners).min(1).values.max()) < 0.6 + 0.02 * box[2]


def test_sample_outlines_lie_on_pixels_that_differ_from_their_surroundings():
    """The convention (y down, no shift) is right: moving labels by a few px loses contrast along the outlines."""
    data = pa.PCSDataset(SAMPLE)

    def contrast(dx, dy):
        total = 0.0
        for i in range(12):
            image, target, _ = data[i]
            grey = image[0].double().numpy()
            gradient = np.hypot(*np.gradient(grey))
            for outline in target["polygons"]:
                p = outline.numpy()
                along = np.concatenate([p + t * (np.roll(p, -1, 0) - p) for t in np.linspace(0, 1, 8)])
                x, y = np.clip((along + np.array([dx, dy])).astype(int), 0, 383).T
                total += gradient[y, x].mean()
        return total

    assert contrast(0, 0) > max(contrast(3, 0), contrast(-3, 0), contrast(0, 3), contrast(0, -3))


def test_released_labels_can_be_moved_down_by_one_pixel(tmp_path):
    path = write(tmp_path)
    plain, moved = pa.PCSDataset(path)[0][1], pa.PCSDataset(path, published_labels=True)[0][1]
    assert torch.equal(moved["boxes"] - plain["boxes"], torch.tensor([[0.0, 1, 0, 0, 0]]))
    assert torch.equal(moved["polygons"][0] - plain["polygons"][0], torch.tensor([[0.0, 1]]).expand(4, 2))


def test_ordinary_coco(tmp_path):
    square = {"id": 1, "image_id": 7, "category_id": 5, "iscrowd": 0}
    content = document(
        categories=[{"id": 9, "name": "x"}, {"id": 5, "name": "y"}],
        annotations=[
            square | {"bbox": [0, 0, 4, 4], "segmentation": [[2, 0, 4, 2, 2, 4, 0, 2]]},
            square | {"bbox": [1, 2, 3, 8], "segmentation": []},
            square | {"bbox": [0, 0, 9, 3], "segmentation": [[0, 0, 2, 0, 2, 2], [6, 1, 9, 1, 9, 3]], "category_id": 9},
            square | {"iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [20, 30]}, "bbox": [0, 0, 1, 1]},
        ],
    )
    target = pa.PCSDataset(write(tmp_path, content))[0][1]
    assert target["labels"].tolist() == [1, 1, 0]
    diamond, upright, pieces = target["boxes"].tolist()
    assert diamond[:4] == pytest.approx([2, 2, 8**0.5, 8**0.5], abs=1e-5)
    assert abs(diamond[4]) == pytest.approx(np.pi / 4, abs=1e-5)
    assert upright == pytest.approx([2.5, 6, 8, 3, -np.pi / 2], abs=1e-5)
    assert len(target["polygons"][2]) == 5
    assert pieces[2] == pytest.approx(9, abs=0.7)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "I;16", "F", "LA", "CMYK"])
def test_other_kinds_of_images_become_8_bit_grey(tmp_path, mode):
    ramp = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (4, 1))
    name = tmp_path / "image.tif"
    if mode == "I;16":
        Image.fromarray(ramp.astype(np.uint16) * 257).save(name)
    elif mode == "F":
        Image.fromarray((ramp / 255).astype(np.float32)).save(name)
    else:
        Image.fromarray(ramp).convert(mode).save(name)
    grey = pa.data.read_grey(name)
    assert grey.shape == (1, 4, 16)
    assert grey.dtype == torch.uint8
    if mode != "1":
        assert np.abs(grey[0].int().numpy() - ramp).max() <= (3 if mode == "P" else 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "expected a JSON object"),
        ({"images": []}, "'categories' must be a list"),
        (document(images=[{"id": "x"}]), "'id' must be an integer"),
        (document(images=[{"id": 1}]), "'file_name' must be a file name"),
        (document(images=document()["images"] * 2), "occurs twice"),
        (document(annotations=[1]), "'annotations' must be a list of objects"),
        (document(annotations=annotation(image_id=99)), "annotation 1 names image 99"),
        (document(annotations=annotation(category_id=2)), "category 2"),
        (document(annotations=annotation(bbox=[1, 2, 3], segmentation=[])), "annotation 1: 'bbox' must be"),
        (document(annotations=annotation(bbox=[1, 2, 0, 3, 0], segmentation=[])), "w, h > 0"),
        (document(annotations=annotation(bbox=[1, 2, None, 3, 0], segmentation=[])), "list of finite numbers"),
        (document(annotations=annotation(bbox="wide", segmentation=[])), "list of finite numbers"),
        (document(annotations=annotation(segmentation=[[1, 2, 3, 4]])), "at least 3 points"),
        (document(annotations=annotation(segmentation=[[1, 2, 3, 4, 5, 6, 7]])), "at least 3 points"),
        (document(annotations=annotation(segmentation={"counts": 3})), "list of polygons"),
        (document(annotations=annotation(bbox=[0, 0, 4, 4], segmentation=[[1, 1, 2, 2, 3, 3]])), "has no area"),
    ],
)
def test_malformed_documents_are_named(tmp_path, content, words):
    with pytest.raises(pa.DataError, match=words):
        pa.PCSDataset(write(tmp_path, content), strict=True)


def test_the_thread_that_reads_ends_with_the_error(tmp_path):
    """Not when the garbage is collected, which may happen while another thread starts, and then never ends."""
    path = write(tmp_path, document(annotations=annotation(bbox=[1, 2, 0, 3, 0], segmentation=[])))
    before = set(threading.enumerate())
    gc.disable()
    try:
        with pytest.raises(pa.DataError) as error:
            pa.PCSDataset(path, strict=True)
        assert set(threading.enumerate()) <= before
        assert error.traceback  # which keeps the frames of whatever read
    finally:
        gc.enable()


def test_broken_files_are_named(tmp_path):
    path = write(tmp_path)
    with pytest.raises(pa.DataError, match="no such file"):
        pa.PCSDataset(tmp_path / "none.json", images=tmp_path)
    with pytest.raises(pa.DataError, match="no such folder"):
        pa.PCSDataset(path, images=tmp_path / "elsewhere")
    with pytest.raises(pa.DataError, match="must end in"):
        pa.PCSDataset(tmp_path / "data.txt")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(pa.DataError, match="not valid JSON"):
        pa.PCSDataset(path)
    path.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(pa.DataError, match="cannot be read"):
        pa.PCSDataset(path)
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(pa.DataError, match="not valid JSON"):
        pa.PCSDataset(path)
    path.write_text("[" * 100000)
    with pytest.raises(pa.DataError, match="not valid JSON"):
        pa.PCSDataset(path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "sub/../../secret.png"])
def test_images_outside_the_folder_are_refused(tmp_path, name):
    Image.new("L", (5, 9)).save(tmp_path / "secret.png")
    data = pa.PCSDataset(write(tmp_path, document(images=[{"id": 7, "file_name": name}])))
    with pytest.raises(pa.DataError, match="leads out of"):
        data[0]


def test_unreadable_images_are_named(tmp_path):
    data = pa.PCSDataset(write(tmp_path))
    image = tmp_path / "data" / "a.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    with pytest.raises(pa.DataError, match=r"a\.png: not a readable image"):
        data[0]
    image.write_bytes(b"not an image")
    with pytest.raises(pa.DataError, match="not a readable image"):
        data[0]
    Image.new("L", (31, 20)).save(image)
    with pytest.raises(pa.DataError, match="do not belong together"):
        data[0]
    image.unlink()
    with pytest.raises(pa.DataError, match="no such image file"):
        data[0]


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    data = pa.PCSDataset(write(tmp_path))
    with pytest.raises(pa.DataError, match="more than 100 are not read"):
        data[0]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(pa.DataError, match="too many pixels"):
        data[0]


def test_collate_stacks_one_size_only(tmp_path):
    data = pa.PCSDataset(write(tmp_path))
    with pytest.raises(pa.InputError, match="one size"):
        pa.collate([data[0], data[1]])
    images, targets, index = pa.collate([data[0], data[0]])
    assert images.shape == (2, 1, 20, 30)
    assert [t["image_id"] for t in targets] == [7, 7]
    assert index.tolist() == [0, 0]


def test_outlines_travel_between_processes_as_one_tensor():
    import pickle

    outlines = pa.PCSDataset(SAMPLE).target(0)["polygons"]
    assert isinstance(outlines, list)
    assert len(pickle.dumps(outlines)) < 40 * sum(len(p) for p in outlines) + 1000
    for some in (outlines, outlines[:0] + type(outlines)()):
        back = pickle.loads(pickle.dumps(some))
        assert len(back) == len(some)
        assert all(torch.equal(a, b) for a, b in zip(back, some))
