"""A scene: everything that one image shows, as a JSON document that can be rendered and labelled anywhere.

Coordinates: x right, y up, z towards the camera; the surface of the well is z = 0, its floor z = -depth, the camera looks
down from z = camera distance. A crystal's vertices are ``location + Rz(turn) Ry(tilt) Rx(roll) diag(long, wide, wide) v``
(equation 5), where v are its model's vertices after the elongation.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import exact
from .errors import DataError

FORMAT = "pcs-scene/1"
SENSOR = 36.0  # mm, Blender's default: with the field of view it makes the focal length, and with the f-stop the aperture
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Target:
    """What the statistical model asked for."""

    area: float  # px^2, of the oriented box
    ratio: float
    angle: float  # degrees in [-90, 90), counter-clockwise on screen, as published
    largest: float  # px^2: the cap that was in force when the area was drawn (rule ``published``)


@dataclass(frozen=True)
class Crystal:
    model: int
    elongation: float  # model units
    scale: tuple[float, float]  # along the long axis, across it
    rotation: Vector  # roll, tilt, turn in whole turns (1 is 360 degrees)
    location: Vector
    refractive_index: float
    tint: float
    target: Target


@dataclass(frozen=True)
class Lamp:
    kind: str  # AREA, POINT, SUN or SPOT
    location: Vector
    rotation: Vector  # Euler XYZ, radians
    radius: float
    power: float  # W


@dataclass(frozen=True)
class Condenser:
    """Light from below as in a bright-field microscope: every place of the ground sends a cone of light to the camera."""

    brightness: float  # linear grey of the bare ground
    angle: float  # degrees, half the angle of the cone
    relief: float  # the cone is brighter by this part on one side, darker on the other
    direction: float  # of the brighter side, in whole turns


@dataclass(frozen=True)
class Sphere:
    """What is no crystal and has no label: a gas bubble, a round cell."""

    location: Vector  # of its centre
    radius: float  # model units
    refractive_index: float  # over that of its surroundings; a gas bubble in water has 0.75


@dataclass(frozen=True)
class Camera:
    width: int  # px
    height: int
    field_of_view: float  # rad, across the longer side
    distance: float  # above the surface
    depth: float  # of the well
    f_stop: float  # 0: all in focus
    focus_distance: float

    @functools.cached_property
    def focal(self) -> float:
        """Focal length in px: (x, y, z) is seen at W / 2 + focal x / (distance - z), H / 2 - focal y / (distance - z)."""
        c, s = exact.turn(self.field_of_view / 2 / (2 * np.pi))
        return float(max(self.width, self.height) / 2 * c / s)

    @property
    def aperture(self) -> float:
        """Diameter of the lens in model units, from the field of view and the f-stop as Blender does it; 0: a pinhole."""
        if not self.f_stop:
            return 0.0
        return SENSOR / 1000 * self.focal / max(self.width, self.height) / self.f_stop

    def blur(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Diameter in px of the circle that a point at a distance along the axis becomes (the circle of confusion)."""
        away = np.asarray(distance, np.float64)
        return self.aperture * np.abs(away - self.focus_distance) / away / self.focus_distance * self.focal


@dataclass(frozen=True)
class Scene:
    """Everything that one image shows.

    Attributes:
        image: its id.
        seed: of the data set.
        settings: hash of the settings.
        camera: where it is and how it sees.
        lamps: the lights.
        material: "glass" or "opaque".
        subdivisions: cuts per edge before shading.
        smooth: whether shading is smooth.
        crystals: in the order in which they were placed.
        models: vertices of every model that a crystal names, before elongation.
        covered: part of the image asked for, and reached, by the union of the hulls.
        unmet: targets that no pose could meet, skipped.
        condenser: of bright field; None: the lamps and a matt floor.
        blur_limit: crystals blurred by more than so many times their short side have no label; 0: all have.
        spheres: what is no crystal and has no label.

    Examples:
        >>> from pcs_render.scene import Scene
        >>> Scene.from_json(scenes[0].to_json()) == scenes[0]
        True
    """

    image: int
    seed: int
    settings: str
    camera: Camera
    lamps: tuple[Lamp, ...]
    material: str
    subdivisions: int
    smooth: bool
    crystals: tuple[Crystal, ...]
    models: dict[int, list[Vector]]
    covered: tuple[float, float]
    unmet: tuple[Target, ...] = field(default=())
    condenser: Condenser | None = None
    blur_limit: float = 0.0
    spheres: tuple[Sphere, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        content = dataclasses.asdict(self)
        content["models"] = {str(k): v for k, v in self.models.items()}
        for name in ("condenser", "blur_limit", "spheres"):  # scenes without them read as they always did
            if not content[name]:
                del content[name]
        return {"format": FORMAT, **content}

    def to_json(self) -> str:
        """Write the scene as JSON text."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @staticmethod
    def from_dict(content: Any) -> Scene:
        """Make a scene of ``content``, plain JSON values. Raises DataError for anything but a scene of this format."""
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataError(f"this is not a scene: its format is {_format(content)!r}, expected {FORMAT!r}")
        try:
            c = dict(content)
            del c["format"]
            c["camera"] = Camera(**c["camera"])
            c["lamps"] = tuple(Lamp(**{**lamp, **_vectors(lamp, "location", "rotation")}) for lamp in c["lamps"])
            c["crystals"] = tuple(
                Crystal(
                    **{
                        **crystal,
                        **_vectors(crystal, "scale", "rotation", "location"),
                        "target": Target(**crystal["target"]),
                    }
                )
                for crystal in c["crystals"]
            )
            c["models"] = {int(k): [tuple(p) for p in v] for k, v in c["models"].items()}
            c["covered"] = tuple(c["covered"])
            c["unmet"] = tuple(Target(**t) for t in c["unmet"])
            if c.get("condenser"):
                c["condenser"] = Condenser(**c["condenser"])
            c["spheres"] = tuple(Sphere(**{**s, "location": tuple(s["location"])}) for s in c.get("spheres", ()))
            return Scene(**c)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise DataError(f"this scene is broken: {type(e).__name__}: {e}") from e

    @staticmethod
    def from_json(text: str | bytes) -> Scene:
        """Read a scene from JSON ``text``. Raises DataError."""
        try:
            return Scene.from_dict(json.loads(text))
        except json.JSONDecodeError as e:
            raise DataError(f"this scene is not JSON: {e}") from e

    @staticmethod
    def load(path: str | Path) -> Scene:
        """Read a scene from the JSON file ``path``. Raises DataError."""
        try:
            return Scene.from_json(Path(path).read_text())
        except OSError as e:
            raise DataError(f"cannot read the scene {path}: {e.strerror}") from e


def _format(content: Any) -> Any:
    return content.get("format") if isinstance(content, dict) else type(content).__name__


def _vectors(values: dict[str, Any], *names: str) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values[name]) for name in names}


def rotation_matrix(rotation: Vector) -> NDArray[np.float64]:
    """(3, 3) matrix Rz(turn) Ry(tilt) Rx(roll)."""
    (cr, ct, cz), (sr, st, sz) = exact.turn(np.array(rotation))
    return np.array(
        [
            [cz * ct, cz * st * sr - sz * cr, cz * st * cr + sz * sr],
            [sz * ct, sz * st * sr + cz * cr, sz * st * cr - cz * sr],
            [-st, ct * sr, ct * cr],
        ]
    )
