"""Mask R-CNN's own parts: what goes in, what comes out, which configuration builds which detector."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes
from pycocotools import mask as coco_mask
from torch.nn import functional as F

from pcs_detect.boxes import corners
from pcs_detect.errors import InputError
from pcs_detect.training import configs
from pcs_detect.training.data.masks import rle_of_outlines
from pcs_detect.training.engine.train import configured
from pcs_detect.training.models.backbone import IMAGENET, fold_colours
from pcs_detect.training.models.clahe import clahe
from pcs_detect.training.models.mask_head import found_crystals
from pcs_detect.training.models.mask_preprocessor import MaskPreprocessor

MEAN, STD = 132.6, 61.2
BOXES = [[60.0, 40, 48, 16, 0.4], [140, 60, 24, 18, -1.2], [30, 80, 6, 5, 0.0]]


def sample(boxes=BOXES, size=(100, 200), img_id=0):
    """A grey image of ``size`` with labels, as CrystalDataset gives it."""
    meta = {"img_id": img_id, "ori_shape": size, "img_shape": size, "scale_factor": (1.0, 1.0)}
    made = DetDataSample(metainfo=meta)
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)
    outlines = [torch.from_numpy(c).float() for c in corners(tensor.numpy())]
    made.gt_instances = InstanceData(
        bboxes=RotatedBoxes(tensor), labels=torch.zeros(len(tensor), dtype=torch.long), polygons=outlines
    )
    image = torch.randint(0, 256, (1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(img_id))
    return image, made


def batch(*pairs):
    images, samples = zip(*pairs)
    return {"inputs": list(images), "data_samples": list(samples)}


def grey(inputs):
    return inputs * STD + MEAN


def test_images_are_fitted_and_padded_with_black():
    before = sample(), sample(size=(64, 32), img_id=1), sample(size=(96, 96), img_id=2)
    out = MaskPreprocessor(size=96, mean=MEAN, std=STD)(batch(*before), training=True)
    assert out["inputs"].shape == (3, 1, 96, 96)
    shapes = [s.img_shape for s in out["data_samples"]]
    assert shapes == [(48, 96), (96, 48), (96, 96)]
    for image, (height, width), made in zip(grey(out["inputs"]), shapes, out["data_samples"]):
        beyond = torch.cat([image[0, height:].flatten(), image[0, :, width:].flatten()])
        assert beyond.abs().sum() < 1e-2
        assert (made.pad_shape, made.batch_input_shape) == ((96, 96), (96, 96))
    assert out["data_samples"][0].scale_factor == pytest.approx((0.48, 0.48))
    assert out["data_samples"][1].scale_factor == pytest.approx((1.5, 1.5))
    assert torch.allclose(grey(out["inputs"][2]), before[2][0].float(), atol=1e-3)  # of that size already
    small = F.interpolate(before[0][0][None].float(), (48, 96), mode="bilinear", antialias=True)[0]
    assert torch.allclose(grey(out["inputs"][0])[:, :48], small, atol=1e-3)


def test_the_sides_are_multiples_of_the_coarsest_stride():
    out = MaskPreprocessor(size=100, pad_size_divisor=32)(batch(sample()))
    assert out["inputs"].shape == (1, 1, 128, 128)
    assert out["data_samples"][0].img_shape == (50, 100)


def test_clahe_comes_after_the_fitting_and_before_the_padding():
    settings = {"clip_limit": 3.0, "tiles": [4, 4]}
    before = batch(sample(), sample(img_id=3))
    plain, equal = (MaskPreprocessor(size=96, clahe=c)(before)["inputs"] for c in (None, settings))
    fitted = grey(plain)[:, :, :48].round().clamp(0, 255).to(torch.uint8)
    assert torch.allclose(grey(equal)[:, :, :48], clahe(fitted, 3.0, (4, 4)).float(), atol=1e-3)
    assert grey(equal)[:, :, 48:].abs().max() < 1e-3


def test_bytes_and_floats_are_the_same_image():
    image, made = sample()
    first, second = (MaskPreprocessor(size=64, clahe={})(batch((i, made)))["inputs"] for i in (image, image.float() / 255))
    assert torch.allclose(first, second, atol=1e-3)


def test_targets_of_training_are_upright_boxes_and_masks_of_the_fitted_image():
    image, made = sample()
    original = made.gt_instances
    out = MaskPreprocessor(size=100)(batch((image, made)), training=True)["data_samples"][0].gt_instances
    assert made.gt_instances is original  # the sample given stays
    assert len(out.bboxes) == len(out.labels) == len(out.masks) == 3
    for box, polygon, (upright,) in zip(out.bboxes.numpy(), original.polygons, out.masks.masks):
        points = polygon.numpy() / 2
        assert upright.reshape(-1, 2) == pytest.approx(points, abs=1e-4)
        assert box == pytest.approx([*points.min(0), *points.max(0)], abs=1e-4)
    assert (out.masks.height, out.masks.width) == (50, 100)


def test_labels_of_a_test_stay_where_they_are():
    image, made = sample()
    out = MaskPreprocessor(size=64)(batch((image, made)))["data_samples"][0]
    assert torch.equal(out.gt_instances.bboxes.tensor, made.gt_instances.bboxes.tensor)
    assert out.ori_shape == (100, 200)


def test_crystals_that_become_too_small_or_lie_outside_are_no_targets():
    boxes = [*BOXES, [100.0, 50, 3, 0.5, 0.0], [198, 50, 20, 10, 0.0], [230, 50, 20, 10, 0.0]]
    out = MaskPreprocessor(size=100)(batch(sample(boxes)), training=True)["data_samples"][0].gt_instances
    assert len(out.bboxes) == len(out.masks) == 4
    assert out.bboxes[3].tolist() == [94, 22.5, 100, 27.5]  # cut off where the image ends
    none = MaskPreprocessor(size=100)(batch(sample([])), training=True)["data_samples"][0].gt_instances
    assert none.bboxes.shape == (0, 4)
    assert len(none.masks) == 0


def test_noise_moves_masks_with_the_image():
    """A black image with white crystals: after turns and flips, white lies where the targets are."""
    _, made = sample()
    rle = rle_of_outlines([made.gt_instances.polygons[0]], (100, 200))
    image = torch.from_numpy(coco_mask.decode(rle) * 255)[None]
    made.gt_instances = made.gt_instances[:1]
    steps = [{"type": "Rotate90", "p": 1.0}, {"type": "Flip", "p": 1.0}]
    for number in range(6):
        made.set_metainfo({"img_id": number})
        out = MaskPreprocessor(size=200, augment=steps)(batch((image, made)), training=True)
        x0, y0, x1, y1 = out["data_samples"][0].gt_instances.bboxes[0].tolist()
        y, x = np.nonzero(grey(out["inputs"])[0, 0].numpy() > 127)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == pytest.approx([x0, y0, x1, y1], abs=1.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 0}, "size is 0"),
        ({"matched": 0.5}, "matched is 0.5; Mask R-CNN"),
        ({"fringes": "remove"}, "fringes is 'remove'; Mask R-CNN"),
        ({"clahe": {"clip": 2}}, "clip_limit and tiles"),
        ({"clahe": {"clip_limit": -2}}, "clip_limit of CLAHE is -2"),
    ],
)
def test_wrong_settings_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        MaskPreprocessor(**arguments)


def probability(box, upright, cells=28):
    """What an ideal network would say: how much of each cell of the upright box lies in the oriented one."""
    cx, cy, w, h, theta = box
    x0, y0, x1, y1 = upright
    fine = cells * 8
    y, x = np.mgrid[:fine, :fine] + 0.5
    x, y = x0 + x / fine * (x1 - x0) - cx, y0 + y / fine * (y1 - y0) - cy
    inside = (abs(x * np.cos(theta) + y * np.sin(theta)) <= w / 2) & (abs(y * np.cos(theta) - x * np.sin(theta)) <= h / 2)
    return inside.reshape(cells, 8, cells, 8).mean((1, 3))


def found(boxes, scale=1.0, size=(400, 500)):
    outlines = corners(boxes)
    upright = np.concatenate([outlines.min(1), outlines.max(1)], 1)
    logits = np.stack([probability(b, u) for b, u in zip(boxes, upright)])[:, None]
    results = InstanceData(
        bboxes=torch.from_numpy(upright * scale).float(),
        scores=torch.linspace(0.9, 0.5, len(boxes)),
        labels=torch.zeros(len(boxes), dtype=torch.long),
    )
    fitted = tuple(round(n * scale) for n in size)
    meta = {"ori_shape": size, "img_shape": fitted, "scale_factor": (scale, scale)}
    return found_crystals(torch.from_numpy(logits).float(), results, meta)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_oriented_boxes_come_back_from_ideal_masks(scale):
    rng = np.random.default_rng(1)
    w = rng.uniform(20, 90, 60)
    boxes = np.stack(
        [rng.uniform(100, 400, 60), rng.uniform(100, 300, 60), w, w * rng.uniform(0.4, 0.9, 60), rng.uniform(-1.5, 1.5, 60)], 1
    )
    out = found(boxes, scale)
    assert out.bboxes.shape == (60, 5)
    error = out.bboxes.numpy() - boxes
    assert np.abs(error[:, :2]).max() < 1.0
    sides = error[:, 2:4] / w[:, None]  # corners of a crystal are finer than the cells of its mask
    assert np.abs(sides.mean()) < 0.03
    assert np.abs(sides).max() < 0.15
    for rle, box in zip(out.masks, boxes):
        assert rle["size"] == [400, 500]
        assert coco_mask.area(rle) == pytest.approx(box[2] * box[3], rel=0.1)


def test_empty_masks_are_left_out_and_none_is_no_mistake():
    results = InstanceData(
        bboxes=torch.tensor([[10.0, 10, 30, 30], [50, 50, 70, 60], [20, 5, 21, 6]]),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.zeros(3, dtype=torch.long),
    )
    likely = torch.zeros(3, 1, 28, 28)
    likely[1:] = 1
    meta = {"ori_shape": (100, 100), "img_shape": (100, 100), "scale_factor": (1.0, 1.0)}
    out = found_crystals(likely, results, meta)
    assert out.scores.tolist() == pytest.approx([0.8, 0.7])
    assert out.bboxes[0].numpy() == pytest.approx([60, 55, 20, 10, 0], abs=0.6)
    assert out.bboxes[1, :4].numpy() == pytest.approx([20.5, 5.5, 1, 1], abs=0.6)
    nothing = found_crystals(likely[:0], results[:0], meta)
    assert nothing.bboxes.shape == (0, 5)
    assert nothing.masks == []


@pytest.fixture(scope="module", params=["mask_rcnn_tiny", "mask_rcnn_r101", "mask_rcnn_r101_clahe"])
def built(request):
    cfg = configs.load(request.param)
    init_default_scope(cfg.default_scope)
    return request.param, cfg, MODELS.build(cfg.model)


def test_configurations_build_the_paper_s_detector(built):
    """Three shapes of anchors at each place, sides a factor of two apart, strides of the pyramid, one class."""
    name, cfg, model = built
    generator = model.rpn_head.prior_generator
    with torch.no_grad():
        features = model.extract_feat(torch.zeros(1, 1, 128, 128))
    assert [(128 / f.shape[-1],) * 2 for f in features] == list(generator.strides) == [(4.0 * 2**k,) * 2 for k in range(5)]
    for k, anchors in enumerate(generator.base_anchors):
        w, h = (anchors[:, 2:] - anchors[:, :2]).T
        assert (h / w).tolist() == pytest.approx([0.5, 1.0, 2.0])
        side = {"mask_rcnn_tiny": 8}.get(name, 32) * 2**k
        assert (w * h).sqrt().tolist() == pytest.approx([side] * 3)
    assert model.roi_head.bbox_head.num_classes == model.roi_head.mask_head.num_classes == 1
    assert model.data_preprocessor.size == {"mask_rcnn_tiny": 256}.get(name, 512)
    assert (model.data_preprocessor.clahe is not None) == name.endswith("clahe")
    assert (model.data_preprocessor.mean, model.data_preprocessor.std) == tuple(model.backbone.grey)
    if name != "mask_rcnn_tiny":
        assert len(model.backbone.layer3) == 23  # what makes it ResNet-101
        assert all("mask_rcnn_r101_fpn" in place for place in (cfg.load_from, cfg.model.backbone.init_cfg.checkpoint))
    assert model.test_cfg.rcnn.max_per_img > 100


def test_weights_of_coco_fit_all_but_the_last_layers():
    """Three colours and 80 classes, as a COCO checkpoint has them."""
    cfg = configs.load("mask_rcnn_tiny")
    init_default_scope(cfg.default_scope)
    ours = MODELS.build(cfg.model)
    cfg.model.backbone.in_channels = 3
    cfg.model.roi_head.bbox_head.num_classes = cfg.model.roi_head.mask_head.num_classes = 80
    theirs = MODELS.build(cfg.model).state_dict()
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    load_state_dict(ours, {k: v.clone() for k, v in theirs.items()}, strict=False)
    folded, _ = fold_colours(theirs["backbone.conv1.weight"], *IMAGENET, (MEAN, STD))
    last = ("roi_head.bbox_head.fc_cls", "roi_head.bbox_head.fc_reg", "roi_head.mask_head.conv_logits")
    for key, value in ours.state_dict().items():
        expected = before[key] if key.startswith(last) else theirs[key]
        assert torch.equal(value, folded if key == "backbone.conv1.weight" else expected), key


def test_without_weights_all_of_it_learns():
    cfg = configured("mask_rcnn_r101_clahe", random_init=True)
    assert cfg.load_from is None
    assert "init_cfg" not in cfg.model.backbone
    assert (cfg.model.backbone.frozen_stages, cfg.model.backbone.norm_eval) == (-1, False)


@pytest.mark.parametrize("count", [3, 0])
def test_a_training_step_reaches_every_part_and_a_prediction_is_oriented(count):
    cfg = configs.load("mask_rcnn_tiny", {"model.data_preprocessor.size": 96})
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    data = batch(sample(BOXES[:count]), sample(BOXES[:count], img_id=1))
    given = model.data_preprocessor(data, training=True)
    loss, parts = model.parse_losses(model.train().loss(given["inputs"], given["data_samples"]))
    loss.backward()
    assert {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"} <= set(parts)
    assert torch.isfinite(loss)
    for part in (model.backbone, model.neck, model.rpn_head, model.roi_head.bbox_head):
        gradients = [p.grad for p in part.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
        assert sum(g.abs().sum() for g in gradients) > 0
    mask = sum(p.grad.abs().sum() for p in model.roi_head.mask_head.parameters() if p.grad is not None)
    assert (mask > 0) == (count > 0)

    model.eval()
    model.test_cfg.rcnn.score_thr = 0.0
    results = model.test_step(data)
    for result in results:
        instances = result.pred_instances
        number = len(instances.scores)
        assert instances.bboxes.shape == (number, 5)
        assert len(instances.masks) == number
        assert (instances.bboxes[:, 2] >= instances.bboxes[:, 3]).all()
        assert (instances.bboxes[:, 4].abs() <= math.pi / 2).all()
        for rle in instances.masks:
            assert rle["size"] == [100, 200]
