"""Scenes: the same from the same seed, within the rules of placement, and distributed as the model says."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pcs_render import distributions as S
from pcs_render import geometry as G
from pcs_render.errors import DataError
from pcs_render.generate import TRIES, scene
from pcs_render.labels import labels
from pcs_render.scene import Scene
from pcs_render.settings import Settings

SMALL = Settings(width=128, height=96, area=(4, 1500), long_side=96, max_crystals=20)


@pytest.fixture(scope="module")
def published(shapes):
    return [scene(Settings(), 3, image, shapes) for image in range(20)]


@pytest.fixture(scope="module")
def unbiased(shapes):
    return [scene(Settings(rule="unbiased"), 3, image, shapes) for image in range(20)]


def test_a_scene_depends_on_seed_and_image_alone(shapes):
    first = scene(SMALL, 5, 7, shapes).to_json()
    scene(SMALL, 5, 8, shapes)
    assert scene(SMALL, 5, 7, shapes).to_json() == first
    assert scene(SMALL, 6, 7, shapes).to_json() != first
    assert scene(SMALL, 5, 8, shapes).to_json() != first


def test_another_process_builds_the_same_scene(shapes, tmp_path):
    np.save(tmp_path / "shapes.npy", np.array(shapes[:1]))
    code = (
        "import numpy as np, sys; from pcs_render.generate import scene; from pcs_render.settings import Settings;"
        "print(scene(Settings(width=128, height=96, area=(4, 1500), long_side=96, max_crystals=20), 5, 7,"
        f" list(np.load({str(tmp_path / 'shapes.npy')!r}))).to_json())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == scene(SMALL, 5, 7, shapes[:1]).to_json()


def test_targets_do_not_depend_on_the_tries_that_placing_took(shapes):
    """With no rule that looks back at what is covered, other placement rules leave the targets as they were."""
    loose = Settings(rule="unbiased", covered=(0.3, 0.3), area=(4, 4000))
    a, b = scene(loose, 1, 1, shapes), scene(dataclasses.replace(loose, max_layers=2), 1, 1, shapes)
    assert not a.unmet + b.unmet
    n = min(len(a.crystals), len(b.crystals))
    assert n > 5
    assert a.crystals[:n] != b.crystals[:n]
    assert [c.target for c in a.crystals[:n]] == [c.target for c in b.crystals[:n]]


def test_json_brings_back_the_scene(published):
    for s in published[:3]:
        assert Scene.from_json(s.to_json()) == s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="pcs-scene/9"), "pcs-scene/9"),
        (lambda d: d.pop("camera"), "broken"),
        (lambda d: d["crystals"][0].pop("scale"), "broken"),
        (lambda d: d.update(extra=1), "broken"),
        (lambda d: d.update(models=[]), "broken"),
    ],
)
def test_broken_scenes_are_refused(published, change, message):
    content = json.loads(published[0].to_json())
    change(content)
    with pytest.raises(DataError, match=message):
        Scene.from_dict(content)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_what_is_no_scene_is_refused(text):
    with pytest.raises(DataError):
        Scene.from_json(text)


@given(st.integers(0, 2**40), st.sampled_from(["published", "unbiased"]))
@settings(max_examples=15, deadline=None)
def test_the_rules_of_placement_hold(seed, rule):
    chosen = dataclasses.replace(SMALL, rule=rule, covered=(0.3, 0.6))
    random = np.random.default_rng(seed)
    shape = G.hull_edges(random.normal(size=(12, 3)))[0]
    s = scene(chosen, seed, 0, [shape])
    found = labels(s)
    layers = np.zeros((chosen.height, chosen.width), int)
    masks = []
    for crystal, polygon, box in zip(s.crystals, found.polygons, found.boxes):
        assert polygon.min() > 0
        assert (polygon < (chosen.width, chosen.height)).all()
        points = G.crystal_points(s, crystal)
        assert -chosen.depth <= points[:, 2].min() <= points[:, 2].max() <= 0
        rows, columns, mask = G.drawn(polygon, chosen.width, chosen.height)
        masks.append(np.zeros(layers.shape, bool))
        masks[-1][rows, columns] = mask
        layers += masks[-1]
        target, (_, _, w, h, theta) = crystal.target, box
        assert abs(math.sqrt(w * h) - math.sqrt(target.area)) < chosen.tolerance_size
        assert abs(w / h - target.ratio) < chosen.tolerance_ratio
        off = (-math.degrees(theta) - target.angle + 90) % 180 - 90
        assert abs(off) < chosen.tolerance_angle + 1e-6
        assert chosen.area[0] <= target.area <= target.largest <= chosen.area[1]
        assert 1 <= target.ratio <= min(chosen.aspect_ratio[1], chosen.long_side**2 / target.area) + 1e-9
        assert 1.1 <= crystal.refractive_index <= 1.8
        assert 0.75 <= crystal.tint <= 0.9
        assert 0 <= crystal.elongation <= chosen.elongation
    assert layers.max() <= chosen.max_layers
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert (a & b).sum() <= chosen.max_iou * (a | b).sum()
    assert (layers > 0).mean() == pytest.approx(s.covered[1])
    if rule == "unbiased" and len(s.crystals) < chosen.max_crystals:
        assert s.covered[1] >= s.covered[0]
    if rule == "published":  # no crystal is larger than what was left
        assert s.covered[1] <= s.covered[0] + 0.1


def test_one_model_per_image_or_all(shapes):
    one = scene(SMALL, 0, 0, shapes)
    assert len({c.model for c in one.crystals}) == 1 == len(one.models)
    many = scene(dataclasses.replace(SMALL, models_per_image=0), 0, 0, shapes)
    assert len({c.model for c in many.crystals}) > 5
    three = scene(dataclasses.replace(SMALL, models_per_image=3), 0, 0, shapes)
    assert len({c.model for c in three.crystals}) == 3
    assert {scene(SMALL, 0, i, shapes).crystals[0].model for i in range(8)} != {one.crystals[0].model}


def test_a_target_that_cannot_be_met_is_given_up_and_told(shapes):
    shallow = Settings(max_crystals=3, depth=0.2, area=(10000, 11000), covered=(0.5, 0.5))  # no room for crystals that thick
    s = scene(shallow, 0, 0, shapes[:1])
    assert len(s.unmet) == 3
    assert not s.crystals
    assert TRIES == 1000


def test_lamps_shine_at_the_well(shapes):
    powers = []
    quadrants = set()
    for image in range(60):
        lamp, bottom = scene(dataclasses.replace(SMALL, max_crystals=1), 9, image, shapes[:1]).lamps
        x, y, z = lamp.location
        assert math.hypot(math.hypot(x, y) / math.sqrt(2), z + 15) == pytest.approx(30)
        assert 30 <= math.degrees(math.atan2(abs(x), z + 15)) <= 60
        assert abs(x) == pytest.approx(abs(y))
        quadrants.add((x > 0, y > 0))
        powers.append(lamp.power)
        assert bottom.location == (0, 0, -14)
        assert 750 <= bottom.power <= 1250
    assert len(quadrants) == 4
    assert stats.kstest((np.array(powers) - 10000) / 1000, "norm").pvalue > 1e-3


@pytest.mark.parametrize("rule", ["published", "unbiased"])
def test_targets_follow_the_rules_model(rule, request):
    scenes = request.getfixturevalue(rule)
    chosen = Settings(rule=rule)
    targets = [c.target for s in scenes for c in s.crystals]
    areas, ratios, angles, largest = (
        np.array([getattr(t, name) for t in targets]) for name in ("area", "ratio", "angle", "largest")
    )
    for u in (S.uniform_areas(areas, largest, chosen), S.uniform_ratios(ratios, areas, chosen), (angles + 90) / 180):
        assert stats.kstest(u, "uniform").pvalue > 1e-3
    fitted = S.model(chosen, largest)
    for values, cdf in ((areas, fitted.area_cdf), (ratios, fitted.ratio_cdf), (angles, fitted.angle_cdf)):
        agreement = S.kolmogorov_smirnov(values, cdf)
        assert agreement.statistic < agreement.critical
    assert sum(len(s.unmet) for s in scenes) <= 0.001 * len(targets) + 1


def test_boxes_follow_targets_closely(published):
    off = []
    for s in published:
        found = labels(s)
        w, h = found.boxes[:, 2], found.boxes[:, 3]
        off.append(np.abs(np.sqrt(w * h) - np.sqrt(found.targets[:, 0])))
    assert np.quantile(np.concatenate(off), 0.95) < 0.05
