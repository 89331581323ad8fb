"""Profiles: what the hash covers, files, and what is refused."""

import dataclasses
import json

import pytest

from pcs_render.errors import DataError, InputError
from pcs_render.profile import PROFILES, Profile, load_profile

OTHER = {
    "samples": 33,
    "adaptive_threshold": 0.5,
    "adaptive_min_samples": 5,
    "denoiser": "albedo",
    "prefilter": "FAST",
    "denoise_quality": "FAST",
    "bounces": 5,
    "diffuse_bounces": 5,
    "glossy_bounces": 5,
    "transmission_bounces": 5,
    "transparent_bounces": 5,
    "caustics_reflective": False,
    "caustics_refractive": False,
    "filter_glossy": 0.5,
    "clamp_direct": 0.5,
    "clamp_indirect": 0.5,
    "light_tree": True,
    "light_threshold": 0.5,
    "pattern": "BLUE_NOISE",
    "pixel_filter": "BOX",
    "filter_width": 0.5,
    "background": 0.5,
    "view_transform": "AgX",
    "look": "AgX - Punchy",
    "exposure": 0.5,
    "gamma": 0.5,
    "seed": 5,
}


def test_the_published_profile_has_the_published_numbers():
    p = load_profile("published")
    assert (p.samples, p.bounces, p.denoiser != "none", p.adaptive_threshold) == (512, 32, True, 0)


def test_the_hash_covers_every_option_and_not_the_name():
    base = Profile("base", 32)
    assert set(OTHER) | {"name"} == {f.name for f in dataclasses.fields(Profile)}
    hashes = {dataclasses.replace(base, **{name: value}).hash for name, value in OTHER.items()}
    assert len(hashes | {base.hash}) == len(OTHER) + 1
    assert dataclasses.replace(base, name="other").hash == base.hash
    assert Profile("base", 32, gamma=1).hash == base.hash  # a whole number is a number


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_go_through_files(tmp_path, name):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(PROFILES[name].to_dict()))
    assert load_profile(path) == load_profile(name) == PROFILES[name]


def test_a_file_changes_the_default_profile(tmp_path):
    path = tmp_path / "quick.json"
    path.write_text('{"samples": 4, "seed": 9}')
    assert load_profile(str(path)) == dataclasses.replace(PROFILES["default"], name="quick", samples=4, seed=9)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"sample": 4}', InputError, r"\['sample'\].*samples"),
        ("[1]", InputError, "takes values"),
        ("{", DataError, "not JSON"),
        ('{"samples": 0}', InputError, "samples is 0"),
        ('{"samples": 4.5}', InputError, "samples is 4.5"),
        ('{"samples": true}', InputError, "samples is True"),
        ('{"gamma": NaN}', InputError, "gamma is nan"),
        ('{"denoiser": "best"}', InputError, "denoiser is 'best'; allowed are none, rgb"),
        ('{"view_transform": 3}', InputError, "view_transform is 3"),
        ('{"caustics_refractive": 1}', InputError, "caustics_refractive is 1"),
    ],
)
def test_broken_files_are_named_with_what_is_wrong(tmp_path, content, error, message):
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(error, match=message):
        load_profile(path)


def test_unknown_names_and_missing_files_are_errors(tmp_path):
    with pytest.raises(InputError, match="no profile 'fine'; choose published, default"):
        load_profile("fine")
    with pytest.raises(DataError, match="cannot read"):
        load_profile(tmp_path / "absent.json")


@pytest.mark.parametrize("name", [name for name, value in OTHER.items() if type(value) in (int, float)])
def test_numbers_have_ranges(name):
    for value in (-33, 10**10):
        with pytest.raises(InputError, match=f"{name} is"):
            Profile("base", **{"samples": 32, name: value})
