"""Oriented boxes: angles, corners and the symmetries of the image."""

import numpy as np
import pytest
import torch
from batches import random_targets
from hypothesis import given
from hypothesis import strategies as st

from pcs_augment import boxes as bx

sizes = st.integers(1, 50)


@given(st.floats(-1e4, 1e4))
def test_angles_wrap_into_le90_and_stay_the_same_direction(theta):
    wrapped = bx.wrap_angle(np.array([theta]))[0]
    assert -np.pi / 2 <= wrapped < np.pi / 2
    assert abs(np.sin(wrapped - theta)) < 1e-9


@pytest.mark.parametrize("edge", [np.pi / 2, -np.pi / 2, np.nextafter(-np.pi / 2, -9), 3 * np.pi / 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_upper_end_of_the_range_is_open_in_every_precision(edge, dtype):
    wrapped = bx.wrap_angle(torch.tensor([edge], dtype=dtype))
    assert -np.pi / 2 - 1e-6 <= float(wrapped) < np.pi / 2


@given(st.integers(0, 3), st.integers(0, 2), sizes, sizes, st.integers(0, 99))
def test_corners_of_moved_boxes_are_moved_corners(turns, flip, height, width, seed):
    boxes = random_targets([4], 40, 40, seed)[0]["boxes"].double()
    for kind, matrices in ((turns, bx.quarter_turns), (flip, bx.flips)):
        matrix = torch.from_numpy(matrices(np.full(4, kind), height, width))
        moved = bx.box_corners(bx.move_boxes(boxes, matrix))
        expected = bx.move_points(bx.box_corners(boxes).reshape(-1, 2), matrix.repeat_interleave(4, 0)).reshape(4, 4, 2)
        for got, want in zip(moved, expected):  # a mirror image runs through the corners the other way round
            distance = torch.cdist(got, want)
            assert distance.min(0).values.max() < 1e-5
            assert distance.min(1).values.max() < 1e-5


@given(st.integers(0, 3), sizes, sizes)
def test_points_follow_rot90(turns, height, width):
    if turns % 2:
        width = height
    image = torch.zeros(height, width)
    y, x = height // 3, width // 2
    image[y, x] = 1
    matrix = bx.quarter_turns(np.array([turns]), height, width)
    px, py = bx.move_points(np.array([[x + 0.5, y + 0.5]]), matrix)[0]
    assert torch.rot90(image, turns)[int(py), int(px)] == 1


def test_an_identity_leaves_boxes_bit_for_bit():
    boxes = random_targets([50], 60, 60)[0]["boxes"]
    matrix = torch.from_numpy(bx.flips(np.zeros(50, np.int64), 60, 60)).float()
    assert torch.equal(bx.move_boxes(boxes, matrix), boxes)


@given(st.integers(0, 3), st.integers(0, 2), sizes)
def test_composition_is_one_after_the_other(turns, flip, n):
    points = np.random.default_rng(0).uniform(0, n, (5, 2))
    first, second = bx.quarter_turns(np.array([turns]), n, n), bx.flips(np.array([flip]), n, n)
    both = bx.move_points(points, np.repeat(bx.compose(second, first), 5, 0))
    stepwise = bx.move_points(bx.move_points(points, np.repeat(first, 5, 0)), np.repeat(second, 5, 0))
    assert np.allclose(both, stepwise)


@given(st.integers(0, 300))
def test_minimum_area_box_agrees_with_opencv(seed):
    cv2 = pytest.importorskip("cv2")
    points = np.random.default_rng(seed).normal(size=(12, 2)).astype(np.float32) * [30, 8]
    box = bx.min_area_box(points.astype(np.float64))
    (_, _), (w, h), _ = cv2.minAreaRect(points.astype(np.float32))
    assert box[2] >= box[3]
    assert box[2] * box[3] == pytest.approx(w * h, rel=1e-3)
    c, s = np.cos(box[4]), np.sin(box[4])
    inside = (points - box[:2]) @ np.array([[c, -s], [s, c]])
    assert (np.abs(inside) <= box[2:4] / 2 + 1e-6).all()
