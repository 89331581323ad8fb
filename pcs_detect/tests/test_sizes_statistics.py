"""Every statistic of sizes equals SciPy's or statsmodels', also with ties, one value and none."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.distributions.empirical_distribution import ECDF
from statsmodels.stats.multitest import multipletests

from pcs_detect.errors import InputError
from pcs_detect.sizes.comparisons import ecdf_table, holm, ks_test, ks_tests, last_common_time
from pcs_detect.sizes.groups import checked_groups, joined
from pcs_detect.sizes.statistics import (
    area_regressions,
    describe,
    fit_line,
    group_statistics,
    growth_rates,
    total_areas,
)

tied = st.integers(0, 40).flatmap(lambda n: arrays(np.float64, n, elements=st.integers(1, 9).map(float)))
smooth = st.integers(0, 40).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(0.1, 1e4), unique=True))
samples = tied | smooth


def tables(sizes, **columns):
    """Crystals and groups: one image for each array of widths, heights half of them; columns: of the groups."""
    names = [f"{i}.png" for i in range(len(sizes))]
    width = np.concatenate([np.zeros(0), *sizes])
    crystals = pd.DataFrame({"image": np.repeat(names, [len(s) for s in sizes]), "width_px": width, "height_px": width / 2})
    groups = checked_groups(pd.DataFrame({"image": names, **columns}))
    return joined(crystals, groups, border="keep")[0], groups


@settings(deadline=None)
@given(samples)
def test_descriptions_are_those_of_scipy(x):
    found = describe(x)
    if len(x) == 0:
        assert all(map(math.isnan, found.values()))
        return
    assert found["mean"] == pytest.approx(stats.tmean(x))
    expected = [stats.quantile(x, p) for p in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose([found[k] for k in ("q1", "median", "q3")], expected)
    if len(x) == 1:
        assert math.isnan(found["std"])
    else:
        assert found["std"] == pytest.approx(stats.tstd(x), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(samples, samples)
def test_kolmogorov_smirnov_is_that_of_scipy(x, y):
    found = ks_test(x, y)
    if len(x) and len(y):
        expected = stats.ks_2samp(x, y, alternative="two-sided", method="exact")
        assert found == pytest.approx((expected.statistic, expected.pvalue))
        assert ks_test(y, x) == pytest.approx(found)
    else:
        assert all(map(math.isnan, found))


def test_the_largest_gap_between_two_steps_is_the_statistic():
    assert ks_test([1, 2, 3], [4, 5, 6]) == pytest.approx((1.0, 2 / 20))  # 2 of the 20 orders of six values are this far apart
    assert ks_test([1], [1]) == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_holm_is_that_of_statsmodels_and_ignores_tests_that_were_not_done(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.uniform(0, 0.2, 25) ** 2, 2 + seed)  # with ties and zeros
    p[seed::7] = math.nan
    done = np.isfinite(p)
    np.testing.assert_allclose(holm(p)[done], multipletests(p[done], method="holm")[1], atol=1e-12)
    assert np.isnan(holm(p)[~done]).all()
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.5]), max_size=20), st.floats(0.001, 0.5))
def test_holm_rejects_what_going_down_step_by_step_rejects(p, alpha):
    rejected = 0
    for step, value in enumerate(sorted(p)):
        if value * (len(p) - step) >= alpha:
            break
        rejected += 1
    assert (holm(p) < alpha).sum() == rejected


lines = st.integers(3, 30).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.integers(-20, 20).map(lambda v: v / 2)),
        arrays(np.float64, n, elements=st.integers(-100, 100).map(float)),
    )
)


@settings(deadline=None, max_examples=80)
@given(lines, st.sampled_from([0.01, 0.05, 0.32]))
def test_lines_are_those_of_scipy_and_their_confidence_that_of_statsmodels(points, alpha):
    x, y = points
    line = fit_line(x, y, alpha)
    if np.ptp(x) == 0:
        assert math.isnan(line.slope)
        assert math.isnan(line.intercept)
        return
    scipy, model = stats.linregress(x, y), sm.OLS(y, sm.add_constant(x)).fit()
    assert (line.slope, line.intercept) == pytest.approx((scipy.slope, scipy.intercept))
    scale = {"rel": 1e-6, "abs": 1e-6}
    if np.ptp(y) > 0:
        assert (line.slope_stderr, line.intercept_stderr) == pytest.approx((scipy.stderr, scipy.intercept_stderr), **scale)
    (intercept, slope) = model.conf_int(alpha)
    assert (line.slope_low, line.slope_high) == pytest.approx(tuple(slope), **scale)
    assert (line.intercept_low, line.intercept_high) == pytest.approx(tuple(intercept), **scale)
    if np.ptp(y) == 0:
        assert math.isnan(line.r_squared)
    else:
        assert line.r_squared == pytest.approx(model.rsquared, **scale)
        if model.rsquared < 1 - 1e-9:
            assert line.p_value == pytest.approx(model.pvalues[1], **scale)
    at = np.linspace(-12, 12, 7)
    frame = model.get_prediction(sm.add_constant(at)).summary_frame(alpha)
    expected = frame[["mean", "mean_ci_lower", "mean_ci_upper"]].to_numpy().T
    np.testing.assert_allclose(np.stack(line.band(at)), expected, rtol=1e-5, atol=1e-5)


def test_lines_through_too_few_points_say_so():
    assert math.isnan(fit_line([], []).slope)
    assert math.isnan(fit_line([1.0], [2.0]).slope)
    two = fit_line([0.0, 2.0, 5.0], [1.0, 5.0, math.nan])
    assert (two.n, two.slope, two.intercept, two.r_squared) == pytest.approx((2, 2.0, 1.0, 1.0))
    assert math.isnan(two.slope_low)
    assert math.isnan(two.p_value)
    middle, low, high = two.band([1.0])
    assert middle == pytest.approx(3.0)
    assert np.isnan([low, high]).all()


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_levels_lie_between_0_and_1(alpha):
    with pytest.raises(InputError, match="alpha"):
        fit_line([1, 2, 3], [1, 2, 4], alpha)


@settings(deadline=None, max_examples=30)
@given(st.lists(samples, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_groups_pool_the_crystals_of_their_images(sizes, random):
    replicate = [random.choice("ab") for _ in sizes]
    crystals, groups = tables(sizes, replicate=replicate)
    found = group_statistics(crystals, groups).set_index("replicate")
    assert found["n_images"].sum() == len(sizes)
    for name in set(replicate):
        pooled = np.concatenate([s for s, r in zip(sizes, replicate) if r == name])
        row = found.loc[name]
        assert (row["n_images"], row["n_crystals"], row["n_measured"]) == (replicate.count(name), len(pooled), len(pooled))
        for measure, values in (
            ("width", pooled),
            ("height", pooled / 2),
            ("area", pooled**2 / 2),
            ("aspect_ratio", pooled * 0 + 2),
        ):
            for statistic, value in describe(values).items():
                assert row[f"{measure}_{statistic}"] == pytest.approx(value, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(st.lists(samples.filter(len), min_size=1, max_size=4))
def test_distribution_functions_are_those_of_statsmodels(sizes):
    crystals, _ = tables(sizes, variant=list("abcd")[: len(sizes)])
    table = ecdf_table(crystals, ["variant"])
    for name, x in zip("abcd", sizes):
        curve = table[(table["variant"] == name) & (table["measure"] == "width")]
        np.testing.assert_array_equal(curve["value"], np.unique(x))
        np.testing.assert_allclose(curve["fraction"], ECDF(x)(np.unique(x)))


def test_tests_compare_only_images_that_agree_in_everything_else():
    rng = np.random.default_rng(5)
    sizes = [rng.lognormal(size=n) for n in (30, 20, 10, 0, 25, 15)]
    crystals, groups = tables(
        sizes,
        time=[1, 1, 1, 2, 2, 3],
        replicate=[1, 1, 2, 1, 2, 1],
        dilution=["clean", "noisy", "clean", "clean", "clean", "noisy"],
    )
    tests = ks_tests(crystals, groups)
    width = tests[tests["measure"] == "width"]
    rows = [tuple(r) for r in width[["compared", "time", "sample_1", "sample_2", "n_1", "n_2"]].to_numpy()]
    assert rows == [
        ("dilution", 1, "clean", "noisy", 30, 20),
        ("replicate", 1, "1", "2", 30, 10),
        ("replicate", 2, "1", "2", 0, 25),
    ]
    expected = [stats.ks_2samp(sizes[0], sizes[1]).pvalue, stats.ks_2samp(sizes[0], sizes[2]).pvalue, math.nan]
    np.testing.assert_allclose(width["p_value"], expected)
    np.testing.assert_allclose(width["p_holm"], expected)  # one test of either kind was done
    assert not width["rejected"].iloc[2]


def pairs(rng, count, n_1, n_2, factor):
    """Crystals of ``count`` pairs of samples, a pair a time point, the second ``factor`` times as large."""
    sizes = [s for _ in range(count) for s in (rng.lognormal(2, 0.4, n_1), factor * rng.lognormal(2, 0.4, n_2))]
    return tables(sizes, time=np.repeat(np.arange(count), 2), dilution=["diluted", "undiluted"] * count)


@pytest.mark.parametrize(("n_1", "n_2"), [(200, 40), (60, 60), (26, 6)])
def test_the_false_positive_rate_over_500_equal_pairs_is_within_the_level(n_1, n_2):
    tests = ks_tests(*pairs(np.random.default_rng(11), 500, n_1, n_2, 1.0), measures=["width"])
    assert len(tests) == 500
    for alpha in (0.05, 0.2):
        wrong = (tests["p_value"] < alpha).sum()
        assert wrong <= stats.binom.ppf(0.999, 500, alpha)  # the level holds
        assert wrong >= stats.binom.ppf(0.001, 500, 0.55 * alpha)  # and is nearly used up: p-values come in steps
    assert tests["rejected"].equals(tests["p_value"] < 0.05)
    assert not tests["rejected_holm"].any()


def test_tests_reject_where_crystals_differ():
    tests = ks_tests(*pairs(np.random.default_rng(12), 100, 200, 80, 1.35), measures=["width"])
    assert tests["rejected"].mean() > 0.95
    assert tests["rejected_holm"].mean() > 0.6


def test_total_area_counts_crystals_at_the_border_and_images_without_any():
    crystals = pd.DataFrame(
        {
            "image": ["a", "a", "b"],
            "width_px": [4.0, 10.0, 6.0],
            "height_px": [2.0, 5.0, 3.0],
            "at_border": [False, True, False],
        }
    )
    groups = checked_groups(pd.DataFrame({"image": list("abcd"), "time": [1, 1, 1, 2], "concentration": [3.0, 3.0, 3.0, None]}))
    found, _ = joined(crystals, groups)
    areas = total_areas(found, groups)
    assert areas.to_dict("records") == [
        {
            "time": 1,
            "concentration": 3,
            "n_images": 3,
            "n_crystals": 3,
            "total_area": 76,
            "area_per_image": pytest.approx(76 / 3),
        }
    ]
    assert group_statistics(found, groups)["width_mean"].iloc[0] == 5
    assert len(total_areas(found, groups.drop(columns="concentration"))) == 0


def test_regressions_have_a_line_for_each_series():
    rng = np.random.default_rng(2)
    x = np.linspace(2, 10, 8)
    areas = pd.DataFrame({"replicate": np.repeat(["1", "2"], 8), "concentration": np.tile(x, 2)})
    areas["area_per_image"] = np.concatenate([100 - 8 * x, 90 - 7 * x]) + rng.normal(0, 2, 16)
    table = area_regressions(areas, ["replicate"])
    for name, row in zip("12", table.to_dict("records")):
        y = areas["area_per_image"][areas["replicate"] == name]
        scipy = stats.linregress(x, y)
        assert (row["replicate"], row["n"]) == (name, 8)
        assert (row["slope"], row["p_value"]) == pytest.approx((scipy.slope, scipy.pvalue))
        assert row["slope_low"] < {"1": -8, "2": -7}[name] < row["slope_high"]
    assert area_regressions(areas, [])["n"].tolist() == [16]


def test_growth_rates_are_slopes_of_medians_over_the_hours_asked_for():
    times = np.array([0.0, 1, 2, 3, 4, 10])
    medians = np.array([np.nan, 10, 13, 16, 19, 19])  # none yet, 3 an hour, full grown
    table = pd.DataFrame({"time": times, "replicate": "1", "width_median": medians, "height_median": medians / 2})
    width, height = growth_rates(table, hours=(0, 4)).to_dict("records")
    assert (width["n_times"], width["from_hours"], width["to_hours"]) == (4, 1, 4)
    assert (width["rate"], width["rate_low"], width["rate_high"]) == pytest.approx((3, 3, 3))
    assert height["rate"] == pytest.approx(1.5)
    assert growth_rates(table)["rate"].iloc[0] == pytest.approx(stats.linregress(times[1:], medians[1:]).slope)
    assert growth_rates(table.drop(columns="time")).empty
    with pytest.raises(InputError, match="4 to 0"):
        growth_rates(table, hours=(4, 0))


def test_the_confidence_of_growth_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(8)
    times = np.tile(np.arange(6.0), 400)
    table = pd.DataFrame({"time": times, "replicate": np.repeat(np.arange(400), 6)})
    table["width_median"] = table["height_median"] = 5 + 2 * times + rng.normal(0, 1, len(times))
    rates = growth_rates(table, alpha=0.1)
    rates = rates[rates["measure"] == "width"]
    covered = rates["rate_low"].lt(2) & rates["rate_high"].gt(2)
    assert stats.binom.ppf(0.001, 400, 0.9) <= covered.sum() <= stats.binom.ppf(0.999, 400, 0.9)


def test_distribution_functions_are_compared_at_the_last_common_time():
    groups = checked_groups(pd.DataFrame({"image": list("abcd"), "time": [1, 24, 1, 30], "variant": ["x", "x", "y", "y"]}))
    assert last_common_time(groups, ["variant"]) == 1
    assert last_common_time(groups, []) == 30
    assert last_common_time(groups.iloc[1:], ["variant"]) == 30  # no time in common
    assert last_common_time(groups.drop(columns="time"), []) is None
