"""The photographs that a file holds: one, or the pages of a stack, each with the scale and the time that the file gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError

Projection = Literal["max", "min", "focus"]
MAX_PIXELS = 2**28
NUMBERED = re.compile(r"^(?P<file>.+)#(?P<number>[0-9]+)$")


@dataclass(frozen=True)
class Scale:
    """The scale that a file gives.

    Attributes:
        um_per_px: micrometres per pixel; None where the file does not say.
        source: where it says so.
        doubt: why what it says is no scale, "" where nothing is wrong.

    Examples:
        >>> photographs.frames_of("drop.png")[0].scale
        Scale(um_per_px=None, source='', doubt='')
    """

    um_per_px: float | None = None
    source: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Frame:
    """One photograph of a file.

    Attributes:
        path: of the file.
        size: (H, W) px, upright.
        depth: NumPy's name of the pixels' type.
        number: its place in a file of several, from 1 on, None in a file of one.
        projection: what makes one picture of the planes of a Z stack, where this is one.
        scale: that the file gives.
        hours: since the first frame of the file; None where it does not say.
        planes: how many planes of the same place the file holds where they are frames of their own, 1 where it holds no Z
            stack.
        passed_over: how many pages of the file look like thumbnails, though nothing marks them, and are no photographs here.
        where: for the reader of the format, of a projected stack that of every plane.

    Examples:
        >>> (frame,) = photographs.frames_of("drop.png")
        >>> frame.size, frame.depth, frame.number
        ((256, 256), 'uint8', None)
    """

    path: Path
    size: tuple[int, int]
    depth: str
    number: int | None = None
    projection: Projection | None = None
    scale: Scale = field(default_factory=Scale)
    hours: float | None = None
    planes: int = 1
    passed_over: int = 0
    where: Any = None

    @property
    def ending(self) -> str:
        """What is added to the file's name: "" or "#0003"."""
        return "" if self.number is None else f"#{self.number:04d}"

    @property
    def deep(self) -> bool:
        """Whether pixels have more than 8 bits, so that the file need not say which level is white."""
        return self.depth not in ("uint8", "int8", "bool")


def numbered(path: Path) -> tuple[Path, int | None]:
    """(file, number of the frame) of a name such as stack.tif#0003; (path, None) for the name of a file."""
    found = NUMBERED.match(path.name)
    if found is None or path.exists():
        return path, None
    return path.with_name(found["file"]), int(found["number"])


def check_projection(z: str | None) -> None:
    if z is not None and z not in get_args(Projection):
        raise InputError(f"Z stacks are projected by {', '.join(get_args(Projection))}; {z!r} is none of these")


def projected(planes: Sequence[NDArray[Any]], method: Projection) -> NDArray[Any]:
    """One picture of the planes of a Z stack, (H, W) or (H, W, C) each, of the same kind.

    "max" and "min" take the brightest and the darkest level of each pixel; "focus" takes each pixel from the plane that is
    sharpest around it: where the Laplacian, squared and smoothed over about 1/100 of the picture, is largest.
    """
    if not planes:
        raise DataError("a Z stack without planes")
    if len({(p.shape, p.dtype) for p in planes}) > 1:
        raise DataError("the planes of a Z stack differ in size or kind; they cannot be projected")
    if method != "focus":
        result = planes[0]
        for plane in planes[1:]:
            result = np.maximum(result, plane) if method == "max" else np.minimum(result, plane)
        return result
    import cv2

    best = np.array(planes[0])
    sigma = max(2.0, max(best.shape[:2]) / 100)
    most = np.full(best.shape[:2], -np.inf, np.float32)
    for plane in planes:
        grey = plane.astype(np.float32)
        grey = grey if grey.ndim == 2 else grey.mean(-1)
        sharp = cv2.GaussianBlur(cv2.Laplacian(grey, cv2.CV_32F) ** 2, (0, 0), sigma)
        better = sharp > most
        most[better], best[better] = sharp[better], plane[better]
    return best
