"""Which figures, tables and words a report of a sample has."""

from __future__ import annotations

import io
from collections.abc import Callable

from .. import draw
from . import figures as fig
from . import tables
from .analysis import Analysis
from .page import Illustration, Section, page
from .sample import Picture

SIDE = 384  # px of an image on a sheet
CLOSE = 768  # px of the images with boxes
PICTURES = ("images", "labels", "boxes")

_RULES = {
    "published": "Rule published: the area still to be covered caps the next crystal's, so the summed area per size class "
    "falls towards large crystals.",
    "unbiased": "Rule unbiased: no area is capped, so all size classes of equal width cover the same area on average.",
}
_COLOURS = "Orange: small crystals, blue: medium, pink: large."


def figures(analysis: Analysis, pictures: int) -> dict[str, Callable[[], bytes]]:
    """By name, what draws each figure that the sample has something for, as a PNG file."""
    sample = analysis.sample
    made = {
        "distributions": lambda: fig.png(fig.distributions(analysis)),
        "ratio": lambda: fig.png(fig.single(fig.ratio_panel, analysis)),
        "angle": lambda: fig.png(fig.single(fig.angle_panel, analysis)),
        "area": lambda: fig.png(fig.single(fig.area_panel, analysis)),
        "differences": lambda: fig.png(fig.differences(analysis)),
        "crystals_per_image": lambda: fig.png(fig.per_image(analysis)),
    }
    if sample.covered is not None and len(sample.covered):
        made["covered"] = lambda: fig.png(fig.covered(analysis))
    if analysis.deviations is not None and len(sample.boxes):
        made["deviations"] = lambda: fig.png(fig.deviations(analysis))
    if sample.unmet is not None and len(sample.unmet):
        made["given_up"] = lambda: fig.png(fig.given_up(analysis))
    chosen = sample.pictures(pictures)
    if chosen:
        made["labels"] = lambda: _png(draw.sheet([_labelled(p) for p in chosen]))
        made["boxes"] = lambda: _png(draw.sheet([_boxed(p) for p in _typical(chosen)]))
    if any(p.known for p in chosen):
        made["images"] = lambda: _png(draw.sheet([_plain(p) for p in chosen if p.known]))
    return made


def _typical(pictures: list[Picture]) -> list[Picture]:
    """The two whose numbers of crystals lie in the middle."""
    ordered = sorted(pictures, key=lambda p: len(p.boxes))
    middle = len(ordered) // 2
    return ordered[max(middle - 1, 0) : middle + 1]


def contents(analysis: Analysis, made: dict[str, bytes]) -> str:
    """The page, with the figures that were ``made``."""

    def shown(name: str, title: str, caption: str) -> list[Illustration]:
        kind = "picture" if name in PICTURES else "plot"
        return [Illustration(made[name], title, caption, kind)] if name in made else []

    sample = analysis.sample
    rule = sample.settings.rule
    sections = [
        Section(
            "Counts",
            "",
            [
                tables.counts(analysis),
                *shown(
                    "crystals_per_image",
                    "Histogram of crystals per image",
                    "Line: the stopping rule simulated without shapes, borders and limits of overlap.",
                ),
            ],
        ),
        Section(
            "Agreement with the model",
            f"{_RULES[rule]} {_caps(analysis)}",
            [
                *shown(
                    "distributions",
                    "Histograms of aspect ratio and angle, and covered area per size class, with the model",
                    f"As figure 1 d-f of the paper. Line: the model under rule {rule}; shaded: two standard deviations of as "
                    f"many independent crystals.{_beyond(analysis)}",
                ),
                *shown(
                    "differences",
                    "Empirical less model distribution functions",
                    "The largest distance from the middle line is D. With independent crystals it leaves the shaded band "
                    "once in a hundred times.",
                ),
                tables.tests(analysis),
                tables.area_classes(analysis),
            ],
        ),
    ]
    if analysis.drawn is not None:
        sections.append(
            Section(
                "Asked for and reached",
                "A target is drawn first; then poses and places are tried until its box is met without touching the border, "
                "leaving the well or overlapping too much. Only targets that are skipped change the distributions.",
                [
                    tables.given_up(analysis),
                    *([tables.shifts(analysis)] if analysis.shifts else []),
                    *shown("given_up", "Share of targets skipped by area and aspect ratio", "Above the bars: targets."),
                    tables.deviations(analysis),
                    *shown("deviations", "Histograms of box less target", "Counts on a logarithmic scale."),
                    *([tables.covered(analysis)] if sample.covered is not None else []),
                    *shown(
                        "covered",
                        "Covered area, asked for and reached",
                        "Below the line: images with the largest number of crystals. Above it: the last crystal covers "
                        "more than was left.",
                    ),
                ],
            )
        )
    if "labels" in made:
        sections.append(
            Section(
                "Pictures",
                "" if "images" in made else "There are no images with these labels; they are drawn on grey.",
                [
                    *shown("images", "Images", "Images spread over the data set."),
                    *shown(
                        "labels",
                        "Images with outlines of their crystals",
                        f"Outlines: hulls of all crystals, hidden or not. {_COLOURS}",
                    ),
                    *shown("boxes", "Two images with oriented boxes", f"Hulls, and oriented boxes in dark grey. {_COLOURS}"),
                ],
            )
        )
    return page(f"{sample.name}: report", sample.facts, sections)


def _caps(analysis: Analysis) -> str:
    if analysis.sample.settings.area_window:
        return (
            "Each image has a window of areas of its own; the model takes those of a simulation without geometry. Crystals of "
            "one image are alike, so limits for independent crystals hold for many images only."
        )
    if analysis.sample.settings.rule == "unbiased":
        return ""
    if analysis.drawn is None:
        return "The caps are not known here; the model takes those of a simulation without geometry."
    return "The model has the caps that were in force for these crystals."


def _beyond(analysis: Analysis) -> str:
    """How many crystals the axes do not show."""
    settings = analysis.sample.settings
    a, r = analysis.areas, analysis.ratios
    areas = int(((a < settings.area[0]) | (a > settings.area[1])).sum())
    ratios = int((r > settings.aspect_ratio[1]).sum() + (r < settings.aspect_ratio[0]).sum())
    if not areas and not ratios:
        return ""
    return f" Beyond the model's limits, and not drawn: {areas:,} areas, {ratios:,} aspect ratios."


def _plain(picture: Picture) -> draw.Image:
    return draw.outlined(picture.pixels, [], scale=SIDE / max(picture.pixels.shape))


def _labelled(picture: Picture) -> draw.Image:
    return draw.labelled(picture.pixels, picture.boxes, picture.polygons, scale=SIDE / max(picture.pixels.shape))


def _boxed(picture: Picture) -> draw.Image:
    scale = CLOSE / max(picture.pixels.shape)
    return draw.labelled(picture.pixels, picture.boxes, picture.polygons, scale=scale, line=1.5, boxed=True)


def _png(image: draw.Image) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    grey = bool((image == image[..., :1]).all())
    Image.fromarray(image[..., 0] if grey else image).save(file, "PNG", optimize=True)
    return file.getvalue()
