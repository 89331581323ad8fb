"""The model's densities against sampling and against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from pcs_render import distributions as S
from pcs_render import exact
from pcs_render.generate import draw_target
from pcs_render.settings import Settings

RULES = [Settings(), Settings(rule="unbiased"), Settings(rule="unbiased", area=(10, 9000), aspect_ratio=(2, 5), long_side=200)]


def fitted(settings):
    return S.model(settings, S.simulate(settings, 500).caps)


@pytest.mark.parametrize("settings", RULES)
def test_densities_are_the_slopes_of_the_distributions(settings):
    m = fitted(settings)
    low, high = settings.area
    for a, b in ((low, 3 * low), (100, 400), (low, high)):
        points = np.geomspace(a, b, 20001)
        assert integrate.trapezoid(m.area_density(points) * points, np.log(points)) == pytest.approx(
            float(m.area_cdf(b) - m.area_cdf(a)), abs=2e-3
        )
    low, high = settings.aspect_ratio
    points = np.linspace(low, high, 4001)
    density = m.ratio_density(points)
    for a, b in ((0, 4000), (100, 900), (2000, 3900)):
        area = integrate.trapezoid(density[a : b + 1], points[a : b + 1])
        assert area == pytest.approx(float(m.ratio_cdf(points[b]) - m.ratio_cdf(points[a])), abs=2e-3)


@pytest.mark.parametrize("settings", RULES)
def test_distributions_run_from_nothing_to_all(settings):
    m = fitted(settings)
    for cdf, (low, high) in ((m.area_cdf, settings.area), (m.ratio_cdf, settings.aspect_ratio), (m.angle_cdf, (-90, 90))):
        values = cdf(np.linspace(low - 1, high + 1, 999))
        assert (np.diff(values) >= -1e-12).all()
        assert values[0] == 0
        assert values[-1] == pytest.approx(1)
    assert m.area_density(settings.area[1] * 1.01) == 0
    assert m.ratio_density(settings.aspect_ratio[1] * 1.01) == 0


def test_unbiased_areas_have_the_reciprocal_density():
    m = S.model(Settings(rule="unbiased"))
    assert m.area_density(100.0) == pytest.approx(1 / (100 * np.log(4096)))  # equation 4
    assert np.allclose(m.covered_per_class(np.linspace(4, 16384, 33)), 1 / 32, rtol=1e-3)  # equation 3


def test_the_published_rule_makes_large_crystals_rarer():
    settings = Settings()
    part = S.model(settings, S.simulate(settings, 3000).caps).covered_per_class(np.linspace(4, 16384, 9)) * 8
    assert part[0] > 1.5
    assert part[-1] < 0.8
    assert (np.diff(part) < 0).all()


@pytest.mark.parametrize("remaining", [5.0, 200.0, 1e9])
def test_drawn_targets_follow_the_model_given_what_is_left(remaining):
    settings = Settings()
    draw = exact.Draws(0, 0, exact.TARGETS)
    targets = [draw_target(settings, draw, remaining) for _ in range(3000)]
    m = S.model(settings, [t.largest for t in targets])
    assert stats.kstest([t.area for t in targets], m.area_cdf).pvalue > 1e-3
    assert stats.kstest([t.ratio for t in targets], m.ratio_cdf).pvalue > 1e-3
    assert stats.kstest([t.angle for t in targets], m.angle_cdf).pvalue > 1e-3


def test_where_the_rules_stop():
    draw = exact.Draws(0, 0, exact.TARGETS)
    assert draw_target(Settings(), draw, 3.9) is None
    assert draw_target(Settings(rule="unbiased"), draw, 0.0) is None
    assert draw_target(Settings(rule="unbiased"), draw, 0.1).largest == 16384


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=60))
def test_kolmogorov_smirnov_is_scipys(values):
    ours = S.kolmogorov_smirnov(values, lambda x: x)
    assert ours.statistic == pytest.approx(stats.kstest(values, "uniform").statistic)
    assert ours.n == len(values)


def test_kolmogorov_smirnov_rejects_what_is_not_the_model():
    random = np.random.default_rng(0)
    m = S.model(Settings(rule="unbiased"))
    wrong = S.kolmogorov_smirnov(random.uniform(4, 16384, 500), m.area_cdf)
    assert wrong.statistic > wrong.critical
    rejected = [
        (k := S.kolmogorov_smirnov(4 * 4096 ** random.random(300), m.area_cdf)).statistic > k.critical for _ in range(1000)
    ]
    assert 0.002 < np.mean(rejected) < 0.025  # once in a hundred


def test_no_values_have_no_agreement():
    assert np.isnan(S.kolmogorov_smirnov([], lambda x: x).statistic)


def test_exact_uniformity_of_conditional_values():
    process = S.simulate(Settings(), 300, seed=4)
    assert stats.kstest(S.uniform_areas(process.areas, process.caps, Settings()), "uniform").pvalue > 1e-3
    assert process.counts.sum() == len(process.areas)
    assert process.counts.max() <= 100


@pytest.mark.parametrize("rule", ["published", "unbiased"])
def test_windows_of_areas_have_a_model(rule):
    settings = Settings(rule=rule, area_window=8.0, max_crystals=300)
    process = S.simulate(settings, 400, seed=5)
    assert (process.lows <= process.areas).all()
    assert (process.areas <= process.caps).all()
    assert process.caps.max() <= 16384 * (1 + 1e-9)
    inside = np.log(process.areas / process.lows) / np.log(np.maximum(process.caps / process.lows, 1 + 1e-12))
    assert stats.kstest(inside, "uniform").pvalue > 1e-3
    m = S.model(settings, process.caps, process.lows)
    assert S.kolmogorov_smirnov(process.areas, m.area_cdf).statistic < 0.01
    a = np.geomspace(4, 16384, 200)
    by_hand = np.clip(np.log(a[:, None] / process.lows) / np.log(process.caps / process.lows), 0, 1).mean(1)
    assert np.allclose(m.area_cdf(a), by_hand, atol=1e-6)
    middle = np.sqrt(a[1:] * a[:-1])
    assert np.allclose(m.area_density(middle) * np.diff(a), np.diff(m.area_cdf(a)), atol=2e-3)
    assert m.ratio_cdf([1.0, 11.4]) == pytest.approx([0, 1], abs=1e-6)


def test_a_window_of_all_areas_is_none():
    wide = Settings(rule="unbiased", area_window=1e9)
    process = S.simulate(wide, 50, seed=5)
    a = np.geomspace(4, 16384, 50)
    assert np.allclose(S.model(wide, process.caps, process.lows).area_cdf(a), S.model(Settings(rule="unbiased")).area_cdf(a))
