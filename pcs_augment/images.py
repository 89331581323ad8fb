"""Image files as 8-bit grey: orientation, depth, transparency. Only Pillow and NumPy are needed."""

from __future__ import annotations

import os
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, InputError
from .extras import missing

MAX_PIXELS = 2**28
SCALES = (1023, 4095, 16383, 65535)  # whites of cameras of 10, 12, 14 and 16 bits
SPILL = 1.05  # floats may exceed their white by so much: interpolation overshoots
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def read_grey(
    path: str | os.PathLike[str], white: float | None = None, size: tuple[Any, Any] = (None, None)
) -> NDArray[np.uint8]:
    """Read an image file as (H, W) 8-bit grey.

    Colour becomes grey by its luma; what is transparent shows white. An EXIF orientation is applied, unless ``size`` says that
    the labels belong to the picture as it is stored.

    Args:
        path: the image file.
        white: the value that is white in images of more than 8 bits or of floats, 4095 for a 12-bit camera. None guesses and
            says so in a warning where it could be wrong: of whole numbers the smallest of 1023, 4095, 16383 and 65535 that
            holds all pixels, of floats 1, or 255, or one of those.
        size: (height, width) px that the labels say, None where they say nothing.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: the file is missing, no image, or too large.
        InputError: white is no positive number.

    Examples:
        >>> from pcs_augment.sample import sample_path
        >>> read_grey(sample_path().with_suffix("") / "0000000000.png").shape
        (384, 384)
    """
    if white is not None and not 0 < float(white) < np.inf:
        raise InputError(f"white is {white!r}; give the positive value that is white, such as 4095 of a 12-bit camera")
    try:
        from PIL import Image, ImageOps
    except ImportError as e:
        raise DataError(missing("PIL", "reading images")) from e
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if file.width * file.height > MAX_PIXELS:
                    raise DataError(f"{path}: {file.width} x {file.height} px, more than {MAX_PIXELS} are not read")
                image: Any = ImageOps.exif_transpose(file) if _meant_turned(file, size) else file
                if image.mode.startswith("I") or image.mode == "F":
                    values = np.asarray(image, dtype=np.float64)
                else:
                    return np.array(_opaque(image))
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such image file") from e
    except Image.DecompressionBombError as e:
        raise DataError(f"{path}: refused, it would decompress to too many pixels ({e})") from e
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, zlib.error) as e:
        raise DataError(f"{path}: not a readable image (cannot be read: {e})") from e
    full = float(white) if white is not None else _guessed(values, image.mode == "F", path)
    return np.clip(np.round(np.nan_to_num(values) * (255 / full)), 0, 255).astype(np.uint8)


def _meant_turned(image: Any, size: tuple[Any, Any]) -> bool:
    """Whether the EXIF orientation is to be applied: yes, but for labels of the size that the picture is stored in."""
    orientation = image.getexif().get(0x0112, 1)
    if orientation in _TURNED and image.width != image.height:
        return size != (image.height, image.width)
    return orientation in range(2, 9)


def _opaque(image: Any) -> Any:
    """The image in grey, over white where it is transparent."""
    from PIL import Image

    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("L")


def _guessed(values: NDArray[np.float64], floats: bool, path: Any) -> float:
    """The white of an image for which none was given."""
    most = float(np.nan_to_num(values).max(initial=0))
    if floats and most <= SPILL:
        return 1.0
    known = (255, *SCALES) if floats else SCALES
    slack = SPILL if floats else 1.0
    full = float(next((s for s in known if most <= s * slack), most))
    if floats or full != SCALES[-1]:
        what = "floats" if floats else "whole numbers of 16 bits or more"
        warnings.warn(
            f"{path}: {what} up to {most:g}; {full:g} is taken for white. Name the white of your camera (white=4095 for 12 "
            "bits), or images of one camera may come out in different contrasts",
            stacklevel=4,
        )
    return full
