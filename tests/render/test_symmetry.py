"""Point groups, forms and half-space intersections: laws of groups, and SciPy as the judge of the geometry."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, HalfspaceIntersection
from scipy.spatial.distance import cdist

from pcs_render.habits import symmetry
from pcs_render.habits.polyhedron import intersect
from pcs_render.habits.symmetry import POINT_GROUPS, SYSTEMS, Cell

ORDERS = {"1": 1, "2": 2, "3": 3, "4": 4, "6": 6, "222": 4, "32": 6, "422": 8, "622": 12, "23": 12, "432": 24}

groups = st.sampled_from(POINT_GROUPS)
seeds = st.integers(0, 10**6)
faces = st.tuples(*[st.integers(-2, 2)] * 3).filter(any)


def cell_of(group, seed):
    random = np.random.default_rng(seed)
    a, b, c = random.uniform(0.5, 2, 3)
    angles = random.uniform(75, 105, 3)
    return {
        "triclinic": Cell(a, b, c, *angles),
        "monoclinic": Cell(a, b, c, beta=angles[0]),
        "orthorhombic": Cell(a, b, c),
        "tetragonal": Cell(a, a, c),
        "hexagonal": Cell(a, a, c, gamma=120),
        "cubic": Cell(a, a, a),
    }[SYSTEMS[group]]


def cartesian(group, cell):
    """The rotations as (N, 3, 3) matrices of space: lattice coordinates to space, there W, and back."""
    basis = cell.direct.T
    return np.array([basis @ np.array(w) @ np.linalg.inv(basis) for w in symmetry.rotations(group)])


@pytest.mark.parametrize("group", POINT_GROUPS)
def test_the_rotations_are_a_group_of_the_right_order(group):
    found = [np.array(w) for w in symmetry.rotations(group)]
    keys = {w.tobytes() for w in found}
    assert len(found) == len(keys) == ORDERS[group]
    assert {(a @ b).tobytes() for a, b in itertools.product(found, repeat=2)} == keys
    assert all(round(np.linalg.det(w)) == 1 for w in found)  # no mirror: the molecules are chiral


@given(groups, seeds)
def test_the_rotations_leave_every_cell_of_their_system_as_it_is(group, seed):
    cell = cell_of(group, seed)
    metric = cell.direct @ cell.direct.T
    for w in symmetry.rotations(group):
        assert np.allclose(np.array(w).T @ metric @ np.array(w), metric)


@given(groups, seeds, faces)
def test_a_form_is_an_orbit_of_face_normals(group, seed, face):
    cell = cell_of(group, seed)
    normals, lengths = cell.normals(symmetry.form(group, face))
    assert np.allclose(lengths, lengths[0])
    assert ORDERS[group] % len(normals) == 0
    for rotation in cartesian(group, cell):
        assert (cdist(normals @ rotation.T, normals).min(0) < 1e-9).all()


@given(seeds, st.sampled_from(["1", "2", "222", "32", "432"]))
def test_reciprocal_and_direct_bases_are_dual(seed, group):
    cell = cell_of(group, seed)
    assert np.allclose(cell.reciprocal @ cell.direct.T, np.eye(3))
    lengths = np.linalg.norm(cell.direct, axis=1)
    cosines = np.cos(np.radians([cell.alpha, cell.beta, cell.gamma]))
    a, b, c = cell.direct / lengths[:, None]
    assert np.allclose(lengths, (cell.a, cell.b, cell.c))
    assert np.allclose((b @ c, a @ c, a @ b), cosines)


@pytest.mark.parametrize("group", POINT_GROUPS)
def test_the_low_forms_hold_every_face_once_up_to_opposites(group):
    covered = {}
    for face in symmetry.low_forms(group):
        for member in {*symmetry.form(group, face), *symmetry.form(group, symmetry.opposite(face))}:
            assert covered.setdefault(member, face) == face
    low = {f for f in itertools.product(range(-2, 3), repeat=3) if np.gcd.reduce(f) == 1}
    assert low <= covered.keys()


@given(groups, seeds, st.lists(faces, min_size=2, max_size=3))
def test_a_crystal_without_jitter_has_the_symmetry_of_its_group(group, seed, chosen):
    cell = cell_of(group, seed)
    distances = dict(zip(chosen, np.random.default_rng(seed).uniform(0.8, 1.2, 3)))
    members = {m: d for face, d in distances.items() for m in symmetry.form(group, face)}
    normals, _ = cell.normals(tuple(members))
    crystal = len(members) <= 40 and intersect(normals, np.array(list(members.values())))
    if not crystal:  # open, as pedions are; or too many planes for a quick test
        return
    for rotation in cartesian(group, cell):
        same = cdist(crystal.normals @ rotation.T, crystal.normals)
        assert (same.min(1) < 1e-9).all()
        assert np.allclose(crystal.distances[same.argmin(1)], crystal.distances)
        assert (cdist(crystal.vertices @ rotation.T, crystal.vertices).min(1) < 1e-6).all()


def random_planes(seed, n):
    random = np.random.default_rng(seed)
    normals = random.normal(size=(n, 3))
    return normals / np.linalg.norm(normals, axis=1)[:, None], random.uniform(0.5, 1.5, n)


@given(seeds, st.integers(4, 30))
def test_intersections_are_scipys(seed, n):
    normals, distances = random_planes(seed, n)
    found = intersect(normals, distances)
    hull = ConvexHull(normals)
    enclosed = (hull.equations[:, 3] < 0).all()  # the origin lies inside the hull of the normals
    assert (found is not None) == enclosed
    if found is None:
        return
    expected = HalfspaceIntersection(np.column_stack((normals, -distances)), np.zeros(3)).intersections
    scale = np.abs(expected).max()
    gap = cdist(found.vertices, expected)
    assert max(gap.min(0).max(), gap.min(1).max()) < 1e-7 * scale
    body = ConvexHull(found.vertices)
    assert np.isclose(found.volume, body.volume)
    assert np.isclose(found.areas.sum(), body.area)
    assert len(found.vertices) - len(found.edges) + len(found.normals) == 2  # Euler


def test_planes_that_do_not_close_enclose_nothing():
    tube = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1.0]])
    assert intersect(tube, np.ones(5)) is None
    assert intersect(tube[:3], np.ones(3)) is None
    assert intersect(np.vstack((tube, [[0, 0, -1.0]])), np.ones(6)).volume == 8


def test_many_planes_through_one_corner_give_one_corner():
    """The dodecahedron {110} has corners of four faces; planes that only touch are left out."""
    normals = np.array([f for f in itertools.product((-1, 0, 1), repeat=3) if np.abs(f).sum() == 2]) / np.sqrt(2)
    touching = np.vstack((normals, np.eye(3)))
    distances = np.append(np.ones(12), [np.sqrt(2)] * 3)
    for n, d in ((normals, np.ones(12)), (touching, distances)):
        found = intersect(n, d)
        assert (len(found.vertices), len(found.edges), len(found.normals)) == (14, 24, 12)
        assert np.allclose(found.areas, found.areas[0])
