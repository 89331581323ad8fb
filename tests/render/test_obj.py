"""OBJ files: what is written comes back, and what is no collection of convex bodies is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from pcs_render.errors import DataError, InputError, OutputError
from pcs_render.geometry import solid
from pcs_render.habits import Shape, collection, obj
from pcs_render.habits.presets import PRESETS, cube, named

CUBE = "".join(f"v {x} {y} {z}\n" for x in (-1, 1) for y in (-1, 1) for z in (-1, 1))
SIDES = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]
FACES = "".join(f"f {side}\n" for side in SIDES)


@pytest.fixture
def read(tmp_path):
    def load(content):
        path = tmp_path / "shapes.obj"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return obj.load(path)

    return load


def centred(points):
    return points - (points.max(0) + points.min(0)) / 2


@given(st.integers(0, 10**6), st.integers(1, 5))
@pytest.mark.filterwarnings("ignore:.*far from 2 units")
def test_what_is_saved_comes_back(tmp_path_factory, seed, count):
    random = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("obj") / "shapes.obj"
    shapes = []
    for i in range(count):
        points = random.normal(size=(20, 3)) * random.uniform(0.5, 50, 3)
        corners = centred(points[np.sort(ConvexHull(points).vertices)])
        shapes.append(Shape(f"crystal {i} of {count}", corners, "block", "1"))
    obj.save(path, shapes)
    back = obj.load(path)
    assert [s.name for s in back] == [s.name for s in shapes]
    for one, other in zip(back, shapes):
        assert np.array_equal(one.vertices, other.vertices)


def test_the_collection_and_the_presets_survive(tmp_path):
    shapes = collection(150) + named(",".join(PRESETS)) + [cube()]
    obj.save(tmp_path / "all.obj", shapes)
    back = obj.load(tmp_path / "all.obj")
    assert [(s.name, s.kind) for s in back] == [(s.name, s.kind) for s in shapes]
    assert all(np.array_equal(a.vertices, b.vertices) for a, b in zip(back, shapes))
    obj.save(tmp_path / "again.obj", back)
    assert (tmp_path / "again.obj").read_bytes() == (tmp_path / "all.obj").read_bytes()


def test_the_faces_written_are_counter_clockwise_from_outside(tmp_path):
    obj.save(tmp_path / "cube.obj", [cube()])
    lines = (tmp_path / "cube.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v")], float)
    faces = [[int(i) - 1 for i in line.split()[1:]] for line in lines if line.startswith("f")]
    assert len(faces) == 6
    for face in faces:
        a, b, c = vertices[face[:3]]
        assert np.cross(b - a, c - b) @ a > 0


@pytest.mark.parametrize(
    "write",
    [
        lambda face: face,
        lambda face: [f"{i}/7" for i in face],
        lambda face: [f"{i}//9" for i in face],
        lambda face: [f"{i}/7/9" for i in face],
        lambda face: [str(int(i) - 9) for i in face],  # from the end
        lambda face: [f"{int(i) - 9}/-1/-1" for i in face],
    ],
)
def test_every_way_to_name_a_corner_is_read(read, write):
    faces = "".join(f"f {' '.join(write(side.split()))}\n" for side in SIDES)
    (shape,) = read(CUBE + "vt 0 0\nvn 0 0 1\n" + faces)
    assert np.array_equal(np.unique(shape.vertices, axis=0), np.unique(cube().vertices, axis=0))
    assert (shape.kind, shape.point_group) == ("block", "")


def test_other_lines_and_layouts_are_understood(read):
    second = "".join("f " + " ".join(str(int(i) + 8) for i in side.split()) + "\n" for side in SIDES)
    header = "# a comment\nmtllib shapes.mtl\n\n"
    named_o = read(header + f"o first one\n{CUBE}usemtl glass\ns off\ng part\n{FACES}o second\n{CUBE}{second}")
    assert [s.name for s in named_o] == ["first one", "second"]
    named_g = read(header + f"g first\n{CUBE}{FACES}g second\n{CUBE}{second}")
    assert [s.name for s in named_g] == ["first", "second"]
    vertices_first = read(header + CUBE + CUBE + f"o a\n{FACES}o b\n{second}")
    assert [s.name for s in vertices_first] == ["a", "b"]
    unnamed = read(CUBE)
    assert len(unnamed) == 1
    windows = read((CUBE + FACES).replace("\n", "\r\n"))
    continued = read(CUBE + FACES.replace("1 2 4 3", "1 2 \\\n4 3"))
    corners_for_each_face = read("".join(f"v {p}\n" for side in SIDES for p in _corners(side)) + _numbered())
    for shapes in (named_o, named_g, vertices_first, unnamed, windows, continued, corners_for_each_face):
        for shape in shapes:
            assert np.array_equal(np.unique(shape.vertices, axis=0), np.unique(cube().vertices, axis=0))


def _corners(side):
    lines = [line[2:] for line in CUBE.splitlines()]
    return [lines[int(i) - 1] for i in side.split()]


def _numbered():
    return "".join(f"f {4 * n + 1} {4 * n + 2} {4 * n + 3} {4 * n + 4}\n" for n in range(6))


def test_shapes_are_centred_and_neither_turned_nor_scaled(read):
    points = np.array([[3, 0, 0], [11, 0, 0], [3, 5, 0], [3, 0, 2], [11, 5, 2.0]])
    (shape,) = read("".join(f"v {x} {y} {z}\n" for x, y, z in points.tolist()))
    assert np.allclose(shape.vertices, points - [7, 2.5, 1])


def test_points_within_a_face_are_no_corners(read):
    (shape,) = read(CUBE + "v 0 0 1\nv 1 0.25 0\nv 1 1 0\n")
    assert len(shape.vertices) == 8


BOX = [f"{x} {y} {z}" for x in (0, 4) for y in (0, 1) for z in (0, 1)]
DENT = CUBE + "v 0 0 0.5\n" + "".join(f"f {s}\n" for s in SIDES[:-1]) + "f 2 6 9\nf 6 8 9\nf 8 4 9\nf 4 2 9\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no objects"),
        ("# nothing\no empty\n", "holds no objects"),
        (CUBE + FACES + "f 1 2 9\n", r"line 15: a face names vertex 9, but 8 vertices"),
        (CUBE + "f 1 2 0\n", "line 9: a face names vertex 0"),
        (CUBE + "f 1 2 -9\n", "line 9: a face names vertex -9"),
        ("f 1 2 3\n" + CUBE, "line 1: a face names vertex 1, but 0 vertices"),
        (CUBE + "f 1 2\n", "line 9: a face has 2 corners"),
        (CUBE + "f 1 two 3\n", "line 9: the corner 'two'"),
        (CUBE + "f 1 2/ /3\n", "line 9: the corner '/3'"),
        ("v 1 2\n", "line 1: the vertex '1 2' is not three finite numbers"),
        ("v 1_0 2 3\n", "line 1: the vertex '1_0 2 3'"),
        ("v 1 2 x\n", "line 1: the vertex '1 2 x'"),
        ("v 1 nan 3\n", "line 1: the vertex '1 nan 3'"),
        ("v 1 2 1e400\n", "line 1: the vertex '1 2 1e400'"),
        ("v 1 2 1e200\n", "line 1: the vertex '1 2 1e200'"),
        ("o tri\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "object 'tri' from line 1 on is no body.*at least 4 corners"),
        ("o flat\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 4 3\n", "object 'flat' from line 1 on is no body.*in a plane"),
        ("o one point\n" + "v 1 1 1\n" * 8, "object 'one point' from line 1 on is no body"),
        ("o dent\n" + DENT, "object 'dent' from line 1 on is not convex: .*face in line"),
        ("o inner\n" + CUBE + "v 0 0 0\n", "object 'inner' from line 1 on is not convex: its vertex"),
        ("o open\n" + CUBE + "".join(FACES.splitlines(True)[:-1]), "object 'open' from line 1 on is not closed"),
        ("o twice\n" + CUBE + FACES + "f 1 2 4 3\n", "object 'twice' from line 1 on is not closed"),
        (f"o good\n{CUBE}{FACES}o bad\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 9 10 11\n", "object 'bad' from line 16 on"),
        ("o many\n" + CUBE + FACES * 3, "object 'many' from line 1 on is not closed: 8 corners cannot have 18 faces"),
        (b"v 1 2 3\n\x00\x01\x02", "line 2 holds a zero byte"),
        (b"v " + b"1" * 70000, "line 1 has more than 65536 bytes"),
        (b"v 1 2 3 \\\n" * 20000, "has more than 65536 bytes"),
        (b"\xff\xfe\x80 \xc3\n", "holds no objects"),
    ],
)
def test_what_is_no_collection_of_convex_bodies_is_refused(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content)


def test_a_twisted_face_is_refused(read):
    text = "".join(f"v {p}\n" for p in BOX) + FACES
    assert read(text)
    with pytest.raises(DataError, match="not convex"):
        read(text.replace("v 4 1 1", "v 4 1 1.3"))


@given(st.binary(max_size=300) | st.text("vfog 0123456789-./\\\n#e", max_size=300).map(str.encode))
def test_no_bytes_do_more_than_raise_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "x.obj"
    path.write_bytes(content)
    try:
        shapes = obj.load(path)
    except DataError:
        shapes = []
    for shape in shapes:
        assert len(solid(shape.vertices).vertices) == len(shape.vertices) >= 4


def test_sizes_are_bounded(read, tmp_path, monkeypatch):
    monkeypatch.setattr(obj, "MOST_CORNERS", 7)
    with pytest.raises(DataError, match="has 8 vertices; at most 7"):
        read(CUBE + FACES)
    monkeypatch.setattr(obj, "LARGEST_FILE", 100)
    with pytest.raises(DataError, match="at most 100 bytes"):
        read(CUBE + FACES)


def test_missing_and_unwritable_files(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        obj.load(tmp_path / "missing.obj")
    with pytest.raises(DataError, match="is no file"):
        obj.load(tmp_path)
    with pytest.raises(OutputError, match="nowhere"):
        obj.save(tmp_path / "nowhere" / "x.obj", [cube()])
    with pytest.raises(InputError, match="no shapes"):
        obj.save(tmp_path / "x.obj", [])
    flat = Shape("flat", np.eye(4, 3) * [1, 1, 0], "block", "")
    with pytest.raises(InputError):
        obj.save(tmp_path / "x.obj", [cube(), flat])
    assert list(tmp_path.iterdir()) == []
