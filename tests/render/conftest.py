"""Fixtures, and a deterministic hypothesis profile."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from pcs_render.geometry import hull_edges

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def random_shapes(count: int, seed: int = 0) -> list[np.ndarray]:
    """Convex shapes that owe nothing to the library's own: random corners on stretched spheres."""
    random = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        points = random.normal(size=(14, 3))
        points /= np.linalg.norm(points, axis=1)[:, None]
        points[:, 0] *= random.uniform(1, 3)
        shapes.append(hull_edges(points)[0].round(6))
    return shapes


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Shapes are kept for the tests of one run only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shapes() -> list[np.ndarray]:
    return random_shapes(40)
