"""Solids, projections, hulls, rectangles and pixels against SciPy and OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from pcs_render import geometry as G
from pcs_render.errors import InputError
from pcs_render.scene import Camera

CAMERA = Camera(384, 256, 0.7854, 15.0, 15.0, 0.1, 22.5)


def cloud(seed: int, n: int = 12, dimensions: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dimensions))


@given(st.integers(0, 10**6), st.integers(4, 30))
def test_a_solid_is_the_closed_convex_hull(seed, n):
    points = cloud(seed, n)
    solid = G.solid(points)
    assert len(solid.vertices) - len(solid.edges) + len(solid.faces) == 2  # Euler
    assert {tuple(v) for v in solid.vertices} == {tuple(points[i]) for i in ConvexHull(points).vertices}
    centre = solid.vertices.mean(0)
    sides = {}
    for face in solid.faces:
        a, b, c = solid.vertices[face[:3]]
        normal = np.cross(b - a, c - a)
        assert normal @ (a - centre) > 0  # counter-clockwise from outside
        assert ((solid.vertices - a) @ normal <= 1e-9).all()
        for side in zip(face, face[1:] + face[:1]):
            sides[side] = sides.get(side, 0) + 1
    assert all(sides[b, a] == n == 1 for (a, b), n in sides.items())
    assert {tuple(sorted(s)) for s in sides} == {tuple(e) for e in np.sort(solid.edges, 1).tolist()}


def test_flat_triangles_become_one_face():
    cube = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    solid = G.solid(cube)
    assert sorted(map(len, solid.faces)) == [4] * 6
    assert len(solid.edges) == len(G.hull_edges(cube)[1]) == 12


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 3)), "at least 4"),
        (np.zeros((5, 3)), "at least 4"),
        (np.c_[np.random.default_rng(0).random((6, 2)), np.zeros(6)], "plane"),
        (np.full((5, 3), np.nan), "finite"),
        (np.zeros((4, 2)), "corners"),
    ],
)
def test_broken_shapes_are_refused(points, message):
    with pytest.raises(InputError, match=message):
        G.solid(points)


@given(st.integers(0, 10**6), st.floats(0, 6))
def test_elongation_moves_the_halves_apart(seed, elongation):
    v = cloud(seed)
    moved = G.elongated(v, elongation)
    assert np.allclose(np.abs(moved - v)[:, 0], elongation)
    assert np.array_equal(moved[:, 1:], v[:, 1:])
    assert ((moved[:, 0] > 0) == (v[:, 0] > 0)).all() or elongation == 0


def test_projection_puts_the_field_of_view_on_the_longer_side():
    half = np.tan(CAMERA.field_of_view / 2) * 20
    corners = G.project(CAMERA, [(-half, 0, -5), (half, 0, -5), (0, half * 256 / 384, -5), (0, 0, -5)])
    assert np.allclose(corners, [(0, 128), (384, 128), (192, 0), (192, 128)])


@given(st.integers(0, 10**6), st.integers(3, 40))
def test_hull_is_that_of_scipy(seed, n):
    points = cloud(seed, n, 2)
    hull = G.hull2d(points)
    assert {tuple(p) for p in hull} == {tuple(points[i]) for i in ConvexHull(points).vertices}
    x, y = hull.T
    assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0  # clockwise where y points down
    assert np.isclose(G.polygon_area(hull), ConvexHull(points).volume)


@given(st.integers(0, 10**6), st.integers(4, 20))
def test_minimum_area_rectangle_is_that_of_opencv(seed, n):
    random = np.random.default_rng(seed)
    points = (cloud(seed, n, 2) * random.uniform(1, 40, 2) + 100).astype(np.float32)
    cx, cy, w, h, theta = G.min_area_rect(points)
    _, (w2, h2), _ = cv2.minAreaRect(points)
    assert w >= h
    assert -np.pi / 2 <= theta < np.pi / 2
    assert w * h <= w2 * h2 * (1 + 1e-4)  # OpenCV computes in float32
    assert np.isclose(w * h, w2 * h2, rtol=1e-3)
    along = np.array([np.cos(theta), np.sin(theta)])
    across = np.array([-along[1], along[0]])
    for axis, size, centre in ((along, w, (cx, cy)), (across, h, (cx, cy))):
        reach = (points - centre) @ axis
        assert np.isclose(reach.max(), size / 2, atol=1e-4)
        assert np.isclose(reach.min(), -size / 2, atol=1e-4)


@given(st.integers(0, 10**6))
def test_rectangle_from_projected_edges_is_that_of_the_projected_hull(seed):
    solid = G.solid(cloud(seed, 14))
    seen = G.project(CAMERA, solid.vertices - [0, 0, 6])
    _, sides, _ = G.rectangles(seen, solid.edges)
    _, _, w, h, _ = G.min_area_rect(seen)
    assert np.allclose(sides[0] * sides[1], w * h, rtol=1e-9)


def test_rectangles_of_a_batch_are_those_of_each():
    solid = G.solid(cloud(3, 14))
    batch = np.stack([G.project(CAMERA, solid.vertices * s - [0, 0, 6]) for s in (0.5, 1, 1.5)])
    together = G.rectangles(batch, solid.edges)
    for i in range(3):
        for a, b in zip(together, G.rectangles(batch[i], solid.edges)):
            assert np.array_equal(a[i], b)


@given(st.integers(0, 10**6), st.floats(1, 60))
def test_pixels_are_the_centres_inside(seed, size):
    polygon = G.hull2d(cloud(seed, 9, 2) * size + 40)
    rows, columns, mask = G.pixels(polygon, 100, 70)
    image = np.zeros((70, 100), bool)
    image[rows, columns] = mask
    y, x = np.mgrid[:70, :100] + 0.5
    a, b = polygon, np.roll(polygon, -1, 0)
    side = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in zip(a, b)]
    inside = np.min(side, 0)
    assert (image == (inside > 0))[np.abs(inside) > 1e-6].all()


@given(st.integers(0, 10**6))
def test_a_drawn_polygon_is_opencvs_but_for_its_outline(seed):
    random = np.random.default_rng(seed)
    polygon = G.hull2d(random.normal(size=(10, 2)) * 10 ** random.uniform(-0.5, 1.3, 2) + 150)
    rows, columns, mask = G.drawn(polygon, 310, 300)
    ours = np.zeros((300, 310), np.uint8)
    ours[rows, columns] = mask
    corners = [np.rint(polygon).astype(np.int32)]
    theirs = cv2.drawContours(np.zeros((300, 310), np.uint8), corners, 0, 1, cv2.FILLED)
    outline = cv2.polylines(np.zeros((300, 310), np.uint8), corners, True, 1)
    near = cv2.dilate(outline, np.ones((3, 3), np.uint8))
    assert ((ours == theirs) | (near > 0)).all()
    assert abs(int(ours.sum()) - int(theirs.sum())) <= 4 + 0.2 * outline.sum()


def test_drawn_polygons_are_as_large_as_opencvs():
    random = np.random.default_rng(0)
    ours, theirs = [], []
    for _ in range(500):
        polygon = G.hull2d(random.normal(size=(10, 2)) * 10 ** random.uniform(-0.5, 1.3, 2) + 150)
        ours.append(int(G.drawn(polygon, 310, 300)[2].sum()))
        corners = [np.rint(polygon).astype(np.int32)]
        theirs.append(int(cv2.drawContours(np.zeros((300, 310), np.uint8), corners, 0, 1, cv2.FILLED).sum()))
    assert abs(np.mean(ours) / np.mean(theirs) - 1) < 0.01


def test_what_lies_beyond_the_image_is_cut():
    square = np.array([(-5.0, -5.0), (4.0, -5.0), (4.0, 3.0), (-5.0, 3.0)])
    rows, columns, mask = G.drawn(square, 20, 10)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 4, 0, 5)
    assert mask.shape == (4, 5)
    assert mask.all()
    assert G.pixels(square, 20, 10)[2].shape == (3, 4)
