"""Grey values from pixels, and brought to the grey values that a detector was trained on."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, InputError

Grey = NDArray[np.float32]
Matching = Literal["shift", "scale", "none"]
LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # Rec. 601, of red, green and blue
FULL_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0, 2.0**31 - 1, 2.0**32 - 1)
BEYOND = 1.1  # of floating point: what interpolation and sharpening may add to white
DOUBTFUL = 20.0  # floating point up to here is neither 0 to 1 nor 0 to 255


def grey_values(pixels: ArrayLike, white: float | None = None) -> Grey:
    """Make grey values of the pixels of an image.

    Colour becomes its luma (Rec. 601: 0.299 R + 0.587 G + 0.114 B). Levels below 0 count as black, beyond ``white`` as white.

    Args:
        pixels: (H, W), (H, W, 1) grey, (H, W, 2) grey and alpha, (H, W, 3) red, green, blue, or (H, W, 4) with alpha, which is
            ignored; integers of any depth or floating point.
        white: the level that counts as white, by default ``full_scale``'s; of 8-bit images always 255 or less.

    Returns:
        (H, W) float32 from 0 (black) to 255 (white).

    Raises:
        DataError: another shape, or pixels that are no finite numbers.
        InputError: ``white`` is not positive.

    Examples:
        >>> photographs.grey_values(np.array([[0, 2048, 4095]], np.uint16)).round()
        array([[  0., 128., 255.]], dtype=float32)
    """
    levels = plain_levels(pixels)
    check_white(white)
    if white is None:
        white = full_scale(levels)
    elif levels.dtype == np.uint8 and white > 255:
        raise DataError(f"an 8-bit image, whose levels end at 255; with white at {white:g} it would be black (--white is for "
                        "deeper images; two runs and 'sizes A B' join folders of both kinds)")  # fmt: skip
    grey = levels.astype(np.float32) if levels.ndim == 2 else levels.astype(np.float32) @ LUMA
    return np.clip(grey * np.float32(255 / white), 0, 255, dtype=np.float32)


def plain_levels(pixels: ArrayLike) -> NDArray[Any]:
    """The pixels as (H, W) or (H, W, 3) numbers, without alpha. Raises DataError for what is no image."""
    levels = np.asarray(pixels)
    if levels.ndim == 3 and 1 <= levels.shape[2] <= 4:
        levels = levels[..., :3] if levels.shape[2] > 2 else levels[..., 0]
    if levels.ndim not in (2, 3) or not levels.size or (levels.ndim == 3 and levels.shape[2] != 3):
        raise DataError(f"an image of shape {np.shape(pixels)}; give (H, W) or (H, W, C) with 1 to 4 channels")
    if levels.dtype == bool:
        levels = levels * np.uint8(255)
    if levels.dtype.kind not in "iuf":
        raise DataError(f"an image of {levels.dtype}; give integers or floating point")
    if levels.dtype.kind == "f" and not np.isfinite(levels).all():
        raise DataError("an image with grey values that are no finite numbers")
    return levels


def full_scale(levels: NDArray[Any], most: float | None = None) -> float:
    """The level of white that pixels of this kind most likely have.

    255 of 8-bit images; of deeper ones the smallest of 255, 1023, 4095, 16383, 65535 ... that no pixel exceeds, as cameras of
    10, 12 and 14 bits leave the upper bits empty; of floating point also 1, and a tenth more than each counts as white still.
    most: the largest level of a series of photographs, so that all of them get one white; by default that of these.
    Raises DataError where floating point ends between 1.1 and 20, or beyond 2^32: then ``white`` must be given.
    """
    if levels.dtype == np.uint8:
        return 255.0
    return scale_for(levels.dtype.kind, float(levels.max()) if most is None else most)


def scale_for(kind: str, most: float) -> float:
    """``full_scale`` of pixels of a kind ("i", "u" or "f", as NumPy has it) whose largest level is ``most``."""
    beyond = BEYOND if kind == "f" else 1.0
    if kind == "f" and most <= BEYOND:
        return 1.0
    if (kind == "f" and most <= DOUBTFUL) or most > FULL_SCALES[-1] * beyond or not np.isfinite(most):
        raise DataError(f"its levels reach {most:g}, which no camera has as white; say which level is white (--white)")
    return next(s for s in FULL_SCALES if most <= s * beyond)


def matched(grey: Grey, method: Matching = "shift", mean: float = 132.6, deviation: float = 61.2) -> Grey:
    """Bring grey values to the distribution of the training images.

    "shift" adds one number to all so that their mean becomes ``mean``: the paper's preprocessing of photomicrographs (2022,
    experimental validation: "shifted to the distribution used during training"), contrast stays. "scale" shifts and stretches
    to ``mean`` and ``deviation`` (an image of one level is only shifted). "none" changes nothing.

    Args:
        grey: (H, W), 0 .. 255.
        method: "shift", "scale" or "none".
        mean: of the training images, by default that of the paper's detector.
        deviation: likewise.

    Returns:
        (H, W) float32, which may leave 0 .. 255, for nothing is clipped.

    Raises:
        InputError: another method.

    Examples:
        >>> shifted = photographs.matched(photographs.grey_values(grey), mean=100)
        >>> round(float(shifted.mean()))
        100
    """
    check_matching(method)
    if method == "none":
        return grey
    centred = grey - np.float32(grey.mean(dtype=np.float64))
    if method == "scale" and (own := float(grey.std(dtype=np.float64))) > 1e-6:
        centred *= np.float32(deviation / own)
    return centred + np.float32(mean)


def check_matching(method: str) -> None:
    if method not in get_args(Matching):
        raise InputError(f"grey values are matched by {', '.join(get_args(Matching))}; {method!r} is none of these")


def check_white(white: float | None) -> None:
    if white is not None and not 0 < white < np.inf:
        raise InputError(f"the level of white is {white}; it must be a positive number")
