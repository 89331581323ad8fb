"""Crystals that grow together, and crystals that the border cuts."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from pcs_render import contact as C
from pcs_render import exact
from pcs_render import geometry as G
from pcs_render.exact import Draws
from pcs_render.generate import scene
from pcs_render.labels import labels, masks
from pcs_render.scene import Camera, Crystal, Target
from pcs_render.settings import Settings

SMALL = Settings(width=128, height=96, area=(40, 900), long_side=96, max_crystals=20, covered=(0.3, 0.3), rule="unbiased")
LAST = Crystal(0, 0.0, (1.0, 1.0), (0.125, 0.05, 0.2), (1.0, -2.0, -3.0), 1.1, 0.9, Target(400.0, 2.0, 30.0, 900.0))
CAMERA = Camera(128, 96, 0.7854, 15.0, 15.0, 0.0, 22.5)


def grown(contact, count=600):
    chosen = dataclasses.replace(SMALL, contact=contact)
    new = Target(200.0, 1.5, -70.0, 900.0)
    return [C.grown(chosen, Draws(1, 2, exact.CONTACT, item), new, LAST) for item in range(count)]


def test_neighbours_come_with_their_chance():
    found = grown(0.3)
    assert stats.binomtest(sum(n is not None for n in found), len(found), 0.3).pvalue > 1e-3


def test_neighbours_are_turned_as_twins():
    found = [n.target for n in grown(1.0)]
    off = np.array([(target.angle - 30) % 180 for target in found])
    near = np.abs((off[:, None] - np.array(C.TURNS) + 90) % 180 - 90)
    assert near.min(1).max() <= 2
    assert stats.chisquare(np.bincount(near.argmin(1), minlength=4)).pvalue > 1e-3
    assert stats.kstest(near.min(1) / 2, "uniform").pvalue > 1e-3
    assert {(target.area, target.ratio, target.largest) for target in found} == {(200.0, 1.5, 900.0)}


def side(target, u, v):
    """px from the centre of a box to its side in the direction (u, v) on the image, by bisection."""
    w, h = math.sqrt(target.area * target.ratio), math.sqrt(target.area / target.ratio)
    c, s = math.cos(math.radians(target.angle)), math.sin(math.radians(target.angle))
    along, across = u * c - v * s, -u * s - v * c  # angles are counter-clockwise, y points down
    low, high = 0.0, w
    for _ in range(50):
        middle = (low + high) / 2
        inside = abs(along) * middle < w / 2 and abs(across) * middle < h / 2
        low, high = (middle, high) if inside else (low, middle)
    return low


def test_neighbours_lie_all_around_and_overlap_a_little():
    around, share = [], []
    for neighbour in grown(1.0, 200):
        roll, tilt, location = C.beside(CAMERA, neighbour, np.full(4, 0.7), np.full(4, -0.1))
        assert roll.tolist() == [0.125, 0.7, 0.125, 0.7]
        assert tilt.tolist() == [0.05, -0.1, 0.05, -0.1]
        assert (location[:, 2] == -3).all()
        for x, y in G.project(CAMERA, location) - G.project(CAMERA, np.array(LAST.location)):
            length = math.hypot(x, y)
            around.append(math.atan2(y, x) / (2 * math.pi) + 0.5)
            share.append(length / sum(side(t, x / length, y / length) for t in (LAST.target, neighbour.target)))
    low, high = C.NEAR
    assert stats.kstest(around, "uniform").pvalue > 1e-3
    assert stats.kstest((np.array(share) - low) / (high - low), "uniform").pvalue > 1e-3


def touching(contact, shapes):
    """The part of crystals that overlap the one before them."""
    hits, pairs = 0, 0
    sparse = dataclasses.replace(SMALL, contact=contact, covered=(0.15, 0.15), area=(40, 300), visible=0.5)
    for image in range(5):
        full = masks(scene(sparse, 5, image, shapes))
        hits += int((full[1:] & full[:-1]).any((1, 2)).sum())
        pairs += len(full) - 1
    return hits / pairs


def test_neighbours_are_in_contact(shapes):
    assert touching(0.0, shapes) < 0.2
    assert touching(1.0, shapes) > 0.8  # the rest had no room there


def test_wholly_visible_crystals_stay_off_the_border(shapes):
    found = labels(scene(SMALL, 1, 0, shapes))
    assert all(p.min() > 0 and (p < (128, 96)).all() for p in found.polygons)


def test_cut_crystals_show_at_least_the_part_asked_for(shapes):
    chosen = dataclasses.replace(SMALL, visible=0.3)
    cut = 0
    for image in range(6):
        s = scene(chosen, 1, image, shapes)
        found = labels(s)
        assert len(found.boxes) == len(s.crystals)
        for crystal, polygon, box in zip(s.crystals, found.polygons, found.boxes):
            hull = G.hull2d(G.project(s.camera, G.crystal_points(s, crystal)))
            assert polygon.min() >= 0
            assert (polygon <= (128, 96)).all()
            share = G.polygon_area(polygon) / G.polygon_area(hull)
            assert 0.3 <= share <= 1 + 1e-9
            cut += share < 1
            assert box.tolist() == list(G.min_area_rect(polygon))
            # the pixels of the whole hull that are on the image are those of the label
            rows, columns, part = G.pixels(polygon, 128, 96)
            rows2, columns2, whole = G.pixels(hull, 128, 96)
            a, b = np.zeros((2, 96, 128), bool)
            a[rows, columns], b[rows2, columns2] = part, whole
            assert (a == b).all()
    assert cut > 5


def test_a_polygon_on_the_image_is_not_touched_and_one_outside_vanishes():
    square = np.array([[1.0, 1], [1, 3], [3, 3], [3, 1]])
    assert G.clipped(square, 4, 4) is square
    assert len(G.clipped(square + 10, 4, 4)) == 0
    assert G.polygon_area(G.clipped(square, 2, 2)) == pytest.approx(1)
    assert G.polygon_area(G.clipped(square * 100 - 150, 4, 5)) == pytest.approx(20)  # it covers all of the image
    corner = np.array([[-2.0, 0], [2, 4], [2, 0]])
    assert sorted(map(tuple, G.clipped(corner, 9, 9).tolist())) == [(0, 0), (0, 2), (2, 0), (2, 4)]


def test_crystals_too_blurred_to_see_have_no_label(shapes):
    chosen = dataclasses.replace(SMALL, f_stop=0.02, camera_distance=15.0)
    s = scene(chosen, 2, 0, shapes)
    whole = labels(s)
    blur = s.camera.blur(whole.depth) / whole.boxes[:, 3]
    assert blur.min() < 0.5 < blur.max()
    found = labels(dataclasses.replace(s, blur_limit=0.5))
    kept = blur <= 0.5
    assert np.array_equal(found.boxes, whole.boxes[kept])
    assert np.array_equal(found.targets, whole.targets[kept])
    assert len(found.polygons) == kept.sum()
    assert masks(dataclasses.replace(s, blur_limit=0.5)).shape[0] == kept.sum()
