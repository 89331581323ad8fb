"""The collection of shapes: its laws, its variety, and the habits of known crystals."""

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from pcs_render import geometry as G
from pcs_render import habits
from pcs_render.errors import DataError, InputError
from pcs_render.habits import KINDS, SHARES, collect, collection, presets
from pcs_render.habits.shape import measure
from pcs_render.settings import Settings

FIRST_HUNDRED = "f5d54523d2bd2beadb501240d2c89b224e4fc2df464b6517c1bdfc14b0d4ef76"  # SHA-256 of the corners with seed 0


@pytest.fixture(scope="module")
def crystals():
    return collection()


def digest(shapes):
    return hashlib.sha256(b"".join(s.vertices.astype("<f8").tobytes() for s in shapes)).hexdigest()


def face_normals(vertices):
    body = G.solid(vertices)
    out = []
    for face in body.faces:
        corners = body.vertices[face]
        area = np.cross(corners - corners[0], np.roll(corners, -1, axis=0) - corners[0]).sum(0)
        out.append(area / np.linalg.norm(area))
    return np.array(out)


def test_there_are_as_many_as_published_and_each_is_a_body_of_its_own_name(crystals):
    assert len(crystals) == 1851
    assert len({s.name for s in crystals}) == 1851
    for s in crystals:
        assert s.vertices.dtype == np.float64
        assert len(ConvexHull(s.vertices).vertices) == len(s.vertices)  # every one a corner


def test_the_kinds_are_equally_frequent_and_what_they_are_called(crystals):
    counts = Counter(s.kind for s in crystals)
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1
    for s in crystals:
        length, width, thickness, fill = found = measure(s.vertices)
        assert found.kind == s.kind
        assert {
            "plate": thickness <= width / 2,
            "bipyramid": fill <= 0.55 and thickness > width / 2,
            "needle": length >= 3 * width and fill > 0.55,
            "rod": 1.5 * width <= length < 3 * width and fill > 0.55,
            "block": length < 1.5 * width and fill > 0.55,
        }[s.kind]


def test_the_long_axis_is_x_and_the_half_extents_across_are_one_on_average(crystals):
    for s in crystals:
        low, high = s.vertices.min(0), s.vertices.max(0)
        assert np.abs(low + high).max() < 3e-6
        length, width, thickness = high - low
        assert length >= width - 3e-6
        assert width >= thickness - 3e-6
        assert abs((width + thickness) / 4 - 1) < 3e-6
        assert abs(measure(s.vertices).thickness - thickness) < 1e-4


def test_the_volume_is_spread_most_widely_along_x(crystals):
    random = np.random.default_rng(0)
    for s in crystals[::20]:
        points = random.uniform(s.vertices.min(0), s.vertices.max(0), (20000, 3))
        planes = ConvexHull(s.vertices).equations
        spread = np.cov(points[(points @ planes[:, :3].T + planes[:, 3] <= 0).all(1)].T)
        assert spread[0, 0] > 0.85 * np.linalg.eigvalsh(spread[1:, 1:])[1]


@pytest.mark.parametrize("elongation", [0.5, 6.0])
def test_elongated_crystals_keep_the_directions_of_their_faces(crystals, elongation):
    for s in crystals[::10]:
        before, after = face_normals(s.vertices), face_normals(G.elongated(s.vertices, elongation))
        assert len(before) == len(after)
        assert cdist(before, after).min(0).max() < 1e-4


def test_nothing_is_too_small_to_be_seen(crystals):
    for s in crystals:
        found = measure(s.vertices)
        assert found.width / found.thickness <= collect.THINNEST + 1e-4
        assert found.length / found.width <= collect.LONGEST + 1e-4
        corners, edges = G.hull_edges(s.vertices)
        assert np.linalg.norm(corners[edges[:, 0]] - corners[edges[:, 1]], axis=1).min() > collect.SHORTEST_EDGE - 1e-5


def test_no_two_are_alike_however_one_is_turned_over(crystals):
    random = np.random.default_rng(1)
    rings, rolls = np.radians([15, 45, 75, 105, 135, 165]), np.arange(24) * np.pi / 12
    a, r = (grid.reshape(-1) for grid in np.meshgrid(rings, rolls, indexing="ij"))
    directions = np.stack((np.cos(a), np.sin(a) * np.cos(r), np.sin(a) * np.sin(r)), -1)

    def supports(turn):
        return np.array([(s.vertices @ turn @ directions.T).max(0) for s in crystals])

    still = supports(np.eye(3))
    turns = [np.diag(signs) for signs in np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [1, 1, -1], [-1, -1, -1]])]
    angle = np.pi / 12 * random.integers(1, 24)
    c, s = np.cos(angle), np.sin(angle)
    turns.append(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]))
    for n, turn in enumerate(turns):
        apart = cdist(still, supports(turn), "chebyshev")
        apart[np.diag_indices(len(apart))] = 1 if n == 0 else np.diag(apart) + 1
        assert apart.min() > collect.ALIKE - 1e-9


def test_point_groups_have_about_their_shares(crystals):
    counts = Counter(s.point_group for s in crystals)
    assert abs(sum(SHARES.values()) - 1) < 1e-12
    for group, share in SHARES.items():
        assert abs(counts[group] / len(crystals) - share) < 0.02
        assert counts[group] > 0


def test_a_smaller_collection_is_the_beginning_of_a_larger_one(crystals):
    assert digest(collection(60)) == digest(crystals[:60])
    assert [s.name for s in collection(60)] == [s.name for s in crystals[:60]]


def test_another_seed_gives_other_shapes():
    first, second = collection(30, 0), collection(30, 1)
    assert not {s.vertices.tobytes() for s in first} & {s.vertices.tobytes() for s in second}


def test_the_corners_have_the_same_bits_in_every_process_and_on_every_machine(crystals):
    code = (
        "import hashlib; from pcs_render.habits import collection;"
        "print(hashlib.sha256(b''.join(s.vertices.astype('<f8').tobytes() for s in collection(25))).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == digest(crystals[:25])
    assert digest(crystals[:100]) == FIRST_HUNDRED


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-3, 0), (1, -1), (1, 2**63)])
def test_impossible_collections_are_refused(count, seed):
    with pytest.raises(InputError, match=str(seed if count == 1 else count)):
        collection(count, seed)


def test_running_out_of_different_shapes_is_an_error(monkeypatch):
    monkeypatch.setattr(collect, "ALIKE", 50.0)
    monkeypatch.setattr(collect, "TRIES", 30)
    with pytest.raises(InputError, match="no 2 different shapes"):
        collection(2, 99)


def angles(name):
    """Degrees between the normals of every two faces, as they come, rounded."""
    (shape,) = presets.named(name)
    normals = face_normals(shape.vertices)
    pairs = np.degrees(np.arccos(np.clip(normals @ normals.T, -1, 1)))[np.triu_indices(len(normals), 1)]
    return normals, Counter(pairs.round(1).tolist())


def test_tetragonal_lysozyme_has_the_angles_of_its_cell():
    normals, found = angles("lysozyme-tetragonal")
    assert len(normals) == 12  # four of {110}, eight of {101}
    a2, c2 = 79.1**2, 37.9**2
    around = np.degrees(np.arccos(a2 / (a2 + c2)))  # (101) ^ (011)
    over = np.degrees(np.arccos((a2 - c2) / (a2 + c2)))  # (101) ^ (-101)
    prism = np.degrees(np.arccos(np.sqrt(c2 / (a2 + c2) / 2)))  # (110) ^ (101)
    expected = {round(around, 1): 8, round(over, 1): 4, round(prism, 1): 16, 90.0: 4, 180.0: 6}
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    ("name", "faces", "expected"),
    [
        ("insulin-cubic", 12, {60.0: 24, 90.0: 12, 120.0: 24, 180.0: 6}),
        ("apoferritin", 8, {70.5: 12, 109.5: 12, 180.0: 4}),
    ],
)
def test_cubic_crystals_have_the_angles_of_their_form(name, faces, expected):
    normals, found = angles(name)
    assert len(normals) == faces
    assert found == expected


def test_canavalin_is_the_rhombohedron_of_its_primitive_cell():
    """In rhombohedral axes the cell is a = 83 A, alpha = 111.1 degrees, and the faces are {100}."""
    cosine = np.cos(np.radians(111.1))
    between = np.degrees(np.arccos(-cosine / (1 + cosine)))
    normals, found = angles("canavalin")
    assert len(normals) == 6
    assert min(min(abs(angle - between), abs(180 - angle - between)) for angle in found) < 0.5
    assert len(found) == 3  # that angle, its supplement, and 180


@pytest.mark.parametrize(("name", "a", "c"), [("thaumatin", 58.6, 151.8), ("proteinase-k", 68.3, 108.5)])
def test_tetragonal_bipyramids_are_as_slender_as_their_cells(name, a, c):
    (shape,) = presets.named(name)
    assert shape.kind == "bipyramid"
    length, width, thickness, _ = measure(shape.vertices)
    assert abs(length / width - c / a) < 1e-4
    assert abs(width - thickness) < 1e-4


def test_every_preset_is_in_its_frame_and_says_what_it_is():
    for name, habit in presets.PRESETS.items():
        (shape,) = presets.named(name)
        assert (shape.name, shape.point_group) == (name, habit.point_group)
        assert abs(np.ptp(shape.vertices, axis=0)[1:].sum() / 4 - 1) < 3e-6
        assert np.ptp(shape.vertices, axis=0).argmax() == 0
        assert "{" in habit.protein


def test_settings_name_the_shapes(tmp_path):
    assert [s.name for s in habits.shapes(Settings(shapes="preset:thaumatin, insulin-cubic"))] == ["thaumatin", "insulin-cubic"]
    (cube,) = habits.shapes(Settings(shapes="cube"))
    assert measure(cube.vertices) == pytest.approx((2, 2, 2, 1))
    assert digest(habits.shapes(Settings(shape_count=7, shape_seed=3))) == digest(collection(7, 3))
    with pytest.raises(InputError, match=r"no preset 'lysozym'.*lysozyme-tetragonal.*thaumatin"):
        habits.shapes(Settings(shapes="preset:lysozym"))
    with pytest.raises(DataError, match=r"missing\.obj.*preset:NAME"):
        habits.shapes(Settings(shapes=str(tmp_path / "missing.obj")))
