"""The numbers of a report as tables."""

from __future__ import annotations

import numpy as np

from ..distributions import Agreement
from .analysis import Analysis, Floats
from .page import ReportTable


def counts(analysis: Analysis) -> ReportTable:
    """Images, crystals, crystals per size class, crystals per image."""
    sample, n = analysis.sample, len(analysis.areas)
    per_image = sample.counts
    rows = [
        ("images", f"{len(per_image):,}", ""),
        ("images without crystals", f"{int((per_image == 0).sum()):,}", _share(int((per_image == 0).sum()), len(per_image))),
        ("crystals", f"{n:,}", ""),
    ]
    bounds = {"small": "below 8² px²", "medium": "8² to 24² px²", "large": "above 24² px²"}
    rows += [(f"{name}, {bounds[name]}", f"{k:,}", _share(k, n)) for name, k in analysis.by_class.items()]
    if len(per_image):
        rows += [
            ("crystals per image, mean", f"{per_image.mean():.2f}", ""),
            ("standard deviation", f"{per_image.std():.2f}", ""),
            ("fewest", f"{per_image.min():,}", ""),
            ("most", f"{per_image.max():,}", ""),
        ]
    return ReportTable("counts", "Size classes by the area w h of the oriented box.", ("", "number", "share"), rows)


def tests(analysis: Analysis) -> ReportTable:
    """Kolmogorov and Smirnov's distances and their critical values."""
    rows = [
        (
            t.quantity,
            t.of,
            t.against,
            _distance(t.agreement.statistic),
            _distance(t.agreement.critical) if t.agreement.n else "n/a",
            f"{t.agreement.n:,}",
            ("within" if t.passed else "beyond") if t.agreement.n else "n/a",
        )
        for t in analysis.tests
    ]
    head = ("quantity", "of", "against", "D", "1 % level", "n", "verdict")
    caption = (
        "Kolmogorov-Smirnov distance D, and the one that n independent values exceed once in a hundred times. Of very many "
        "crystals even deviations within the tolerance of the fit are beyond it."
    )
    return ReportTable("tests", caption, head, rows)


def area_classes(analysis: Analysis) -> ReportTable:
    """Summed area per size class of equal width."""
    c = analysis.area_classes
    number, _ = np.histogram(analysis.areas, c.edges)
    mean = max(c.expected.mean(), 1e-300)
    rows = [
        (f"{a:.0f}", f"{b:.0f}", f"{k:,}", f"{total:,.0f}", f"{relative:.3f}", f"{expected / mean:.3f}", f"{sd / mean:.3f}")
        for a, b, k, total, relative, expected, sd in zip(
            c.edges[:-1], c.edges[1:], number, c.total, c.relative, c.expected, c.deviation
        )
    ]
    head = ("from px²", "to px²", "crystals", "summed area px²", "relative to mean", "model", "its deviation")
    caption = "Summed box area in classes of equal width; the last three columns relative to the mean."
    return ReportTable("area_classes", caption, head, rows)


def covered(analysis: Analysis) -> ReportTable:
    """The part of the images that the crystals cover, asked for and reached."""
    sample = analysis.sample
    asked, reached = (np.zeros((0, 2)) if sample.covered is None else sample.covered).T
    more = reached - asked
    full = sample.counts >= sample.settings.max_crystals
    rows = [
        ("covered, asked for, mean", _percent(asked)),
        ("covered, reached, mean", _percent(reached)),
        ("reached above asked for, mean", _percent(more)),
        (f"images with the largest number of crystals ({sample.settings.max_crystals})", _share(int(full.sum()), len(full))),
        ("reached above asked for, mean of the others", _percent(more[~full])),
    ]
    return ReportTable("covered", "Part of the image under the union of all hulls.", ("", "share"), rows)


def deviations(analysis: Analysis) -> ReportTable:
    """Boxes less targets."""
    settings = analysis.sample.settings
    limits = {
        "size": ("√area, px", settings.tolerance_size),
        "ratio": ("aspect ratio", settings.tolerance_ratio),
        "angle": ("angle, degrees", settings.tolerance_angle),
    }
    rows = []
    for key, values in (analysis.deviations or {}).items():
        name, limit = limits[key]
        off = np.abs(values)
        if len(off):
            numbers = (values.mean(), off.mean(), np.quantile(off, 0.99), off.max())
            rows.append((name, *(f"{v:.4f}" for v in numbers), f"{limit:g}", f"{int((off >= limit).sum()):,}"))
    head = ("box less target", "mean", "mean size", "99 % within", "largest", "tolerance", "beyond it")
    return ReportTable("deviations", "How closely the boxes meet their targets (equation 6).", head, rows)


def given_up(analysis: Analysis) -> ReportTable:
    """Targets skipped by size class, and what that does to the distributions."""
    unmet, drawn = analysis.sample.unmet, analysis.drawn
    if unmet is None or drawn is None:
        raise ValueError("nothing is known of this sample's targets")
    edges = np.array([0, 8.0**2, 24.0**2, 64.0**2, np.inf])
    names = ("below 8² px²", "8² to 24² px²", "24² to 64² px²", "above 64² px²")
    missed, tried = (np.histogram(a[:, 0], edges)[0] for a in (unmet, drawn))
    rows = [(name, f"{t:,}", f"{m:,}", _share(m, t)) for name, t, m in zip(names, tried.tolist(), missed.tolist())]
    rows.append(("all", f"{len(drawn):,}", f"{len(unmet):,}", _share(len(unmet), len(drawn))))
    return ReportTable("given_up", "Targets by area: drawn, and skipped.", ("area", "drawn", "skipped", "share"), rows)


def shifts(analysis: Analysis) -> ReportTable:
    """Distances between the targets placed and all drawn."""
    level = Agreement(0.0, len(analysis.areas)).critical
    rows = [(name, f"{value:.5f}", f"{level:.5f}") for name, value in analysis.shifts.items()]
    caption = "Largest distance between the distribution functions of the targets placed and of all targets drawn."
    return ReportTable("shifts", caption, ("quantity", "distance", "1 % level of the labels"), rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "n/a"


def _percent(values: Floats) -> str:
    return f"{100 * values.mean():.2f} %" if len(values) else "n/a"


def _distance(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.5f}"
