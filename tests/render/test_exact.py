"""Random numbers and functions that are the same everywhere."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pcs_render import exact


@given(st.floats(-50, 50))
def test_exp_is_within_four_last_places(x):
    assert abs(float(exact.exp(x)) - math.exp(x)) <= 4 * math.ulp(math.exp(x))


@given(st.floats(-4, 4))
def test_turn_is_cosine_and_sine(turns):
    c, s = exact.turn(turns)
    assert abs(c - math.cos(2 * math.pi * turns)) < 4e-15
    assert abs(s - math.sin(2 * math.pi * turns)) < 4e-15
    assert abs(c * c + s * s - 1) < 1e-15


def test_turn_is_exact_at_quarters():
    c, s = exact.turn(np.array([0, 0.25, 0.5, 0.75, 1, -0.25]))
    assert c.tolist() == [1, 0, -1, 0, 1, 0]
    assert s.tolist() == [0, 1, 0, -1, 0, -1]


@given(st.floats(-0.5, 0.5))
def test_angle_undoes_turn(turns):
    back = float(exact.angle(*exact.turn(turns)))
    assert abs((back - turns + 0.5) % 1 - 0.5) <= 1e-9


@given(st.floats(1e-3, 1e9))
def test_cube_root(x):
    y = float(exact.cube_root(x))
    assert abs(y - math.cbrt(x)) <= 4 * math.ulp(y)


@given(st.floats(1e-300, 1e300))
def test_log_is_correctly_rounded_to_the_last_place(x):
    assert abs(exact.log(x) - math.log(x)) <= math.ulp(math.log(x))


def test_streams_have_the_right_distribution_and_never_meet():
    words = np.concatenate(
        [exact.Draws(5, image, purpose, item).unit(50) for image in range(40) for purpose in range(3) for item in range(3)]
    )
    assert len(np.unique(words)) == len(words)
    assert stats.kstest(words, "uniform").pvalue > 1e-3


def test_a_stream_is_the_same_however_it_is_read():
    a, b = exact.Draws(1, 2, 3, 4), exact.Draws(1, 2, 3, 4)
    assert np.array_equal(a.unit(6), np.concatenate([b.unit(2), b.unit(1), b.unit(3)]))


def test_a_stream_has_these_numbers_on_every_machine():
    # Philox 4x64-10 as NumPy promises it; a change here would change every data set
    assert exact.Draws(7, 8, 1, 9).unit(3).tolist() == [0.8601322327055898, 0.5973283878333144, 0.6792830958560917]


def test_normal_numbers_are_normal():
    draw = exact.Draws(0, 0, exact.LIGHT)
    assert stats.kstest([draw.normal() for _ in range(2000)], "norm").pvalue > 1e-3


def test_below_is_uniform():
    draw = exact.Draws(0, 1, exact.SHAPES)
    counts = np.bincount([draw.below(7) for _ in range(7000)], minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-3
