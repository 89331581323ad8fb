"""Fitting scale and angle to a target box (equations 5 to 8)."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pcs_render import exact
from pcs_render import geometry as G
from pcs_render.fit import Boxes, Tolerance, fit, misses, within
from pcs_render.scene import Camera, Crystal, Target

CAMERA = Camera(384, 384, 0.7854, 15.0, 15.0, 0.1, 22.5)
PUBLISHED = Tolerance(2.0, 0.2, 2.0)


def target(random, k=1):
    area = 4 * 4096 ** random.random(k)
    ratio = 1 + (np.minimum(11.4, 384**2 / area) - 1) * random.random(k)
    angle = np.radians(random.uniform(-90, 90, k))
    return Boxes(area, ratio, np.stack((np.cos(angle), np.sin(angle)), -1))


def poses(random, k):
    location = np.stack((random.uniform(-4, 4, k), random.uniform(-4, 4, k), random.uniform(-12, -3, k)), -1)
    return random.random(k), random.uniform(-1 / 6, 1 / 6, k), location


def seen(vertices, scale, rotation, location):
    crystal = Crystal(0, 0.0, tuple(scale), tuple(rotation), tuple(location), 1.5, 0.8, Target(1, 1, 0, 1))
    return G.project(CAMERA, G.placed(vertices * np.array([scale[0], scale[1], scale[1]]), crystal))


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_what_a_fit_reports_is_what_the_camera_sees(seed):
    random = np.random.default_rng(seed)
    vertices, edges = G.hull_edges(G.elongated(random.normal(size=(14, 3)), random.uniform(0, 6)))
    wanted, (roll, tilt, location) = target(random, 4), poses(random, 4)
    found = fit(vertices, edges, wanted, roll, tilt, location, CAMERA)
    for k in range(4):
        points = seen(vertices, found.scale[k], (roll[k], tilt[k], found.turn[k]), location[k])
        _, _, w, h, theta = G.min_area_rect(points)
        assert np.isclose(w * h, found.boxes.area[k], rtol=1e-5)
        if found.boxes.ratio[k] > 1.001:  # else the long side is any of the two
            along = found.boxes.along[k]
            assert abs(along[0] * np.sin(theta) + along[1] * np.cos(theta)) < 1e-5  # y up there, down here


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_a_batch_of_poses_is_each_pose_alone(seed, k):
    random = np.random.default_rng(seed)
    vertices, edges = G.hull_edges(random.normal(size=(12, 3)))
    wanted, (roll, tilt, location) = target(random, k), poses(random, k)
    together = fit(vertices, edges, wanted, roll, tilt, location, CAMERA)
    for i in range(k):
        one = slice(i, i + 1)
        alone = fit(vertices, edges, Boxes(*(a[one] for a in wanted)), roll[one], tilt[one], location[one], CAMERA)
        assert np.array_equal(alone.scale[0], together.scale[i])
        assert alone.turn[0] == together.turn[i]
        assert np.array_equal(alone.boxes.area[0], together.boxes.area[i])


def test_nearly_every_pose_can_be_fitted_and_closely(shapes):
    random = np.random.default_rng(0)
    close, near = [], []
    for shape in shapes:
        vertices, edges = G.hull_edges(G.elongated(shape, random.uniform(0, 6)))
        wanted, (roll, tilt, location) = target(random, 25), poses(random, 25)
        found = fit(vertices, edges, wanted, roll, tilt, location, CAMERA)
        near.append(within(found.boxes, wanted, PUBLISHED))
        size, ratio, sine = misses(found.boxes, wanted)
        close.append((size < 0.05) & (ratio < 0.005) & (sine < 0.0005))
    assert np.mean(near) > 0.97
    assert np.mean(close) > 0.93


def test_our_rectangles_are_opencvs_over_a_thousand_fits(shapes):
    random = np.random.default_rng(1)
    for n in range(1000):
        shape = shapes[n % len(shapes)]
        scale, rotation = random.uniform(0.1, 1, 2), random.random(3)
        points = seen(shape, scale, rotation, (0.0, 0.0, -7.0)).astype(np.float32)
        _, (w2, h2), _ = cv2.minAreaRect(points)
        _, edges = G.hull_edges(shape)
        _, sides, _ = G.rectangles(points.astype(float), edges)
        assert np.isclose(sides.prod(), w2 * h2, rtol=2e-3)


def optimise(vertices, edges, wanted, roll, tilt, location):
    """The published way: minimise the deviations over scales and angle, from the same first guess."""

    def boxes(x):
        m = G.rotation_matrix((roll[0], tilt[0], x[2]))
        points = (vertices * np.exp([x[0], x[1], x[1]])) @ m.T + location[0]
        seen = G.project(CAMERA, points) * (1, -1)
        _, sides, along = G.rectangles(seen, edges)
        return Boxes(np.array([sides.prod()]), np.array([sides[0] / sides[1]]), along[None])

    def loss(x):
        size, ratio, sine = misses(boxes(x), wanted)
        return float(size[0] + 10 * ratio[0] + 100 * sine[0])

    unit = np.sqrt(wanted.area[0]) / CAMERA.focal * (CAMERA.distance - location[0, 2])
    spread = np.ptp(vertices, axis=0)
    root = np.sqrt(wanted.ratio[0])
    angle = np.arctan2(wanted.along[0, 1], wanted.along[0, 0]) / (2 * np.pi)
    start = [np.log(unit * root / spread[0]), np.log(unit / root / spread[1:].mean()), angle]
    return boxes(minimize(loss, start, method="Nelder-Mead", options={"maxfev": 300}).x)


def test_whatever_a_plain_optimiser_meets_is_met(shapes):
    random = np.random.default_rng(2)
    theirs, ours = [], []
    for n in range(60):
        vertices, edges = G.hull_edges(G.elongated(shapes[n % len(shapes)], random.uniform(0, 6)))
        wanted, (roll, tilt, location) = target(random), poses(random, 1)
        theirs.append(within(optimise(vertices, edges, wanted, roll, tilt, location), wanted, PUBLISHED)[0])
        ours.append(within(fit(vertices, edges, wanted, roll, tilt, location, CAMERA).boxes, wanted, PUBLISHED)[0])
    assert sum(ours) >= sum(theirs)
    assert sum(theirs) > 45  # the comparison is with something that works


@pytest.mark.parametrize(("area", "ratio", "angle"), [(0.05, 0.0, 0.0), (0.0, 0.25, 0.0), (0.0, 0.0, 2.5)])
def test_each_tolerance_is_looked_at(area, ratio, angle):
    wanted = Boxes(np.array([100.0]), np.array([3.0]), np.array([[1.0, 0.0]]))
    c, s = exact.turn(angle / 360)
    off = Boxes(np.array([(10 + 41 * area) ** 2]), np.array([3 + ratio]), np.array([[c, s]]))
    assert not within(off, wanted, PUBLISHED)[0]
    assert within(Boxes(wanted.area, wanted.ratio, -wanted.along), wanted, PUBLISHED)[0]  # modulo 180 degrees
