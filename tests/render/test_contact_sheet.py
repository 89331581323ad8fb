"""The page of shapes: what is visible covers the outline once, kinds get equal room, the file is a picture."""

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import ConvexHull

from pcs_render.errors import InputError, OutputError
from pcs_render.geometry import polygon_area
from pcs_render.habits import KINDS, Shape, collection, contact_sheet
from pcs_render.habits.contact_sheet import draw
from pcs_render.habits.presets import PRESETS, cube, named


@pytest.mark.parametrize("shape", [*named(",".join(PRESETS)), *collection(25)], ids=lambda s: s.name)
def test_the_visible_faces_cover_the_outline_exactly_once(shape):
    faces, colours, edges = contact_sheet._drawing(shape)
    corners = np.concatenate(faces)
    assert np.isclose(sum(polygon_area(f) for f in faces), ConvexHull(corners).volume)  # in a plane that is the area
    assert np.abs(corners).max() <= 0.43 + 1e-9
    assert len(colours) == len(faces)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert len(edges) == sum(len(f) for f in faces)


def test_kinds_share_the_places_and_keep_their_order():
    shapes = collection(400)
    chosen = contact_sheet._chosen(shapes)
    assert [kind for kind, _ in chosen] == list(KINDS)
    assert {len(of) for _, of in chosen} == {20}
    assert all(s.kind == kind for kind, of in chosen for s in of)
    assert len({s.name for _, of in chosen for s in of}) == 100
    few = [s for s in shapes if s.kind != "rod"][:100] + [s for s in shapes if s.kind == "rod"][:3]
    chosen = dict(contact_sheet._chosen(few))
    assert len(chosen["rod"]) == 3
    assert sum(len(of) for of in chosen.values()) == 100


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (7, 10), (150, 10), (150, 25)])
def test_a_picture_is_drawn_for_any_number_of_shapes(tmp_path, count, columns):
    draw(collection(count), tmp_path / "sheet.png", columns)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        grey = np.array(image.convert("L"))
    assert grey.max() == 255
    assert grey.min() < 64
    assert (grey < 250).mean() > 0.05
    assert np.array_equal(grey[0], np.full(grey.shape[1], 255))  # nothing is cut off at the top
    assert np.array_equal(grey[:, -1], np.full(len(grey), 255))


def test_what_cannot_be_drawn_or_written(tmp_path):
    with pytest.raises(InputError, match="0 shapes"):
        draw([], tmp_path / "x.png")
    with pytest.raises(InputError, match="0 columns"):
        draw([cube()], tmp_path / "x.png", 0)
    with pytest.raises(OutputError, match="nowhere"):
        draw([cube()], tmp_path / "nowhere" / "x.png")
    with pytest.raises(InputError, match="plane"):
        draw([Shape("flat", np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]]), "plate", "")], tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
