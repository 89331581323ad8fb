"""The pipeline as the published code works, to time the library against: one image at a time, 8-bit steps in OpenCV, Perlin
noise from the SIMD library ``pyfastnoisesimd``, as published, its own random numbers.

Needs ``pip install ".[reference]"``, and pyfastnoisesimd or, where that cannot be built, the slower package ``noise``.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from itertools import repeat
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError, PcsError
from .extras import install
from .ragged import AnyTarget
from .reference.noise import blend, interference, noise_layer
from .reference.steps import flip, rotate90, spline
from .reference.streams import Array
from .reference.targets import as_float64, outline_of

_SIMD = 16  # values that the widest registers hold; a row must fill them


def augment(image: ArrayLike, target: AnyTarget | None, rng: np.random.Generator) -> tuple[Array, AnyTarget | None]:
    """The default pipeline for one (H, W) image in [0, 1] with its own random numbers, 8-bit where the published code is.

    Gaussians always have sigma 2; two bands where it darkens rows twice; Perlin noise as ``noise_package`` says.
    Returns the image and the target with ``keep (N,)``. Raises PcsError where both packages are missing.
    """
    x = np.array(image, dtype=np.float64)
    if x.ndim != 2:
        raise InputError(f"image must be (H, W), got shape {x.shape}")
    (height, width), out = x.shape, None if target is None else as_float64(target)
    if rng.random() < 0.5 and out is not None:
        x = np.clip(x + _highlights(out, x.shape, rng), 0, 1)
    if rng.random() < 0.2:
        x = np.clip(x + _splines(height, width, rng), 0, 1)
    if rng.random() < 0.05:
        for i in range(max(height, width)):
            if i < width:
                x[:, i] = np.roll(x[:, i], rng.integers(-1, 2))
            if i < height:
                x[i] = np.roll(x[i], rng.integers(-1, 2))
    if rng.random() < 0.4:
        x = np.clip(x + rng.normal(0, rng.uniform(0.01, 0.06), x.shape), 0, 1)
    if rng.random() < 0.2:
        draw, white, black = rng.random(x.shape), *rng.uniform(0, 0.05, 2)
        x[draw < white], x[draw > 1 - black] = 1, 0
    x = _scaled(x, 2 ** rng.uniform(-1, 1), 0)
    x = _scaled(x, 1.5 ** rng.uniform(), x.mean())
    for texture in (_wave, _perlin):
        if rng.random() < 0.4:
            layer, weight = (
                noise_layer([texture(height, width, rng) for _ in range(rng.integers(1, 11))], bins=256) for _ in range(2)
            )
            x = blend(x, layer, weight)
    x = _scaled(x, 1.5 ** rng.uniform(), x.mean())
    if rng.random() < 0.2:
        x = np.clip(x + _overlay(height, width, rng) - 1, 0, 1)
    if rng.random() < 0.7:
        x = cv2.GaussianBlur(_grey(x), (int(rng.choice((3, 5, 7, 9))),) * 2, 2) / 255
    turns = rng.integers(4) if height == width else 2 * rng.integers(2)
    stack, out = flip(*rotate90(x[None], out, int(turns)), int(rng.integers(3)))
    grey = _grey(stack[0])
    for i in range(0 if out is None else len(out["boxes"])):
        mask = np.zeros(grey.shape, np.uint8)
        points = [np.rint(outline_of(out, i)).astype(np.int32)]  # type: ignore[arg-type]
        cv2.polylines(cv2.fillPoly(mask, points, 1), points, True, 1, 4)
        out["keep"][i] = mask.any() and np.ptp(grey[mask > 0]) > 0  # type: ignore[index]
    return stack[0], out


def _grey(x: Array) -> NDArray[np.uint8]:
    return np.rint(255 * x).astype(np.uint8)


def _scaled(x: Array, factor: float, about: float) -> Array:
    """Brightness and contrast in 8 bits."""
    grey = _grey(x)
    return cv2.addWeighted(grey, factor, grey, 0, 255 * (1 - factor) * about) / 255


def _wave(height: int, width: int, rng: np.random.Generator) -> Array:
    turn, phase = rng.random(2)
    return interference(_scale(height, width, rng), turn, phase, height, width)


def _scale(height: int, width: int, rng: np.random.Generator) -> float:
    """k log-uniform in [4, diagonal]."""
    return 4 * max(1.0, np.hypot(height, width) / 4) ** rng.random()


def noise_package() -> ModuleType:
    """pyfastnoisesimd where it is installed and NumPy still has what it calls, else noise. Raises PcsError."""
    for name in ("pyfastnoisesimd", "noise"):
        if name == "noise" or hasattr(np, "product"):
            with suppress(ImportError):
                return import_module(name)
    raise PcsError(
        "the published pipeline needs Perlin noise that is compiled: pip install --no-build-isolation pyfastnoisesimd "
        f"(which calls np.product, so NumPy 1), or {install('noise')}"
    )


def _perlin(height: int, width: int, rng: np.random.Generator) -> Array:
    """A slice of 3-D noise that starts on a lattice point."""
    package, k = noise_package(), _scale(height, width, rng)
    if package.__name__ == "noise":  # which computes one point per call
        first, second, z = rng.integers(0, 256, 3)
        x, y = (np.arange(n) / k + start for n, start in ((width, first), (height, second)))
        every = map(package.pnoise3, np.tile(x, height).tolist(), np.repeat(y, width).tolist(), repeat(float(z)))
        return np.fromiter(every, np.float64, height * width).reshape(height, width)
    made = package.Noise(seed=int(rng.integers(2**31)), numWorkers=1)  # a slice is not shared out among workers
    made.noiseType, made.frequency = package.NoiseType.Perlin, 1 / k
    wide = -(-width // _SIMD) * _SIMD
    return made.genAsGrid((1, height, wide), [0, 0, 0])[0, :, :width]


def _highlights(target: AnyTarget, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    offsets = np.full(shape, 128, np.uint8)
    for i, (*_, h, theta) in enumerate(target["boxes"]):
        points = np.rint(outline_of(target, i)).astype(np.int32)
        if rng.random() < 0.2:
            cv2.fillPoly(offsets, [points], int(rng.integers(90, 166)))
            if rng.random() < 0.5:
                # the published direction is mirrored
                move = rng.choice((1, -1)) * h / 2 * np.array([np.sin(theta), np.cos(theta)])
                masks = [np.zeros(shape, np.uint8) for _ in range(2)]
                for mask, shift in zip(masks, (0, move.astype(np.int32))):
                    cv2.fillPoly(mask, [points + shift], 1)
                offsets[(masks[0] & masks[1]) > 0] = rng.integers(90, 166)
        elif rng.random() < 0.2:
            cv2.polylines(offsets, [points], True, int(rng.integers(90, 166)), int(rng.integers(1, 3)))
    return cv2.GaussianBlur(offsets, (int(rng.choice((3, 5))),) * 2, 2) / 255 - 0.5


def _splines(height: int, width: int, rng: np.random.Generator) -> Array:
    """Drawn at twice the size, 1 to 3 px wide."""
    offsets = np.full((2 * height, 2 * width), 128, np.uint8)
    for _ in range(rng.integers(1, 11)):
        curve = spline(rng.uniform(0, 2 * height, rng.integers(2, 5)), rng.uniform(0, 2 * np.pi), 2 * height, 2 * width)
        points, grey, wide = np.rint(curve).astype(np.int32), int(rng.integers(256)), int(rng.integers(1, 4))
        cv2.polylines(offsets, [points], False, grey, wide, cv2.LINE_AA)
    return np.asarray(cv2.resize(offsets, (width, height), interpolation=cv2.INTER_AREA) / 127.5 - 1, np.float64)


def _overlay(height: int, width: int, rng: np.random.Generator) -> Array:
    visible = np.full((height, width), 255, np.uint8)
    right, bottom = rng.integers(0, 2, 2)
    if rng.random() < 0.5:
        size, (dx, dy) = np.hypot(height, width) / np.sqrt(2), rng.uniform(-0.1, 0.1, 2)
        centre = round((right + dx) * width), round((bottom + dy) * height)
        visible[:] = 0
        cv2.circle(visible, centre, round(size * rng.uniform(1.14, 1.34)), 255, cv2.FILLED)
    else:
        across, down = rng.integers(0, 32, 2)
        visible[slice(height - down, None) if bottom else slice(down)] = 0
        visible[:, slice(width - across, None) if right else slice(across)] = 0
    return cv2.GaussianBlur(visible, (int(2 * rng.integers(16) + 1),) * 2, 2) / 255
