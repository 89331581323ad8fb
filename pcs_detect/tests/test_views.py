"""A photograph seen in several orientations: boxes come back to their crystals, and agreement decides about scores."""

import numpy as np
import pytest
from fixed_network import FixedNetwork
from hypothesis import given
from hypothesis import strategies as st
from test_predict import all_found, photograph

from pcs_detect.boxes import corners, to_le90
from pcs_detect.errors import InputError
from pcs_detect.inference.detector import Detector
from pcs_detect.inference.views import ORIENTATIONS, Views
from pcs_detect.overlaps import rotated_iou


class Told(FixedNetwork):
    """Gives what it is told, picture after picture."""

    def __init__(self, *found):
        super().__init__()
        self.found, self.seen = list(found), []

    def find(self, images):
        self.seen += images
        return [self.found.pop(0) for _ in images]


def turned(boxes, size, way):
    """Boxes of a picture of ``size`` (H, W), in the picture turned by ``way``: of the corners, one by one."""
    mirror_x, mirror_y, transpose = way
    points = corners(boxes)
    if mirror_x:
        points[..., 0] = size[1] - points[..., 0]
    if mirror_y:
        points[..., 1] = size[0] - points[..., 1]
    if transpose:
        points = points[..., ::-1]
    along, across = points[:, 1] - points[:, 0], points[:, 2] - points[:, 1]
    sides = np.hypot(*along.T), np.hypot(*across.T)
    return to_le90(np.column_stack((points.mean(1), *sides, np.arctan2(along[:, 1], along[:, 0]))))


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.lists(
        st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(4, 40), st.floats(0.1, 0.9), st.floats(-4, 4)),
        min_size=1,
        max_size=4,
    ),
)
def test_boxes_of_every_orientation_come_back_to_their_pixels(size, crystals):
    boxes = np.array(crystals)
    boxes[:, 3] *= boxes[:, 2]  # squares have no direction that a mean could keep
    boxes[:, 0] += 200 * np.arange(len(boxes))  # far apart, so none fells another
    boxes, scores = to_le90(boxes), np.linspace(0.9, 0.5, len(boxes))
    network = Told(*((turned(boxes, size, way), scores) for way in ORIENTATIONS))
    ((found, rates),) = Views(network, 8, 0.3).find([np.zeros(size, np.float32)])
    np.testing.assert_allclose(rates, scores)
    assert np.diagonal(rotated_iou(found, boxes)).min() > 1 - 1e-6


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_every_orientation_is_seen_once(count):
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    nothing = (np.zeros((0, 5)), np.zeros(0))
    network = Told(*[nothing] * count)
    ((boxes, scores),) = Views(network, count, 0.3).find([picture])
    assert boxes.shape == (0, 5)
    assert scores.shape == (0,)
    np.testing.assert_array_equal(network.seen[0], picture)
    assert len({seen.tobytes() + bytes(seen.shape) for seen in network.seen}) == count
    turns = {np.rot90(picture, k).tobytes() for k in range(4)}
    assert count != 4 or {seen.tobytes() for seen in network.seen} == turns


def test_what_one_view_alone_sees_counts_half_in_two_and_what_all_see_as_the_mean():
    size, (one, other) = (60, 80), np.array([[20.0, 20, 16, 8, 0.3], [60, 40, 12, 6, -0.4]])
    network = Told(([one, other], [0.9, 0.6]), (turned([one], size, ORIENTATIONS[1]), [0.5]))
    ((boxes, scores),) = Views(network, 2, 0.3).find([np.zeros(size, np.float32)])
    np.testing.assert_allclose(scores, [0.7, 0.3])
    np.testing.assert_allclose(boxes, [one, other], atol=1e-9)


def test_sides_become_the_mean_of_what_the_views_say():
    size, wide, narrow = (60, 80), np.array([[20.0, 20, 20, 10, 0.0]]), np.array([[20.0, 20, 18, 10, 0.0]])
    network = Told((wide, [0.8]), (turned(narrow, size, ORIENTATIONS[1]), [0.8]))
    ((boxes, _),) = Views(network, 2, 0.3).find([np.zeros(size, np.float32)])
    assert 18 < boxes[0, 2] < 20
    np.testing.assert_allclose(boxes[0, [0, 1, 3, 4]], [20, 20, 10, 0], atol=1e-9)


@pytest.mark.parametrize("views", [2, 4, 8])
def test_a_detector_finds_every_crystal_once_however_the_photograph_lies(views):
    pixels, boxes = photograph(200, 280, count=12)
    for way in ORIENTATIONS:
        lying = pixels[:: -1 if way[1] else 1, :: -1 if way[0] else 1]
        lying = lying.T if way[2] else lying
        crystals = Detector(FixedNetwork(), score=0.05, views=views).predict(lying)
        assert all_found(crystals, turned(boxes, pixels.shape, way), 0.6)


@pytest.mark.parametrize("views", [0, 3, 16, -1])
def test_another_number_of_views_is_refused(views):
    with pytest.raises(InputError, match=rf"views is {views}; it takes 1, 2, 4 or 8"):
        Detector(FixedNetwork(), views=views)
