"""The overlap of oriented boxes as a loss: exact, with exact gradients, on every device."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_augment.boxes import box_corners as corners
from pcs_augment.boxes import le90 as to_le90
from pcs_detect.training.models.losses import OverlapLoss, overlap

boxes = st.tuples(st.floats(0, 60), st.floats(0, 60), st.floats(0.5, 80), st.floats(0.5, 80), st.floats(-7, 7))
nudges = st.sampled_from([0.0, 1e-6, 1e-4, 1e-2, 1.0])


def clipped_area(subject, clip):
    """Area common to two convex polygons (K, 2), clockwise on screen: Sutherland-Hodgman, then the shoelace formula."""
    out = list(subject)
    for p, q in zip(clip, np.roll(clip, -1, 0)):
        inwards = np.array([-(q - p)[1], (q - p)[0]])
        points, out = out, []
        for s, e in zip(points, points[1:] + points[:1]):
            ds, de = (s - p) @ inwards, (e - p) @ inwards
            if ds >= 0:
                out.append(s)
            if (ds >= 0) != (de >= 0):
                out.append(s + (e - s) * ds / (ds - de))
        if not out:
            return 0.0
    x, y = np.array(out).T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def reference(first, second):
    one, two = (corners(torch.tensor([b], dtype=torch.float64))[0].numpy() for b in (first, second))
    shared = clipped_area(one, two)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


@settings(max_examples=300, deadline=None)
@given(first=boxes, second=boxes)
def test_equals_clipping_one_polygon_by_the_other(first, second):
    got = overlap(torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64))
    np.testing.assert_allclose(got.item(), reference(first, second), atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(box=boxes, turn=nudges, move=nudges)
def test_exact_for_nearly_perfect_predictions(box, turn, move):
    other = (box[0] + move, box[1], box[2] + move, box[3], box[4] + turn)
    got = overlap(torch.tensor([box], dtype=torch.float64), torch.tensor([other], dtype=torch.float64))
    np.testing.assert_allclose(got.item(), reference(box, other), atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(box=boxes, quarter=st.integers(-3, 3))
def test_one_for_every_form_of_the_same_box(box, quarter):
    cx, cy, w, h, theta = box
    turned = (cx, cy, *((h, w) if quarter % 2 else (w, h)), theta + quarter * math.pi / 2)
    one, two = torch.tensor([box], dtype=torch.float64), torch.tensor([turned], dtype=torch.float64)
    for a, b in ((one, one), (one, two), (two, to_le90(one))):
        np.testing.assert_allclose(overlap(a, b).item(), 1, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_gradients_are_those_of_the_overlap(seed):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([4.0, 4, 30, 30, 3], dtype=torch.float64)
    first, second = (
        torch.rand(3, 5, generator=generator, dtype=torch.float64) * scale + torch.tensor([20.0, 20, 5, 5, 0]) for _ in range(2)
    )
    assert torch.autograd.gradcheck(overlap, (first.requires_grad_(), second), atol=1e-4, rtol=1e-3)


def test_weights_and_normalisation():
    generator = torch.Generator().manual_seed(0)
    pred, target = (torch.rand(6, 5, generator=generator) * 20 + 5 for _ in range(2))
    weight = torch.tensor([1.0, 0, 2, 0.5, 1, 0])
    each = 1 - overlap(pred, target)
    loss = OverlapLoss(loss_weight=2.0)
    torch.testing.assert_close(loss(pred, target), 2 * each.mean())
    torch.testing.assert_close(loss(pred, target, weight, avg_factor=4.0), 2 * (each * weight).sum() / 4)
    assert loss(pred[:0].requires_grad_(), target[:0], weight[:0], avg_factor=1.0) == 0


def test_descends_to_the_target():
    target = torch.tensor([[20.0, 20, 18, 6, 0.5]])
    box = torch.tensor([[23.0, 18, 12, 9, 0.1]], requires_grad=True)
    optimizer = torch.optim.Adam([box], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        OverlapLoss()(box, target).backward()
        optimizer.step()
    assert overlap(box, target) > 0.95
