"""What is in a target is known by name: places follow the pixels, what is per object goes with its object, the rest stays."""

import numpy as np
import pytest
import torch
from batches import random_images, random_targets

import pcs_augment as pa

STEPS = [pa.Flip, pa.Rotate90]


def shapes(batch, size):
    """Images that show two rectangles each, and targets that say in every way where these are."""
    rng = np.random.default_rng(0)
    images, targets = torch.zeros(batch, 1, size, size), []
    for i in range(batch):
        corners = np.sort(np.stack([rng.permutation(size)[:2] for _ in range(4)]).reshape(2, 2, 2), -1)  # object, axis, ends
        masks, boxes, upright, points = torch.zeros(2, size, size, dtype=torch.bool), [], [], []
        for k, ((x0, x1), (y0, y1)) in enumerate(corners):
            masks[k, y0:y1, x0:x1] = True
            images[i, 0, y0:y1, x0:x1] = (k + 1) / 4
            boxes.append([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0])
            upright.append([x0, y0, x1, y1])
            points.append([[x0, y0, 2], [x1, y1, 1]])
        targets.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32),
                "masks": masks,
                "xyxy": torch.tensor(upright, dtype=torch.float32),
                "keypoints": torch.tensor(points, dtype=torch.float32),
            }
        )
    return images, targets


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", [lambda v: v, lambda v: v.numpy(), lambda v: v.tolist(), list])
def test_masks_keypoints_and_upright_boxes_follow_the_pixels(step, kind):
    images, targets = shapes(12, 9)
    given = [{k: v if k == "boxes" else kind(v) for k, v in t.items()} for t in targets]
    out, new = step(seed=2)(images, given)
    assert not torch.equal(out, images)
    for image, target, source in zip(out[:, 0], new, given):
        masks = torch.stack([torch.as_tensor(m) for m in target["masks"]]).bool()
        assert type(target["masks"]) is type(source["masks"])
        assert torch.equal(masks[1], image == 0.5)
        assert torch.equal(masks[0] & ~masks[1], image == 0.25)
        for mask, box, points, oriented in zip(masks, target["xyxy"], target["keypoints"], target["boxes"]):
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            upright = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
            assert [float(v) for v in box] == upright
            at = torch.as_tensor(points)[:, :2]
            assert sorted({*at.amin(0).tolist(), *at.amax(0).tolist()}) == sorted({float(v) for v in upright})
            assert torch.as_tensor(points)[:, 2].tolist() == [2, 1]
            assert oriented[:2].tolist() == [(upright[0] + upright[2]) / 2, (upright[1] + upright[3]) / 2]


def test_a_batch_of_masks_is_batches_of_one_and_dropped_with_objects():
    images, targets = shapes(6, 8)
    targets[0]["boxes"][0, 2:4] = 0.5  # too small
    pipeline = pa.Pipeline([pa.MinEdge(0.75), pa.Rotate90(), pa.Flip()], seed=4)
    new = pipeline(images, targets, index=range(6))[1]
    for i in range(6):
        (alone,) = pipeline(images[i : i + 1], targets[i : i + 1], index=[i])[1]
        assert len(alone["masks"]) == len(alone["boxes"]) == (1 if i == 0 else 2)
        assert all(torch.equal(alone[k], new[i][k]) for k in alone)


def test_what_belongs_to_the_image_is_left_alone():
    image = torch.rand(1, 1, 64, 64)
    small, large = [9.0, 9, 5, 5, 0], [30.0, 30, 20, 20, 0]
    one = {"boxes": torch.tensor([small]), "image_id": torch.tensor([77]), "index": [3], "file": "a"}
    out = pa.MinEdge(8)(image, [one])[1][0]
    assert len(out["boxes"]) == 0
    assert (out["image_id"].tolist(), out["index"], out["file"]) == ([77], [3], "a")
    two = {"boxes": torch.tensor([small, large]), "orig_size": (480, 640), "size": torch.tensor([64, 64]), "name": "ab"}
    out = pa.MinEdge(8)(image, [two])[1][0]
    assert (len(out["boxes"]), out["orig_size"], out["size"].tolist(), out["name"]) == (1, (480, 640), [64, 64], "ab")


@pytest.mark.parametrize("value", [torch.tensor([4, 5]), np.array([4, 5]), [4, 5], (4, 5)])
def test_other_names_are_asked_for(value):
    image = torch.rand(1, 1, 64, 64)
    target = {"boxes": torch.tensor([[9.0, 9, 5, 5, 0], [30, 30, 20, 20, 0]]), "mine": value}
    with pytest.raises(pa.InputError, match=r"'mine'\].*per_object=\['mine'\] or per_image=\['mine'\]"):
        pa.MinEdge(8)(image, [target])
    steps = [pa.MinEdge(8), pa.Flip()]
    (out,) = pa.Pipeline(steps, per_object=["mine"])(image, [target])[1]
    assert list(out["mine"]) == [5]
    (out,) = pa.Pipeline(steps, per_image=["mine"])(image, [target])[1]
    assert list(out["mine"]) == [4, 5]
    step = pa.MinEdge(8)
    plan = step.draw(image.shape, [{"boxes": target["boxes"]}])
    step.per_object = ("mine",)
    assert len(step.apply(image, [target], plan)[1][0]["mine"]) == 2  # naming keys makes no other step of it
    pipeline = pa.Pipeline([pa.MinEdge(8)], per_object=["mine"])
    assert len(pipeline(image, [target])[1][0]["mine"]) == 1
    assert len(next(iter(pa.AugmentedLoader([(image, [target], [0])], pipeline, "cpu")))[1][0]["mine"]) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"masks": torch.zeros(2, 8, 9)}, r"'masks'\] must be \(N, H, W\) of the images' size, got \(8, 9\)"),
        ({"masks": torch.zeros(1, 8, 8)}, "2 boxes but 1 masks"),
        ({"keypoints": torch.zeros(2, 2)}, r"must be \(N, K, 2\)"),
        ({"xyxy": torch.zeros(2, 5)}, r"must be \(N, 4\)"),
        ({"scores": [1.0]}, "2 boxes but 1 scores"),
        ({"scores": 1.0}, "2 boxes but float scores"),
        ({"keep": [True, False]}, "must be a boolean tensor.*another name"),
        ({"keep": torch.tensor([1, 0])}, "must be a boolean tensor.*got torch.int64"),
        ({"keep": torch.tensor([True])}, "2 boxes but 1 keep"),
    ],
)
def test_what_does_not_fit_is_named(changes, words):
    targets = [random_targets([2], 8, 8)[0] | changes]
    for step in (pa.Flip(), pa.Blur()):
        with pytest.raises(pa.InputError, match=words):
            step(random_images(1, 8, 8), targets)
        with pytest.raises(pa.InputError, match=words):
            step.apply(random_images(1, 8, 8), targets, step.draw((1, 1, 8, 8), random_targets([2], 8, 8)))


@pytest.mark.parametrize("value", ["mine", 3, [4]])
def test_names_must_be_lists_of_strings(value):
    with pytest.raises(pa.InputError, match="per_object must be a list"):
        pa.default_pipeline(per_object=value)
    with pytest.raises(pa.InputError, match="per_image must be a list"):
        pa.Pipeline([], per_image=value)


def test_names_belong_to_one_side():
    with pytest.raises(pa.InputError, match=r"per_image names \['boxes'\]"):
        pa.default_pipeline(per_image=["boxes"])
    with pytest.raises(pa.InputError, match=r"per_object names \['a'\]"):
        pa.default_pipeline(per_object=["a"], per_image=["a"])


@pytest.mark.parametrize("step", [pa.RandomCrop(8), pa.DropEdge()])
def test_steps_that_cut_objects_refuse_what_they_cannot_cut(step):
    images, targets = shapes(4, 12)
    with pytest.raises(pa.InputError, match=rf"{type(step).__name__} cuts boxes and polygons, not targets\[0\]\['masks'\]"):
        step(images, targets)


@pytest.mark.parametrize("pipeline", [pa.Blur(), pa.Flip(), pa.Rotate90(), pa.RandomCrop(16)])
def test_arrays_may_run_backwards_and_types_stay(pipeline):
    images, targets = random_images(4, 16, 16), random_targets([3] * 4, 16, 16)
    arrays = [
        {"boxes": t["boxes"].numpy()[::-1].copy()[::-1], "polygons": [p.numpy()[::-1] for p in t["polygons"]]} for t in targets
    ]
    lists = [{"boxes": t["boxes"].tolist(), "polygons": [p.numpy()[::-1].tolist() for p in t["polygons"]]} for t in targets]
    plain = [{"boxes": t["boxes"], "polygons": [p.flip(0) for p in t["polygons"]]} for t in targets]
    want = pipeline(images, plain, index=range(4))[1]
    for given, kind in ((arrays, np.ndarray), (lists, list)):
        new = pipeline(images, given, index=range(4))[1]
        for a, b in zip(new, want):
            assert type(a["boxes"]) is kind
            np.testing.assert_allclose(np.reshape(a["boxes"], (-1, 5)), b["boxes"], atol=1e-5)
            for p, q in zip(a["polygons"], b["polygons"], strict=True):
                assert isinstance(p, kind) or isinstance(pipeline, pa.RandomCrop)
                np.testing.assert_allclose(p, q, atol=1e-5)


@pytest.mark.parametrize("step", [pa.Blur(), pa.Flip(), pa.MinEdge(1)])
def test_what_comes_out_shares_no_memory_with_what_went_in(step):
    images, targets = random_images(2, 16, 16), random_targets([3, 2], 16, 16)
    before = [{k: [p.clone() for p in v] if k == "polygons" else v for k, v in t.items()} for t in targets]
    before = [{k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in t.items()} for t in before]
    plan = step.draw(images.shape, targets)
    for new in (step(images, targets)[1], step.apply(images, targets, plan)[1], step.eval()(images, targets)[1]):
        for target in new:
            target["labels"] += 1
            target["boxes"] += 1
            for p in target["polygons"]:
                p += 1
    for a, b in zip(targets, before):
        assert torch.equal(a["labels"], b["labels"])
        assert torch.equal(a["boxes"], b["boxes"])
        assert all(torch.equal(p, q) for p, q in zip(a["polygons"], b["polygons"]))
