"""Several scales, borders, decoding: what holds for every network."""

import math

import numpy as np
import pytest
from fixed_network import FixedNetwork
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect import Detector
from pcs_detect.boxes import corners, to_le90
from pcs_detect.errors import InputError
from pcs_detect.inference.decoding import decoded, places
from pcs_detect.inference.framing import framed
from pcs_detect.inference.look import Look
from pcs_detect.inference.scales import joined
from pcs_detect.inference.tiling import Found
from pcs_detect.overlaps import rotated_iou

SCALES = Look(score=0.05, scales=(1, 0.5, 0.25), least=12, most=64)


def picture(size, boxes, ground=60, light=230):
    """Grey pixels with upright boxes (x0, y0, x1, y1)."""
    grey = np.full(size, ground, np.uint8)
    for x0, y0, x1, y1 in boxes:
        grey[y0:y1, x0:x1] = light
    return grey


class Counting(FixedNetwork):
    """Keeps the sizes of the images that it was shown."""

    def __init__(self, **changes):
        super().__init__(**changes)
        self.shown = []

    def find(self, images):
        self.shown += [image.shape for image in images]
        return super().find(images)


def test_a_crystal_seen_at_several_scales_is_one_and_has_its_size():
    boxes = [(40, 40, 60, 52), (200, 60, 250, 90), (60, 200, 210, 260), (300, 180, 480, 380)]
    found = Detector(FixedNetwork(look=SCALES)).predict(picture((420, 520), boxes))
    assert len(found) == len(boxes)
    by_size = found.sort_values("width_px")
    for row, (x0, y0, x1, y1) in zip(by_size.itertuples(), sorted(boxes, key=lambda b: max(b[2] - b[0], b[3] - b[1]))):
        expected = sorted((x1 - x0, y1 - y0))
        assert (row.height_px, row.width_px) == pytest.approx(expected, abs=8)
        assert (row.x_px, row.y_px) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=4)


def test_a_photograph_is_not_shown_smaller_than_its_largest_crystal_needs():
    for size, count in (((60, 60), 2), ((100, 120), 3), ((200, 420), 4), ((420, 900), 3)):
        network = Counting(look=SCALES)
        Detector(network).predict(np.full(size, 90, np.uint8))
        assert len(network.shown) == count


def test_small_photographs_are_magnified_and_large_ones_shown_smaller():
    look = Look(scales=(0.5, 0.25), least=16, most=100)
    assert look.needed((2048, 2880)) == look.needed((1200, 1600)) == (0.5, 0.25)
    assert look.needed((1024, 1280)) == (1.0, 0.5, 0.25)
    assert look.needed((384, 384)) == (2.0, 1.0, 0.5, 0.25)
    assert look.needed((90, 90)) == (2.0, 1.0)
    assert look.needed((40, 40)) == (2.0,)
    assert Look(scales=(0.5,)).needed((90, 90)) == (0.5,)  # one scale is somebody's choice


def test_one_scale_of_the_user_has_no_limits_of_size():
    boxes = [(20, 20, 26, 26), (60, 60, 300, 160)]
    found = Detector(FixedNetwork(look=SCALES), scale=1).predict(picture((220, 340), boxes))
    assert sorted(found.width_px.round()) == [6, 240]


@pytest.mark.parametrize("size", [(200, 300), (203, 301), (64, 96)])
def test_crystals_at_all_four_borders_are_found_alike(size):
    h, w = size
    boxes = [(0, 30, 20, 40), (w - 20, 30, w, 40), (40, 0, 50, 20), (40, h - 20, 50, h)]
    found = Detector(FixedNetwork(), score=0.05).predict(picture(size, boxes))
    assert found.width_px.tolist() == pytest.approx([20] * 4, abs=0.1)
    assert found.height_px.tolist() == pytest.approx([10] * 4, abs=0.1)
    assert found.at_border.all()


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 32, 64]), st.integers(0, 99))
def test_a_frame_leaves_the_photograph_as_it_is_and_turns_with_it(height, width, divisor, seed):
    grey = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    seen, before = framed(grey, divisor)
    assert all(side % divisor == 0 for side in seen.shape)
    np.testing.assert_array_equal(seen[before : before + height, before : before + width], grey)
    assert min(before, seen.shape[0] - before - height, seen.shape[1] - before - width) >= 32
    turned, _ = framed(np.ascontiguousarray(grey[::-1, ::-1]), divisor)
    inner = slice(before - 32, before + height + 32), slice(before - 32, before + width + 32)
    np.testing.assert_allclose(turned[inner], seen[inner][::-1, ::-1], atol=1e-3)


def test_a_frame_goes_on_as_the_border_is_without_the_crystals_on_it():
    grey = np.tile(np.linspace(40, 140, 700, dtype=np.float32), (500, 1))
    grey[:30, 300:340] = 250
    seen, before = framed(grey, 32)
    np.testing.assert_allclose(seen[: before - 1, before : before + 700], np.tile(grey[-1], (before - 1, 1)), atol=12)
    np.testing.assert_allclose(seen[before : before + 500, before + 700 :], 140, atol=3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 999))
def test_joined_scales_hold_no_box_twice_and_lose_none_that_lies_apart(first, second, seed):
    rng = np.random.default_rng(seed)

    def some(count, scale):
        boxes = np.concatenate(
            [rng.uniform(0, 300, (count, 2)), rng.uniform(8, 60, (count, 2)), rng.uniform(-1.5, 1.5, (count, 1))], 1
        )
        return Found(to_le90(boxes), rng.uniform(0, 1, count), np.zeros((0, 5)), np.full(count, scale))

    parts = [some(first, 1.0), some(second, 0.5)]
    whole = joined(parts, 0.3)
    assert (np.diff(whole.scores) <= 0).all()
    overlaps = rotated_iou(whole.boxes, whole.boxes) - np.eye(len(whole.boxes))
    assert (overlaps <= 0.3 + 1e-9).all()
    every = np.concatenate([p.boxes for p in parts])
    alone = (rotated_iou(every, every) > 0).sum(1) == 1
    for box in every[alone]:
        assert np.abs(corners(whole.boxes) - corners(box[None])).max((1, 2)).min() < 1e-6


def test_parts_of_a_large_crystal_are_doubted():
    large, part, beside = [50.0, 50, 80, 60, 0.1], [40.0, 50, 16, 12, 0.4], [150.0, 50, 16, 12, 0.4]
    fine = Found(np.array([part, beside]), np.array([0.5, 0.4]), np.zeros((0, 5)), np.ones(2))
    coarse = Found(np.array([large]), np.array([0.9]), np.zeros((0, 5)), np.full(1, 0.5))
    found = joined([fine, coarse], 0.3)
    np.testing.assert_allclose(found.boxes, [large, beside, part], atol=1e-6)
    assert found.scores.tolist() == pytest.approx([0.9, 0.4, 0.35])  # no scale vouches for what another one finds
    assert found.scales.tolist() == [0.5, 1, 1]


def test_a_sure_crystal_above_a_larger_one_is_reported_and_a_mark_in_it_is_not():
    large, above, mark = [50.0, 50, 80, 60, 0.1], [35.0, 50, 16, 12, 0.4], [65.0, 50, 16, 12, 0.4]

    class Overlaid(FixedNetwork):
        look = Look(score=0.45, iou=0.5, scales=(1.0, 0.5), least=10, most=60)

        def find(self, images):
            fine = images[0].shape[0] > 150
            boxes = np.array([above, mark] if fine else [large], dtype=np.float64)
            boxes[:, :2] = boxes[:, :2] + 32 if fine else boxes[:, :2] / 2 + 32
            boxes[:, 2:4] *= 1 if fine else 0.5
            return [(boxes, np.array([0.8, 0.6]) if fine else np.array([0.9]))]

    found = Detector(Overlaid()).detect(np.zeros((120, 800), np.float32))
    np.testing.assert_allclose(found.boxes, [large, above], atol=1e-6)
    assert found.scores.tolist() == pytest.approx([0.9, 0.56])


def test_scales_vouch_for_each_other():
    """A crystal that three scales find is one, although the finest takes a pit in it for a better one."""
    large, pit = [50.0, 50, 80, 60, 0.1], [40.0, 50, 16, 12, 0.4]
    none = np.zeros((0, 5))
    scales = [
        Found(np.array([pit, large]), np.array([0.5, 0.2]), none, np.ones(2)),
        Found(np.array([large]), np.array([0.46]), none, np.full(1, 0.5)),
        Found(np.array([large]), np.array([0.33]), none, np.full(1, 0.25)),
    ]
    found = joined(scales, 0.3)
    np.testing.assert_allclose(found.boxes, [large, pit], atol=1e-6)
    assert found.scores.tolist() == pytest.approx([1 - 0.54 * (1 - 0.3 * (1 - 0.8 * 0.67)), 0.5 * 0.7])
    assert found.scales.tolist() == [0.5, 1]
    alone = joined([*scales[:1], Found(none, np.zeros(0), none, np.zeros(0))], 0.3)  # the pit is the better one
    np.testing.assert_allclose(alone.boxes, [pit, large], atol=1e-6)
    assert alone.scores.tolist() == pytest.approx([0.5, 0.2 * 0.7])


def test_a_crystal_that_scales_see_turned_is_between_them():
    first, second = [50.0, 50, 40, 10, -0.1], [50.0, 50, 40, 10, 0.1]
    parts = [Found(np.array([b]), np.full(1, 0.5), np.zeros((0, 5)), np.full(1, s)) for b, s in ((first, 1.0), (second, 0.5))]
    assert abs(joined(parts, 0.3).boxes[0, 4]) < 0.09


@pytest.mark.parametrize("look", [Look(), Look(scales=(1.0, 0.5), least=10, most=60)])
def test_the_least_score_decides_which_crystals_are_reported_alone(look):
    rng = np.random.default_rng(0)
    grey = rng.uniform(0, 255, (200, 260)).astype(np.float32)

    class Noisy(FixedNetwork):
        def find(self, images):
            drawn = np.random.default_rng(round(float(images[0].sum())))
            boxes = np.concatenate([drawn.uniform(0, 300, (60, 2)), drawn.uniform(12, 40, (60, 2)), np.zeros((60, 1))], 1)
            return [(to_le90(boxes), np.sort(drawn.uniform(0, 1, 60))[::-1])]

    network = Noisy()
    network.look = look
    every = Detector(network, score=0.2).detect(grey)
    for score in (0.3, 0.6):
        some = Detector(network, score=score).detect(grey)
        enough = every.scores >= score
        np.testing.assert_array_equal(some.boxes, every.boxes[enough])
        np.testing.assert_array_equal(some.scores, every.scores[enough])
        assert 0 < len(some.boxes) < len(every.boxes)


@given(
    st.floats(20, 40),
    st.floats(20, 40),
    st.floats(6, 30),
    st.floats(3, 30),
    st.floats(-3, 3),
    st.integers(0, 7),
    st.integers(0, 7),
)
def test_distances_from_any_place_give_the_box(cx, cy, w, h, theta, column, row):
    """The sides lie where the distances along the box's own axes say."""
    x, y, stride = 8.0 * column, 8.0 * row, 8
    u = (x - cx) * math.cos(theta) + (y - cy) * math.sin(theta)
    v = (y - cy) * math.cos(theta) - (x - cx) * math.sin(theta)
    geometry, scores = np.zeros((64, 5), np.float32), np.zeros(64, np.float32)
    geometry[8 * row + column] = [w / 2 + u, h / 2 + v, w / 2 - u, h / 2 - v, theta]
    scores[8 * row + column] = 0.75
    boxes, rates = decoded(geometry, scores, (64, 64), [stride], "distances", 0.5)
    assert rates.tolist() == [0.75]
    np.testing.assert_allclose(rotated_iou(boxes, [[cx, cy, w, h, theta]]), 1, atol=1e-4)
    assert boxes[0, 2] >= boxes[0, 3]


def test_the_best_of_each_grid_are_decoded_and_come_first():
    size, strides = (64, 96), [8, 16]
    count = places(size, strides)
    assert count == 8 * 12 + 4 * 6
    rng = np.random.default_rng(0)
    geometry = rng.uniform(1, 9, (count, 5)).astype(np.float32)
    scores = rng.permutation(count).astype(np.float32) / count
    boxes, rates = decoded(geometry, scores, size, strides, "boxes", 0.1, candidates=5)
    expected = np.sort(np.concatenate([np.sort(scores[:96])[-5:], np.sort(scores[96:])[-5:]]))[::-1]
    expected = expected[expected >= 0.1]
    np.testing.assert_array_equal(rates, expected.astype(np.float64))
    chosen = [np.flatnonzero(scores == s)[0] for s in expected.astype(np.float32)]
    np.testing.assert_allclose(np.sort(corners(boxes), 1), np.sort(corners(to_le90(geometry[chosen])), 1), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"scales": ()}, {"scales": (0.5, 1.0)}, {"scales": (1, -1)}, {"least": 9, "most": 9}, {"score": 2}, {"grey": "clahe"}],
)
def test_what_is_no_look_is_an_error(wrong):
    with pytest.raises(InputError):
        Look(**wrong)


def test_an_object_that_is_no_network_is_said():
    with pytest.raises(InputError, match="a dict is no network"):
        Detector({})
