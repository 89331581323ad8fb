"""Boxes, hulls and masks from geometry."""

import dataclasses

import numpy as np
import pytest

from pcs_render import geometry as G
from pcs_render.generate import scene
from pcs_render.labels import labels, masks
from pcs_render.settings import Settings


@pytest.fixture(scope="module")
def example(shapes):
    return scene(Settings(covered=(0.3, 0.3), width=384, height=300, long_side=300), 1, 4, shapes)


def test_a_box_holds_its_polygon_tightly(example):
    found = labels(example)
    for (cx, cy, w, h, theta), polygon in zip(found.boxes, found.polygons):
        assert w >= h
        assert -np.pi / 2 <= theta < np.pi / 2
        for axis, size in (((np.cos(theta), np.sin(theta)), w), ((-np.sin(theta), np.cos(theta)), h)):
            reach = (polygon - (cx, cy)) @ axis
            assert reach.max() == pytest.approx(size / 2, abs=1e-6)
            assert reach.min() == pytest.approx(-size / 2, abs=1e-6)


def test_masks_are_as_large_as_hulls(example):
    found = labels(example)
    full = masks(example)
    assert full.shape == (len(example.crystals), 300, 384)
    areas = np.array([G.polygon_area(p) for p in found.polygons])
    large = areas > 100
    assert large.any()
    assert np.allclose(full.sum((1, 2))[large], areas[large], rtol=0.12)
    assert full.sum() == pytest.approx(areas.sum(), rel=0.01)


def test_visible_parts_share_the_pixels_out(example):
    full, visible = masks(example), masks(example, visible=True)
    assert (visible.sum(0) == full.any(0)).all()  # one crystal on every covered pixel
    assert not (visible & ~full).any()
    found = labels(example)
    assert (np.diff(found.depth[found.order]) >= 0).all()
    nearest = found.order[0]
    assert (visible[nearest] == full[nearest]).all()


def test_depth_is_measured_from_the_camera(example):
    found = labels(example)
    assert ((found.depth > 15) & (found.depth < 30)).all()
    for crystal, depth in zip(example.crystals, found.depth):
        z = G.crystal_points(example, crystal)[:, 2]
        assert 15 - z.max() < depth < 15 - z.min()


def test_a_scene_without_crystals_has_empty_labels(example):
    empty = dataclasses.replace(example, crystals=())
    found = labels(empty)
    assert found.boxes.shape == (0, 5)
    assert found.targets.shape == (0, 4)
    assert found.polygons == []
    assert masks(empty, visible=True).shape == (0, 300, 384)


def test_labels_keep_the_order_and_the_targets(example):
    found = labels(example)
    assert np.allclose(found.targets[:, 0], [c.target.area for c in example.crystals])
    assert found.model.tolist() == [c.model for c in example.crystals]
    assert found.refractive_index.tolist() == [c.refractive_index for c in example.crystals]
    assert np.allclose(found.boxes[:, 2] * found.boxes[:, 3], found.targets[:, 0], rtol=0.2, atol=8)
