"""The figures of sizes show the numbers of the tables; none of them touches matplotlib's global state."""

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams

from pcs_detect.sizes import analyse, figures
from pcs_detect.sizes.axes import COLOURS, named, save_figure, series_of
from pcs_detect.sizes.comparisons import ks_tests
from pcs_detect.sizes.statistics import fit_line
from pcs_detect.sizes.table_picture import ks_table, p_text

TIMES = (1.0, 2.0, 4.0, 7.0)


@pytest.fixture(scope="module")
def analysis():
    rng = np.random.default_rng(4)
    crystals, groups = [], []
    for replicate in (1, 2):
        for dilution in ("diluted", "undiluted"):
            for time in TIMES:
                name = f"{replicate}{dilution}{time}"
                groups.append(dict(image=name, replicate=replicate, dilution=dilution, time=time, concentration=10 - time))
                width = rng.lognormal(2 + 0.2 * time, 0.4, 30 if time > 1 else 0)
                crystals += [dict(image=name, width_um=w, height_um=w / rng.uniform(1, 6), at_border=False) for w in width]
    return analyse(pd.DataFrame(crystals), pd.DataFrame(groups))


def containers(axes):
    return {c.get_label(): c for c in axes.containers}


def test_figure_5_shows_medians_with_quartiles_in_a_column_per_replicate(analysis):
    table = analysis.tables["groups"]
    figure = figures.sizes_over_time(table, "um")
    panels = np.reshape(figure.axes, (2, 2))
    assert [a.get_title() for a in panels[0]] == ["Replicate 1", "Replicate 2"]
    assert [a.get_ylabel() for a in panels[:, 0]] == ["Crystal width (µm)", "Crystal height (µm)"]
    for column, replicate in enumerate("12"):
        for row, measure in enumerate(("width", "height")):
            axes = panels[row, column]
            assert axes.get_ylim()[0] == 0
            assert axes.get_xlim()[0] < 1  # an image without crystals has its place on the axis
            for dilution, bars in containers(axes).items():
                rows = table[(table["replicate"] == replicate) & (table["dilution"] == dilution) & (table["n_crystals"] > 0)]
                line, _, (segments,) = bars
                np.testing.assert_allclose(line.get_ydata(orig=False), rows[f"{measure}_median"])
                assert np.abs(line.get_xdata(orig=False) - rows["time"]).max() < 0.1
                ends = np.array([s[:, 1] for s in segments.get_segments()], dtype=float)
                np.testing.assert_allclose(ends, rows[[f"{measure}_q1", f"{measure}_q3"]])
                assert axes.get_ylim()[1] > ends.max()
    assert [t.get_text() for t in figure.legends[0].texts] == ["diluted", "undiluted"]


def test_figure_6_shows_points_lines_and_bands(analysis):
    areas = analysis.tables["areas"]
    figure = figures.area_against_concentration(areas, ["replicate", "dilution"], "um", "g/L", alpha=0.1)
    assert [a.get_title() for a in figure.axes] == ["Diluted", "Undiluted"]
    for axes, dilution in zip(figure.axes, ("diluted", "undiluted")):
        assert axes.get_xlabel() == "Protein concentration (g/L)"
        for number, replicate in enumerate("12"):
            some = areas[(areas["dilution"] == dilution) & (areas["replicate"] == replicate)]
            points, line = axes.lines[2 * number : 2 * number + 2]
            np.testing.assert_allclose(points.get_xydata(), some[["concentration", "area_per_image"]])
            fit = fit_line(some["concentration"], some["area_per_image"], 0.1)
            middle, low, high = fit.band(line.get_xdata())
            np.testing.assert_allclose(line.get_ydata(), middle)
            band = axes.collections[number].get_paths()[0].vertices
            assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((low.min(), high.max()))
            assert f"{fit.r_squared:.2f}" in points.get_label()


def test_figure_8_shows_distribution_functions_with_means(analysis):
    found = analysis.shown_crystals()
    assert set(found["time"]) == {7.0}
    figure = figures.distribution_functions(found, ["dilution"], "um", "7 h")
    assert [a.get_xlabel() for a in figure.axes] == ["Crystal width (µm)", "Crystal height (µm)", "Aspect ratio"]
    for axes, measure in zip(figure.axes, ("width", "height", "aspect_ratio")):
        for line, dilution in zip(axes.lines, ("diluted", "undiluted")):
            values = np.sort(found[found["dilution"] == dilution][measure])
            np.testing.assert_allclose(line.get_xdata()[1:-1], values)
            np.testing.assert_allclose(line.get_ydata()[1:-1], np.arange(1, len(values) + 1) / len(values))
            mean, deviation = map(float, line.get_label().split(" ± "))
            assert mean == pytest.approx(values.mean(), rel=0.01)
            assert deviation == pytest.approx(values.std(ddof=1), rel=0.05)
    assert [t.get_text() for t in figure.legends[0].texts] == ["diluted (n = 60)", "undiluted (n = 60)"]


def test_growth_rates_stand_beside_the_names_of_their_series(analysis):
    rates = analysis.tables["growth"]
    left, right = figures.growth(rates, "px").axes
    assert left.get_yticklabels()[0].get_text() == "replicate 1, diluted"
    for axes, measure in ((left, "width"), (right, "height")):
        some = rates[rates["measure"] == measure]
        line, _, (segments,) = axes.containers[0]
        np.testing.assert_allclose(line.get_xdata(orig=False), some["rate"])
        ends = np.array([s[:, 0] for s in segments.get_segments()], dtype=float)
        np.testing.assert_allclose(ends, some[["rate_low", "rate_high"]])
        assert axes.get_xlabel() == "Growth rate (px/h)"


def test_table_2_prints_what_is_not_rejected_in_bold(analysis):
    tests = analysis.tables["tests"]
    some = tests[(tests["compared"] == "dilution") & (tests["measure"] == "width")]
    some = some.assign(rejected=some["time"] == 4, rejected_holm=(some["time"] == 4) & (some["replicate"] == "1"))
    texts = ks_table(some, "dilution").axes[0].texts
    shown = [t.get_text() for t in texts]
    assert [t for t in shown if t.startswith(("Replicate", "N "))] == [
        *["Replicate 1", "N diluted", "N undiluted"],
        *["Replicate 2", "N diluted", "N undiluted"],
    ]
    assert shown[: len(TIMES) + 1] == ["t (h)", "1", "2", "4", "7"]
    bold = sorted(t.get_text() for t in texts if t.get_weight() == "bold")
    assert bold == sorted(p_text(p) for p in some[some["time"].isin([2, 7])]["p_value"])
    assert shown.count("*") == 1
    assert shown.count("-") == 2  # at 1 h there were no crystals
    assert shown.count("30") == 12


def test_tables_with_many_blocks_go_on_below():
    names = list("abcdef")
    crystals = pd.DataFrame({"image": names, "variant": names, "width": np.arange(6.0), "measured": True})
    groups = pd.DataFrame({"image": names, "variant": pd.Categorical(names)})
    tests = ks_tests(crystals, groups, measures=["width"])
    figure = ks_table(tests, "variant")
    assert len(tests) == 15
    assert figure.get_figwidth() < 9
    assert sum(t.get_text() == "p" for t in figure.axes[0].texts) == 15


def test_p_values_are_told_to_what_matters():
    assert [p_text(p) for p in (0.0, 0.0123, 0.05, 0.2, 1.0, float("nan"))] == ["<0.001", "0.012", "0.050", "0.20", "1.00", "-"]


def test_series_keep_their_looks_and_are_told_apart_up_to_forty_nine():
    table = pd.DataFrame({"variant": pd.Categorical([f"v{i}" for i in range(49)], [f"v{i}" for i in range(49)])})
    looks = [(look["color"], look["marker"]) for _, look in series_of(table, ["variant"])]
    assert len(set(looks)) == 49
    assert looks[0][0] == COLOURS[0]
    assert named({"replicate": "2", "time": 2.5, "variant": "WT"}) == "replicate 2, 2.5 h, WT"


def test_drawing_is_repeatable_and_leaves_matplotlib_as_it_was(analysis, tmp_path):
    before, loaded = dict(rcParams), "matplotlib.pyplot" in sys.modules
    for folder in ("a", "b"):
        figure = figures.sizes_over_time(analysis.tables["groups"])
        paths = save_figure(figure, tmp_path / folder, "x")
        assert [p.name for p in paths] == ["x.png", "x.svg"]
    for name in ("x.png", "x.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert dict(rcParams) == before
    assert loaded or "matplotlib.pyplot" not in sys.modules
