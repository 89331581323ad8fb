"""Fringes taken out of photographs: interference of coherent light, moire, grids of cameras and of compression."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..errors import InputError
from .grey import Grey

Fringes = Literal["remove", "keep"]
SMALLEST = 64  # px: in a smaller picture a few crystals side by side look like fringes
COARSEST = 5.0  # times that a pattern repeats across the shorter side, at least; what is slower is shading
PEAK = 1.8  # ln of a peak's amplitude over its surroundings: noise reaches 1.6 once in ten million places
FOOT = 0.5  # and of what belongs to a peak
GROWN = 7  # places across which a peak may spread
AROUND = 21  # places across that are the surroundings
ALONG = (2, 12)  # places nearer to the middle and farther from it, likewise
PARTS = 4  # of the picture across and down
SPREAD = 0.7  # median over mean of a pattern's energy in these parts: fringes have 0.8 and more, a row of crystals 0.6 and less
FAINTEST = 0.002  # grey levels that count as nothing
LEVELS = 16  # per unit of ln: the median filter takes 8 bits


def without_fringes(grey: Grey) -> Grey:
    """Take periodic patterns out of a photograph.

    Such a pattern is a few peaks in the spectrum that rise far above all around them. The straight edges of crystals are lines
    through the middle of the spectrum, so what does not rise above its neighbours on such a line is left as well. Peaks are
    lowered to the median of their surroundings, unless what goes lies in a part of the picture alone, as crystals in a row do.
    A photograph without such a pattern comes back as it is, and so does one with a side below 64 px. The picture's own borders
    are no edges: what their difference adds to the spectrum is set aside first (Moisan 2011, "Periodic plus smooth image
    decomposition").

    Args:
        grey: (H, W), 0 .. 255.

    Returns:
        (H, W) float32, 0 .. 255.

    Examples:
        >>> fringes = 40 * np.sin(np.arange(512) * 0.7).astype(np.float32)
        >>> clean = photographs.without_fringes(np.full((384, 512), 128, np.float32) + fringes)
        >>> round(float(fringes.std())), round(float(clean.std()))
        (28, 1)
    """
    height, width = grey.shape
    if min(grey.shape) < SMALLEST:
        return grey
    smooth = _smooth_part(grey)
    # rows are centred; columns begin at frequency 0, since the other half is the same
    spectrum = np.fft.fftshift(scipy.fft.rfft2(grey.astype(np.float32, copy=False)) - smooth, axes=0)
    amplitude = np.log(np.abs(spectrum) + np.float32(FAINTEST * grey.size))
    rise = amplitude - _median_around(amplitude)
    down = ((np.arange(height, dtype=np.float32) - height // 2) / height)[:, None]
    across = (np.arange(rise.shape[1], dtype=np.float32) / width)[None]
    rise[np.hypot(down, across) * min(grey.shape) < COARSEST] = 0
    y, x = np.nonzero(rise > PEAK)
    single = amplitude[y, x] - _median_along(amplitude, y, x) > PEAK
    if not single.any():
        return grey
    peaks = np.zeros(rise.shape, np.uint8)
    peaks[y[single], x[single]] = 1
    peaks = cv2.dilate(peaks, np.ones((GROWN, GROWN), np.uint8))
    lowered = (peaks > 0) & (rise > FOOT)
    spectrum[lowered] *= np.exp(-rise[lowered])
    back = scipy.fft.irfft2(np.fft.ifftshift(spectrum, axes=0) + smooth, s=grey.shape)
    energy = cv2.resize((back - grey) ** 2, (PARTS, PARTS), interpolation=cv2.INTER_AREA)
    if np.median(energy) < SPREAD * energy.mean():
        return grey
    return np.clip(back, 0, 255, dtype=np.float32)


def _smooth_part(grey: Grey) -> NDArray[np.complex64]:
    """Half of the spectrum of the smooth picture whose opposite borders differ as those of ``grey`` do."""
    height, width = grey.shape
    steps = np.zeros((height, width), np.float32)
    steps[0] += grey[-1] - grey[0]
    steps[-1] -= grey[-1] - grey[0]
    steps[:, 0] += grey[:, -1] - grey[:, 0]
    steps[:, -1] -= grey[:, -1] - grey[:, 0]
    down = 2 * np.cos(2 * np.pi * scipy.fft.fftfreq(height))[:, None]
    laplacian = (down + 2 * np.cos(2 * np.pi * scipy.fft.rfftfreq(width)) - 4).astype(np.float32)
    laplacian[0, 0] = 1
    smooth = scipy.fft.rfft2(steps) / laplacian
    smooth[0, 0] = 0
    return smooth


def _median_around(amplitude: NDArray[np.float32]) -> NDArray[np.floating]:
    """The median of AROUND x AROUND places of half a spectrum."""
    low = float(amplitude.min())
    levels = np.clip((amplitude - low) * LEVELS, 0, 255).astype(np.uint8)
    half = AROUND // 2
    mirrored = levels[_opposite(np.arange(len(levels)), len(levels)), 1 : half + 1][:, ::-1]
    levels = cv2.copyMakeBorder(np.hstack([mirrored, levels]), half, half, 0, 0, cv2.BORDER_WRAP)
    levels = cv2.copyMakeBorder(levels, 0, 0, 0, half, cv2.BORDER_REFLECT_101)
    medians = cv2.medianBlur(levels, AROUND)[half:-half, half:-half]
    return medians.astype(np.float32) / LEVELS + np.float32(low)


def _median_along(amplitude: NDArray[np.float32], y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.floating]:
    """The median on the line through each place (y, x) and the middle, on both sides of the place."""
    height, width = amplitude.shape
    steps = np.arange(ALONG[0], ALONG[1] + 1)
    steps = np.concatenate([-steps[::-1], steps])
    down, across = y - height // 2, x
    length = np.hypot(down, across)
    rows = np.rint(y[:, None] + (down / length)[:, None] * steps).astype(np.intp)
    columns = np.rint(x[:, None] + (across / length)[:, None] * steps).astype(np.intp)
    beyond = columns < 0  # the other half of the spectrum
    rows = np.where(beyond, _opposite(rows, height), rows % height)
    return np.median(amplitude[rows, np.minimum(np.abs(columns), width - 1)], axis=1)


def _opposite(rows: NDArray[np.intp], height: int) -> NDArray[np.intp]:
    """The rows of the opposite frequencies, where frequency 0 has row ``height // 2``."""
    return (2 * (height // 2) - rows) % height


def check_fringes(given: str) -> None:
    if given not in get_args(Fringes):
        raise InputError(f"fringes are given as {' or '.join(get_args(Fringes))}; {given!r} is neither")
