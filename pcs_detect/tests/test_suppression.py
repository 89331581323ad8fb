"""Suppression and averages against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.boxes import to_le90
from pcs_detect.inference.averages import POWER, SAME
from pcs_detect.inference.decoding import averaged, suppressed
from pcs_detect.inference.suppression import kept_ranks
from pcs_detect.overlaps import rotated_iou


def random_boxes(n, seed, span):
    rng = np.random.default_rng(seed)
    sides = rng.uniform(4, 30, (n, 2))
    return np.concatenate([rng.uniform(0, span, (n, 2)), sides, rng.uniform(-np.pi / 2, np.pi / 2, (n, 1))], 1)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 300), seed=st.integers(0, 999), threshold=st.floats(0.05, 0.9))
def test_the_definition(n, seed, threshold):
    """What is kept does not overlap, and what is not overlaps something better that is kept."""
    boxes = random_boxes(n, seed, 80.0)
    kept = kept_ranks(boxes, threshold)
    overlaps = rotated_iou(boxes, boxes)
    among = overlaps[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among <= threshold).all()
    for rank in set(range(n)) - set(kept.tolist()):
        assert (overlaps[rank, kept[kept < rank]] > threshold).any()


def scored_boxes(n, seed, span=80.0):
    """le90, the best first."""
    scores = np.sort(np.random.default_rng(seed + 1).uniform(0.1, 1, n))[::-1]
    return to_le90(random_boxes(n, seed, span)), scores


def axes(box):
    return tuple(np.array([np.cos(a), np.sin(a)]) for a in (box[4], box[4] + np.pi / 2))


def second_moments(box):
    """The matrix of second moments of a box's area, from its four half axes' outer products."""
    along, across = axes(box)
    return box[2] ** 2 / 12 * np.outer(along, along) + box[3] ** 2 / 12 * np.outer(across, across)


def side_along(box, direction):
    """The side of a box that lies nearer to a direction."""
    return box[2 + int(np.argmax([abs(axis @ direction) for axis in axes(box)]))]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 120), seed=st.integers(0, 999), iou=st.floats(0.05, 0.6))
def test_an_averaged_box_lies_as_its_neighbours_do_with_the_means_of_their_sides(n, seed, iou):
    boxes, scores = scored_boxes(n, seed)
    got, rates = averaged(boxes, scores, iou, 0.2)
    stay, expected = suppressed(boxes, scores, iou)
    np.testing.assert_array_equal(rates, expected[expected >= 0.2])
    assert (got[:, 2] >= got[:, 3]).all()
    for box, first, score in zip(got, stay, rates):
        overlap = rotated_iou(first[None], boxes)[0]
        near = (overlap >= SAME) & (scores >= score / 2)
        weight = (scores * overlap**POWER)[near]
        np.testing.assert_allclose(box[:2], np.average(boxes[near, :2], axis=0, weights=weight), atol=1e-9)
        values, vectors = np.linalg.eigh(np.average([second_moments(b) for b in boxes[near]], axis=0, weights=weight))
        sides = [np.average([side_along(b, v) for b in boxes[near]], weights=weight) for v in vectors.T]
        np.testing.assert_allclose(box[2:4], sorted(sides)[::-1], atol=1e-9)
        if values[1] - values[0] > 1e-6 * values[1]:  # a square has no direction
            assert abs(axes(box)[int(sides[0] > sides[1])] @ vectors[:, 1]) == pytest.approx(1, abs=1e-9)


def test_needles_that_disagree_about_the_direction_stay_thin():
    needles = np.array([[50.0, 50, 60, 6, angle] for angle in (-0.03, 0, 0.03)])
    box = averaged(needles, np.array([0.9, 0.8, 0.7]), 0.3, 0.2)[0][0]
    np.testing.assert_allclose(box[:4], needles[0, :4], atol=1e-9)
    assert -0.03 < box[4] < 0  # nearest to the best


def test_squares_seen_a_quarter_turn_apart_are_one():
    squares = to_le90(np.array([[50.0, 50, 10, 9, 0.2], [50.0, 50, 9, 10, 0.2]]))
    box = averaged(squares, np.array([0.8, 0.8]), 0.3, 0.2)[0][0]
    weight = rotated_iou(squares, squares)[0] ** POWER
    assert box[2] == pytest.approx((10 * weight[0] + 9 * weight[1]) / weight.sum())
    assert box[2] + box[3] == pytest.approx(19)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 120), seed=st.integers(0, 999), score=st.floats(0.2, 0.9))
def test_the_least_score_decides_which_crystals_are_found_and_not_where(n, seed, score):
    boxes, scores = scored_boxes(n, seed)
    every, rates = averaged(boxes, scores, 0.3, 0.2)
    enough = scores >= score / 2
    some, some_rates = averaged(boxes[enough], scores[enough], 0.3, score)
    np.testing.assert_allclose(some, every[rates >= score], atol=1e-9)
    np.testing.assert_array_equal(some_rates, rates[rates >= score])


def test_a_box_alone_stays():
    boxes = np.array([[10.0, 20, 8, 4, 0.3], [50, 20, 9, 9, -0.7]])
    got, _ = averaged(boxes, np.array([0.9, 0.5]), 0.3, 0.1)
    np.testing.assert_allclose(got[0], boxes[0], atol=1e-9)
    np.testing.assert_allclose(got[1, :4], boxes[1, :4], atol=1e-6)  # a square has no direction
