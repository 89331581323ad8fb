"""Outlines over images, and sheets of images."""

import numpy as np
import pytest
from samples import UNBIASED, boxes_of, drawn

from pcs_augment.boxes import box_corners
from pcs_render import draw
from pcs_render.geometry import min_area_rect


def test_size_classes_by_box_area():
    areas = np.array([4, 63.9, 64, 576, 576.1, 9000])
    assert draw.size_classes(boxes_of(areas, np.full(6, 2.0), np.zeros(6))).tolist() == [0, 0, 1, 1, 2, 2]


def test_corners_enclose_the_box_they_came_from():
    for box in boxes_of(*drawn(UNBIASED, 40)[:, :3].T):
        assert min_area_rect(box_corners(np.asarray(box))) == pytest.approx(tuple(box), abs=1e-6)


def test_outlines_are_drawn_where_the_polygons_are():
    grey = np.full((40, 60), 100, np.uint8)
    square = np.array([[10, 5], [50, 5], [50, 35], [10, 35]])
    out = draw.outlined(grey, [square], [(255, 0, 0)])
    y, x = np.nonzero((out != 100).any(-1))
    edge = np.minimum.reduce([np.abs(x + 0.5 - s) for s in (10, 50)] + [np.abs(y + 0.5 - s) for s in (5, 35)])
    assert edge.max() <= 1
    assert {4, 5, 34, 35} >= {y.min(), y.max()}
    assert {9, 10, 49, 50} >= {x.min(), x.max()}
    assert (out[5:35, 9:11, 0].max(1) > 150).all()
    assert (out[12:30, 14:45] == 100).all()
    assert draw.outlined(grey, [square], scale=2).shape == (80, 120, 3)
    assert (grey == 100).all()


def test_a_sheet_holds_every_image_once():
    images = [np.full((10 + i, 20), i, np.uint8) for i in range(7)]
    out = draw.sheet(images, columns=3, gap=2)
    assert out.shape == (3 * 16 + 2 * 2, 3 * 20 + 2 * 2, 3)
    assert [(out == i).all(-1).sum() for i in range(7)] == [i.size for i in images]
    assert draw.sheet([]).shape == (1, 1, 3)
