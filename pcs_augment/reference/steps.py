"""The steps of the paper's Table S1, fed with the plan; called only where the plan touches the image."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from ..plan import Tables
from ..ragged import AnyTarget
from .noise import blend, interference, noise_layer, perlin
from .shapes import around, centres, distance, gaussian, inside, near
from .streams import DISPLACE, LATTICE, PIXEL, Array, normals, numbers
from .targets import mirror, outline_of, quarter_turn


def min_edge(x: Array, target: AnyTarget, step: Any) -> NDArray[np.bool_]:
    return target["boxes"][:, 2:4].min(1, initial=np.inf) >= step.min_edge


def highlight(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    """Row 1. Kinds: 0 filled, 1 filled and a second offset where a displaced copy overlaps, 2 outline only."""
    t, offsets = tables["objects"], np.zeros(x.shape[1:])
    for n, i in enumerate(t["object"]):
        assert target is not None
        points, filled = outline_of(target, i), t["kind"][n] < 2
        reach = 0.5 if filled else t["width"][n] / 2
        here = around(points, reach + 1, x.shape)
        px, py = centres(x.shape, here)
        body = inside(points, px, py)
        offsets[here][near(points, reach, px, py) | (body & filled)] = t["offset"][n]
        if t["kind"][n] == 1:
            offsets[here][body & inside(points + np.array([t["dx"][n], t["dy"][n]]), px, py)] = t["other"][n]
    return np.clip(x + gaussian(offsets[None], int(tables["images"]["kernel"][0]), step.sigma), 0, 1)


def spline(knots: ArrayLike, angle: float, height: int, width: int) -> Array:
    """(100, 2) points, px, of a not-a-knot cubic through equally spaced knots, turned by ``angle`` about the image centre."""
    y = np.asarray(knots, dtype=np.float64)
    along = np.linspace(-0.5, 0.5, 100)
    curve = np.stack((along * width, CubicSpline(np.linspace(-0.5, 0.5, len(y)), y)(along) - height / 2), -1)
    c, s = np.cos(angle), np.sin(angle)
    return curve @ np.array([[c, s], [-s, c]]) + (width / 2, height / 2)


def splines(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    """Row 2. Coverage of a pixel at distance d from a line w px wide: w/2 + 1/2 - d, at most min(w, 1)."""
    t, offsets = tables["curves"], np.zeros(x.shape[1:])
    for n, knots in enumerate(t["knots"]):
        curve = spline([t[f"height{i}"][n] for i in range(knots)], t["angle"][n], *x.shape[1:])
        w, away = t["width"][n], np.full(offsets.shape, np.inf)
        for a, b in pairwise(curve):
            here = around(np.stack((a, b)), w + 1, x.shape)
            away[here] = np.minimum(away[here], distance(np.stack((a, b)), *centres(x.shape, here)))
        cover = np.clip(w / 2 + 0.5 - away, 0, min(w, 1))
        offsets = offsets * (1 - cover) + cover * t["offset"][n]
    return np.clip(x + offsets, 0, 1)


def displace(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    """Row 3: all rows, then all columns; or column i, row i in turn, as published."""
    height, width = x.shape[1:]
    shift = numbers(tables["images"], 0, DISPLACE, height + width) * (2 * step.reach + 1) // 65536 - step.reach
    rows, columns = [("row", i) for i in range(height)], [("column", i) for i in range(width)]
    order = [pair for both in zip(columns, rows) for pair in both] if step.alternate else rows + columns
    x = x.copy()
    for kind, i in order:
        if kind == "row":
            x[:, i] = np.roll(x[:, i], shift[i], -1)
        else:
            x[:, :, i] = np.roll(x[:, :, i], shift[height + i], -1)
    return x


def gaussian_noise(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    t = tables["images"]
    return np.clip(x + t["sigma"][0] * normals(numbers(t, 0, PIXEL, x.size)).reshape(x.shape), 0, 1)


def impulse_noise(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    t = tables["images"]
    draw = numbers(t, 0, PIXEL, x[0].size).reshape(x.shape[1:])
    x = np.where(draw < np.rint(t["white"][0] * 65536), 1.0, x)
    return np.where(draw >= 65536 - np.rint(t["black"][0] * 65536), 0.0, x)


def brightness(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    return np.clip(x * tables["images"]["factor"][0], 0, 1)


def contrast(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    return np.clip(x.mean() + (x - x.mean()) * tables["images"]["factor"][0], 0, 1)


def layers(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    """Rows 8 and 9: two layers of one kind, blended with the image."""
    t, (height, width) = tables["textures"], x.shape[1:]

    def texture(n: int) -> Array:
        k, first, second = t["scale"][n], t["first"][n], t["second"][n]
        if step.kind == "interference":
            return interference(k, first, second, height, width)
        return perlin(k, first, second, height, width, lambda count: numbers(t, n, LATTICE, count, int(t["item"][n])))

    def layer(i: int) -> Array:
        return noise_layer([texture(n) for n in np.flatnonzero(t["layer"] == i).tolist()], step.equalize_layer, step.bins)

    return blend(x, layer(0), layer(1), step.c)


def overlay(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    t = {k: v[0] for k, v in tables["images"].items()}
    px, py = centres(x.shape)
    if t["round"]:
        visible = (px - t["x"]) ** 2 + (py - t["y"]) ** 2 <= t["radius"] ** 2
    else:
        visible = (px > t["left"]) & (px < t["right"]) & (py > t["top"]) & (py < t["bottom"])
    return np.clip(x * gaussian(visible[None].astype(np.float64), int(t["kernel"]), step.sigma), 0, 1)


def blur(x: Array, target: AnyTarget | None, step: Any, tables: Tables) -> Array:
    return gaussian(x, int(tables["images"]["kernel"][0]), step.sigma)


def rotate90(x: Array, target: AnyTarget | None, turns: int) -> tuple[Array, AnyTarget | None]:
    for _ in range(turns):
        x, target = np.rot90(x, 1, (1, 2)), quarter_turn(target, x.shape[2])
    return x, target


def flip(x: Array, target: AnyTarget | None, kind: int) -> tuple[Array, AnyTarget | None]:
    """1 is horizontal, 2 vertical."""
    return (np.flip(x, 3 - kind), mirror(target, kind - 1, x.shape[3 - kind])) if kind else (x, target)


def keep_detectable(x: Array, target: AnyTarget, step: Any) -> NDArray[np.bool_]:
    """Whether 8-bit grey values near each outline span more than the threshold."""
    keep = np.zeros(len(target["boxes"]), bool)
    for i in range(len(keep)):
        points = outline_of(target, i)
        here = around(points, step.dilation + 1, x.shape)
        px, py = centres(x.shape, here)
        grey = np.rint(x[:, *here] * 255)[:, inside(points, px, py) | near(points, step.dilation, px, py)]
        keep[i] = grey.size > 0 and np.ptp(grey, axis=1).max() > step.threshold
    return keep


PIXELS: dict[str, Callable[[Array, AnyTarget | None, Any, Tables], Array]] = {
    "Highlight": highlight,
    "Splines": splines,
    "Displace": displace,
    "GaussianNoise": gaussian_noise,
    "ImpulseNoise": impulse_noise,
    "Brightness": brightness,
    "Contrast": contrast,
    "InterferenceLayer": layers,
    "PerlinLayer": layers,
    "Overlay": overlay,
    "Blur": blur,
}
MOVES = {"Rotate90": rotate90, "Flip": flip}
FILTERS = {"MinEdge": min_edge, "KeepDetectable": keep_detectable}
