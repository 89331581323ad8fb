"""Laws of the evaluator: against a plainly written one and pycocotools, and by itself."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from plain_evaluator import coco_curves, plain_summary, shapely_iou, upright_iou

from pcs_detect.errors import InputError
from pcs_detect.evaluation.average_precision import Evaluator
from pcs_detect.overlaps import rotated_iou


def evaluator(images, cap=None) -> Evaluator:
    result = Evaluator(cap)
    for i, (found, true) in images.items():
        result.add(i, [b for b, _ in found], [s for _, s in found], true)
    return result


def equal(summary, expected):
    assert summary.keys() == expected.keys()
    assert_allclose([summary[k] for k in expected], list(expected.values()), rtol=0, atol=1e-12)


quarters = st.integers(0, 4).map(lambda k: k / 4)  # many ties
grid_side = st.sampled_from([1, 2, 4, 8, 10, 16, 20, 20, 24, 32])  # so that areas of 64 and 576 px^2 occur
grid_box = st.tuples(st.integers(0, 12), st.integers(0, 12), grid_side, grid_side).map(
    lambda b: (b[0] + b[2] / 2, b[1] + b[3] / 2, float(b[2]), float(b[3]), 0.0)
)


@st.composite
def grid_images(draw):
    images = {}
    for i in draw(st.lists(st.integers(0, 9), unique=True, max_size=4)):
        true = draw(st.lists(grid_box, max_size=5))
        copies = st.sampled_from(true) if true else grid_box
        cut = st.tuples(copies, st.sampled_from([0.5, 0.55, 0.6, 0.75, 0.8, 0.9, 0.95]))
        cut = cut.map(lambda x: (x[0][0], x[0][1], max(round(x[0][2] * x[1]), 1.0), *x[0][3:]))  # 19 of 20: at a threshold
        found = draw(st.lists(st.tuples(st.one_of(grid_box, copies, cut), quarters), max_size=8))
        images[i] = (found, true)
    return images


@settings(max_examples=150, deadline=None)
@given(grid_images())
def test_summary_is_that_of_the_plain_evaluator_on_the_grid(images):
    equal(evaluator(images).summary(), plain_summary(images, upright_iou))


def random_images(seed, count=6, crystals=12, ties=False):
    """Crystals of log-normal area, detections scattered around them, some twice, and false ones. float32, as a network's."""
    rng = np.random.default_rng(seed)
    images = {}
    for i in rng.permutation(3 * count)[:count].tolist():
        n = int(rng.integers(0, crystals + 1))
        side = np.exp(rng.normal(2.3, 0.8, (n, 2)))
        true = np.column_stack([rng.uniform(0, 60, (n, 2)), side, rng.uniform(-1.6, 1.6, n)]).astype(np.float32)
        source = rng.integers(0, n, rng.integers(1, 3 * n)) if n else np.zeros(0, int)
        scatter = rng.choice([0.02, 0.1, 0.3], (len(source), 1)) * rng.normal(size=(len(source), 5))
        found = true[source] + scatter * np.column_stack([side[source], side[source], np.ones(len(source))])
        false = np.column_stack([rng.uniform(0, 60, (5, 2)), np.exp(rng.normal(2.3, 0.8, (5, 2))), rng.uniform(-1.6, 1.6, 5)])
        found = np.concatenate([found, false[: rng.integers(0, 6)]]).astype(np.float32)
        found[:, 2:4] = np.abs(found[:, 2:4]) + 0.1
        score = rng.uniform(0, 1, len(found)).astype(np.float32)
        if ties:
            score = np.round(score * 4) / 4
        images[i] = ([(tuple(map(float, b)), float(s)) for b, s in zip(found, score)], [tuple(map(float, b)) for b in true])
    return images


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_summary_is_that_of_the_plain_evaluator_with_polygons(seed, ties):
    images, known = random_images(seed, 3, 6, ties), {}

    def overlap(a, b):
        if (a, b) not in known:
            known[a, b] = shapely_iou(a, b)
        return known[a, b]

    equal(evaluator(images).summary(), plain_summary(images, overlap))


def agrees_with_pycocotools(images, cap=None):
    ours, theirs = evaluator(images, cap).curves(), coco_curves(images, cap or 10**6)
    assert_allclose(np.nan_to_num(ours.precision, nan=-1), theirs.precision, rtol=0, atol=1e-12)
    assert_allclose(np.nan_to_num(ours.recall, nan=-1), theirs.recall, rtol=0, atol=1e-12)
    reached = ours.precision[..., 1:] > 0  # theirs says 0 where no detection gets so far, and begins with the best score
    assert_array_equal(ours.score[..., 1:][reached], theirs.score[..., 1:][reached])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_curves_are_those_of_pycocotools(seed, ties):
    images = random_images(seed, ties=ties)
    assume(any(found or true for found, true in images.values()))
    agrees_with_pycocotools(images)


@settings(max_examples=60, deadline=None)
@given(grid_images())
def test_curves_are_those_of_pycocotools_on_the_grid(images):
    assume(any(found or true for found, true in images.values()))
    agrees_with_pycocotools(images)


def test_of_equal_overlaps_the_last_crystal_is_taken():
    """The first detection lies midway between two crystals, the second one on crystal 1 of them: the choice shows."""
    one, midway, two = ((x, 5.0, 10.0, 10.0, 0.0) for x in (5.0, 6.0, 7.0))
    assert rotated_iou([midway], [one]) == rotated_iou([midway], [two])
    for true, recall75 in (([one, two], 1.0), ([two, one], 0.5)):
        images = {1: ([(midway, 0.75), (one, 0.5)], true)}
        agrees_with_pycocotools(images)
        assert evaluator(images).curves().recall[0, 5] == recall75


def test_more_than_a_hundred_detections_matter():
    """250 crystals in one image, the right detections after 60 false ones: a cap at 100 loses most of them."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.arange(25) * 30.0, np.arange(10) * 30.0)
    true = np.column_stack([x.ravel(), y.ravel(), rng.uniform(5, 28, (250, 2)), rng.uniform(-1.5, 1.5, 250)])
    found = np.concatenate([true + np.array([15, 15, 0, 0, 0]), true])
    score = np.concatenate([np.where(np.arange(250) < 60, 0.95, 0.05), rng.uniform(0.1, 0.9, 250)]).astype(np.float32)
    images = {1: ([(tuple(map(float, b)), float(s)) for b, s in zip(found, score)], [tuple(map(float, b)) for b in true])}
    agrees_with_pycocotools(images)
    agrees_with_pycocotools(images, cap=100)
    free, capped = evaluator(images).summary(), evaluator(images, cap=100).summary()
    assert free["AR"] == 1
    assert capped["AR"] == pytest.approx(40 / 250)
    assert free["AP"] > capped["AP"] + 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.randoms(use_true_random=False))
def test_parts_and_order_of_images_do_not_matter(seed, ties, random):
    images = random_images(seed, ties=ties)
    whole = evaluator(images).curves()
    order = list(images)
    random.shuffle(order)
    cut = random.randint(0, len(order))
    one, two = (evaluator({i: images[i] for i in part}) for part in (order[:cut], order[max(cut - 1, 0) :]))  # one in both
    one.merge(pickle.loads(pickle.dumps(two, protocol=2)))
    for field in ("precision", "score", "recall", "truths"):
        assert_array_equal(getattr(one.curves(), field), getattr(whole, field))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_order_of_detections_does_not_matter(seed, random):
    images = random_images(seed)
    shuffled = {i: (random.sample(found, len(found)), random.sample(true, len(true))) for i, (found, true) in images.items()}
    assert evaluator(shuffled).summary() == pytest.approx(evaluator(images).summary(), abs=0, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_the_truth_itself_is_perfect(seed):
    images = {i: ([(b, 0.5) for b in true], true) for i, (_, true) in random_images(seed).items()}
    curves = evaluator(images).curves()
    for r in np.flatnonzero(curves.truths):
        assert (curves.recall[r] == 1).all()
    summary = curves.summary()
    for name, value in summary.items():
        assert np.isnan(value) or value == pytest.approx(1, abs=1e-12), name
    assert np.isnan(summary["AP"]) == (curves.truths[0] == 0)


def test_size_classes_share_their_borders_and_need_crystals():
    true = [(20, 20, 8, 8, 0.0), (80, 80, 24, 24, 0.0)]
    e = Evaluator()
    e.add(7, true, [0.9, 0.8], true)
    assert e.curves().truths.tolist() == [2, 1, 2, 1]
    lonely = Evaluator()
    lonely.add(7, true[:1], [0.9], [(20, 20, 8, 8.5, 0.0)])
    summary = lonely.summary()
    assert np.isnan([summary["APs"], summary["APl"], summary["ARs"], summary["ARl"]]).all()
    assert summary["APm"] == summary["AP"] == pytest.approx(0.9)  # 8 x 8 in 8 x 8.5 overlaps by 0.94


def test_nothing_found_is_zero_and_nothing_there_is_nan():
    e = Evaluator()
    e.add(0, np.zeros((0, 5)), [], np.zeros((0, 5)))
    assert np.isnan(list(e.summary().values())).all()
    assert np.isnan(list(Evaluator().summary().values())).all()
    e.add(1, [], [], [(20, 20, 30, 30, 0.0)])
    assert e.summary()["AP"] == e.summary()["AR"] == e.summary()["APl"] == 0


def test_misuse_is_named():
    e = Evaluator()
    e.add(3, [], [], [])
    with pytest.raises(InputError, match="image 3"):
        e.add(3, [], [], [])
    with pytest.raises(InputError, match="cap"):
        Evaluator(0)
    with pytest.raises(InputError, match="caps None and 100"):
        e.merge(Evaluator(100))
    with pytest.raises(InputError, match="scores"):
        e.add(4, [(1, 1, 2, 2, 0)], [0.5, 0.5], [])
    with pytest.raises(InputError, match="scores"):
        e.add(4, [(1, 1, 2, 2, 0)], [np.nan], [])


@pytest.mark.parametrize("bad", [[[1, 2, 3, 4]], [[1, 2, -3, 4, 0]], [[1, 2, 3, np.nan, 0]], [1, 2, 3, 4, 5]])
def test_wrong_boxes_are_named(bad):
    with pytest.raises(InputError, match="boxes"):
        Evaluator().add(0, bad, [1.0], np.zeros((0, 5)))
