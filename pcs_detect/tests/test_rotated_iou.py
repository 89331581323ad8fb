"""Laws of the overlap of oriented boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from plain_evaluator import shapely_iou, upright_iou

from pcs_detect.overlaps import overlapping_pairs, rotated_iou

sides = st.one_of(st.floats(0.5, 300), st.sampled_from([0.5, 1.0, 5.0, 500.0]))
angles = st.one_of(st.floats(-4, 4), st.sampled_from([0.0, np.pi / 2, -np.pi / 2, np.pi / 4, np.pi]))
places = st.one_of(st.floats(0, 5000), st.integers(0, 5000).map(float))
box = st.tuples(places, places, sides, sides, angles)
near = st.tuples(st.floats(-40, 40), st.floats(-40, 40), sides, sides, angles)


def iou(a, b) -> float:
    return float(rotated_iou([a], [b])[0, 0])


@settings(max_examples=400, deadline=None)
@given(box, near)
@example((100, 100, 8, 4, 0.3), (0, 0, 4, 2, 0.0))  # nested
@example((100, 100, 8, 4, 0.0), (8, 0, 8, 4, 0.0))  # touching sides
@example((100, 100, 8, 8, 0.0), (8, 8, 8, 8, 0.0))  # touching corners
@example((100, 100, 500, 5, 0.7), (0, 0, 500, 5, 0.71))  # thin, nearly parallel
@example((4999, 4999, 0.5, 0.5, 0.1), (0.2, 0.1, 0.5, 0.5, 1.0))  # tiny and far out
@example((2500, 2500, 100, 1, 0.0), (0, 0, 1, 100, 0.0))  # a cross
@example((0, 0, 10, 10, 0.0), (0, 0, 10, 10, np.pi / 4))  # an octagon
def test_overlap_is_that_of_the_polygons(a, offset):
    b = (a[0] + offset[0], a[1] + offset[1], *offset[2:])
    assert iou(a, b) == pytest.approx(shapely_iou(a, b), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(box, near, st.floats(-4, 4), st.tuples(st.floats(-500, 500), st.floats(-500, 500)))
def test_overlap_knows_no_order_place_direction_or_form(a, offset, turn, shift):
    a, b = np.array(a), np.array(offset) + np.array([a[0], a[1], 0, 0, 0])
    expected = iou(a, b)

    def moved(x):
        c, s = np.cos(turn), np.sin(turn)
        return np.array([c * x[0] - s * x[1] + shift[0], s * x[0] + c * x[1] + shift[1], x[2], x[3], x[4] + turn])

    def swapped(x):
        return np.array([x[0], x[1], x[3], x[2], x[4] + np.pi / 2])

    half_turn = np.array([0, 0, 0, 0, np.pi])
    for other in (iou(b, a), iou(moved(a), moved(b)), iou(swapped(a), b), iou(a, swapped(b)), iou(a + half_turn, b)):
        assert other == pytest.approx(expected, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(box)
def test_a_box_overlaps_itself_wholly(a):
    assert iou(a, a) == 1.0
    assert iou(a, (a[0], a[1], a[3], a[2], a[4] - np.pi / 2)) == pytest.approx(1, abs=1e-9)


@given(*[st.integers(1, 12)] * 4, *[st.integers(-8, 8)] * 2)
def test_overlap_of_upright_boxes_on_the_grid_is_exact(w, h, w2, h2, dx, dy):
    a, b = (50 + w / 2, 50 + h / 2, w, h, 0), (50 + dx + w2 / 2, 50 + dy + h2 / 2, w2, h2, 0)
    assert iou(a, b) == upright_iou(a, b)


@pytest.mark.parametrize(("count", "span"), [(700, 2880.0), (700, 60.0)], ids=["sparse", "crowded"])
@pytest.mark.parametrize("at_least", [0.0, 0.5, 0.9])
def test_pairs_are_those_of_the_matrix(count, span, at_least):
    """With enough boxes that they are looked at in several portions."""
    rng = np.random.default_rng(1)
    a = np.column_stack([rng.uniform(0, span, (count, 2)), np.exp(rng.normal(2, 1, (count, 2))), rng.uniform(-4, 4, count)])
    b = np.concatenate([a + rng.normal(0, 0.05, a.shape) * [1, 1, 0, 0, 1], a[: count // 2]])
    i, j, values = overlapping_pairs(a, b, at_least)
    pairs = np.zeros((len(a), len(b)))
    pairs[i, j] = values
    assert len(set(zip(i.tolist(), j.tolist()))) == len(i)
    whole = np.stack([rotated_iou(a[k : k + 1], b)[0] for k in range(len(a))])
    assert_array_equal(pairs, np.where(whole >= at_least, whole, 0))


def test_boxes_without_area_overlap_nothing():
    flat = [(5, 5, 0, 4, 0.3), (5, 5, 0, 0, 0)]
    assert_array_equal(rotated_iou(flat, [*flat, (5, 5, 4, 4, 0)]), np.zeros((2, 3)))
    assert rotated_iou(np.zeros((0, 5)), flat).shape == (0, 2)


@pytest.mark.parametrize("turn", [2.2e-309, 5e-324, 1e-300, 1e-17, -1e-310])
def test_a_turn_too_small_to_matter_does_not(turn):
    assert rotated_iou([[0.0, 0, 1, 1, 0]], [[0.0, 0, 1, 1, turn]])[0, 0] == pytest.approx(1)
    assert rotated_iou([[0.0, 0, 4, 2, turn]], [[1.0, 0, 4, 2, 0]])[0, 0] == pytest.approx(3 / 5)
