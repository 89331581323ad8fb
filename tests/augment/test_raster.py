"""Work lists against brute force: point in polygon, distance to a segment, widened outlines."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_augment import raster

CPU = torch.device("cpu")
EDGE = 2e-3  # px; a pixel centre nearer to an edge than this may fall on either side


def random_outlines(seed, height, width):
    """Simple outlines, convex and not, some partly outside, some thinner than a pixel, one with a repeated corner."""
    rng = np.random.default_rng(seed)
    points, corners = [], []
    for _ in range(5):
        k = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, k))
        radius = rng.uniform(0.2, 1, (k, 1)) * rng.uniform(0.3, 12)
        shape = np.stack((np.cos(angle), np.sin(angle)), -1) * radius * [1, rng.uniform(0.02, 1)]
        if rng.random() < 0.3:
            shape = np.concatenate((shape, shape[-1:]))
        points.append(shape + rng.uniform(-2, 1.1, 2) * [width, height] * 0.5 + [width / 2, height / 2])
        corners.append(len(shape))
    return np.concatenate(points), np.array(corners)


def centres(height, width):
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack((x, y), -1).reshape(-1, 2)


def in_polygon(at, polygon):
    inside = np.zeros(len(at), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0)):
        crosses = (y0 > at[:, 1]) != (y1 > at[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (at[:, 0] < x0 + (at[:, 1] - y0) * (x1 - x0) / (y1 - y0))
    return inside


def segment_distance(at, a, b):
    d = b - a
    t = np.clip(((at - a) @ d) / max(d @ d, 1e-12), 0, 1)
    return np.linalg.norm(at - a - t[:, None] * d, axis=1)


def border_distance(at, polygon):
    return np.min([segment_distance(at, a, b) for a, b in zip(polygon, np.roll(polygon, -1, 0))], 0)


def split(points, corners):
    return np.split(points, np.cumsum(corners)[:-1])


sizes = st.integers(1, 30)


@settings(max_examples=60)
@given(st.integers(0, 10**6), sizes, sizes)
def test_inside_is_the_even_odd_rule_at_pixel_centres(seed, height, width):
    points, corners = random_outlines(seed, height, width)
    rectangles = raster.bounds(points, corners, height, width)
    at = raster.pixels(rectangles, CPU)
    flags = raster.inside(points, corners, rectangles, CPU)
    grid = centres(height, width)
    for n, polygon in enumerate(split(points, corners)):
        mine = at.instance == n
        got = torch.zeros(height, width, dtype=torch.bool)
        got[at.y[mine & flags], at.x[mine & flags]] = True
        clear = border_distance(grid, polygon) > EDGE
        assert np.array_equal(got.numpy().ravel()[clear], in_polygon(grid, polygon)[clear])


@settings(max_examples=60)
@given(st.integers(0, 10**6), sizes, sizes, st.floats(0.3, 4))
def test_strokes_find_every_pixel_within_reach_and_its_distance(seed, height, width, reach):
    rng = np.random.default_rng(seed)
    segments = rng.uniform(-0.3, 1.3, (4, 4)) * [width, height, width, height]
    segments[0, 2:] = segments[0, :2]  # a point
    number, x, y, distance, valid = raster.strokes(segments, np.full(4, reach), height, width, CPU)
    grid = centres(height, width)
    for n, s in enumerate(segments):
        want = segment_distance(grid, s[:2], s[2:]).reshape(height, width)
        mine = (number == n) & valid
        got = np.full((height, width), np.inf)
        got[y[mine], x[mine]] = distance[mine]
        near = want <= reach - EDGE
        assert np.isfinite(got[near]).all()
        found = np.isfinite(got)
        assert np.abs(got[found] - want[found]).max(initial=0) < 1e-3


@settings(max_examples=80)
@given(st.integers(0, 10**6), sizes, sizes, st.floats(0.5, 4))
def test_row_spans_cover_the_widened_outline_and_nothing_else(seed, height, width, radius):
    points, corners = random_outlines(seed, height, width)
    spans = raster.row_spans(points, corners, radius, height, width, CPU)
    grid = centres(height, width)
    for n, polygon in enumerate(split(points, corners)):
        got = np.zeros((height, width), bool)
        for i, y, a, b in zip(*(v.tolist() for v in spans)):
            if i == n:
                got[y, a : max(a, b)] = True
        border = border_distance(grid, polygon)
        want = in_polygon(grid, polygon) | (border <= radius)
        clear = np.abs(border - radius) > EDGE
        assert np.array_equal(got.ravel()[clear], want[clear])


def test_no_outlines_give_empty_lists():
    points, corners = np.zeros((0, 2)), np.zeros(0, np.int64)
    assert len(raster.pixels(np.zeros((0, 4), np.int64), CPU).x) == 0
    assert all(len(v) == 0 for v in raster.row_spans(points, corners, 2.0, 5, 5, CPU))
