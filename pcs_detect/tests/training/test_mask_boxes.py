"""Masks and outlines to oriented boxes and run lengths."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from pcs_detect.boxes import corners, outline_box
from pcs_detect.errors import InputError
from pcs_detect.training.data.masks import boxes_of_masks, mask_box, rle_of_mask, rle_of_outlines

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda shape: arrays(bool, shape))


def drawn(box, size):
    """(H, W) pixels whose centres lie in an oriented box."""
    cx, cy, w, h, theta = box
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    u = (x - cx) * np.cos(theta) + (y - cy) * np.sin(theta)
    v = (y - cy) * np.cos(theta) - (x - cx) * np.sin(theta)
    return (abs(u) <= w / 2) & (abs(v) <= h / 2)


def depth(box, points):
    """(K,) how far points lie outside a box, negative inside."""
    cx, cy, w, h, theta = box
    x, y = points[:, 0] - cx, points[:, 1] - cy
    u, v = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
    return np.maximum(abs(u) - w / 2, abs(v) - h / 2)


def test_whole_pixels_count():
    mask = np.zeros((20, 30), bool)
    mask[4:7, 10:18] = True
    assert mask_box(mask) == pytest.approx([14, 5.5, 8, 3, 0])
    assert mask_box(mask, (100, 50)) == pytest.approx([114, 55.5, 8, 3, 0])
    assert mask_box(mask.T) == pytest.approx([5.5, 14, 8, 3, -math.pi / 2])
    one = np.zeros((5, 5), bool)
    one[3, 1] = True
    assert mask_box(one)[:4] == pytest.approx([1.5, 3.5, 1, 1])
    assert mask_box(np.zeros((5, 5))) is None
    assert mask_box(np.zeros((0, 5))) is None


def test_a_diagonal_lies_askew():
    box = mask_box(np.eye(10))
    assert box[2:] == pytest.approx([10 * math.sqrt(2), math.sqrt(2), math.pi / 4])


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_the_box_holds_every_pixel_and_touches_the_outermost(mask):
    box = mask_box(mask)
    if not mask.any():
        assert box is None
        return
    y, x = np.nonzero(mask)
    points = np.concatenate([np.stack((x + i, y + j), -1) for i in (0, 1) for j in (0, 1)]).astype(float)
    assert depth(box, points).max() == pytest.approx(0, abs=1e-9)
    assert box[2] >= box[3] >= 1 - 1e-9
    assert -math.pi / 2 <= box[4] < math.pi / 2
    upright = (np.ptp(points[:, 0])) * (np.ptp(points[:, 1]))
    assert box[2] * box[3] <= upright + 1e-6  # of least area


def test_pieces_and_holes():
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = mask[2:5, 12:15] = True
    assert mask_box(mask) == pytest.approx([8.5, 3.5, 13, 3, 0])
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    assert mask_box(ring)[:4] == pytest.approx([4.5, 4.5, 9, 9])


def test_drawn_crystals_come_back():
    """As far as pixels allow: centre within 0.7 px, sides a pixel too long, as their corners stick out."""
    rng = np.random.default_rng(0)
    excess = []
    for _ in range(200):
        w = rng.uniform(10, 64)
        true = np.array([*rng.uniform(48, 52, 2), w, rng.uniform(8, min(w, 40)), rng.uniform(-math.pi / 2, math.pi / 2)])
        box = mask_box(drawn(true, (100, 100)))
        assert np.abs(box[:2] - true[:2]).max() < 0.7
        excess.append(np.sort(box[2:4]) - np.sort(true[2:4]))
    excess = np.array(excess)
    assert excess.min() >= -1
    assert excess.max() < 2
    assert 1 < excess.mean() < 1.25


def test_empty_masks_are_left_out():
    masks = np.zeros((4, 6, 6), bool)
    masks[1, 2, 2:5] = masks[3, 0, 0] = True
    boxes, kept = boxes_of_masks(masks)
    assert kept.tolist() == [1, 3]
    assert boxes[0] == pytest.approx([3.5, 2.5, 3, 1, 0])
    for none in (masks[:1], masks[:0]):
        boxes, kept = boxes_of_masks(none)
        assert boxes.shape == (0, 5)
        assert len(kept) == 0


def test_outlines():
    square = np.array([[1.0, 2], [4, 2], [4, 5], [1, 5]])
    assert outline_box([square])[:4] == pytest.approx([2.5, 3.5, 3, 3])
    assert outline_box([square, square + np.array([7, 0])]) == pytest.approx([6, 3.5, 10, 3, 0])
    turned = [20.0, 30, 16, 5, 0.7]
    assert outline_box(corners([turned])) == pytest.approx(turned)
    for nothing in ([], [np.zeros((0, 2))], [np.ones((3, 2))], [[[0, 0], [1, 1], [2, 2]]], [[[0, 0], [1, np.nan], [2, 2]]]):
        with pytest.raises(InputError, match=r"no box|no area"):
            outline_box(nothing)


@settings(max_examples=200, deadline=None)
@given(MASKS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_run_lengths_hold_the_mask_at_its_place(mask, left, top, right, bottom):
    """Also a mask that fills whole columns of the image, whose runs then meet."""
    height, width = mask.shape
    size = (top + height + bottom, left + width + right)
    whole = np.zeros(size, np.uint8)
    whole[top : top + height, left : left + width] = mask
    rle = rle_of_mask(mask, (left, top), size)
    assert np.array_equal(coco_mask.decode(rle), whole)
    assert rle == coco_mask.encode(np.asfortranarray(whole))


def test_a_mask_beside_the_image_is_refused():
    with pytest.raises(InputError, match="leaves the image"):
        rle_of_mask(np.ones((3, 3)), (3, 0), (5, 5))


def test_outlines_become_run_lengths():
    square = np.array([[2.0, 3], [8, 3], [8, 6], [2, 6]])
    whole = np.zeros((12, 20), np.uint8)
    whole[3:6, 2:8] = whole[3:6, 12:18] = 1
    assert np.array_equal(coco_mask.decode(rle_of_outlines([square, square + np.array([10, 0])], (12, 20))), whole)
