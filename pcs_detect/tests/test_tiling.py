import math
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.boxes import corners, min_area_box
from pcs_detect.errors import InputError
from pcs_detect.inference import tiling
from pcs_detect.inference.suppression import kept_ranks
from pcs_detect.overlaps import overlapping_pairs


def extents(boxes):
    return np.ptp(corners(boxes), axis=1).max(-1)


def scene(seed, size, count, least, most, iou=0.3):
    """Boxes with scores that lie in the image, and of which no two overlap by more than ``iou``."""
    rng = np.random.default_rng(seed)
    height, width = size
    boxes = np.stack(
        [
            rng.uniform(0, width, count),
            rng.uniform(0, height, count),
            w := rng.uniform(least, most, count),
            w * rng.uniform(0.1, 1, count),
            rng.uniform(-math.pi / 2, math.pi / 2, count),
        ],
        -1,
    )
    p = corners(boxes)
    boxes = boxes[((p > 1.5) & (p < np.array([width, height]) - 1.5)).all((1, 2))]
    boxes = boxes[kept_ranks(boxes, iou)]
    return boxes, rng.uniform(0.2, 1, len(boxes))


def seen(tile, boxes, scores, jitter=0.0, seed=0):
    """What a perfect detector reports of a tile: boxes in it as they are, of others the box around the part inside."""
    rng = np.random.default_rng([seed, tile.x0, tile.y0])
    frame = shapely.box(tile.x0, tile.y0, tile.x1, tile.y1)
    found, kept = [], []
    for box, score in zip(boxes, scores):
        part = shapely.Polygon(corners(box)[0]).intersection(frame)
        if part.area < 1:
            continue
        whole = part.area > (1 - 1e-9) * box[2] * box[3]
        visible = box if whole else min_area_box(np.array(part.exterior.coords))
        found.append(visible + rng.uniform(-jitter, jitter, 5) * (1, 1, 1, 1, 0) - (tile.x0, tile.y0, 0, 0, 0))
        kept.append(score)
    return tile, np.array(found).reshape(-1, 5), np.array(kept)


def detect(size, tile, overlap, boxes, scores, **options):
    places = tiling.tiles(size, tile, overlap)
    return tiling.merge([seen(t, boxes, scores, **options) for t in places], size, 0.3)


def same(found, boxes, scores, tolerance=1e-6):
    """Whether both hold the same boxes."""
    if len(found.boxes) != len(boxes):
        return False
    order = np.argsort(-scores, kind="stable")
    return np.allclose(found.boxes, boxes[order], atol=tolerance) and np.allclose(found.scores, scores[order])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 500), st.integers(tiling.STEP, 1000))
def test_tiles_cover_the_image_share_the_overlap_and_their_cores_divide_it(height, width, overlap, more):
    tile = overlap + more
    places = tiling.tiles((height, width), tile, overlap)
    assert max(t.x1 for t in places) == width
    assert max(t.y1 for t in places) == height
    for t in places:
        assert 0 <= t.x0 < t.x1 <= t.x0 + tile
        assert 0 <= t.y0 < t.y1 <= t.y0 + tile
        assert t.x0 % tiling.STEP == t.y0 % tiling.STEP == 0
        assert max(u.x1 - u.x0 for u in places) - (t.x1 - t.x0) < tiling.STEP
    columns = sorted({(t.x0, t.x1, *t.core[:2]) for t in places})
    for (_, end, _, high), (start, _, low, _) in pairwise(columns):
        assert end - start >= overlap
        assert high == low == (start + end) / 2
    assert columns[0][2] == -math.inf
    assert columns[-1][3] == math.inf
    assert len(places) == len(columns) * len({t.y0 for t in places})


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(300, 900), st.integers(300, 900)),
    st.integers(60, 200),
    st.integers(64, 300),
)
def test_crystals_up_to_the_overlap_do_not_depend_on_the_tiles(seed, size, overlap, more):
    boxes, scores = scene(seed, size, 60, 5, overlap - 2 * tiling.EDGE)
    small = extents(boxes) <= overlap - 2 * tiling.EDGE
    boxes, scores = boxes[small], scores[small]
    found = detect(size, overlap + more, overlap, boxes, scores)
    assert same(found, boxes, scores)
    assert same(detect(size, None, 0, boxes, scores), boxes, scores)
    assert len(found.cut) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(64, 300))
def test_of_larger_crystals_no_piece_is_reported_and_none_is_passed_over_in_silence(seed, overlap, more):
    size = (500, 700)
    boxes, scores = scene(seed, size, 25, 20, 400)
    found = detect(size, overlap + more, overlap, boxes, scores)
    for box, score in zip(found.boxes, found.scores):
        assert np.isclose(scores, score).any()
        assert np.allclose(boxes[np.isclose(scores, score)], box)
    missing = boxes[~np.isin(scores.round(12), found.scores.round(12))]
    for box in missing:
        assert len(overlapping_pairs(box[None], found.cut, 0.0)[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_boxes_that_tiles_see_a_little_differently_are_still_reported_once(seed):
    size, overlap = (700, 600), 160
    boxes, scores = scene(seed, size, 40, 30, 100, iou=0.1)
    wide = boxes[:, 3] > 10
    boxes, scores = boxes[wide], scores[wide]
    found = detect(size, 300, overlap, boxes, scores, jitter=1.0, seed=seed)
    assert same(found, boxes, scores, 1.0 + 1e-6)


def test_a_crystal_on_the_border_of_two_cores_is_neither_lost_nor_doubled():
    places = tiling.tiles((200, 400), 264, 200)
    border = places[0].core[1]
    tile_a, tile_b = places[:2]
    for shift_a, shift_b in ((3.0, -3.0), (-3.0, 3.0), (0.0, 0.0), (-7.9, -7.9)):
        parts = [
            (t, [[border + s - t.x0, 100, 60, 30, 0.2]], [score])
            for t, s, score in ((tile_a, shift_a, 0.6), (tile_b, shift_b, 0.5))
        ]
        found = tiling.merge(parts, (200, 400), 0.3)
        assert len(found.boxes) == 1
        assert found.scores[0] == 0.6


@pytest.mark.parametrize("theta", [0.0, math.pi / 4, -math.pi / 2])
@pytest.mark.parametrize("scores", [(0.9, 0.8), (0.8, 0.9)])
def test_a_thin_needle_on_the_border_of_two_cores_is_reported_once(theta, scores):
    """Two tiles place it 3 px apart, so that 5 px of thickness overlap by a quarter."""
    tile_a, tile_b = tiling.tiles((200, 400), 264, 200)[:2]
    border = tile_a.core[1]
    across = np.array([-math.sin(theta), math.cos(theta)]) * 1.5
    parts = []
    for t, sign, score in ((tile_a, 1, scores[0]), (tile_b, -1, scores[1])):
        x, y = np.array([border, 100.0]) + sign * across
        parts.append((t, [[x - t.x0, y, 80, 5, theta]], [score]))
    found = tiling.merge(parts, (200, 400), 0.3)
    assert found.scores.tolist() == [max(scores)]


@pytest.mark.parametrize("scores", [(0.9, 0.7, 0.6, 0.8), (0.9, 0.8, 0.7, 0.6), (0.6, 0.9, 0.8, 0.7), (0.7, 0.9, 0.9, 0.7)])
def test_two_needles_side_by_side_are_two_whatever_the_tiles_report_first(scores):
    tile_a, tile_b = tiling.tiles((200, 400), 264, 200)[:2]
    border = tile_a.core[1]
    needles = np.array([[border, 98.0, 80, 5, 0.0], [border + 1, 101.8, 80, 5, 0.0]])
    parts = [(t, needles - (t.x0, 0, 0, 0, 0), s) for t, s in ((tile_a, scores[:2]), (tile_b, scores[2:]))]
    found = tiling.merge(parts, (200, 400), 0.3)
    assert sorted(found.boxes[:, 1]) == pytest.approx([98, 101.8])


def test_nothing_found_is_nothing():
    places = tiling.tiles((500, 500), 300, 100)
    found = tiling.merge([(t, [], []) for t in places], (500, 500), 0.3)
    assert found.boxes.shape == (0, 5)
    assert found.cut.shape == (0, 5)
    assert found.scores.shape == (0,)


@settings(max_examples=100, deadline=None)
@given(st.floats(-20, 120), st.floats(-20, 80), st.floats(4, 40), st.floats(2, 40), st.floats(-1.57, 1.57), st.floats(1, 5))
def test_crystals_at_the_border_are_those_that_do_not_lie_a_margin_inside(x, y, w, h, theta, margin):
    box = [[x, y, max(w, h), min(w, h), theta]]
    outline = shapely.Polygon(corners(box)[0])
    inside = shapely.box(margin, margin, 100 - margin, 60 - margin)
    off = outline.exterior.distance(inside.exterior)
    if off > 1e-6 or not inside.covers(outline):  # on the line itself rounding decides
        assert tiling.touches_border(box, (60, 100), margin)[0] == (not inside.contains(outline))


@pytest.mark.parametrize(("tile", "overlap"), [(300, 300), (300, 237), (100, -1), (10, 0), (None, -1)])
def test_tiles_that_do_not_go_on_are_errors(tile, overlap):
    with pytest.raises(InputError, match=f"{tile} px that overlap by {overlap} px"):
        tiling.tiles((400, 400), tile, overlap)
