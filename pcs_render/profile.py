"""How a scene is rendered: every Cycles option that changes a picture or its cost, under a name and a hash.

Nothing is left to Blender's defaults, which differ between its versions. What changes the cost alone (threads, device) is no
part of a profile.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from .errors import DataError, InputError
from .settings import checked

RECIPE = 1  # raised whenever the worker makes another picture of the same scene and profile


@dataclass(frozen=True)
class Profile:
    """Options of one rendering. The defaults are those that every named profile shares.

    Attributes:
        name: Free text.
        samples: Paths per pixel, at most.
        adaptive_threshold: Pixels whose estimated noise falls below this stop early, in (0, 1]; 0: all take ``samples``.
        adaptive_min_samples: Paths per pixel before any may stop; 0: Blender chooses from the threshold.
        denoiser: What Open Image Denoise sees: nothing ("none", it is not run), the picture, with the albedo, with both guides.
        prefilter: Whether the guides are denoised first.
        denoise_quality: Which of its networks is used.
        bounces: Longest path, all kinds together; then per kind.
        caustics_reflective: Light that reaches a matt surface by mirror reflection.
        caustics_refractive: Light that reaches a matt surface through glass; without it glass casts black shadows.
        filter_glossy: Blurs reflection and refraction behind a matt bounce, against fireflies; 0: off.
        clamp_direct: Largest contribution of a path that hits a lamp from the first surface; 0: unlimited.
        clamp_indirect: Largest contribution of any other path; 0: unlimited.
        light_tree: Choose lamps by their estimated effect; with two lamps it costs more than it gains.
        light_threshold: Lamps with a smaller contribution are left to chance.
        pattern: Sampling pattern.
        pixel_filter: Kind and width in px of the reconstruction filter.
        background: Linear grey of the surroundings. Blender's own default, which the published generator left in place.
        view_transform: From linear light to grey values; the published pictures were made with Filmic, Blender 2.9's default.
        seed: Added to the image id, it seeds the noise.
    """

    name: str
    samples: int
    adaptive_threshold: float = 0.0
    adaptive_min_samples: int = 0
    denoiser: Literal["none", "rgb", "albedo", "albedo+normal"] = "albedo+normal"
    prefilter: Literal["NONE", "FAST", "ACCURATE"] = "ACCURATE"
    denoise_quality: Literal["FAST", "BALANCED", "HIGH"] = "HIGH"
    bounces: int = 32
    diffuse_bounces: int = 32
    glossy_bounces: int = 32
    transmission_bounces: int = 32
    transparent_bounces: int = 32
    caustics_reflective: bool = True
    caustics_refractive: bool = True
    filter_glossy: float = 1.0
    clamp_direct: float = 0.0
    clamp_indirect: float = 10.0
    light_tree: bool = False
    light_threshold: float = 0.01
    pattern: Literal["TABULATED_SOBOL", "BLUE_NOISE"] = "TABULATED_SOBOL"
    pixel_filter: Literal["BOX", "GAUSSIAN", "BLACKMAN_HARRIS"] = "BLACKMAN_HARRIS"
    filter_width: float = 1.5
    background: float = 0.05087609
    view_transform: Literal["Standard", "Filmic", "AgX", "Raw"] = "Filmic"
    look: str = "None"
    exposure: float = 0.0
    gamma: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for a value of another type or outside its range."""
        for name, hint in get_type_hints(type(self)).items():
            object.__setattr__(self, name, checked(name, getattr(self, name), hint))
        _range(self, "samples", 1, 2**24)
        _range(self, "adaptive_threshold", 0, 1)
        _range(self, "adaptive_min_samples", 0, 4096)
        for name in ("bounces", "diffuse_bounces", "glossy_bounces", "transmission_bounces", "transparent_bounces"):
            _range(self, name, 0, 1024)
        for name in ("filter_glossy", "background"):
            _range(self, name, 0, 10)
        for name in ("clamp_direct", "clamp_indirect"):
            _range(self, name, 0, 1e8)
        _range(self, "light_threshold", 0, 1)
        _range(self, "filter_width", 0.01, 10)
        _range(self, "exposure", -32, 32)
        _range(self, "gamma", 0.01, 5)
        _range(self, "seed", 0, 2**31 - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @property
    def hash(self) -> str:
        """Sixteen hex digits of everything that shapes the picture; the name does not."""
        content = {**self.to_dict(), "recipe": RECIPE}
        del content["name"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _range(profile: Profile, name: str, low: float, high: float) -> None:
    value = getattr(profile, name)
    if not low <= value <= high:
        raise InputError(f"{name} is {value}; it takes {low} to {high}")


# "default" is the cheapest found (benchmarks/render_profiles.py) that stays above 38 dB PSNR, averaged over scenes, against 512
# samples of another seed: fewer bounces, no caustics, clamping and poorer guides for the denoiser all lose more than they save
PROFILES = {
    p.name: p
    for p in (
        Profile("published", 512),
        Profile("default", 40),
        Profile("preview", 8, denoiser="rgb", prefilter="NONE"),
        # for training pictures lit by lamps: with so few paths it is the guides that keep small and faint crystals
        Profile(
            "economy",
            4,
            prefilter="FAST",
            bounces=12,
            diffuse_bounces=1,
            glossy_bounces=4,
            transmission_bounces=12,
        ),
        # for bright-field scenes under modelled noise: nothing there scatters light, so few paths do
        Profile(
            "draft",
            3,
            denoiser="rgb",
            prefilter="NONE",
            denoise_quality="FAST",
            bounces=12,
            diffuse_bounces=1,
            glossy_bounces=4,
            transmission_bounces=12,
        ),
        # for opaque crystals: how much of a pixel each covers, nothing else
        Profile(
            "calibration",
            64,
            denoiser="none",
            bounces=0,
            pixel_filter="BOX",
            filter_width=1.0,
            background=0.0,
            view_transform="Raw",
        ),
    )
}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands twice; leave one out")
    return dict(pairs)


def load_profile(source: str | Path) -> Profile:
    """The profile of that name, or the one in that JSON file: names as in ``Profile``, those left out as in "default".

    Raises InputError for an unknown name or option, DataError for a file that cannot be read.
    """
    if source in PROFILES:
        return PROFILES[str(source)]
    path = Path(source)
    if path.suffix != ".json":
        raise InputError(f"there is no profile {str(source)!r}; choose {', '.join(PROFILES)} or name a .json file")
    try:
        values = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except OSError as e:
        raise DataError(f"cannot read the profile {path}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"the profile {path} is not JSON: {e}") from e
    known = [f.name for f in dataclasses.fields(Profile)]
    if not isinstance(values, dict) or not set(values) <= set(known):
        unknown = sorted(set(values) - set(known)) if isinstance(values, dict) else values
        raise InputError(f"the profile {path} holds {unknown!r}; it takes values for any of {', '.join(known)}")
    return dataclasses.replace(PROFILES["default"], **{"name": path.stem, **values})
