import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.crystals import drawing

RED = (255, 0, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(40, 80),
    st.floats(40, 80),
    st.floats(10, 30),
    st.floats(6, 20),
    st.floats(-math.pi / 2, math.pi / 2),
    st.floats(1, 2),
)
def test_lines_lie_on_the_sides_of_the_box_and_nowhere_else(cx, cy, w, h, theta, scale):
    picture = drawing.draw_boxes(np.full((120, 120), 100, np.uint8), [[cx, cy, w, h, theta]], RED, width=2, scale=scale)
    assert picture.shape == (round(120 * scale), round(120 * scale), 3)
    y, x = (np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5) / scale
    u = abs((x - cx) * np.cos(theta) + (y - cy) * np.sin(theta))  # in the axes of the box
    v = abs((y - cy) * np.cos(theta) - (x - cx) * np.sin(theta))
    off = np.where(
        (u <= w / 2) & (v <= h / 2), np.minimum(w / 2 - u, h / 2 - v), np.hypot((u - w / 2).clip(0), (v - h / 2).clip(0))
    )
    drawn = (picture != 100).any(-1)
    assert not drawn[off * scale > 3].any()
    near = picture[off * scale < 0.6].astype(int)
    assert len(near) > 20
    assert (near[:, 0] - near[:, 1] > 80).all()


def test_no_boxes_leave_the_image_alone():
    grey = np.random.default_rng(0).integers(0, 256, (30, 50), dtype=np.uint8)
    for empty in ([], np.zeros((0, 5))):
        assert np.array_equal(drawing.draw_boxes(grey, empty), np.repeat(grey[..., None], 3, -1))
        assert np.array_equal(drawing.prediction(grey, empty, empty), np.repeat(grey[..., None], 3, -1))


def test_predictions_lie_above_labels_and_both_are_scaled():
    box = [[20.0, 20, 16, 8, 0]]
    other = [[60.0, 20, 16, 8, 0]]
    picture = drawing.prediction(np.zeros((40, 80), np.uint8), box, [*box, *other], scale=2)
    assert tuple(picture[32, 40]) == drawing.PREDICTED  # y = 16, the upper side of both
    red, green, blue = picture[32, 120].astype(int)
    assert red > blue > green  # half of the thin line lies on this pixel


def test_a_contact_sheet_holds_every_picture():
    tiles = [np.full((10, 12), 10 * i, np.uint8) for i in range(1, 6)]
    sheet = drawing.contact_sheet(tiles, columns=3)
    for i in range(1, 6):
        assert (sheet == 10 * i).all(-1).sum() == 120
    assert drawing.contact_sheet([]).size >= 0
