"""A sample against the statistical model: test statistics, size classes, deviations, what was skipped."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import distributions
from ..distributions import Agreement, Model, Process, kolmogorov_smirnov
from ..draw import CLASSES, size_classes
from .sample import Sample

Floats = NDArray[np.float64]

AREA_CLASSES = 16  # of equal width
# the model of areas from a table: it takes time for every value and every cap, and there may be millions of both
_AREAS = 65537


@dataclass(frozen=True)
class Comparison:
    """One comparison of a sample's numbers with what they should be."""

    quantity: str
    of: str
    against: str
    agreement: Agreement

    @property
    def passed(self) -> bool:
        """Is the distance below the one that independent values exceed once in a hundred times?"""
        return self.agreement.statistic <= self.agreement.critical


@dataclass(frozen=True, eq=False)
class AreaClasses:
    """Summed box areas in size classes of equal width."""

    edges: Floats  # (K + 1,) px^2
    total: Floats  # (K,) px^2
    expected: Floats  # (K,) px^2, by the model for as many crystals
    deviation: Floats  # (K,) px^2, standard deviation of independent crystals about it

    @property
    def relative(self) -> Floats:
        """(K,) the totals over their mean."""
        return self.total / max(self.total.mean(), 1e-300)


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that is computed from a sample; (N,) arrays are in the order of its boxes.

    Attributes:
        sample: the crystals.

    Examples:
        >>> analysis = report.Analysis(report.load("data"))
        >>> sum(analysis.by_class.values()) == len(analysis.areas)
        True
    """

    sample: Sample

    @cached_property
    def areas(self) -> Floats:
        """(N,) px^2"""
        b = self.sample.boxes.astype(np.float64)
        return b[:, 2] * b[:, 3]

    @cached_property
    def ratios(self) -> Floats:
        """(N,) long over short side"""
        b = self.sample.boxes.astype(np.float64)
        return b[:, 2] / b[:, 3]

    @cached_property
    def angles(self) -> Floats:
        """(N,) degrees in [-90, 90), counter-clockwise on screen"""
        return turned(-np.degrees(self.sample.boxes[:, 4].astype(np.float64)))

    @cached_property
    def drawn(self) -> Floats | None:
        """(N + U, 4) all targets that were drawn, skipped or not, where they are known."""
        targets, unmet = self.sample.targets, self.sample.unmet
        return None if targets is None else np.concatenate([targets, np.zeros((0, 4)) if unmet is None else unmet])

    @cached_property
    def process(self) -> Process:
        """The rule at work without any geometry."""
        return distributions.simulate(self.sample.settings)

    @cached_property
    def model(self) -> Model:
        """Rule ``published``: with the caps that were recorded, or else with simulated ones; windows of areas are simulated."""
        settings = self.sample.settings
        if settings.area_window:
            return distributions.model(settings, self.process.caps, self.process.lows)
        if settings.rule == "unbiased":
            return distributions.model(settings)
        return distributions.model(settings, self.process.caps if self.drawn is None else self.drawn[:, 3])

    @cached_property
    def _area_table(self) -> tuple[Floats, Floats]:
        a = np.geomspace(*self.sample.settings.area, _AREAS)
        return np.log(a), self.model.area_cdf(a)

    def area_cdf(self, a: ArrayLike) -> Floats:
        """Give the model's P(area <= ``a``), a in px^2."""
        return np.interp(np.log(np.asarray(a, dtype=np.float64)), *self._area_table, left=0.0, right=1.0)

    @cached_property
    def tests(self) -> list[Comparison]:
        """Kolmogorov and Smirnov's, of the labels and, where they are known, of all targets drawn."""

        def three(of: str, ratios: Floats, angles: Floats, areas: Floats) -> list[Comparison]:
            return [
                Comparison("aspect ratio", of, "model", kolmogorov_smirnov(ratios, self.model.ratio_cdf)),
                Comparison("angle", of, "uniform", kolmogorov_smirnov(angles, self.model.angle_cdf)),
                Comparison("log area", of, "model", kolmogorov_smirnov(np.log(areas), lambda x: self.area_cdf(np.exp(x)))),
            ]

        tests = three("labels", self.ratios, self.angles, self.areas)
        if self.drawn is not None:
            areas, ratios, angles, caps = self.drawn.astype(np.float64).T
            tests += three("targets drawn", ratios, angles, areas)
            settings = self.sample.settings
            exact: list[tuple[str, Floats]] = [
                ("aspect ratio, between its limits", distributions.uniform_ratios(ratios, areas, settings)),
            ]
            if not settings.area_window:  # an image's own smallest area is not recorded
                exact.insert(0, ("log area, between its limits", distributions.uniform_areas(areas, caps, settings)))
            tests += [Comparison(name, "targets drawn", "uniform", kolmogorov_smirnov(x, _unit)) for name, x in exact]
        return tests

    @cached_property
    def shifts(self) -> dict[str, float]:
        """Largest distance between the distribution functions of the targets placed and of all drawn, by quantity."""
        if self.drawn is None or self.sample.targets is None or not len(self.sample.targets):
            return {}
        placed = self.sample.targets
        names = {"log area": 0, "aspect ratio": 1, "angle": 2}
        return {name: _distance(placed[:, k], self.drawn[:, k]) for name, k in names.items()}

    @cached_property
    def area_classes(self) -> AreaClasses:
        low, high = self.sample.settings.area
        edges = np.linspace(low, high, AREA_CLASSES + 1)
        total, _ = np.histogram(self.areas, edges, weights=self.areas)
        first, second = np.array([self._moments(a, b) for a, b in itertools.pairwise(edges)]).T
        n = len(self.areas)
        return AreaClasses(edges, total.astype(np.float64), n * first, np.sqrt(n * (second - first**2)))

    def _moments(self, low: float, high: float) -> tuple[float, float]:
        """Mean of the area and of its square over all crystals, counting those between low and high only."""
        cuts = np.geomspace(low, high, 65)
        part = np.diff(self.area_cdf(cuts)) / np.log(cuts[1:] / cuts[:-1])  # density 1 / a within each piece
        return float((part * np.diff(cuts)).sum()), float((part * np.diff(cuts**2) / 2).sum())

    @cached_property
    def by_class(self) -> dict[str, int]:
        """How many crystals are small, medium and large."""
        number = np.bincount(size_classes(self.sample.boxes), minlength=len(CLASSES))
        return dict(zip(CLASSES, number.tolist()))

    @cached_property
    def deviations(self) -> dict[str, Floats] | None:
        """(N,) each: box less target, in root of area (px), aspect ratio, angle (degrees); equation 6."""
        t = self.sample.targets
        if t is None:
            return None
        t = t.astype(np.float64)
        return {
            "size": np.sqrt(self.areas) - np.sqrt(t[:, 0]),
            "ratio": self.ratios - t[:, 1],
            "angle": turned(self.angles - t[:, 2]),
        }

    def given_up(self, column: int, edges: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count (K,) targets skipped and (K,) drawn, by classes between ``edges`` of area (``column`` 0) or ratio (1)."""
        unmet, drawn = self.sample.unmet, self.drawn
        if unmet is None or drawn is None:
            raise ValueError("nothing is known of this sample's targets")
        return np.histogram(unmet[:, column], edges)[0], np.histogram(drawn[:, column], edges)[0]


def turned(degrees: Any) -> Floats:
    """Angles of axes, in [-90, 90)."""
    return (np.asarray(degrees, dtype=np.float64) + 90) % 180 - 90


def _unit(x: Floats) -> Floats:
    return np.clip(x, 0, 1)


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    x = np.concatenate([a, b])
    return float(np.abs(distribution(a)(x) - distribution(b)(x)).max())


def distribution(values: NDArray[Any]) -> Callable[[NDArray[Any]], Floats]:
    """The empirical distribution function of (N,) values, N >= 1."""
    ordered = np.sort(values)
    return lambda x: np.searchsorted(ordered, x, side="right") / len(ordered)
