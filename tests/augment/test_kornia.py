"""In kornia's clothes every step gives the native pixels, replays from ``params``, and moves whatever lies on the image."""

import copy
import pickle
import subprocess
import sys

import kornia.augmentation as K
import pytest
import torch

import pcs_augment as pa
from pcs_augment.boxes import box_corners
from pcs_augment.errors import InputError
from pcs_augment.interop.kornia import set_batch, wrap, wrap_pipeline

IMAGE_STEPS = [
    pa.Highlight(fill=0.5, outline=0.7, seed=1),
    pa.Splines(seed=2),
    pa.Displace(seed=3),
    pa.GaussianNoise(p=0.5, seed=2**64 - 1),
    pa.ImpulseNoise(seed=4),
    pa.Brightness(seed=5),
    pa.Contrast(seed=6),
    pa.InterferenceLayer(p=0.5, seed=7),
    pa.PerlinLayer(seed=8),
    pa.Overlay(seed=9),
    pa.Blur(seed=10),
]
MOVING_STEPS = [pa.Rotate90(seed=11), pa.Rotate90(p=0.5, seed=15), pa.Flip(seed=13), pa.Flip(p=0.5, seed=14)]
IMAGE_SIZES = [(24, 24), (17, 30)]
INDEX = [7, 2**40, 0, 3, 11, 6]


def name(value):
    return type(value).__name__


def batch(size=(24, 24), channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(6, channels, *size, generator=generator)
    targets = []
    for n in (3, 0, 1, 5, 2, 4):
        spread = torch.tensor([size[1], size[0], 9.0, 4.0, 3.0])
        boxes = torch.rand(n, 5, generator=generator) * spread + torch.tensor([0, 0, 6.0, 1.0, -1.5])
        polygons = [c[torch.arange(3 + i % 2)] for i, c in enumerate(box_corners(boxes))]
        targets.append({"boxes": boxes, "labels": torch.ones(n), "polygons": polygons})
    return images, targets


@pytest.mark.parametrize("size", IMAGE_SIZES, ids=str)
@pytest.mark.parametrize("step", IMAGE_STEPS + MOVING_STEPS, ids=name)
def test_pixels_are_those_of_the_native_call(step, size):
    images, targets = batch(size, channels=2)
    before = images.clone()
    alone = wrap(step, outlines=targets if step.looks_at_objects else None)
    alone.set_samples(INDEX, epoch=3)
    expected, _ = step(images, targets, index=INDEX, epoch=3)
    out = K.AugmentationSequential(alone, data_keys=["input"])(images)
    assert torch.equal(out, expected)
    assert out.dtype == torch.float32
    assert torch.equal(images, before)
    assert not torch.equal(out, images)


@pytest.mark.parametrize("size", IMAGE_SIZES, ids=str)
@pytest.mark.parametrize("min_edge", [0, 3.0])
def test_the_whole_pipeline_equals_the_native_one(size, min_edge):
    images, targets = batch(size)
    pipeline = pa.default_pipeline(seed=3, min_edge=min_edge)
    augment = K.AugmentationSequential(*wrap_pipeline(pipeline), data_keys=["input"])
    assert torch.equal(augment(images), pipeline(images, index=range(len(images))))
    set_batch(augment, index=INDEX, epoch=5, outlines=targets)
    expected = pipeline(images, targets, index=INDEX, epoch=5)[0]
    assert torch.equal(augment(images), expected)
    assert not torch.equal(pipeline(images, index=INDEX, epoch=5), expected)


@pytest.mark.parametrize("step", IMAGE_STEPS + MOVING_STEPS, ids=name)
def test_params_replay(step):
    images, targets = batch()
    augment = K.AugmentationSequential(wrap(step, seed=21), K.RandomHorizontalFlip(), data_keys=["input", "mask"])
    set_batch(augment, index=INDEX, epoch=1, outlines=targets)
    mask = torch.rand(6, 1, 24, 24)
    first = augment(images, mask)
    params = copy.deepcopy(augment._params)
    assert params[0].data["index"].tolist() == INDEX
    assert params[0].data["seed"].tolist() == [21] * 6
    set_batch(augment, index=range(6), epoch=9, outlines=None)
    assert not torch.equal(augment(images, mask)[0], first[0])
    again = pickle.loads(pickle.dumps(augment))(images, mask, params=params)
    assert torch.equal(again[0], first[0])
    assert torch.equal(again[1], first[1])
    with pytest.raises(InputError, match="drawn for 6 images, got 2"):
        wrap(step)(images[:2], params=params[0].data)


def test_outlines_alone_stand_for_their_minimum_area_boxes():
    images, targets = batch()
    boxes = [dict(t, polygons=list(box_corners(t["boxes"]))) for t in targets]
    step = pa.Highlight(fill=1.0, second=0.0, seed=1)
    expected = step(images, targets=boxes, index=range(len(images)))[0]
    for form in (boxes, [t["polygons"] for t in boxes], [{"polygons": t["polygons"]} for t in boxes]):
        assert torch.equal(wrap(step, outlines=form)(images), expected)
    assert torch.equal(wrap(step, outlines=[{"boxes": t["boxes"]} for t in targets])(images), expected)
    assert torch.equal(wrap(step)(images), images)


@pytest.mark.parametrize("pixel_edges", [False, True])
@pytest.mark.parametrize("size", IMAGE_SIZES, ids=str)
@pytest.mark.parametrize("step", MOVING_STEPS, ids=name)
def test_everything_follows_the_pixels(step, size, pixel_edges):
    y, x, far_y, far_x = 3, 5, 6, 12  # the box covers pixels y .. far_y, x .. far_x
    images = torch.zeros(48, 1, *size)
    images[:, :, y : far_y + 1, x : far_x + 1] = 0.5
    images[:, :, y, x] = 1
    masks = (images * 200).round()
    half = 0.5 if pixel_edges else 0.0
    edge = 1 if pixel_edges else 0  # how far the last covered pixel's coordinate lies before the box's end
    points = torch.tensor([[x + half, y + half]]).expand(48, 1, 2)
    ends = torch.tensor([[x, y], [far_x + edge, y], [far_x + edge, far_y + edge], [x, far_y + edge]], dtype=torch.float)
    corners = ends.expand(48, 1, 4, 2)
    xyxy = torch.cat((corners[:, :, 0], corners[:, :, 2]), -1)
    xywh = torch.tensor([[x, y, far_x + 1 - x, far_y + 1 - y]], dtype=torch.float).expand(48, 1, 4)
    keys = ["input", "mask", "keypoints", "bbox", "bbox_xyxy", "bbox_xywh"]
    wrapped = wrap(step, pixel_edges=pixel_edges)
    augment = K.AugmentationSequential(wrapped, data_keys=keys)
    given = (images, masks, points, corners, xyxy, xywh)
    moved = augment(*given)
    assert torch.equal(moved[0], step(images, index=range(len(images))))
    assert torch.equal(moved[1], (moved[0] * 200).round())
    matrix = wrapped.transform_matrix
    seen = set()
    for i in range(48):
        seen.add(tuple(matrix[i].flatten().tolist()))
        at = (moved[0][i, 0] == 1).nonzero()[0].flip(0)
        assert torch.equal(moved[2][i, 0], at + half)
        covered = (moved[0][i, 0] > 0).nonzero().flip(1)
        low, high = covered.amin(0), covered.amax(0)
        assert torch.equal(moved[3][i, 0].amin(0), low.float())
        assert torch.equal(moved[3][i, 0].amax(0), high.float() + edge)
        assert moved[4][i, 0].tolist() == [*low.tolist(), *(high + edge).tolist()]
        assert moved[5][i, 0].tolist() == [*low.tolist(), *(high + 1 - low).tolist()]
    assert len(seen) == len(step._kinds((48, 1, *size)))
    for back, original in zip(augment.inverse(*moved), given):
        assert torch.equal(back, original)


def test_steps_compose_with_kornias_own():
    images, _ = batch()
    points = torch.rand(6, 4, 2) * 23
    flip = K.RandomHorizontalFlip(p=1.0)
    noise, turn = pa.GaussianNoise(seed=4), pa.Rotate90(seed=5)
    augment = K.AugmentationSequential(wrap(noise), flip, wrap(turn), data_keys=["input", "mask", "keypoints"])
    out, mask, moved = augment(images, images, points)
    rows = range(len(images))
    assert torch.equal(out, turn(noise(images, index=rows).flip(3), index=rows))
    assert torch.equal(mask, turn(images.flip(3), index=rows))
    back = augment.inverse(out, mask, moved)
    assert torch.equal(back[1], images)
    assert torch.allclose(back[2], points, atol=1e-5)
    warp = K.AugmentationSequential(K.RandomAffine(30, p=1.0), wrap(noise), data_keys=["input"])
    assert warp(torch.ones(6, 1, 24, 24)).max() <= 1


def test_a_list_of_masks_and_kornias_options():
    images, _ = batch()
    step = pa.Flip(seed=2)
    masks = [torch.rand(1 + i % 2, 24, 24) for i in range(6)]
    augment = K.AugmentationSequential(wrap(step), data_keys=["input", "mask"])
    if hasattr(K.container.ops.MaskSequentialOps, "_sample_params"):  # earlier kornia applied the whole batch to each mask
        _, moved = augment(images, masks)
        for i, (mask, out) in enumerate(zip(masks, moved)):
            assert torch.equal(out.reshape(mask.shape), step(mask[None], index=[i])[0])
    alike = K.AugmentationSequential(wrap(pa.GaussianNoise()), same_on_batch=True)(torch.full((3, 1, 8, 8), 0.5))
    assert torch.equal(alike, alike[:1].expand_as(alike))
    assert wrap(step, keepdim=True)(images[0]).shape == (1, 24, 24)
    assert wrap(step)(images[0]).shape == (1, 1, 24, 24)
    assert wrap(pa.Blur())(images.double()).dtype == torch.float64
    assert torch.equal(wrap(pa.Blur())(images.half()), pa.Blur()(images.half()))
    assert wrap(pa.Blur())(images[:0]).shape == images[:0].shape
    assert torch.equal(augment.to(torch.float32)(images, images)[1], step(images, index=range(len(images))))


def test_errors_say_what_to_do():
    images, targets = batch()
    for step in (pa.MinEdge(), pa.KeepDetectable()):
        with pytest.raises(InputError, match=f"{name(step)} removes objects"):
            wrap(step)
    for call, message in [
        (lambda: wrap(pa.default_pipeline()), "wrap_pipeline"),
        (lambda: wrap(pa.Blur(), outlines=targets), "takes no outlines"),
        (lambda: wrap(pa.Flip(), outlines=targets), "takes no outlines"),
        (lambda: wrap(pa.Blur(), position=-1), "position"),
        (lambda: wrap(pa.Highlight(), outlines=[5]), r"outlines\[0\]"),
        (lambda: wrap(pa.Highlight(), outlines=targets)(images[:2]), "set for 6 images, got 2"),
        (lambda: wrap_pipeline(pa.Pipeline([pa.Flip(), pa.Highlight()])), "before Rotate90 and Flip"),
        (lambda: wrap(pa.Blur()).set_samples([1, -1]), "index"),
        (lambda: set_batch([wrap(pa.Blur())], epoch=-1), "epoch"),
        (lambda: wrap(pa.Blur())(images * 255), "image values span"),
    ]:
        with pytest.raises(InputError, match=message):
            call()


def test_a_smaller_last_batch_asks_for_its_own_index():
    images, _ = batch()
    for step in (pa.Blur(), pa.Flip()):
        augment = K.AugmentationSequential(wrap(step), data_keys=["input"])
        set_batch(augment, index=INDEX)
        augment(images)
        with pytest.raises(InputError, match=r"6 samples were named for a batch of 2; call set_batch .*smaller last one"):
            augment(images[:2])
        set_batch(augment, index=INDEX[:2])
        assert torch.equal(augment(images[:2]), step(images[:2], index=INDEX[:2]))


def test_gradients_that_would_be_lost_are_refused_and_others_flow():
    images = batch()[0].requires_grad_()
    for step in (pa.Blur(), pa.GaussianNoise()):
        with pytest.raises(InputError, match=r"images.detach\(\)"):
            wrap(step)(images)
        with torch.no_grad():
            assert torch.equal(wrap(step)(images), step(images.detach(), index=range(6)))
    wrap(pa.Flip(seed=13))(images).sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))


def test_rounded_white_is_clamped_and_more_is_refused():
    images = batch()[0]
    plain = wrap(pa.Blur())(images.clone().fill_(1.0))
    assert torch.equal(wrap(pa.Blur())(images.clone().fill_(1.0000002)), plain)
    with pytest.raises(InputError, match="image values span"):
        wrap(pa.Blur())(images.clone().fill_(1.02))


def test_the_package_does_not_import_kornia():
    code = "import sys, pcs_augment, pcs_augment.interop; assert not any(m.startswith('kornia') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
