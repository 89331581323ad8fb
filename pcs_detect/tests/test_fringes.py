"""Periodic patterns go, everything else stays."""

import numpy as np
import pytest
from fixed_network import FixedNetwork
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_views import Told

from pcs_detect.errors import InputError
from pcs_detect.inference.detector import Detector
from pcs_detect.inference.look import Look
from pcs_detect.photographs import without_fringes


def scene(seed: int, height: int, width: int, noise: float = 3.0) -> np.ndarray:
    """Light that falls off, straight edges in all directions, a black corner, grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    grey = 150 + 40 * x / width - 30 * (y / height) ** 2
    for _ in range(12):
        angle = rng.uniform(0, np.pi)
        across = (x - rng.uniform(0, width)) * np.cos(angle) + (y - rng.uniform(0, height)) * np.sin(angle)
        along = (y - rng.uniform(0, height)) * np.cos(angle) - (x - rng.uniform(0, width)) * np.sin(angle)
        grey += rng.uniform(-40, 40) * ((abs(across) < rng.uniform(2, 30)) & (abs(along) < rng.uniform(20, 200)))
    grey[np.hypot(x, y) < min(height, width) / 3] = 15
    return np.clip(grey + rng.normal(0, noise, grey.shape), 0, 255).astype(np.float32)


def waves(height: int, width: int, period: float, angle: float, amplitude: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = 2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle))
    return (amplitude * np.sin(phase)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(200, 420),
    st.integers(200, 420),
    st.floats(2.5, 20),
    st.floats(0, np.pi),
    st.floats(15, 40),
)
@example(0, 384, 384, 8.0, 0.0, 20.0)
@example(0, 201, 387, 2.5, np.pi / 2, 20.0)
def test_fringes_of_any_direction_go(seed, height, width, period, angle, amplitude):
    plain = np.clip(scene(seed, height, width), 60, 190)  # nothing is cut off below
    pattern = waves(height, width, period, angle, amplitude)
    clean = without_fringes(plain + pattern)
    assert clean.dtype == np.float32
    assert clean.shape == plain.shape
    left = np.sqrt(np.mean((clean - plain) ** 2))
    assert left < 0.5 * np.sqrt(np.mean(pattern**2))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 420), st.integers(1, 420), st.sampled_from([0.0, 1.0, 5.0, 30.0]))
@example(0, 1, 1, 0.0)
@example(0, 64, 64, 0.0)
@example(0, 65, 419, 0.0)
def test_what_has_no_fringes_hardly_changes(seed, height, width, noise):
    """Steps of pixels along slanted edges repeat a little; what they are worth cannot be seen."""
    grey = scene(seed, height, width, noise)
    assert abs(without_fringes(grey) - grey).mean() < 0.5


@pytest.mark.parametrize("level", [0.0, 130.0, 255.0])
def test_one_level_stays_one_level(level):
    grey = np.full((100, 130), level, np.float32)
    assert without_fringes(grey) is grey


@pytest.mark.parametrize("noise", [1.0, 20.0])
def test_grain_alone_comes_back_untouched(noise):
    rng = np.random.default_rng(3)
    for size in ((384, 384), (300, 517), (1201, 900)):
        grey = np.clip(rng.normal(128, noise, size), 0, 255).astype(np.float32)
        assert without_fringes(grey) is grey


@pytest.mark.parametrize("count", range(2, 8))
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_equal_crystals_in_a_row_are_no_fringes(count, noise):
    rng = np.random.default_rng(count)
    for height, width in ((384, 384), (240, 320)):
        y, x = np.mgrid[:height, :width]
        grey = 140 + rng.normal(0, noise, (height, width))
        for k in range(count):
            grey[(abs(y - 20 - 30 * k) < 8) & (abs(x - 150) < 40)] = 200
        grey = grey.astype(np.float32)
        assert without_fringes(grey) is grey


def test_a_photograph_turned_is_the_same_photograph():
    grey = scene(5, 300, 420) * 0.7 + waves(300, 420, 9.0, 0.4, 25) + 30
    clean = without_fringes(grey)
    assert abs(clean - grey).mean() > 5
    for turn, back in ((np.transpose, np.transpose), (np.fliplr, np.fliplr), (np.flipud, np.flipud)):
        turned = without_fringes(np.ascontiguousarray(turn(grey)))
        assert abs(back(turned) - clean).mean() < 0.5


def test_grey_values_stay_within_black_and_white():
    clean = without_fringes(np.clip(scene(2, 256, 300) + waves(256, 300, 6.0, 1.0, 120), 0, 255))
    assert clean.min() >= 0
    assert clean.max() <= 255


def test_the_detector_sees_photographs_without_fringes_unless_told_otherwise():
    grey = scene(1, 256, 256) * 0.7 + waves(256, 256, 7.0, 0.3, 30) + 30
    shown = {}
    for fringes in ("remove", "keep"):
        network = Told((np.zeros((0, 5)), np.zeros(0)))
        network.look = Look(grey="none")
        detector = Detector(network, fringes=fringes)
        detector.detect(grey)
        assert detector.settings["fringes"] == fringes
        (seen,) = network.seen
        before = (np.array(seen.shape) - 256) // 2
        shown[fringes] = seen[before[0] : before[0] + 256, before[1] : before[1] + 256]
    np.testing.assert_array_equal(shown["keep"], grey)
    np.testing.assert_array_equal(shown["remove"], without_fringes(grey))


def test_another_word_is_refused():
    with pytest.raises(InputError, match="fringes are given as remove or keep; 'maybe' is neither"):
        Detector(FixedNetwork(), fringes="maybe")
