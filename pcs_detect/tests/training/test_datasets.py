"""CrystalDataset: the same scenes from every kind of file, angles held to what is drawn, ids, splits, selections, workers."""

import gzip
import io
import json
import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmrotate.registry import DATASETS
from mmrotate.structures.bbox import RotatedBoxes
from PIL import Image
from torch.utils.data import DataLoader

from pcs_augment.demo import sample_path
from pcs_detect.errors import DataError, InputError
from pcs_detect.training.data.datasets import CrystalDataset
from pcs_render import export
from pcs_render.shards import Record, Writer

WIDTH, HEIGHT = 120, 80
ANGLES = [-85, -60, -33, -5, 0, 20, 45, 70, 88, 90]  # degrees, counter-clockwise on screen
SIDES = (52.0, 13.0)


def bar(degrees, centre):
    """Corners (5, 2) of a bar with one corner cut off, so that it is its own mirror image in no way; first those of its box."""
    w, h = SIDES
    along = np.array([math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))])  # y points down
    across = np.array([-along[1], along[0]])
    local = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
    box = local @ [along, across] + centre
    cut = np.array([[-w / 2, -h / 2], [w / 2, -h / 2], [w / 2, h / 2], [-w / 2 + 6, h / 2], [-w / 2, h / 2 - 6]])
    return box, cut @ [along, across] + centre


SCENES = [[bar(a, (62.3, 38.1))] for a in ANGLES]
SCENES += [[bar(15, (40, 30)), bar(-40, (85.5, 48))], []]


def filled(outline):
    """(H, W) which pixels have their centre in a polygon."""
    fine = np.zeros((HEIGHT * 8, WIDTH * 8), np.uint8)
    cv2.fillPoly(fine, [np.round(np.asarray(outline, float) * 8 - 0.5).astype(np.int32)], 1)  # OpenCV's 0 is a pixel's centre
    return fine.reshape(HEIGHT, 8, WIDTH, 8).mean((1, 3)) > 0.5


def picture(bars):
    pixels = np.full((HEIGHT, WIDTH), 200, np.uint8)
    for _, outline in bars:
        pixels[filled(outline)] = 40
    return pixels


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def records(first=0):
    for i, bars in enumerate(SCENES):
        angles = [-math.radians(a) for a in ([ANGLES[i]] if i < len(ANGLES) else [15, -40])][: len(bars)]
        boxes = [[*box.mean(0), *SIDES, t if t >= -math.pi / 2 else t + math.pi] for (box, _), t in zip(bars, angles)]
        file, n = io.BytesIO(), len(bars)
        Image.fromarray(picture(bars)).save(file, "PNG")
        outlines = [o.astype(np.float32) for _, o in bars]
        ones, targets = np.ones(n, np.float32), np.ones((n, 4), np.float32)
        boxes = np.array(boxes, np.float32).reshape(-1, 5)
        models = np.zeros(n, np.int32)
        yield Record(first + i, file.getvalue(), WIDTH, HEIGHT, boxes, outlines, ones, models, ones, targets, "{}", 1.0)


def shards(folder, first=0, seed=1):
    identity = {"seed": seed, "settings": {}, "profile": {}, "versions": {}}
    with Writer.create_or_resume(folder, count=len(SCENES), first=first, shard_size=5, **identity) as writer:
        made = {r.image_id: r for r in records(first)}
        for todo in writer.missing():
            writer.write_shard(todo.index, [made[i] for i in todo.ids])
    return folder


def hand_written(folder, kind):
    """The scenes in each layout as its documentation has it, not as an exporter does."""
    images = folder / ("images" if kind in ("dota", "annfiles") else "train")
    images.mkdir(parents=True)
    labels = folder / ("annfiles" if kind == "annfiles" else "labelTxt")
    rows = []
    for i, bars in enumerate(SCENES):
        Image.fromarray(picture(bars)).save(images / f"{i:010d}.png")
        if kind in ("dota", "annfiles"):
            labels.mkdir(exist_ok=True)
            text = "".join(" ".join(f"{v:.2f}" for v in box.ravel()) + " crystal 0\n" for box, _ in bars)
            (labels / f"{i:010d}.txt").write_text("imagesource:drawn\ngsd:1\n" + text)
            continue
        lift = 1.0 if kind == "published" else 0.0
        for k, (box, outline) in enumerate(bars):
            degrees = ANGLES[i] if i < len(ANGLES) else [15, -40][k]
            x, y = box.mean(0)
            bbox = [x, y - lift, *SIDES, degrees]
            if kind == "coco":
                bbox = [*box.min(0).tolist(), *np.ptp(box, 0).tolist()]
                outline = box
            segmentation = [(np.array(outline) - [0, lift]).ravel().round(3).tolist()]
            rows.append(
                {"id": len(rows), "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": bbox, "segmentation": segmentation}
            )
    if kind in ("dota", "annfiles"):
        return folder
    entries = [{"id": i, "file_name": f"{i:010d}.png", "width": WIDTH, "height": HEIGHT} for i in range(len(SCENES))]
    document = {"images": entries, "categories": [{"id": 1, "name": "Crystal"}], "annotations": rows}
    path = folder / "train.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("sets")
    made = {kind: hand_written(place / kind, kind) for kind in ("json", "published", "coco", "dota", "annfiles")}
    return {**made, "shards": shards(place / "shards")}


def opened(folders, kind, **options):
    return CrystalDataset(folders[kind], published_labels=kind == "published", **options)


def instances(item):
    found = item["data_samples"].gt_instances
    return found.bboxes.tensor, found.labels, found.polygons


KINDS = ["json", "published", "coco", "dota", "annfiles", "shards"]


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_outlines_cover_the_drawn_pixels(folders, kind):
    data = opened(folders, kind)
    assert len(data) == len(SCENES)
    for item, bars in zip(data, SCENES):
        dark = item["inputs"][0].numpy() < 120
        boxes, _, outlines = instances(item)
        assert len(boxes) == len(outlines) == len(bars)
        corners = RotatedBoxes(boxes).convert_to("qbox").tensor.reshape(-1, 4, 2).numpy()
        for corner, outline, (_, drawn) in zip(corners, outlines, bars):
            mine = filled(drawn)
            assert (dark & mine).sum() == mine.sum()
            assert iou(filled(corner), dark & filled(drawn)) > 0.93
            assert iou(filled(outline), dark & filled(drawn)) > (0.93 if kind in ("dota", "annfiles", "coco") else 0.985)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirrored_or_shifted_reading_would_be_noticed(folders, kind):
    """The threshold above tells the conventions apart: angles of the other sign, and the published labels as they are."""
    data = opened(folders, kind)
    boxes = torch.cat([instances(data[i])[0] for i in range(len(ANGLES))])
    oblique = [i for i, a in enumerate(ANGLES) if 10 < abs(a) < 80]
    for wrong in (boxes * torch.tensor([1.0, 1, 1, 1, -1]), boxes + torch.tensor([0.0, 0, 0, 0, math.radians(8)])):
        corners = RotatedBoxes(wrong).convert_to("qbox").tensor.reshape(-1, 4, 2).numpy()
        assert max(iou(filled(corners[i]), filled(SCENES[i][0][1])) for i in oblique) < 0.9
    corners = RotatedBoxes(boxes - torch.tensor([0.0, 1, 0, 0, 0])).convert_to("qbox").tensor.reshape(-1, 4, 2).numpy()
    flat = ANGLES.index(0)
    assert iou(filled(corners[flat]), filled(SCENES[flat][0][1])) < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_le90(folders, kind):
    for item in opened(folders, kind):
        boxes, labels, _ = instances(item)
        assert boxes.dtype == torch.float32
        assert (boxes[:, 2] >= boxes[:, 3]).all()
        assert ((boxes[:, 4] >= -math.pi / 2 - 1e-6) & (boxes[:, 4] < math.pi / 2)).all()
        assert labels.tolist() == [0] * len(boxes)


def assert_same_labels(a, b, tolerance, outlines=True):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert torch.equal(x["inputs"], y["inputs"])
        (boxes, labels, polygons), (boxes2, labels2, polygons2) = instances(x), instances(y)
        turn = boxes[:, 4] - boxes2[:, 4]
        assert torch.allclose(boxes[:, :4], boxes2[:, :4], atol=tolerance)
        assert (torch.sin(turn).abs() < tolerance).all()
        assert torch.equal(labels, labels2)
        if outlines:
            assert all(torch.allclose(p, q, atol=tolerance) for p, q in zip(polygons, polygons2, strict=True))


def test_exports_of_the_sample_say_what_its_shards_say(tmp_path):
    """Rendered crystals through every exporter and back."""
    source = CrystalDataset(sample_path())
    identity = {"seed": 1, "settings": {}, "profile": {}, "versions": {}}
    with Writer.create_or_resume(tmp_path / "set", count=len(source), shard_size=5, **identity) as writer:
        made = []
        for i, item in enumerate(source):
            file = io.BytesIO()
            Image.fromarray(item["inputs"][0].numpy()).save(file, "PNG", compress_level=1)
            boxes, _, outlines = instances(item)
            boxes[:, 2:4] += 0.01  # labels of the sample are rounded: a hull may reach out of its box by that
            n = len(boxes)
            models = np.zeros(n, np.int32)
            numbers = [np.ones(n, np.float32), models, np.ones(n, np.float32), np.ones((n, 4), np.float32)]
            made.append(Record(i, file.getvalue(), 384, 384, boxes.numpy(), [o.numpy() for o in outlines], *numbers, "{}", 1.0))
        for todo in writer.missing():
            writer.write_shard(todo.index, [made[i] for i in todo.ids])
    rendered = {s: CrystalDataset(tmp_path / "set", s, validation=4) for s in ("train", "validation")}
    assert [len(d) for d in rendered.values()] == [8, 4]
    export.pcs_json(tmp_path / "set", tmp_path / "pcs", validation=4, compress=True)
    export.pcs_json(tmp_path / "set", tmp_path / "high", validation=4, published_labels=True)
    export.dota(tmp_path / "set", tmp_path / "dota", validation=4)
    for split, data in rendered.items():
        assert_same_labels(CrystalDataset(tmp_path / "pcs" / f"{split}.json.gz"), data, 0.002)
        assert_same_labels(CrystalDataset(tmp_path / "high" / f"{split}.json", published_labels=True), data, 0.002)
        read = CrystalDataset(tmp_path / "dota", split)
        assert sum(len(instances(i)[0]) for i in read) == sum(len(instances(i)[0]) for i in data) > 100
        for x, y in zip(read, data):
            (boxes, _, _), (boxes2, _, _) = instances(x), instances(y)
            corners, corners2 = (RotatedBoxes(b).convert_to("qbox").tensor.reshape(-1, 4, 2) for b in (boxes, boxes2))
            assert float(torch.cdist(corners, corners2).amin(2).amax()) < 0.01  # whichever of two sides is called w
            assert x["data_samples"].img_id == y["data_samples"].img_id
    assert len(CrystalDataset(tmp_path / "dota")) == 12


@pytest.mark.parametrize("kind", ["json", "dota", "shards"])
def test_items_are_what_openmmlab_takes(folders, kind):
    data = DATASETS.build({"type": "CrystalDataset", "data": str(folders[kind]), "test_mode": True})
    data.full_init()
    assert data.metainfo["classes"] == ("Crystal",)
    item = data[10]
    sample = item["data_samples"]
    assert item["inputs"].shape == (1, HEIGHT, WIDTH)
    assert item["inputs"].dtype == torch.uint8
    assert sample.ori_shape == sample.img_shape == (HEIGHT, WIDTH)
    assert sample.scale_factor == (1.0, 1.0)
    assert sample.img_id == 10
    if kind == "shards":
        assert sample.img_path == ""
    else:
        assert np.array_equal(np.array(Image.open(sample.img_path)), item["inputs"][0])
    assert isinstance(sample.gt_instances.bboxes, RotatedBoxes)
    assert len(sample.gt_instances[torch.tensor([False, True])].polygons) == 1
    for wrong in (-1, len(SCENES)):
        with pytest.raises(IndexError):
            data[wrong]


def ids(data):
    return [data[i]["data_samples"].img_id for i in range(len(data))]


def test_ids_are_unique_over_several_data_sets(folders, tmp_path):
    n = len(SCENES)
    other = shards(tmp_path / "other", first=1000, seed=2)
    assert ids(CrystalDataset([folders["shards"], other])) == [*range(n), *range(1000, 1000 + n)]
    both = CrystalDataset([folders["json"], other, folders["dota"]])  # two of them count from 0
    assert ids(both) == list(range(3 * n))
    assert_same_labels([both[i] for i in range(n)], [both[i] for i in range(n, 2 * n)], 1e-3)
    assert ids(CrystalDataset([folders["json"], folders["dota"]], indices=[20, 3], labelled_only=True)) == [20, 3]


@pytest.mark.parametrize("kind", ["json", "dota", "shards"])
def test_splits_share_no_image_and_lose_none(folders, kind):
    for validation, count in ((3, 3), (0.25, 3)):
        parts = [ids(opened(folders, kind, split=s, validation=validation)) for s in ("train", "validation")]
        assert sorted(parts[0] + parts[1]) == list(range(len(SCENES)))
        assert len(parts[1]) == count or kind == "shards"
        if kind != "shards":
            assert parts[1] == list(range(len(SCENES)))[-count:]
    assert ids(opened(folders, kind, validation=3)) == list(range(len(SCENES)))
    with pytest.raises(DataError, match="say how many are for validation with --validation N"):
        opened(folders, kind, split="validation", validation=0)
    with pytest.raises(InputError, match="take fewer"):
        opened(folders, kind, split="train", validation=99)
    with pytest.raises(InputError, match="validation is -1"):
        opened(folders, kind, split="train", validation=-1)
    with pytest.raises(InputError, match="split is 'test'"):
        opened(folders, kind, split="test")
    if kind != "shards":
        with pytest.raises(InputError, match="is not split by itself"):
            opened(folders, kind, split="train")
        with pytest.raises(DataError, match="no images left"):
            opened(folders, kind, split="train", validation=len(SCENES))


@pytest.mark.parametrize("kind", ["json", "dota", "shards"])
def test_selections(folders, kind):
    last = len(SCENES) - 1  # has no crystals
    assert ids(opened(folders, kind, labelled_only=True)) == list(range(last))
    assert ids(opened(folders, kind, first=4)) == [0, 1, 2, 3]
    assert ids(opened(folders, kind, first=400)) == list(range(last + 1))
    assert ids(opened(folders, kind, indices=[last, 5, 2])) == [last, 5, 2]
    assert ids(opened(folders, kind, indices=[last, 5, 2], labelled_only=True, first=1)) == [5]
    for options, words in (
        ({"first": 0}, "first is 0"),
        ({"indices": [0, 99]}, "indices holds 99"),
        ({"indices": [-1]}, "indices holds -1"),
        ({"indices": [1, 1]}, "twice"),
        ({"indices": [0.5]}, "whole numbers"),
        ({"min_area": -1}, "min_area is -1"),
    ):
        with pytest.raises(InputError, match=words):
            opened(folders, kind, **options)
    with pytest.raises(DataError, match="no images left"):
        opened(folders, kind, indices=[last], labelled_only=True)


@pytest.mark.parametrize("kind", ["json", "dota"])
def test_small_crystals_can_be_dropped(tmp_path, kind):
    data = CrystalDataset(sample_path())
    areas = torch.cat([instances(i)[0][:, 2:4].prod(1) for i in data])
    limit = float(areas.median())
    path = sample_path() if kind == "json" else tmp_path
    if kind == "dota":
        for name in ("images", "labelTxt"):
            (path / name).mkdir()
        for k, item in enumerate(data):
            Image.fromarray(item["inputs"][0].numpy()).save(path / "images" / f"{k:02d}.png")
            quads = RotatedBoxes(instances(item)[0].double()).convert_to("qbox").tensor
            text = "".join(" ".join(map(str, q)) + " crystal 0\n" for q in quads.tolist())
            (path / "labelTxt" / f"{k:02d}.txt").write_text(text)
    kept = CrystalDataset(path, min_area=limit)
    for item in kept:
        boxes, labels, outlines = instances(item)
        assert len(boxes) == len(labels) == len(outlines)
        assert (boxes[:, 2] * boxes[:, 3] >= limit * 0.999).all()
        for box, outline in zip(boxes, outlines):
            assert float((outline - box[:2]).norm(dim=1).max()) <= float(box[2:4].norm()) / 2 + 0.1
    assert sum(len(instances(i)[0]) for i in kept) == pytest.approx(len(areas) / 2, abs=2)
    largest = torch.stack([instances(i)[0][:, 2:4].prod(1).max() for i in data])
    limit = float(largest.median()) * 1.001
    assert len(CrystalDataset(path, min_area=limit, labelled_only=True)) == int((largest > limit).sum()) < len(data)


def test_small_crystals_of_shards_can_be_dropped(folders):
    limit = SIDES[0] * SIDES[1]
    assert ids(opened(folders, "shards", min_area=limit - 1, labelled_only=True)) == list(range(len(SCENES) - 1))
    assert sum(len(instances(i)[0]) for i in opened(folders, "shards", min_area=limit + 1)) == 0
    with pytest.raises(DataError, match="no images left"):
        opened(folders, "shards", min_area=limit + 1, labelled_only=True)


@pytest.mark.parametrize(("kind", "factor"), [("json", 2), ("shards", 2), ("dota", 3)])
def test_reduced_images_keep_their_labels_in_place(folders, kind, factor):
    whole, small = opened(folders, kind), opened(folders, kind, reduce=factor)
    for before, after in zip(whole, small, strict=True):
        image = before["inputs"][0].numpy()
        assert np.abs(np.asarray(Image.fromarray(image).reduce(factor), int) - after["inputs"][0].numpy()).max() <= 1
        assert after["data_samples"].img_shape == after["data_samples"].ori_shape == tuple(after["inputs"].shape[1:])
        boxes, labels, outlines = instances(after)
        expected = instances(before)[0].clone()
        expected[:, :4] /= factor
        assert torch.allclose(boxes, expected)
        assert len(labels) == len(boxes)
        assert all(torch.allclose(o * factor, p, atol=1e-4) for o, p in zip(outlines, instances(before)[2], strict=True))


def test_least_areas_are_those_of_the_reduced_image():
    whole = [instances(i)[0] for i in CrystalDataset(sample_path(), min_area=4 * 64.0)]
    small = [instances(i)[0] for i in CrystalDataset(sample_path(), min_area=64.0, reduce=2)]
    assert [len(b) for b in whole] == [len(b) for b in small]
    for wrong in (0, 1.5):
        with pytest.raises(InputError, match="reduce is"):
            CrystalDataset(sample_path(), reduce=wrong)


def assert_loaded(data, **options):
    loader = DataLoader(data, batch_size=5, collate_fn=pseudo_collate, **options)
    items = [{"inputs": x, "data_samples": s} for b in loader for x, s in zip(b["inputs"], b["data_samples"], strict=True)]
    assert_same_labels(items, data, 1e-9)
    assert [i["data_samples"].img_id for i in items] == ids(data)


@pytest.mark.parametrize("kind", ["json", "dota", "shards"])
def test_forked_workers_give_the_same_items(folders, kind):
    assert_loaded(opened(folders, kind), num_workers=2, multiprocessing_context="fork")


def test_spawned_workers_give_the_same_items(folders):
    data = CrystalDataset([folders[k] for k in ("json", "dota", "shards")], min_area=1)
    assert_loaded(data, num_workers=1, multiprocessing_context="spawn")


def test_a_runner_builds_its_loader(folders):
    loader = Runner.build_dataloader(
        {
            "batch_size": 4,
            "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "dataset": {"type": "mmrotate.CrystalDataset", "data": str(folders["json"])},
        },
        seed=3,
    )
    seen = [s.img_id for batch in loader for s in batch["data_samples"]]
    assert sorted(seen) == list(range(len(SCENES)))
    assert len(loader.dataset.metainfo["palette"]) == 1


def test_every_category_becomes_a_crystal(tmp_path, folders):
    document = json.loads(gzip.decompress(folders["json"].read_bytes()))
    document["categories"].append({"id": 2, "name": "other"})
    document["annotations"][0]["category_id"] = 2
    (tmp_path / "data.json").write_text(json.dumps(document))
    data = CrystalDataset(tmp_path / "data.json", images=folders["json"].parent / "train")
    assert instances(data[0])[1].tolist() == [0]
    chosen = CrystalDataset(folders["dota"], categories=["none"])
    assert sum(len(instances(i)[0]) for i in chosen) == 0


def test_what_cannot_be_opened_is_described(tmp_path, folders):
    (tmp_path / "some.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "none", "is not there"),
        (tmp_path / "some.txt", "is a file of another kind"),
        (tmp_path / "empty", "is an empty folder"),
        (tmp_path, r"is a folder of empty, some\.txt"),
        (folders["json"].parent, r"is a folder of train, train\.json\.gz"),
    ):
        with pytest.raises(DataError, match=words + ".*name a PCS or COCO JSON.*a folder of pcs-render, or a DOTA folder"):
            CrystalDataset(path)
    with pytest.raises(InputError, match="no data set was given"):
        CrystalDataset([])
    (tmp_path / "bad.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"bad\.json: not valid JSON"):
        CrystalDataset(tmp_path / "bad.json", images=tmp_path)
    (tmp_path / "empty" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="has the format None"):
        CrystalDataset(tmp_path / "empty")


def test_damaged_images_are_named_when_they_are_read(tmp_path):
    path = hand_written(tmp_path / "json", "json")
    data = CrystalDataset(path)
    (path.parent / "train" / "0000000003.png").write_bytes(b"no image")
    assert len(data[2]["data_samples"].gt_instances) == 1
    with pytest.raises(DataError, match=r"0000000003\.png: not a readable image"):
        data[3]
