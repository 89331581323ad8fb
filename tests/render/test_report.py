"""A sample against the model: statistics as SciPy's, wrong distributions told, classes, deviations."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from samples import PUBLISHED, UNBIASED, boxes_of, drawn, sample_of

from pcs_render import distributions as S
from pcs_render.report import Analysis


def verdicts(sample):
    return {(t.quantity, t.of): t.passed for t in Analysis(sample).tests}


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
def test_distances_are_those_of_scipy(settings):
    a = Analysis(sample_of(drawn(settings, 700), settings))
    found = {(t.quantity, t.of): t.agreement for t in a.tests}
    areas, ratios, angles, caps = a.drawn.T
    uniform = scipy.stats.uniform.cdf
    expected = {
        ("aspect ratio", "labels"): (a.ratios, a.model.ratio_cdf),
        ("angle", "labels"): (a.angles, lambda x: uniform(x, -90, 180)),
        ("log area", "labels"): (np.log(a.areas), lambda x: a.model.area_cdf(np.exp(x))),
        ("aspect ratio", "targets drawn"): (ratios, a.model.ratio_cdf),
        ("angle", "targets drawn"): (angles, lambda x: uniform(x, -90, 180)),
        ("log area", "targets drawn"): (np.log(areas), lambda x: a.model.area_cdf(np.exp(x))),
        ("log area, between its limits", "targets drawn"): (S.uniform_areas(areas, caps, settings), uniform),
        ("aspect ratio, between its limits", "targets drawn"): (S.uniform_ratios(ratios, areas, settings), uniform),
    }
    assert found.keys() == expected.keys()
    for key, (values, cdf) in expected.items():
        assert found[key].statistic == pytest.approx(scipy.stats.kstest(values, cdf).statistic, abs=1e-5), key
        assert found[key].n == 700


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
@pytest.mark.parametrize("known", [True, False])
def test_the_models_own_numbers_agree_with_it(settings, known):
    """Without the caps the model takes simulated ones; these crystals have such caps."""
    assert all(verdicts(sample_of(drawn(settings, 4000, seed=5), settings, known)).values())


def test_windows_of_areas_are_modelled_by_simulation():
    """Crystals drawn as the rule has it agree; the smallest area of each is not recorded, so no exact test is made of them."""
    settings = dataclasses.replace(PUBLISHED, area_window=8.0)
    process = S.simulate(settings, 4000, seed=5)
    pick = np.random.default_rng(1).permutation(len(process.areas))[:4000]
    t = drawn(PUBLISHED, 4000, seed=5)
    t[:, 0], t[:, 3] = process.areas[pick], process.caps[pick]
    u = np.random.default_rng(2).random(4000)
    t[:, 1] = settings.aspect_ratio[0] + u * (S.ratio_limit(t[:, 0], settings) - settings.aspect_ratio[0])
    found = verdicts(sample_of(t, settings))
    assert all(found.values())
    assert ("log area, between its limits", "targets drawn") not in found
    assert not verdicts(sample_of(t, PUBLISHED))["log area", "targets drawn"]


WRONG = {
    "aspect ratio": lambda t, u: (t[0], 1 + 9 * u**1.2, t[2]),
    "angle": lambda t, u: (t[0], t[1], 100 * (u - 0.5)),
    "log area": lambda t, u: (4 + 16380 * u, np.minimum(t[1], 384**2 / (4 + 16380 * u)), t[2]),
}


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
@pytest.mark.parametrize("quantity", WRONG)
def test_another_distribution_is_told(settings, quantity):
    t = drawn(settings, 3000, seed=1)
    t[:, :3] = np.column_stack(WRONG[quantity](t.T, np.random.default_rng(2).random(3000)))
    failed = {q for (q, of), passed in verdicts(sample_of(t, settings, known=False)).items() if not passed}
    assert quantity in failed
    assert failed <= {quantity, "aspect ratio"}  # the area limits the ratio


def test_one_rule_is_not_the_other():
    assert not verdicts(sample_of(drawn(UNBIASED, 8000), PUBLISHED, known=False))["log area", "labels"]
    assert not verdicts(sample_of(drawn(PUBLISHED, 8000), UNBIASED, known=False))["log area", "labels"]


@pytest.mark.parametrize("settings", [UNBIASED, PUBLISHED])
def test_area_classes_hold_all_area_and_scatter_as_predicted(settings):
    off = []
    for seed in range(30):
        a = Analysis(sample_of(drawn(settings, 2000, seed), settings))
        c = a.area_classes
        assert c.total.sum() == pytest.approx(a.areas.sum())
        assert c.relative.mean() == pytest.approx(1)
        off.append((c.total - c.expected) / c.deviation)
    assert np.abs(np.mean(off, 0)).max() < 4 / np.sqrt(30)
    assert 0.85 < np.std(off) < 1.15
    if settings.rule == "unbiased":
        assert c.expected == pytest.approx(np.full(16, c.expected[0]), rel=1e-4)
    else:
        assert (np.diff(c.expected) < 0).all()


def test_deviations_are_box_less_target():
    targets = drawn(UNBIASED, 50)
    sample = sample_of(targets, UNBIASED)
    moved = boxes_of(targets[:, 0] * 1.21, targets[:, 1] + 0.1, targets[:, 2] + 1.5)
    found = Analysis(dataclasses.replace(sample, boxes=moved)).deviations
    assert found["size"] == pytest.approx(0.1 * np.sqrt(targets[:, 0]))
    assert found["ratio"] == pytest.approx(0.1)
    assert found["angle"] == pytest.approx(1.5)


def test_what_is_given_up_counts_as_drawn():
    targets, unmet = drawn(UNBIASED, 400), np.tile([16000.0, 9.0, 0.0, 16384.0], (100, 1))
    a = Analysis(sample_of(targets, UNBIASED, unmet=unmet))
    missed, tried = a.given_up(0, np.array([4, 15999, 16384]))
    assert missed.tolist() == [0, 100]
    assert tried.sum() == 500
    assert a.tests[3].agreement.n == 500
    below = (targets[:, 0] < 16000).mean()
    assert a.shifts["log area"] == pytest.approx(below - below * 400 / 500, abs=1e-9)


def test_crystals_are_counted_by_size():
    areas = np.array([4, 63.9, 64, 576, 576.1, 9000])
    by_class = Analysis(sample_of(np.column_stack([areas, *np.full((3, 6), 2.0)]), UNBIASED)).by_class
    assert by_class == {"small": 2, "medium": 2, "large": 2}
