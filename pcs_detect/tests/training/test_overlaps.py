"""The overlaps that assign anchors, against mmrotate's calculator."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import get_box_tensor
from mmrotate.structures.bbox import RotatedBoxes, rbbox_overlaps

from pcs_augment.boxes import box_corners as corners
from pcs_augment.boxes import le90 as to_le90
from pcs_detect.training.models.overlaps import NearbyRotatedOverlaps


def random_boxes(n: int, seed: int, extent: float = 200.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(n, 5, generator=g)
    return torch.stack(
        [u[:, 0] * extent, u[:, 1] * extent, 2 + 60 * u[:, 2] ** 2, 2 + 60 * u[:, 3] ** 2, (u[:, 4] - 0.5) * 12], 1
    )


@settings(max_examples=40, deadline=None)
@given(m=st.integers(0, 80), n=st.integers(0, 30), seed=st.integers(0, 999))
def test_equal_to_mmrotate(m, n, seed):
    a, b = random_boxes(m, seed), random_boxes(n, seed + 1)
    calculate = NearbyRotatedOverlaps()
    got = calculate(RotatedBoxes(a), RotatedBoxes(b))
    assert got.shape == (m, n)
    assert got.dtype == a.dtype
    torch.testing.assert_close(got, rbbox_overlaps(a, b), atol=1e-4, rtol=1e-3)
    k = min(m, n)
    torch.testing.assert_close(calculate(a[:k], b[:k], is_aligned=True).flatten(), got[:k, :k].diagonal(), atol=1e-4, rtol=1e-3)
    assert calculate(a, b, mode="iof").shape == (m, n)


def test_grid_of_anchors():
    """Anchors on a grid against crystals, as the assigner asks: nothing near is lost."""
    y, x = torch.meshgrid(torch.arange(0, 128, 4.0), torch.arange(0, 128, 4.0), indexing="ij")
    ones = torch.ones(x.numel())
    anchors = torch.stack([x.flatten(), y.flatten(), 8 * ones, 8 * ones, 0 * ones], 1)
    truth = random_boxes(50, 3, 128)
    got = NearbyRotatedOverlaps()(anchors, truth)
    torch.testing.assert_close(got, rbbox_overlaps(anchors, truth), atol=1e-4, rtol=1e-3)
    assert (got > 0).any(0).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999))
def test_le90_is_the_same_box_in_its_range(seed):
    boxes = random_boxes(20, seed)
    out = to_le90(boxes)
    assert (out[:, 2] >= out[:, 3]).all()
    assert (out[:, 4] >= -torch.pi / 2).all()
    assert (out[:, 4] < torch.pi / 2).all()
    before, after = (corners(b.double()) for b in (boxes, out))
    nearest = (before[:, :, None] - after[:, None]).norm(dim=-1).amin(-1)
    assert nearest.max() < 1e-3
    torch.testing.assert_close(to_le90(out), out)


def test_le90_next_to_its_ends():
    quarter = torch.tensor(torch.pi / 2, dtype=torch.float32)
    for theta in (quarter, -quarter, torch.nextafter(-quarter, torch.tensor(-9.0)), torch.tensor(3 * torch.pi / 2)):
        out = to_le90(torch.tensor([[0, 0, 4, 2, float(theta)]]))
        assert -torch.pi / 2 - 1e-6 <= out[0, 4] < torch.pi / 2


def test_corners_are_mmrotates():
    boxes = random_boxes(30, 1)
    theirs = get_box_tensor(RotatedBoxes(boxes).convert_to("qbox")).view(-1, 4, 2)
    mine = corners(boxes)
    assert (theirs[:, :, None] - mine[:, None]).norm(dim=-1).amin(-1).max() < 1e-3
