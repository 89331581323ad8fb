"""What a data set shows: every number of the statistical model, the scene and the camera, in one place.

The defaults are the published ones (the paper's Data set generation, and the settings file released with it).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from .errors import DataError, InputError
from .published import translated

Range = tuple[float, float]
Counts = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """Every number of the statistical model (paper: Data set generation, Eqs. 1 to 8), the scene and the camera.

    Lengths in model space are in Blender units, on the image in px, angles in degrees; ranges are (low, high).

    Attributes:
        width: px of the image, 8 .. 16384.
        height: px of the image, 8 .. 16384.
        rule: "published": the area that is left to cover caps the next crystal's; "unbiased": it does not.
        covered: part of the image that the union of all hulls shall reach, in (0, 1].
        max_crystals: of an image, at least 1.
        area: px^2 of the oriented box, density 1 / a (Eqs. 3 and 4).
        aspect_ratio: long side over short side of the box, at least 1 (Eq. 2).
        long_side: px; long elongated crystals are cut to aspect ratios that respect it.
        shapes: "habits", "cube", "preset:NAME", or the path of an OBJ file with one object per shape.
        shape_count: of "habits".
        shape_seed: of "habits".
        shapes_digest: of the shapes' corners; filled in when they are loaded; settings with other shapes differ.
        models_per_image: 0: every crystal draws from all shapes.
        elongation: the halves x > 0 and x <= 0 move apart by up to this much each, in model units.
        roll: rotation about the long axis.
        tilt: out of the image plane.
        tolerance_size: px: how close the square root of a box's area must come to its target's (Eq. 6).
        tolerance_ratio: how close its aspect ratio must come.
        tolerance_angle: how close its angle must come.
        max_iou: of the hulls of any two crystals.
        max_layers: crystals over one pixel.
        field_of_view: rad, across the longer side of the image.
        camera_distance: above the surface z = 0, looking down.
        depth: of the well.
        f_stop: 0: everything in focus; else focused at half depth.
        material: "glass" or "opaque".
        refractive_index: of the glass, above 1.
        tint: grey value of the glass.
        subdivisions: cuts per edge before shading.
        smooth: smooth shading.
        lamp: the one above: "AREA", "POINT", "SUN" or "SPOT".
        lamp_radius: of its disc.
        lamp_power: W.
        lamp_power_deviation: W, standard deviation.
        lamp_angle: from the vertical.
        bottom_lamp: whether one above the floor shines up.
        bottom_lamp_radius: of its disc.
        bottom_lamp_power: W.
        bright_field: chance that an image is lit from below through a condenser, by that light alone.
        brightness: linear grey of its bare ground, log-uniform.
        condenser: degrees, half the angle of its cone of light: the smaller, the darker the edges.
        relief: how much brighter the cone is on one side than on the other: edges in relief.
        focus: part of the depth, from the surface down, that is in focus.
        aperture: factor on the aperture that f_stop gives, log-uniform: the larger, the more blur.
        blur_limit: crystals blurred by more than so many times their short side have no label; 0: all have.
        area_window: largest over smallest area within an image, a window anywhere in ``area``; 0: all of it.
        contact: chance that a crystal grows from the one before: in contact, parallel or as a twin.
        visible: smallest part of a crystal's hull that is on the image; 1: the border cuts none.
        spheres: number of gas bubbles and round cells, which have no label, uniform.
        sphere_size: px, their diameter, log-uniform.
        sphere_index: their refractive index over that of the drop (gas in water: 0.75), uniform.

    Raises:
        InputError: a value is not allowed.

    Examples:
        >>> few = settings.Settings(width=256, height=256, covered=(0.02, 0.1), rule="unbiased", long_side=256.0)
        >>> few.area, len(few.hash)
        ((4.0, 16384.0), 16)
    """

    # image
    width: int = 384
    height: int = 384

    # statistical model (equations 1 to 4)
    rule: Literal["published", "unbiased"] = "published"
    covered: Range = (0.05, 0.5)
    max_crystals: int = 100
    area: Range = (4.0, 16384.0)
    aspect_ratio: Range = (1.0, 11.4)
    long_side: float = 384.0

    # shapes
    shapes: str = "habits"
    shape_count: int = 1851
    shape_seed: int = 0
    shapes_digest: str = ""
    models_per_image: int = 1
    elongation: float = 6.0

    # pose: rotation about the long axis, tilt out of the image plane
    roll: Range = (0.0, 360.0)
    tilt: Range = (-60.0, 60.0)

    # how close the oriented box must come to its target (equation 6)
    tolerance_size: float = 2.0
    tolerance_ratio: float = 0.2
    tolerance_angle: float = 2.0

    # placement
    max_iou: float = 0.7
    max_layers: int = 3

    # camera: above the surface z = 0, looking down; the well is ``depth`` deep
    field_of_view: float = 0.7854
    camera_distance: float = 15.0
    depth: float = 15.0
    f_stop: float = 0.1

    # material
    material: Literal["glass", "opaque"] = "glass"
    refractive_index: Range = (1.1, 1.8)
    tint: Range = (0.75, 0.9)
    subdivisions: int = 10
    smooth: bool = True

    # light: one lamp above, one above the floor that shines up
    lamp: Literal["AREA", "POINT", "SUN", "SPOT"] = "AREA"
    lamp_radius: float = 15.0
    lamp_power: float = 10000.0
    lamp_power_deviation: float = 1000.0
    lamp_angle: Range = (30.0, 60.0)
    bottom_lamp: bool = True
    bottom_lamp_radius: float = 50.0
    bottom_lamp_power: Range = (750.0, 1250.0)

    # what photographs of drops show beyond the published model; the defaults leave it out
    bright_field: float = 0.0
    brightness: Range = (0.25, 1.2)
    condenser: Range = (6.0, 30.0)
    relief: Range = (0.0, 0.8)
    focus: Range = (0.5, 0.5)
    aperture: Range = (1.0, 1.0)
    blur_limit: float = 0.0
    area_window: float = 0.0
    contact: float = 0.0
    visible: float = 1.0
    spheres: Counts = (0, 0)
    sphere_size: Range = (4.0, 64.0)
    sphere_index: Range = (0.75, 1.1)

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            object.__setattr__(self, name, checked(name, getattr(self, name), hint))
        _check_values(self)

    @property
    def focus_distance(self) -> float:
        """From the camera to the plane in focus, half-way down the well."""
        return self.camera_distance + self.depth / 2

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in the order above."""
        return {k: _plain(v) for k, v in dataclasses.asdict(self).items()}

    @property
    def hash(self) -> str:
        """Sixteen hex digits of everything above; what was added since and is left out of the pictures does not count."""
        return hashlib.sha256(json.dumps(self.recorded(), sort_keys=True).encode()).hexdigest()[:16]

    def recorded(self) -> dict[str, Any]:
        """As ``to_dict``, without what was added since and is left out of the pictures: a data set of before is the same."""
        return {k: v for k, v in self.to_dict().items() if k not in _ADDED or v != _plain(getattr(Settings, k))}


_ADDED = (
    "bright_field",
    "brightness",
    "condenser",
    "relief",
    "focus",
    "aperture",
    "blur_limit",
    "area_window",
    "contact",
    "visible",
    "spheres",
    "sphere_size",
    "sphere_index",
)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def checked(name: str, value: Any, hint: Any) -> Any:
    """The value in the type asked for, whole numbers for floats and lists for ranges included. Raises InputError."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InputError(f"{name} is {value!r}; allowed are {', '.join(get_args(hint))}")
        return value
    if hint in (Range, Counts):
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise InputError(f"{name} is {value!r}; it takes two numbers, [low, high]")
        low, high = (checked(name, v, get_args(hint)[0]) for v in value)
        if low > high:
            raise InputError(f"{name} is [{low}, {high}]; the first number must not be above the second")
        return (low, high)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        kind = {float: "a finite number", int: "a whole number", bool: "true or false", str: "text"}[hint]
        raise InputError(f"{name} is {value!r}; it takes {kind}")
    return value


def _check_values(s: Settings) -> None:
    def need(condition: bool, name: str, allowed: str) -> None:
        if not condition:
            raise InputError(f"{name} is {getattr(s, name)}; {allowed}")

    for name in ("width", "height"):
        need(8 <= getattr(s, name) <= 16384, name, "an image side is 8 to 16384 px")
    need(s.covered[0] > 0 and s.covered[1] <= 1, "covered", "a part of the image lies in (0, 1]")
    need(s.max_crystals >= 1, "max_crystals", "an image shows at least one crystal")
    need(s.area[0] > 0, "area", "areas are positive, in px^2")
    need(s.area[0] < s.area[1], "area", "the smallest area must be below the largest")
    need(
        s.covered[1] * s.width * s.height >= s.area[0],
        "covered",
        f"no crystal of at least {s.area[0]} px^2 (area) fits into that part of {s.width} x {s.height} px",
    )
    need(
        s.area[1] <= s.width * s.height,
        "area",
        f"no crystal can be larger than the image ({s.width} x {s.height} = {s.width * s.height} px^2)",
    )
    need(s.aspect_ratio[0] >= 1, "aspect_ratio", "the long side over the short side is at least 1")
    need(
        math.sqrt(s.area[1] * s.aspect_ratio[0]) <= s.long_side,
        "long_side",
        f"the largest crystal (area {s.area[1]}) at aspect ratio {s.aspect_ratio[0]} is already longer; raise long_side or "
        "lower area",
    )
    need(s.long_side <= math.hypot(s.width, s.height), "long_side", "no crystal can be longer than the image's diagonal")
    need(s.shape_count >= 1, "shape_count", "at least one shape is needed")
    need(0 <= s.shape_seed < 2**63, "shape_seed", "a seed is 0 to 2^63 - 1")
    need(s.models_per_image >= 0, "models_per_image", "it takes 1 or more, or 0 for all shapes")
    need(s.elongation >= 0, "elongation", "it takes 0 or more model units")
    need(abs(s.tilt[0]) < 360 and abs(s.tilt[1]) <= 360, "tilt", "degrees from -360 to 360")
    for name in ("tolerance_size", "tolerance_ratio", "tolerance_angle", "camera_distance", "depth", "lamp_radius"):
        need(getattr(s, name) > 0, name, "it must be positive")
    need(0 < s.max_iou <= 1, "max_iou", "it lies in (0, 1]; 1 allows any overlap")
    need(s.max_layers >= 1, "max_layers", "at least one crystal must be allowed on a pixel")
    need(0.01 <= s.field_of_view <= 2.5, "field_of_view", "radians from 0.01 to 2.5")
    need(s.f_stop >= 0, "f_stop", "it takes 0 (all in focus) or a positive f-number")
    need(s.refractive_index[0] > 1, "refractive_index", "glass must refract more than its surroundings: above 1")
    need(s.tint[0] >= 0 and s.tint[1] <= 1, "tint", "grey values lie in [0, 1]")
    need(0 <= s.subdivisions <= 100, "subdivisions", "0 to 100 cuts")
    need(s.lamp_angle[0] >= 0 and s.lamp_angle[1] < 90, "lamp_angle", "degrees from 0 to below 90")
    for name in ("bright_field", "contact"):
        need(0 <= getattr(s, name) <= 1, name, "a chance lies in [0, 1]")
    need(s.brightness[0] > 0 and s.brightness[1] <= 100, "brightness", "linear grey values are positive, up to 100")
    need(s.condenser[0] > 0 and s.condenser[1] <= 90, "condenser", "degrees above 0, up to 90")
    need(s.relief[0] >= 0 and s.relief[1] <= 1, "relief", "a part of the brightness lies in [0, 1]")
    need(s.focus[0] >= 0 and s.focus[1] <= 1, "focus", "a part of the depth lies in [0, 1]")
    need(s.aperture[0] > 0 and s.aperture[1] <= 1000, "aperture", "a factor is positive, up to 1000")
    need(s.blur_limit >= 0, "blur_limit", "it takes 0 (all crystals have labels) or a positive number of short sides")
    need(0 < s.visible <= 1, "visible", "a part of a crystal lies in (0, 1]; 1: the border cuts none")
    need(s.spheres[0] >= 0 and s.spheres[1] <= 1000, "spheres", "it takes two whole numbers from 0 to 1000")
    need(s.sphere_size[0] > 0, "sphere_size", "diameters are positive, in px")
    need(s.sphere_index[0] >= 0.1 and s.sphere_index[1] <= 4, "sphere_index", "refractive indices from 0.1 to 4")
    need(s.area_window == 0 or s.area_window > 1, "area_window", "it takes 0 (no window) or a ratio above 1")
    for name in ("lamp_power", "lamp_power_deviation", "bottom_lamp_radius"):
        need(getattr(s, name) >= 0, name, "it must not be negative")


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are those that people mean (1e3, 1e-1; 0140 is not 96), and in which no name stands twice."""


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node).replace("_", "")
    if text.lstrip("+-").isdigit():
        return int(text)
    value = float(text)
    return int(value) if "." not in text and value.is_integer() else value


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen and isinstance(key, yaml.ScalarNode):
            raise yaml.YAMLError(
                f"{key.value!r} stands twice, the second time in line {key.start_mark.line + 1}; leave one out"
            )
        if isinstance(key, yaml.ScalarNode):
            seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "!number", re.compile(r"[-+]?(?!0\d)(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?$"), list("-+.0123456789")
)
_Loader.add_constructor("!number", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_settings(path: str | Path) -> Settings:
    """Read settings from a YAML or JSON file: names as in ``Settings``, those left out keep their defaults.

    The settings file released with the published generator is understood as well.

    Args:
        path: of the file.

    Returns:
        The settings.

    Raises:
        DataError: the file cannot be read.
        InputError: a name or value is not allowed.

    Examples:
        >>> with open("small.yaml", "w") as file:
        ...     _ = file.write("width: 64\\nheight: 48\\n")
        >>> settings.load_settings("small.yaml").width
        64
    """
    try:
        content = yaml.load(Path(path).read_bytes(), _Loader)  # JSON is YAML
    except OSError as e:
        raise DataError(f"cannot read the settings {path}: {e.strerror}") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise DataError(f"the settings {path} are neither YAML nor JSON: {e}") from e
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise DataError(f"the settings {path} hold a {type(content).__name__}; they take names and values")
    return settings_from(content)


def settings_from(values: dict[str, Any]) -> Settings:
    """Settings from a dict of this project's names or of the published ones. Raises InputError."""
    if "crystal_area_max" in values:
        values = translated(values, Settings)
    values = _fitted(values)
    known = [f.name for f in dataclasses.fields(Settings)]
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            raise InputError(
                f"there is no setting {name!r}{f'; did you mean {close[0]}?' if close else '.'} Known: {', '.join(known)}"
            )
    return Settings(**values)


def _fitted(values: dict[str, Any]) -> dict[str, Any]:
    """With the largest area and the longest side in the proportions of the defaults, where an image is named that is too small
    for the defaults and neither is given."""
    width, height = (values.get(n, getattr(Settings, n)) for n in ("width", "height"))
    if "area" in values or "long_side" in values or not all(type(n) is int and 8 <= n <= 16384 for n in (width, height)):
        return values
    part = Settings.area[1] / (Settings.width * Settings.height)
    if Settings.area[1] <= width * height and Settings.long_side <= math.hypot(width, height):
        return values
    return {**values, "area": [Settings.area[0], part * width * height], "long_side": float(max(width, height))}
