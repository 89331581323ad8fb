"""What a GPU does must be what a CPU does. Run by ``nox -s gpu_detect``."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmrotate.registry import MODELS
from test_export import write_random_weights
from test_overlaps import random_boxes
from test_preprocessor import batch, sample

from pcs_detect.inference.detector import Detector
from pcs_detect.training import configs
from pcs_detect.training.models.align import CrystalAlignConv
from pcs_detect.training.models.clahe import clahe
from pcs_detect.training.models.overlaps import NearbyRotatedOverlaps
from pcs_detect.training.models.preprocessor import CrystalPreprocessor

pytestmark = pytest.mark.gpu


def test_overlaps():
    a, b = random_boxes(300, 1), random_boxes(60, 2)
    calculate = NearbyRotatedOverlaps()
    torch.testing.assert_close(calculate(a.cuda(), b.cuda()).cpu(), calculate(a, b), atol=1e-4, rtol=1e-3)


def test_alignment_convolution():
    torch.manual_seed(0)
    layer = CrystalAlignConv(16, 3, strides=[4])
    features, anchors = [torch.randn(2, 16, 24, 20)], [[random_boxes(480, s, 90.0)] for s in (3, 4)]
    (expected,) = layer(features, anchors)
    (got,) = layer.cuda()([f.cuda() for f in features], [[a.cuda() for a in one] for one in anchors])
    torch.testing.assert_close(got.cpu(), expected, atol=1e-3, rtol=1e-3)


def test_noise_is_made_on_the_device_and_targets_follow():
    MessageHub.get_current_instance().update_info("epoch", 3)
    noise = [dict(s) for s in configs.load("s2anet_tiny").model.data_preprocessor.augment]
    samples = [sample(i, 64, 96) for i in range(4)]
    here = CrystalPreprocessor(augment=noise)(batch(*samples), training=True)
    there = CrystalPreprocessor(augment=noise).cuda()(batch(*samples), training=True)
    assert there["inputs"].is_cuda
    off = (there["inputs"].cpu() - here["inputs"]).abs() * 61.2
    assert (off <= 0.5).float().mean() >= 0.9999
    for a, b in zip(here["data_samples"], there["data_samples"]):
        assert b.gt_instances.bboxes.device.type == "cuda"
        torch.testing.assert_close(b.gt_instances.bboxes.tensor.cpu(), a.gt_instances.bboxes.tensor, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["s2anet_tiny", "rtmdet_r_tiny", "oriented_rcnn_r50", "mask_rcnn_tiny"])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_training_step(name, mixed):
    init_default_scope("mmrotate")
    torch.manual_seed(0)
    cfg = configs.load(name)
    cfg.model.backbone.pop("init_cfg", None)
    model = MODELS.build(ConfigDict(cfg.model)).cuda().train()
    data = model.data_preprocessor(batch(*(sample(i, 128, 128) for i in range(2))), True)
    with torch.autocast("cuda", dtype=torch.float16, enabled=mixed):
        losses = model(**data, mode="loss")
    total = sum(sum(v) if isinstance(v, list) else v for k, v in losses.items() if "loss" in k)
    assert torch.isfinite(total)
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    with torch.no_grad():
        found = model.eval()(**model.data_preprocessor(batch(sample(5, 96, 128)), False), mode="predict")
    assert found[0].pred_instances.bboxes.device.type == "cuda"


def test_clahe():
    images = torch.randint(0, 256, (3, 1, 97, 130), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    off = (clahe(images.cuda(), 2.0, (8, 8)).cpu().int() - clahe(images, 2.0, (8, 8)).int()).abs()
    assert off.max() <= 1
    assert (off > 0).float().mean() < 1e-3


@pytest.mark.parametrize("amp", [False, True])
def test_detectors_find_the_same(tmp_path, amp):
    write_random_weights("s2anet_tiny_c3", tmp_path / "tiny.pth")
    photograph = torch.randint(0, 256, (200, 300), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    here = Detector(tmp_path / "tiny.pth", "cpu", score=0.3, tile=128, overlap=32).predict(photograph)
    there = Detector(tmp_path / "tiny.pth", "cuda", score=0.3, tile=128, overlap=32, batch_size=4, amp=amp).predict(photograph)
    assert len(here) > 20
    assert len(there) == pytest.approx(len(here), rel=0.1 if amp else 0.02)
    assert there.score.mean() == pytest.approx(here.score.mean(), abs=0.02 if amp else 1e-3)
