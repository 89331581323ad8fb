"""Data sets as people have them: unusable annotations, turned photographs, cameras of 12 bits, links, several at once."""

import json
import math
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader

import pcs_augment as pa
from pcs_augment import freeze, images

TRIANGLE = [[5, 5, 25, 5, 25, 15]]


def made(folder, annotations, size=(30, 40), picture=None, name="a.png", **image):
    """A data set of one picture (H, W) with these annotations."""
    (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
    if picture is None:
        picture = Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint32).astype(np.uint8).reshape(size))
    picture.save(folder / "data" / name)
    document = {
        "images": [{"id": 1, "file_name": name, **image}],
        "categories": [{"id": 1, "name": "Crystal"}],
        "annotations": [{"id": k, "image_id": 1, "category_id": 1, **a} for k, a in enumerate(annotations, 1)],
    }
    path = folder / "data.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    "bad",
    [
        {"bbox": [29.6, 38.3, 1.03, 0.0], "segmentation": [[29.6, 38.3, 29.6, 38.3, 30.7, 38.3, 30.7, 38.3]]},
        {"bbox": [5, 5, 10, 10], "segmentation": {"counts": [1, 2], "size": [30, 40]}},
        {"bbox": [5, 5, 0, 10], "segmentation": []},
        {"bbox": "wide"},
        {"bbox": [1e39, 5, 3, 3]},
        {"bbox": [5, 5, 1e-50, 3]},
    ],
)
def test_unusable_annotations_are_skipped_with_a_warning_or_refused(tmp_path, bad):
    good = {"bbox": [2, 2, 8, 4]}
    path = made(tmp_path, [good, bad, good])
    with pytest.warns(UserWarning, match="1 annotations cannot be used and are skipped: annotation 2"):
        data = pa.PCSDataset(path)
    assert data.skipped == [2]
    assert len(data.target(0)["boxes"]) == 2
    with pytest.raises(pa.DataError, match="annotation 2"):
        pa.PCSDataset(path, strict=True)


def test_the_warning_counts_all_and_names_five(tmp_path):
    path = made(tmp_path, [{"bbox": [0, 0, 0, 0]}] * 7)
    with pytest.warns(UserWarning, match=r"7 annotations .*annotation 5: .*; and 2 more") as found:
        pa.PCSDataset(path)
    assert len(found) == 1
    assert "annotation 6" not in str(found[0].message)


def test_a_good_polygon_makes_up_for_a_bad_box(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = pa.PCSDataset(made(tmp_path, [{"bbox": [5, 5, 0, 10], "segmentation": TRIANGLE}]))
    assert data.target(0)["boxes"][0, 2:4].tolist() == pytest.approx([20, 10], abs=1e-4) or float(
        data.target(0)["boxes"][0, 2] * data.target(0)["boxes"][0, 3]
    ) == pytest.approx(200, rel=1e-4)


def test_crowds_written_as_text_are_told_from_single_objects(tmp_path):
    one = {"bbox": [2, 2, 8, 4]}
    data = pa.PCSDataset(made(tmp_path, [{**one, "iscrowd": "0"}, {**one, "iscrowd": "1"}, {**one, "iscrowd": 0}]))
    assert len(data.target(0)["boxes"]) == 2


def corner(size, orientation):
    """A black picture (H, W) with a white top left corner as stored, to be turned by viewers."""
    pixels = np.zeros(size, np.uint8)
    pixels[:4, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(pixels)
    picture.info["exif"] = exif.tobytes()
    return picture, exif


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize(
    ("said", "expected"),
    [((None, None), (60, 40, "right")), ((60, 40), (60, 40, "right")), ((40, 60), (40, 60, "left"))],
)
def test_exif_turns_the_image_unless_the_labels_say_otherwise(tmp_path, ending, said, expected):
    picture, exif = corner((40, 60), 6)
    path = tmp_path / f"a.{ending}"
    picture.save(path, exif=exif)
    grey = images.read_grey(path, size=said)
    assert grey.shape == expected[:2]
    assert (grey[0, -1] > 200) == (expected[2] == "right")
    assert (grey[0, 0] > 200) == (expected[2] == "left")


def test_exif_of_square_images_is_applied(tmp_path):
    picture, exif = corner((40, 40), 6)
    picture.save(tmp_path / "a.png", exif=exif)
    grey = images.read_grey(tmp_path / "a.png", size=(40, 40))
    assert grey[0, -1] == 255
    assert grey[0, 0] == 0


@pytest.mark.parametrize(("most", "white"), [(900, 1023), (4000, 4095), (16000, 16383), (60000, 65535)])
def test_deep_images_are_scaled_by_the_camera_that_could_have_made_them(tmp_path, most, white):
    values = np.linspace(0, most, 900).astype(np.uint16).reshape(30, 30)
    Image.fromarray(values).save(tmp_path / "a.png")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        grey = images.read_grey(tmp_path / "a.png")
    np.testing.assert_allclose(grey, values * (255 / white), atol=0.51)
    assert bool(told) == (white != 65535)  # only a guess that could be wrong is worth a warning
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(images.read_grey(tmp_path / "a.png", 65535), values / 257, atol=0.51)


@pytest.mark.parametrize(("most", "white"), [(0.8, 1), (1.02, 1), (250.0, 255), (3900.0, 4095), (65535.0, 65535)])
def test_float_images_are_scaled_alike(tmp_path, most, white):
    values = np.linspace(0, most, 900, dtype=np.float32).reshape(30, 30)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grey = images.read_grey(tmp_path / "a.tif")
    np.testing.assert_allclose(grey, np.clip(values * 255 / white, 0, 255), atol=0.51)


def test_a_wrong_white_is_refused(tmp_path):
    with pytest.raises(pa.InputError, match="white is -1"):
        images.read_grey(tmp_path / "a.png", -1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 4, 8))
    picture = picture.convert("LA") if mode == "LA" else picture.quantize() if mode == "P" else picture
    picture.save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grey = images.read_grey(tmp_path / "a.png")
    assert grey[:, :4].max() < 8
    assert grey[:, 4:].min() > 247


def test_links_are_followed_and_names_that_climb_out_are_not(tmp_path):
    path = made(tmp_path, [])
    store = tmp_path / "store"
    store.mkdir()
    os.replace(tmp_path / "data" / "a.png", store / "blob")
    (tmp_path / "data" / "a.png").symlink_to(store / "blob")
    (tmp_path / "data" / "sub").symlink_to(store)
    assert pa.PCSDataset(path)[0][0].shape == (1, 30, 40)
    document = json.loads(path.read_text())
    for name, good in (("sub/blob", True), ("x/../a.png", True), ("../store/blob", False), (str(store / "blob"), False)):
        path.write_text(json.dumps({**document, "images": [{"id": 1, "file_name": name}]}))
        if good:
            assert pa.PCSDataset(path)[0][0].shape == (1, 30, 40)
        else:
            with pytest.raises(pa.DataError, match="leads out of"):
                pa.PCSDataset(path)[0]


def test_concatenated_data_sets_get_distinct_indices(tmp_path):
    sets = []
    for k in range(3):
        (tmp_path / str(k)).mkdir()
        sets.append(pa.PCSDataset(made(tmp_path / str(k), [])))
    assert [(sets[0] + sets[1])[i][2] for i in range(2)] == [0, 1]
    pa.AugmentedLoader(DataLoader(ConcatDataset([sets[0], ConcatDataset(sets[1:])])), pa.GaussianNoise(), "cpu")
    assert [data[0][2] for data in sets] == [0, 1, 2]  # wherever they are nested
    nested = ConcatDataset([ConcatDataset(sets[:2]), sets[2]])
    batches = pa.AugmentedLoader(DataLoader(nested, 3, collate_fn=pa.collate), pa.GaussianNoise(), "cpu")
    (seen,) = [images for images, _ in batches]
    assert len({tuple(image.flatten().tolist()) for image in seen}) == 3  # one picture, three times with its own noise
    assert torch.equal(
        seen[0], next(iter(pa.AugmentedLoader(DataLoader(sets[0], 1, collate_fn=pa.collate), pa.GaussianNoise(), "cpu")))[0][0]
    )


def listed(folder, names):
    """A data set with one object of each of these categories, which have these ids and order."""
    folder.mkdir()
    path = made(folder, [{"bbox": [2 * k, 2, 8, 4], "category_id": k} for k in sorted(names)])
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "categories": [{"id": k, "name": n} for k, n in names.items()]}))
    return path


def test_categories_in_another_order_have_the_same_labels_where_they_are_named(tmp_path):
    one, two = listed(tmp_path / "a", {1: "salt", 2: "protein"}), listed(tmp_path / "b", {2: "protein", 1: "salt"})
    three = listed(tmp_path / "c", {1: "protein", 2: "salt"})
    assert [pa.PcsDataset(p).target(0)["labels"].tolist() for p in (one, two, three)] == [[0, 1], [1, 0], [0, 1]]
    sets = [pa.PcsDataset(p, categories=["protein", "salt"]) for p in (one, two, three)]
    assert [data.target(0)["labels"].tolist() for data in sets] == [[1, 0], [1, 0], [0, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = sets[0] + sets[2]
        _ = pa.PcsDataset(one) + pa.PcsDataset(listed(tmp_path / "d", {7: "salt"}))
    with pytest.warns(UserWarning, match=r"label 0 means \['salt', 'protein'\].*categories="):
        _ = pa.PcsDataset(one) + pa.PcsDataset(two)
    with pytest.raises(pa.InputError, match=r"annotations of \['salt'\]"):
        pa.PcsDataset(one, categories=["protein"])
    for wrong in ("protein", [], ["a", "a"], [1]):
        with pytest.raises(pa.InputError, match="categories must be a list of different names"):
            pa.PcsDataset(one, categories=wrong)


def test_freezing_keeps_the_number_of_numbers_of_boxes(tmp_path):
    path = made(tmp_path, [{"bbox": [4, 5, 21, 11], "segmentation": TRIANGLE}, {"bbox": [20, 15, 12, 6, 30]}])
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        freeze.freeze(path, out, seed=1)
    boxes = [(a["id"], a["bbox"], a["segmentation"]) for a in json.loads((out / "data.json").read_text())["annotations"]]
    assert boxes
    for number, box, ((*outline,),) in boxes:
        assert len(box) == (4 if number == 1 else 5)
        if number == 1:
            x, y = np.array(outline).reshape(-1, 2).T
            np.testing.assert_allclose(box, [x.min(), y.min(), np.ptp(x), np.ptp(y)], atol=2e-4)


def test_other_pixels_in_a_file_of_the_same_size_are_noticed(tmp_path):
    path = made(tmp_path, [], name="a.bmp")
    freeze.freeze(path, tmp_path / "out", seed=1)
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "data" / "a.bmp")
    with pytest.raises(pa.InputError, match="other settings"):
        freeze.freeze(path, tmp_path / "out", seed=1)


@pytest.mark.parametrize("degrees", [0, 30, 90, -45, "30"])
def test_upright_boxes_that_an_attribute_turns_are_turned(tmp_path, degrees):
    """CVAT's COCO: an upright box without a polygon, and its angle among the attributes, clockwise."""
    path = made(tmp_path, [{"bbox": [10, 10, 20, 8], "segmentation": [], "attributes": {"rotation": degrees}}])
    x, y, w, h, theta = pa.PCSDataset(path).target(0)["boxes"][0].double().tolist()
    assert (x, y, w, h) == pytest.approx((20, 14, 20, 8))
    assert np.sin(theta - np.radians(float(degrees))) == pytest.approx(0, abs=1e-6)


def test_a_turn_that_is_no_number_is_skipped_and_named(tmp_path):
    path = made(tmp_path, [{"bbox": [10, 10, 20, 8], "attributes": {"rotation": "left"}}])
    with pytest.warns(UserWarning, match="'rotation' must be a number of degrees"):
        data = pa.PCSDataset(path)
    assert len(data.target(0)["boxes"]) == 0


def test_sizes_written_as_text_are_numbers(tmp_path):
    assert pa.PcsDataset(made(tmp_path, [], height="30", width="40"))[0][0].shape == (1, 30, 40)
    with pytest.raises(pa.DataError, match="says 31 x 40"):
        pa.PcsDataset(made(tmp_path, [], height="31", width="40"))[0]


def test_no_angle_lies_below_the_range(tmp_path):
    """Not even as a Python float: float32 rounds -pi/2 down."""
    data = pa.PcsDataset(made(tmp_path, [{"bbox": [10, 10, 4, 9]}, {"bbox": [20, 15, 9, 4, 90]}]))
    boxes = data.target(0)["boxes"]
    assert all(-math.pi / 2 <= float(t) < math.pi / 2 for t in boxes[:, 4])
    image = torch.rand(8, 1, 30, 40)
    out = pa.Flip(seed=1)(image, [data.target(0)] * 8, index=range(8))[1]
    assert all(-math.pi / 2 <= float(t) < math.pi / 2 for o in out for t in o["boxes"][:, 4])
