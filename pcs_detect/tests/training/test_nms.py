"""Suppression against mmcv's."""

import pytest
import torch
from mmcv.ops import nms_rotated
from mmcv.ops.nms import batched_nms
from test_overlaps import random_boxes

from pcs_detect.training.models.nms import nms_nearby


@pytest.mark.parametrize("n", [1, 63, 64, 65, 700])
def test_equal_to_mmcv(n):
    boxes = random_boxes(n, n, 150.0)
    scores = torch.rand(n, generator=torch.Generator().manual_seed(n))
    expected, indices = nms_rotated(boxes, scores, 0.3)
    got, mine = nms_nearby(boxes, scores, 0.3)
    assert torch.equal(mine, indices)
    torch.testing.assert_close(got, expected)


def test_openmmlab_finds_it_by_name():
    boxes = torch.tensor([[10.0, 10, 8, 4, 0.1], [10.2, 10, 8, 4, 0.1], [40, 40, 8, 4, 0.1]])
    scores = torch.tensor([0.5, 0.9, 0.2])
    found, kept = batched_nms(boxes, scores, torch.zeros(3), dict(type="nms_nearby", iou_threshold=0.3))
    assert kept.tolist() == [1, 2]
    assert found.shape == (2, 6)


def test_no_boxes():
    found, kept = nms_nearby(torch.zeros(0, 5), torch.zeros(0), 0.3, labels=torch.zeros(0))
    assert found.shape == (0, 6)
    assert kept.shape == (0,)


def test_labels_keep_apart():
    boxes = torch.tensor([[10.0, 10, 8, 4, 0.1], [10.0, 10, 8, 4, 0.1]])
    _, kept = nms_nearby(boxes, torch.tensor([0.5, 0.9]), 0.3, labels=torch.tensor([0.0, 1.0]))
    assert sorted(kept.tolist()) == [0, 1]
