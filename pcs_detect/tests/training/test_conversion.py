"""What ``convert`` writes, read by the data set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPoint, Polygon
from test_labelme import SIZE, converted, shape, write

from pcs_augment.data import PcsDataset
from pcs_detect.boxes import corners
from pcs_detect.training.data.datasets import CrystalDataset


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 40)), min_size=3, max_size=9))
def test_both_formats_are_read_alike(tmp_path_factory, points):
    """The box is the smallest one around the polygon, in either file, up to how far numbers are rounded."""
    region = MultiPoint(points).convex_hull
    narrow = region.area < 2 or MultiPoint(points).minimum_rotated_rectangle.area < 2
    if narrow:  # nothing of it is left, or rounding makes another crystal of it
        return
    tmp_path = tmp_path_factory.mktemp("data")
    hull = [list(p) for p in region.exterior.coords[:-1]]
    write(tmp_path / "labels" / "one.json", [shape(hull)])
    boxes = []
    for format in ("coco", "pcs"):
        converted(tmp_path, format)
        instances = CrystalDataset(tmp_path / "out.json")[0]["data_samples"].gt_instances
        boxes.append(instances.bboxes.tensor[0].double().numpy())
        outline = Polygon(instances.polygons[0].numpy())
        assert outline.symmetric_difference(region).area < 0.1
    smallest = region.minimum_rotated_rectangle.area
    for box in boxes:
        assert box[2] * box[3] == pytest.approx(smallest, rel=1e-3, abs=0.1)
        grown = Polygon(corners([box + np.array([0, 0, 0.02, 0.02, 0])])[0])
        assert grown.contains(region)


def test_images_are_found_by_their_names(tmp_path):
    write(tmp_path / "labels" / "b" / "one.json", [shape()])
    write(tmp_path / "labels" / "two.json", [])
    converted(tmp_path)
    dataset = PcsDataset(tmp_path / "out.json")
    assert {tuple(dataset[i][0].shape) for i in range(2)} == {(1, *SIZE)}


def test_an_image_without_crystals_has_none(tmp_path):
    write(tmp_path / "labels" / "one.json", [])
    converted(tmp_path)
    assert len(CrystalDataset(tmp_path / "out.json")[0]["data_samples"].gt_instances.bboxes) == 0
