"""The statistical model: densities of area, aspect ratio and angle, and what the two stopping rules make of them.

Targets are drawn by ``generate.draw_target``: the area from the reciprocal density p(a) = 1 / (a ln(amax / amin)) (equation 4),
the angle uniformly, the aspect ratio uniformly on [1, rmax] (equation 2). Two truncations change that, and the model here
has them:

* the long side limits the aspect ratio of large crystals: r <= min(rmax, side^2 / a);
* under the rule ``published`` the area that is still to be covered caps the next area, so large crystals become rarer
  towards the end of an image. Given that cap, the density is the reciprocal one again; over a data set it is the
  mixture over all caps.

An ``area_window`` limits the areas of an image from below as well. Images of small crystals hold more of them, so over a data
set the density of a crystal's area is the mixture over the windows of all crystals: those of ``simulate``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .settings import Settings

Floats = NDArray[np.float64]


def ratio_limit(a: ArrayLike, settings: Settings) -> Floats:
    """Largest aspect ratio of a crystal of area ``a`` px^2: the published limit, or where its long side gets too long."""
    return np.minimum(settings.aspect_ratio[1], settings.long_side**2 / np.asarray(a, dtype=np.float64))


@dataclass(frozen=True)
class Model:
    """Distributions of the targets. ``caps`` are the largest areas allowed, one per crystal drawn (rule ``published``), or
    empty where nothing but the settings limits the area. ``lows`` are the smallest areas allowed, one per cap, or empty where
    they are that of the settings."""

    settings: Settings
    caps: Floats
    lows: Floats = dataclasses.field(default_factory=lambda: np.empty(0))

    def area_cdf(self, a: ArrayLike) -> Floats:
        """P(area <= a), a in px^2."""
        a = np.asarray(a, dtype=np.float64)
        low, high = self.settings.area
        if not len(self.caps):
            return np.clip(np.log(np.maximum(a, low) / low) / math.log(high / low), 0, 1)
        if len(self.lows):
            x = np.log(np.clip(a, low, high))
            begun, begun_at, ended, ended_at = self._windows(x)
            return np.clip(x * (begun - ended) - (begun_at - ended_at), 0, 1)
        # mixture: mean over caps of min(1, ln(a / low) / ln(cap / low)), by sorted caps and their running sums
        caps = np.sort(np.maximum(self.caps, low * (1 + 1e-12)))
        inverse = 1 / np.log(caps / low)
        above = np.concatenate((np.cumsum(inverse[::-1])[::-1], [0.0]))
        below = np.searchsorted(caps, a, side="right")
        x = np.log(np.clip(a, low, None) / low)
        return np.where(a < low, 0.0, (below + x * above[below]) / len(caps))

    def area_density(self, a: ArrayLike) -> Floats:
        """Density of the area, 1 / px^2."""
        a = np.asarray(a, dtype=np.float64)
        low, high = self.settings.area
        if not len(self.caps):
            return np.where((a >= low) & (a <= high), 1 / (a * math.log(high / low)), 0.0)
        if len(self.lows):
            begun, _, ended, _ = self._windows(np.log(np.clip(a, low, high)))
            return np.where((a >= low) & (a <= high), np.maximum(begun - ended, 0) / a, 0.0)
        caps = np.sort(np.maximum(self.caps, low * (1 + 1e-12)))
        above = np.concatenate((np.cumsum((1 / np.log(caps / low))[::-1])[::-1], [0.0]))
        return np.where(a >= low, above[np.searchsorted(caps, a, side="left")] / (len(caps) * a), 0.0)

    def _windows(self, x: Floats) -> tuple[Floats, ...]:
        """The sum of the densities in log a, and of density times beginning, over the windows that begin below ``x``; the same
        over those that end below it."""
        out = []
        weight = 1 / np.maximum(np.log(self.caps / self.lows), 1e-6) / len(self.caps)
        for limit in (np.log(self.lows), np.log(self.caps)):
            order = np.argsort(limit)
            n = np.searchsorted(limit[order], x, side="right")
            out += [np.concatenate(([0.0], np.cumsum(values[order])))[n] for values in (weight, weight * limit)]
        return tuple(out)

    def ratio_cdf(self, r: ArrayLike) -> Floats:
        """P(aspect ratio <= r), over all areas; between 2,001 exact points by interpolation."""
        return np.interp(np.asarray(r, dtype=np.float64), *self._ratio_table)

    @functools.cached_property
    def _ratio_table(self) -> tuple[Floats, Floats]:
        low, high = self.settings.aspect_ratio
        a, weight = self._areas()
        r = np.linspace(low, high, 2001)
        part = np.clip((r[:, None] - low) / np.maximum(ratio_limit(a, self.settings) - low, 1e-12), 0, 1)
        return r, (part * weight).sum(-1)

    def ratio_density(self, r: ArrayLike) -> Floats:
        """Density of the aspect ratio, over all areas."""
        low, _ = self.settings.aspect_ratio
        a, weight = self._areas()
        limit = ratio_limit(a, self.settings)
        r = np.asarray(r, dtype=np.float64)[..., None]
        return (np.where((r >= low) & (r <= limit), 1 / np.maximum(limit - low, 1e-12), 0.0) * weight).sum(-1)

    def _areas(self, n: int = 2000) -> tuple[Floats, Floats]:
        """Areas spaced evenly in log a, and the probability around each."""
        low, high = self.settings.area
        edges = low * (high / low) ** np.linspace(0, 1, n + 1)
        return np.sqrt(edges[1:] * edges[:-1]), np.diff(self.area_cdf(edges))

    def angle_cdf(self, degrees: ArrayLike) -> Floats:
        """P(angle <= degrees), uniform on [-90, 90)."""
        return np.clip((np.asarray(degrees, dtype=np.float64) + 90) / 180, 0, 1)

    def covered_per_class(self, edges: ArrayLike) -> Floats:
        """Part of the summed area that falls into each class of area between (N + 1,) ``edges``; flat in a for equal widths
        under the rule ``unbiased`` (equation 3)."""
        edges = np.asarray(edges, dtype=np.float64)
        low, high = self.settings.area
        limits = np.clip(edges, low, high)
        inner = np.geomspace(limits[:-1], limits[1:], 129, axis=1)
        middle = (inner[:, 1:] + inner[:, :-1]) / 2
        part = (middle * np.diff(self.area_cdf(inner), axis=1)).sum(1)
        return part / part.sum()


def model(settings: Settings, caps: ArrayLike = (), lows: ArrayLike = ()) -> Model:
    """The model of a data set. Under the rule ``published`` give the ``caps`` that were in force (``Target.largest`` of every
    crystal drawn), or those of ``simulate``; with an ``area_window`` the caps and ``lows`` of ``simulate``."""
    if settings.area_window:
        return Model(settings, np.asarray(caps, dtype=np.float64), np.asarray(lows, dtype=np.float64))
    return Model(settings, np.asarray(caps, dtype=np.float64) if settings.rule == "published" else np.empty(0))


def uniform_areas(areas: ArrayLike, largest: ArrayLike, settings: Settings) -> Floats:
    """Where each area lies between the smallest and its own cap: uniform on [0, 1] under both rules, exactly."""
    low = settings.area[0]
    return np.log(np.asarray(areas, dtype=np.float64) / low) / np.log(np.asarray(largest, dtype=np.float64) / low)


def uniform_ratios(ratios: ArrayLike, areas: ArrayLike, settings: Settings) -> Floats:
    """Where each aspect ratio lies between 1 and what its area allows: uniform on [0, 1] under both rules, exactly."""
    low, _ = settings.aspect_ratio
    return (np.asarray(ratios, dtype=np.float64) - low) / np.maximum(ratio_limit(areas, settings) - low, 1e-12)


@dataclass(frozen=True)
class Process:
    """A simulated data set: one entry per crystal, and how many crystals each image got."""

    areas: Floats
    caps: Floats
    lows: Floats
    counts: NDArray[np.int64]


def simulate(settings: Settings, images: int = 20_000, seed: int = 0, fill: float = 0.85) -> Process:
    """Targets and stopping without any geometry, to know what a rule makes of the areas before a scene is built.

    A new crystal covers ``fill`` of its box (its hull; 0.85 on average for the built-in shapes) and the pixels of its outline,
    less what is covered already: with positions spread evenly, the covered part of the image.
    """
    random = np.random.default_rng(seed)
    size = settings.width * settings.height
    wanted = random.uniform(*settings.covered, images) * size
    covered, count = np.zeros(images), np.zeros(images, np.int64)
    areas, caps, lows = [], [], []
    active = np.arange(images)
    smallest, largest = np.broadcast_to(np.array(settings.area)[:, None], (2, images))
    if settings.area_window:
        window = min(settings.area_window, settings.area[1] / settings.area[0])
        smallest = settings.area[0] * (settings.area[1] / window / settings.area[0]) ** random.random(images)
        largest = smallest * window
    while len(active):
        left = wanted[active] - covered[active]
        low = smallest[active]
        cap = np.minimum(largest[active], left) if settings.rule == "published" else largest[active]
        go = (cap >= low if settings.rule == "published" else left > 0) & (count[active] < settings.max_crystals)
        active, cap, low = active[go], cap[go], low[go]
        a = low * (cap / low) ** random.random(len(active))
        r = settings.aspect_ratio[0] + (ratio_limit(a, settings) - settings.aspect_ratio[0]) * random.random(len(active))
        outline = 0.8 * np.sqrt(a) * (np.sqrt(r) + 1 / np.sqrt(r)) + 1
        covered[active] += (fill * a + outline) * (1 - covered[active] / size)
        count[active] += 1
        areas.append(a)
        caps.append(cap)
        lows.append(low)
    return Process(np.concatenate(areas), np.concatenate(caps), np.concatenate(lows), count)


@dataclass(frozen=True)
class Agreement:
    """A Kolmogorov-Smirnov comparison of n values with a distribution."""

    statistic: float  # largest distance between the two distribution functions
    n: int

    @property
    def critical(self) -> float:
        """The distance that n independent values of the model exceed once in a hundred times (n > 35)."""
        return 1.628 / math.sqrt(max(self.n, 1))


def kolmogorov_smirnov(values: Sequence[float] | Floats, cdf: Callable[[Floats], Floats]) -> Agreement:
    """Largest distance between the values' distribution function and ``cdf``. NaN where there are no values."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    n = len(x)
    if n == 0:
        return Agreement(math.nan, 0)
    f = cdf(x)
    rank = np.arange(n)
    return Agreement(float(max((f - rank / n).max(), ((rank + 1) / n - f).max())), n)
