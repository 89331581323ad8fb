"""Random numbers and functions that give the same bits on every machine.

A scene is built by accepting and rejecting; one last bit that differs between two processors or two C libraries would
sooner or later give another scene. IEEE 754 fixes the results of ``+ - * /`` and ``sqrt`` and nothing else, so whatever a
scene depends on is made of these alone, element by element: NumPy never contracts two ufuncs into one, and minima and
maxima do not depend on their order.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# what a stream is for: streams of one image never meet
TARGETS, POSES, LIGHT, MATERIAL, SHAPES, LOOK, CONTACT, SPHERES = range(8)

_SIN = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(9))
_COS = tuple((-1) ** k / math.factorial(2 * k) for k in range(10))
_EXP = tuple(1 / math.factorial(k) for k in range(19))


def _decimal(value: float, function: str) -> float:
    with localcontext() as context:
        context.prec = 40
        return float(getattr(Decimal(value), function)())


def log(value: float) -> float:
    """Natural logarithm of one positive number, correctly rounded (slow: for constants)."""
    return _decimal(value, "ln")


LN2 = log(2.0)
_LN2_HIGH = math.ldexp(math.floor(math.ldexp(LN2, 32)), -32)  # its products with small whole numbers are exact
_LN2_LOW = float(Decimal(2).ln() - Decimal(_LN2_HIGH))


def _polynomial(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total


def exp(x: ArrayLike) -> Floats:
    """e to the power x, |x| <= 50, within 4 units of the last place."""
    x = np.asarray(x, dtype=np.float64)
    whole = np.rint(x * (1 / LN2))
    return np.ldexp(_polynomial(x - whole * _LN2_HIGH - whole * _LN2_LOW, _EXP), whole.astype(np.int64))


def turn(angle: ArrayLike) -> tuple[Floats, Floats]:
    """(cos, sin) of angles in whole turns (1 is 360 degrees), any shape, absolute error below 1e-15."""
    angle = np.asarray(angle, dtype=np.float64)
    quarter = np.rint(angle * 4)
    x = (angle - quarter / 4) * (2 * math.pi)  # within pi / 4
    square = x * x
    sine, cosine = x * _polynomial(square, _SIN), _polynomial(square, _COS)
    quarter = quarter.astype(np.int64)
    odd = (quarter & 1).astype(bool)
    back = np.where(quarter & 2, -1.0, 1.0)
    return np.where(odd, -sine, cosine) * back, np.where(odd, cosine, sine) * back


def angle(c: ArrayLike, s: ArrayLike) -> Floats:
    """The angles, in whole turns from -1/2 to 1/2, whose (cos, sin) are (c, s), rounded to 1e-9.

    The C library's arc tangent is only the first guess; one Newton step with ``turn`` makes the result its own.
    """
    c, s = np.asarray(c, dtype=np.float64), np.asarray(s, dtype=np.float64)
    guess = np.rint(np.arctan2(s, c) / (2 * math.pi) * 1e6) / 1e6
    gc, gs = turn(guess)
    return np.rint((guess + (s * gc - c * gs) / (2 * math.pi)) * 1e9) / 1e9


def cube_root(x: ArrayLike) -> Floats:
    """Cube root of numbers in [1e-3, 1e9], within 4 units of the last place."""
    x = np.asarray(x, dtype=np.float64)
    mantissa, exponent = np.frexp(x)  # x = mantissa * 2^exponent, mantissa in [0.5, 1)
    third = -(-exponent // 3)
    y = np.ldexp(0.7 + 0.3 * mantissa, third)
    for _ in range(7):
        y = (2 * y + x / (y * y)) / 3
    return y


class Draws:
    """A stream of uniform numbers keyed by (data set seed, image id, purpose, item); Philox 4x64-10.

    Only the raw 64-bit words of NumPy's bit generator are used, which NumPy promises never to change.
    """

    def __init__(self, seed: int, image: int, purpose: int, item: int = 0):
        self._words = np.random.Philox(
            key=np.array([seed, image], np.uint64), counter=np.array([0, 0, item, purpose], np.uint64)
        )

    def unit(self, *shape: int) -> Floats:
        """Uniform on [0, 1), of the given shape; 53 random bits each."""
        words: Any = self._words.random_raw(math.prod(shape))
        return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """One number uniform on [low, high)."""
        return float(low + (high - low) * self.unit(1)[0])

    def below(self, n: int) -> int:
        """One whole number uniform on {0 .. n - 1}."""
        return min(int(self.unit(1)[0] * n), n - 1)

    def normal(self) -> float:
        """One standard normal number, rounded to 1e-9: the sum of twelve uniforms would cut its tails, so Box-Muller."""
        u, v = self.unit(2)
        return round(math.sqrt(-2 * log(1 - u)) * float(turn(v)[0]), 9)
