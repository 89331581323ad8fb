"""What differs from image to image in a microscope: focus, aperture, light from below, windows of areas, spheres."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
from scipy import stats

from pcs_render import look as L
from pcs_render.errors import InputError
from pcs_render.generate import scene
from pcs_render.geometry import project
from pcs_render.scene import Camera, Scene
from pcs_render.settings import Settings, settings_from

SMALL = Settings(width=128, height=96, area=(4, 1500), long_side=96, max_crystals=20)
MICROSCOPE = dataclasses.replace(
    SMALL,
    bright_field=0.7,
    brightness=(0.25, 1.2),
    condenser=(6, 30),
    relief=(0.0, 0.8),
    focus=(0.1, 0.9),
    aperture=(0.3, 4.0),
    area_window=8.0,
    spheres=(0, 4),
)
# SHA-256 over the JSON of images 0 and 1 of seed 3, made before any of these settings existed
PUBLISHED = "83ff45e1f7cb1e30550133d9eb5e9b307d81e7558a5fc367dd4f2322dae26e12"


def uniform(values, low=0.0, high=1.0):
    return stats.kstest((np.asarray(values) - low) / (high - low), "uniform").pvalue > 1e-3


@pytest.fixture(scope="module")
def looks():
    return [L.look(MICROSCOPE, 11, image) for image in range(400)]


def test_default_scenes_are_what_they_were(shapes):
    text = "".join(scene(SMALL, 3, image, shapes).to_json() for image in range(2))
    assert hashlib.sha256(text.encode()).hexdigest() == PUBLISHED
    assert not {"condenser", "blur_limit", "spheres"} & set(json.loads(scene(SMALL, 3, 0, shapes).to_json()))
    assert Settings().hash == "d02df32874860485"


def test_what_the_settings_leave_no_choice_in_is_theirs():
    found = L.look(SMALL, 0, 0)
    assert found == (SMALL.f_stop, SMALL.focus_distance, SMALL.area, None)
    assert L.spheres(SMALL, 0, 0, Camera(128, 96, 0.7854, 15.0, 15.0, 0.1, 22.5)) == ()


def test_focus_is_uniform_and_aperture_log_uniform(looks):
    assert uniform([x.focus_distance for x in looks], 15 + 0.1 * 15, 15 + 0.9 * 15)
    assert uniform([math.log(SMALL.f_stop / x.f_stop) for x in looks], math.log(0.3), math.log(4.0))


def test_light_from_below_comes_with_its_chance_and_its_ranges(looks):
    lit = [x.condenser for x in looks if x.condenser]
    assert stats.binomtest(len(lit), len(looks), 0.7).pvalue > 1e-3
    assert uniform([math.log(c.brightness) for c in lit], math.log(0.25), math.log(1.2))
    assert uniform([c.angle for c in lit], 6, 30)
    assert uniform([c.relief for c in lit], 0, 0.8)
    assert uniform([c.direction for c in lit])


def test_windows_of_areas_have_their_ratio_and_lie_anywhere(looks):
    lows = np.array([x.area[0] for x in looks])
    assert [x.area[1] / x.area[0] for x in looks] == pytest.approx([8.0] * len(looks))
    assert uniform(np.log(lows), math.log(4), math.log(1500 / 8))
    wide = dataclasses.replace(SMALL, area_window=1e6)
    assert L.area_window(wide, 0.5) == pytest.approx(wide.area)


def test_crystals_of_a_drop_have_one_size(shapes):
    chosen = dataclasses.replace(SMALL, area_window=4.0)
    for image in range(6):
        areas = [c.target.area for c in scene(chosen, 2, image, shapes).crystals]
        low, high = L.look(chosen, 2, image).area
        assert low <= min(areas) <= max(areas) <= high * (1 + 1e-12)


def test_spheres_follow_their_settings():
    chosen = dataclasses.replace(SMALL, spheres=(1, 4), sphere_size=(4.0, 20.0), sphere_index=(0.75, 1.1))
    camera = Camera(128, 96, 0.7854, 15.0, 15.0, 0.1, 22.5)
    images = [L.spheres(chosen, 1, image, camera) for image in range(200)]
    counts = np.bincount([len(x) for x in images], minlength=5)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-3
    every = [s for x in images for s in x]
    assert uniform([s.refractive_index for s in every], 0.75, 1.1)
    size = [2 * s.radius * camera.focal / (15.0 - s.location[2]) for s in every]
    assert 3.5 < min(size) < 5
    assert 15 < max(size) < 21  # moved into the well where they would leave it
    assert uniform(np.log(size), math.log(4), math.log(20))
    for s in every:
        assert -15 <= s.location[2] - s.radius <= s.location[2] + s.radius <= 1e-9
        x, y = project(camera, s.location)
        assert -1e-6 <= x <= 128 + 1e-6
        assert -1e-6 <= y <= 96 + 1e-6


def test_a_setting_does_not_change_what_another_draws(shapes):
    plain, lit = (scene(s, 4, 0, shapes) for s in (SMALL, dataclasses.replace(SMALL, bright_field=1.0, spheres=(3, 3))))
    assert plain.crystals == lit.crystals
    assert plain.lamps == lit.lamps
    assert lit.condenser is not None
    assert len(lit.spheres) == 3


def test_json_brings_back_the_look(shapes):
    s = scene(dataclasses.replace(MICROSCOPE, bright_field=1.0, spheres=(2, 2), blur_limit=1.0), 4, 0, shapes)
    assert s.condenser is not None
    assert Scene.from_json(s.to_json()) == s


def test_the_circle_of_confusion_is_that_of_a_thin_lens():
    camera = Camera(384, 384, 0.7854, 15.0, 15.0, 0.1, 22.5)
    assert camera.aperture == pytest.approx(0.036 / 2 / math.tan(0.3927) / 0.1)
    assert camera.blur(22.5) == 0
    # a cone from the lens to a point at 30 is that wide at 22.5, and is seen there
    wide = camera.aperture * (30 - 22.5) / 30
    assert camera.blur(30.0) == pytest.approx(wide / 22.5 * camera.focal)
    assert dataclasses.replace(camera, f_stop=0.0).blur(30.0) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bright_field": 1.5}, "chance"),
        ({"contact": -0.1}, "chance"),
        ({"brightness": [0, 1]}, "positive"),
        ({"condenser": [0, 10]}, "above 0"),
        ({"relief": [0, 2]}, r"\[0, 1\]"),
        ({"focus": [-0.1, 0.5]}, "part of the depth"),
        ({"aperture": [0, 1]}, "positive"),
        ({"blur_limit": -1}, "short sides"),
        ({"area_window": 0.5}, "ratio above 1"),
        ({"visible": 0}, r"\(0, 1\]"),
        ({"spheres": [1, 2.5]}, "whole number"),
        ({"spheres": [-1, 2]}, "0 to 1000"),
        ({"sphere_size": [0, 2]}, "positive"),
        ({"sphere_index": [0.01, 2]}, "0.1 to 4"),
    ],
)
def test_impossible_looks_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        settings_from(values)
