"""Micrometres per pixel from what files say about themselves. Resolutions for printers are no calibration."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

from .frames import Scale

MICROMETRES = {
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3, "nanometers": 1e-3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometers": 1.0, "micrometre": 1.0,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3, "millimeters": 1e3,
    "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "m": 1e6, "meter": 1e6, "metre": 1e6,
}  # fmt: skip
SECONDS = {
    "ns": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9,
    "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "usec": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip
PRINTERS = (72, 90, 96, 100, 120, 150, 180, 200, 240, 300, 360, 400, 600, 720, 1200, 2400)  # dots per inch
PLAUSIBLE = (0.01, 20.0)  # um per px of photomicrographs, where nothing else suggests a resolution in centimetres
ALIKE = 0.01  # relative difference of two scales that say the same


def unit_in_um(unit: Any) -> float | None:
    """How many micrometres a unit of length has; None for what is none, such as "pixel"."""
    return MICROMETRES.get(_typed(unit))


def _typed(unit: Any) -> str:
    """A unit as people type it, and as ImageJ writes letters beyond ASCII."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), str(unit or ""))
    return text.strip().strip("\0").lower()


def same(first: float, second: float) -> bool:
    """Whether two scales say the same."""
    return math.isclose(first, second, rel_tol=ALIKE)


def square(x: float | None, y: float | None, source: str) -> Scale:
    """The scale of pixels that are x um wide and y um high, None where unknown."""
    if x is None or not 0 < x < math.inf:
        return Scale()
    if y is not None and 0 < y < math.inf and not same(x, y):
        return Scale(doubt=f"{source} gives pixels of {x:g} by {y:g} um, which are not square")
    return Scale(float(x), source)


def imagej_scale(metadata: Any, x: Any, y: Any) -> Scale:
    """metadata: ImageJ's description as a mapping; x, y: the TIFF's resolutions, pixels per unit, as fractions."""
    factor = unit_in_um(metadata.get("unit"))
    across, along = _per_unit(x), _per_unit(y)
    if factor is None or across is None:
        return Scale()
    return square(factor / across, None if along is None else factor / along, "ImageJ")


def imagej_step(metadata: Any) -> float | None:
    """Seconds between the times of an ImageJ stack, None where they or their unit are unknown."""
    step, unit = metadata.get("finterval"), metadata.get("tunit")
    factor = 1.0 if unit is None else SECONDS.get(_typed(unit))  # ImageJ leaves out "sec" alone
    if factor is None or not isinstance(step, int | float) or not 0 < step < math.inf:
        return None
    return float(step) * factor


def resolution_scale(unit: int, x: Any, y: Any) -> Scale:
    """unit: TIFF's ResolutionUnit, of which centimetres (3) alone may be a calibration: programs that mean a printer write
    inches, and those that turned inches into centimetres give themselves away by a printer's number."""
    across, along = _per_unit(x), _per_unit(y)
    if unit != 3 or across is None:
        return Scale()
    if any(math.isclose(across * 2.54, dots, rel_tol=0.005) for dots in PRINTERS):
        return Scale()
    um = 1e4 / across
    if not PLAUSIBLE[0] <= um <= PLAUSIBLE[1]:
        return Scale()
    return square(um, None if along is None else 1e4 / along, "TIFF resolution")


def ome_scales(xml: str) -> list[tuple[Scale, dict[tuple[int, int, int], float]]]:
    """Of every image of an OME document, its scale and {(t, z, c): seconds}. Empty where the document cannot be read."""
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return []
    images = []
    for pixels in (p for p in root.iter() if _bare(p.tag) == "Pixels"):
        x, y = (_ome_length(pixels, f"PhysicalSize{axis}") for axis in "XY")
        step = _number(pixels.get("TimeIncrement"))
        step = None if step is None else step * SECONDS.get(pixels.get("TimeIncrementUnit", "s"), math.nan)
        times: dict[tuple[int, int, int], float] = {}
        if step is not None and math.isfinite(step):
            for t in range(min(int(_number(pixels.get("SizeT")) or 1), 100_000)):
                times[t, -1, -1] = t * step
        for plane in (p for p in pixels if _bare(p.tag) == "Plane"):
            delta = _number(plane.get("DeltaT"))
            seconds = None if delta is None else delta * SECONDS.get(plane.get("DeltaTUnit", "s"), math.nan)
            if seconds is not None and math.isfinite(seconds):
                t, z, c = (int(_number(plane.get(f"The{axis}")) or 0) for axis in "TZC")
                times[t, z, c] = seconds
        images.append((square(x, y, "OME"), times))
    return images


def _ome_length(pixels: ElementTree.Element, name: str) -> float | None:
    value = _number(pixels.get(name))
    factor = unit_in_um(pixels.get(f"{name}Unit", "um"))
    return None if value is None or factor is None else value * factor


def _bare(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _per_unit(fraction: Any) -> float | None:
    """Pixels per unit of a TIFF's resolution, (numerator, denominator); None where there is none."""
    try:
        above, below = fraction
        value = float(above) / float(below)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return value if 0 < value < math.inf else None
