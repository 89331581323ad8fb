"""The mesh that makes glass edges round: a closed surface on the crystal's own faces."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcs_render.geometry import solid
from pcs_render.meshes import rounded


def convex(seed, n):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    return solid(points / np.linalg.norm(points, axis=1, keepdims=True))


def prism(k):
    angle = np.arange(k) / k * 2 * np.pi
    ring = np.stack((np.cos(angle), np.sin(angle)), -1)
    return solid(np.concatenate([np.c_[np.full(k, x), ring] for x in (-2.0, 2.0)]))


def area_vectors(points, faces):
    """(F, 3): normal times area of each polygon."""
    p = np.array(points)
    return np.array([sum(np.cross(p[a], p[b]) for a, b in zip(f, f[1:] + f[:1])) / 2 for f in faces])


def check(body, cuts):
    points, faces = rounded(body.vertices, body.faces, cuts)
    sides = Counter((a, b) for f in faces for a, b in zip(f, f[1:] + f[:1]))
    assert max(sides.values()) == 1
    assert set(sides) == {(b, a) for a, b in sides}  # closed, and every neighbour turns the same way
    before, after = area_vectors(body.vertices, body.faces), area_vectors(points, faces)
    length = np.linalg.norm(after, axis=1)
    assert length.min() > 0
    # every new face lies in an old one and points outwards like it, and nothing is lost
    cosine = (after / length[:, None]) @ (before / np.linalg.norm(before, axis=1, keepdims=True)).T
    assert cosine.max(1).min() > 1 - 1e-9
    np.testing.assert_allclose(length.sum(), np.linalg.norm(before, axis=1).sum())
    return np.array(points), faces, length


@given(seed=st.integers(0, 999), n=st.integers(4, 14), cuts=st.integers(1, 30))
def test_it_covers_the_faces_of_any_solid_once(seed, n, cuts):
    check(convex(seed, n), cuts)


@pytest.mark.parametrize("k", [3, 4, 5, 6, 8])
def test_the_flat_middle_grows_with_the_number_of_cuts(k):
    body = prism(k)
    middles = []
    for cuts in (3, 10, 30):
        _, faces, area = check(body, cuts)
        middle = [i for i, f in enumerate(faces) if min(f) >= len(body.vertices) and len(f) == k]
        middles.append(area[middle].sum())
    assert middles == sorted(middles)
    assert len(set(middles)) == 3


@pytest.mark.parametrize("cuts", [3, 10])
def test_triangles_and_quadrilaterals_are_divided_at_the_first_lines_of_a_grid(cuts):
    n = cuts + 1
    square = solid(np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float))
    points, _, _ = check(square, cuts)
    lines = np.array([0, 1 / n, 1 - 1 / n, 1])
    assert np.abs(points[..., None] - lines).min(-1).max() < 1e-12
    corner = solid(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float))
    points, _, _ = check(corner, cuts)
    grid = points * n
    assert np.abs(grid - np.rint(grid)).max() < 1e-12
