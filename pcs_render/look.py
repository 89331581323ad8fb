"""What differs from image to image beside crystals and lamps: focus, aperture, window of areas, condenser, spheres.

These numbers have random streams of their own, so that a setting that is left at its default changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from . import exact
from .exact import Draws
from .scene import Camera, Condenser, Sphere
from .settings import Settings

DIGITS = 9  # after the point, of the numbers in a scene


class Look(NamedTuple):
    """The choices of one image."""

    f_stop: float
    focus_distance: float
    area: tuple[float, float]  # px^2
    condenser: Condenser | None


def look(settings: Settings, seed: int, image: int) -> Look:
    """The look of an image; where the settings leave no choice, theirs.

    Args:
        settings: ``focus`` is uniform, ``aperture`` and ``brightness`` are log-uniform, ``condenser`` and ``relief`` uniform,
            the brighter side uniform around the circle; the window of areas is as ``area_window`` says.
        seed: Of the data set.
        image: Id of the image.
    """
    u = Draws(seed, image, exact.LOOK).unit(8)
    f_stop, focus_distance = settings.f_stop, settings.focus_distance
    if settings.aperture != (1.0, 1.0):
        f_stop = round(settings.f_stop / log_between(settings.aperture, u[1]), DIGITS)
    if settings.focus != (0.5, 0.5):
        focus_distance = round(settings.camera_distance + settings.depth * between(settings.focus, u[0]), DIGITS)
    condenser = None
    if u[3] < settings.bright_field:
        condenser = Condenser(
            round(log_between(settings.brightness, u[4]), DIGITS),
            round(between(settings.condenser, u[5]), DIGITS),
            round(between(settings.relief, u[6]), DIGITS),
            round(float(u[7]), DIGITS),
        )
    return Look(f_stop, focus_distance, area_window(settings, float(u[2])), condenser)


def area_window(settings: Settings, u: float) -> tuple[float, float]:
    """The areas (low, high) in px^2 of an image: a window within ``area``, high / low is ``area_window``, log low is uniform.

    ``u`` in [0, 1) says where. Without a window it is ``area`` itself.
    """
    smallest, largest = settings.area
    if not settings.area_window:
        return smallest, largest
    window = min(settings.area_window, largest / smallest)
    low = log_between((smallest, largest / window), u)
    return low, low * window


def spheres(settings: Settings, seed: int, image: int, camera: Camera) -> tuple[Sphere, ...]:
    """The spheres of an image, which are no crystals: gas bubbles and round cells, anywhere in the viewed volume.

    Their number is uniform on the whole numbers of ``spheres``, their diameter on the image log-uniform on ``sphere_size``,
    their refractive index uniform on ``sphere_index``. The centre lies on the image; the whole sphere lies in the well.
    """
    if settings.spheres == (0, 0):
        return ()
    draw = Draws(seed, image, exact.SPHERES)
    low, high = settings.spheres
    found = []
    for _ in range(low + draw.below(high - low + 1)):
        u = draw.unit(5)
        near, far = camera.distance, camera.distance + camera.depth
        away = float(exact.cube_root(near * near * near + (far * far * far - near * near * near) * u[0]))
        radius = log_between(settings.sphere_size, u[1]) / 2 / camera.focal * away
        radius = min(radius, camera.depth / 2)
        away = min(max(away, near + radius), far - radius)
        x, y = (float(v - 0.5) * size / camera.focal * away for v, size in ((u[2], camera.width), (u[3], camera.height)))
        place = (round(x, DIGITS), round(y, DIGITS), round(camera.distance - away, DIGITS))
        found.append(Sphere(place, round(radius, DIGITS), round(between(settings.sphere_index, u[4]), DIGITS)))
    return tuple(found)


def between(limits: tuple[float, float], u: float) -> float:
    """Where ``u`` in [0, 1) lies between the limits."""
    return float(limits[0] + (limits[1] - limits[0]) * u)


def log_between(limits: tuple[float, float], u: float) -> float:
    """Where ``u`` in [0, 1) lies between positive limits, in equal steps of the logarithm."""
    low, high = limits
    return low if high <= low else float(low * exact.exp(u * exact.log(high / low)))
