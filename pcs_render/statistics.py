"""The statistical model: densities of area, aspect ratio and angle, and what the two stopping rules make of them.

Targets are drawn by ``generate.draw_target``: the area from the reciprocal density p(a) = 1 / (a ln(amax / amin)) (equation 4),
the angle uniformly, the aspect ratio uniformly on [1, rmax] (equation 2). Two truncations change that, and the model here
has them:

* the long side limits the aspect ratio of large crystals: r <= min(rmax, side^2 / a);
* under the rule ``published`` the area that is still to be covered caps the next area, so large crystals become rarer
  towards the end of an image. Given that cap, the density is the reciprocal one again; over a data set it is the
  mixture over all caps.
"""

from __future__ import annotations

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
    empty where nothing but the settings limits the area."""

    settings: Settings
    caps: Floats

    def area_cdf(self, a: ArrayLike) -> Floats:
        """P(area <= a), a in px^2."""
        a = np.asarray(a, dtype=np.float64)
        low, high = self.settings.area
        if not len(self.caps):
            return np.clip(np.log(np.maximum(a, low) / low) / math.log(high / low), 0, 1)
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
        caps = np.sort(np.maximum(self.caps, low * (1 + 1e-12)))
        above = np.concatenate((np.cumsum((1 / np.log(caps / low))[::-1])[::-1], [0.0]))
        return np.where(a >= low, above[np.searchsorted(caps, a, side="left")] / (len(caps) * a), 0.0)

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


def model(settings: Settings, caps: ArrayLike = ()) -> Model:
    """The model of a data set. Under the rule ``published`` give the ``caps`` that were in force (``Target.largest`` of every
    crystal drawn), or those of ``simulate``."""
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
    areas, caps = [], []
    active = np.arange(images)
    low, high = settings.area
    while len(active):
        left = wanted[active] - covered[active]
        cap = np.minimum(high, left) if settings.rule == "published" else np.full(len(active), high)
        go = (cap >= low if settings.rule == "published" else left > 0) & (count[active] < settings.max_crystals)
        active, cap = active[go], cap[go]
        a = low * (cap / low) ** random.random(len(active))
        r = settings.aspect_ratio[0] + (ratio_limit(a, settings) - settings.aspect_ratio[0]) * random.random(len(active))
        outline = 0.8 * np.sqrt(a) * (np.sqrt(r) + 1 / np.sqrt(r)) + 1
        covered[active] += (fill * a + outline) * (1 - covered[active] / size)
        count[active] += 1
        areas.append(a)
        caps.append(cap)
    return Process(np.concatenate(areas), np.concatenate(caps), count)


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
