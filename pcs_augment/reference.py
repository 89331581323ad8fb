"""The oracle: the pipeline for one image at a time, as plainly as the formulas, to test and to time the library against.

``apply`` follows a one-sample Plan in float64 NumPy: own random streams, exact equalisation, brute-force distances. Its step
functions take (C, H, W) images in [0, 1], the step with its settings, and the plan's tables for it.

Needs pip install 'pcs-augment[reference]'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ndtri
from scipy.stats import rankdata

from .base import Augmentation
from .errors import InputError
from .plan import Plan, Table, Tables
from .ragged import AnyTarget

Array = NDArray[np.float64]

PIXEL, LATTICE, DISPLACE = 2, 3, 4  # lanes of a stream


def apply(image: ArrayLike, target: AnyTarget | None, plan: Plan, pipeline: Augmentation) -> tuple[Array, AnyTarget | None]:
    """What ``pipeline.apply`` must return for one image (H, W) or (C, H, W) and a plan of one sample, in float64.

    The target comes back with all objects, NumPy boxes and polygons, and ``keep (N,)``. Raises InputError.
    """
    if len(plan) != 1:
        raise InputError(f"the plan holds {len(plan)} samples, the oracle takes one; pass plan.slice(i, i + 1)")
    given = np.asarray(image)
    x = given.astype(np.float64) / (255 if given.dtype == np.uint8 else 1)
    if x.ndim not in (2, 3):
        raise InputError(f"image must be (H, W) or (C, H, W), got shape {x.shape}")
    x = x.reshape(-1, *x.shape[-2:])
    out = None if target is None else as_float64(target)
    for step, name, tables in zip(pipeline.sequence(), plan.names, plan.steps):
        if name in FILTERS:
            if out is not None:
                out["keep"] &= FILTERS[name](x, out, step)
        elif len(next(iter(tables.values()))["sample"]):
            if name in MOVES:
                x, out = MOVES[name](x, out, int(tables["images"]["kind"][0]))
            else:
                x = PIXELS[name](x, out, step, tables)
    return x if given.ndim == 3 else x[0], out


# --- random streams -----------------------------------------------------------------------------------------------------


def philox(counter: NDArray[np.uint64], key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Philox 4x32-10 (Salmon et al. 2011): (..., 4) counters and (..., 2) keys, 32-bit words in uint64, to (..., 4) words."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d = (counter[..., i] for i in range(4))
    k, m = key[..., 0], key[..., 1]
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (q >> half) ^ b ^ k, q & low, (p >> half) ^ d ^ m, p & low
        k, m = (k + np.uint64(0x9E3779B9)) & low, (m + np.uint64(0xBB67AE85)) & low
    return np.stack((a, b, c, d), -1)


def numbers(table: Table, row: int, lane: int, count: int, item: int = 0) -> NDArray[np.int64]:
    """The first 16-bit numbers of a stream: counters (n, item, lane, 0), eight numbers to each, low halves first."""
    counter = np.zeros((-(-count // 8), 4), np.uint64)
    counter[:, 0], counter[:, 1], counter[:, 2] = np.arange(len(counter)), item, lane
    words = philox(counter, np.array([[table["key0"][row], table["key1"][row]]], np.uint64))
    return np.stack((words & np.uint64(0xFFFF), words >> np.uint64(16)), -1).reshape(-1)[:count].astype(np.int64)


def normals(draw: NDArray[np.int64]) -> Array:
    """16-bit numbers u to the mean of a standard normal between its quantiles u / 65536 and (u + 1) / 65536."""
    low, high = (np.exp(-0.5 * ndtri(q / 65536) ** 2) / np.sqrt(2 * np.pi) for q in (draw, draw + 1))
    return (low - high) * 65536


# --- noise (paper Eqs. 9 to 12) -----------------------------------------------------------------------------------------


def interference(k: float, turn: float, phase: float, height: int, width: int) -> Array:
    """N_I = (cos(2 pi x.n / k + phi) + 1) / 2 (Eq. 9), n at ``turn`` and phi at ``phase`` full turns."""
    y, x = np.mgrid[:height, :width]
    along = x * np.cos(2 * np.pi * turn) + y * np.sin(2 * np.pi * turn)
    return (np.cos(2 * np.pi * (along / k + phase)) + 1) / 2


def perlin(k: float, first: float, second: float, height: int, width: int, angles: Callable[[int], NDArray[np.int64]]) -> Array:
    """N_P: gradient noise on a lattice of k px that begins (first, second) cells before the image; quintic fade.

    angles(n): the first n gradient angles in 1/65536 of a turn, row by row of the lattice.
    """
    x, y = np.arange(width) / k + first, (np.arange(height) / k + second)[:, None]
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    rows, columns = i.max() + 2, j.max() + 2
    angle = angles(rows * columns).reshape(rows, columns) * (2 * np.pi / 65536)
    total = np.zeros((height, width))
    for di in (0, 1):
        for dj in (0, 1):
            u, v = x - (j + dj), y - (i + di)
            a = angle[i + di, j + dj]
            total += _fade(1 - abs(u)) * _fade(1 - abs(v)) * (np.cos(a) * u + np.sin(a) * v)
    return total


def _fade(t: Array) -> Array:
    return 6 * t**5 - 15 * t**4 + 10 * t**3


def equalize(texture: Array) -> Array:
    """H: (rank + 1/2) / n with the middle rank of ties; a flat texture becomes 0.5."""
    return (rankdata(texture).reshape(texture.shape) - 0.5) / texture.size


def equalize_8bit(texture: Array) -> Array:
    """H as published: stretched to 0 .. 255, rounded, cv2.equalizeHist; a flat texture becomes 0.5."""
    span = texture.max() - texture.min()
    if span == 0:
        return np.full(texture.shape, 0.5)
    return cv2.equalizeHist(np.rint((texture - texture.min()) * (255 / span)).astype(np.uint8)) / 255


def noise_layer(textures: Sequence[Array], equalize_layer: bool = True, bins: int | None = None) -> Array:
    """L = 1/N sum of H[N_i] (Eq. 10), equalised itself as the published code does."""
    h = equalize_8bit if bins else equalize
    mean = np.mean([h(t) for t in textures], 0)
    return h(mean) if equalize_layer else mean


def blend(image: Array, layer: Array, weight_layer: Array, c: float = 5.0) -> Array:
    """A = (b + w l) / (1 + w), w = c sigma_b l' 2^(1 - 2 l) (Eqs. 11 and 12)."""
    w = c * image.std() * weight_layer * 2 ** (1 - 2 * layer)
    return (image + w * layer) / (1 + w)


# --- shapes -------------------------------------------------------------------------------------------------------------


def centres(shape: Sequence[int], window: tuple[slice, slice] = (slice(None), slice(None))) -> tuple[Array, Array]:
    """x (1, w) and y (h, 1) of the centres of the pixels in a window of an image (..., H, W)."""
    x, y = (np.arange(n, dtype=np.float64) + 0.5 for n in shape[:-3:-1])
    return x[None, window[1]], y[window[0], None]


def inside(outline: Array, x: Array, y: Array) -> NDArray[np.bool_]:
    """Even-odd rule: an odd number of edges crosses the row to the left of (x, y)."""
    odd = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, 0)):
        if ay != by:
            odd ^= ((ay <= y) != (by <= y)) & (ax + (y - ay) * (bx - ax) / (by - ay) <= x)
    return odd


def distance(line: Array, x: Array, y: Array) -> Array:
    """Distance in px of (x, y) from the segments between successive points."""
    best = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf)
    for (ax, ay), (bx, by) in pairwise(line):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        best = np.minimum(best, np.hypot(x - ax - t * dx, y - ay - t * dy))
    return best


def near(outline: Array, radius: float, x: Array, y: Array) -> NDArray[np.bool_]:
    """Within ``radius`` of the closed outline."""
    return distance(np.concatenate((outline, outline[:1])), x, y) <= radius


def around(points: Array, margin: float, shape: Sequence[int]) -> tuple[slice, slice]:
    """Rows and columns of the pixels up to ``margin`` px around some points; a window only saves time."""
    size = np.array(shape[:-3:-1])
    low, high = np.clip((np.floor(points.min(0) - margin), np.ceil(points.max(0) + margin)), 0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def gaussian(image: Array, kernel: int, sigma: float | None) -> Array:
    """cv2.GaussianBlur, mirrored borders; sigma None: 0.3 ((k - 1) / 2 - 1) + 0.8."""
    s = 0.3 * ((kernel - 1) / 2 - 1) + 0.8 if sigma is None else sigma
    return np.stack([cv2.GaussianBlur(c, (kernel, kernel), s, sigmaY=s, borderType=cv2.BORDER_REFLECT_101) for c in image])


def outline_of(target: AnyTarget, i: int) -> Array:
    """(K, 2) the polygon of object i, or the corners of its box."""
    if target.get("polygons") is not None:
        return target["polygons"][i]
    cx, cy, w, h, theta = target["boxes"][i]
    along, across = np.array([np.cos(theta), np.sin(theta)]) * w / 2, np.array([-np.sin(theta), np.cos(theta)]) * h / 2
    return np.array([cx, cy]) + np.stack((-along - across, along - across, along + across, across - along))


def as_float64(target: AnyTarget) -> AnyTarget:
    boxes = np.asarray(target["boxes"], dtype=np.float64).reshape(-1, 5)
    out = target | {"boxes": boxes, "keep": np.ones(len(boxes), bool)}
    if target.get("polygons") is not None:
        out["polygons"] = [np.asarray(p, dtype=np.float64) for p in target["polygons"]]
    return out


def _moved(target: AnyTarget | None, move: Callable[[Array], Array], angle: Callable[[Array], Array]) -> AnyTarget | None:
    if target is None:
        return None
    theta = (angle(target["boxes"][:, 4]) + np.pi / 2) % np.pi - np.pi / 2
    out = target | {"boxes": np.column_stack((move(target["boxes"][:, :2]), target["boxes"][:, 2:4], theta))}
    if target.get("polygons") is not None:
        out["polygons"] = [move(p) for p in target["polygons"]]
    return out


def quarter_turn(target: AnyTarget | None, width: int) -> AnyTarget | None:
    """np.rot90 of an image ``width`` px wide, counter-clockwise: (x, y) -> (y, width - x)."""
    return _moved(target, lambda p: np.stack((p[:, 1], width - p[:, 0]), -1), lambda t: t - np.pi / 2)


def mirror(target: AnyTarget | None, axis: int, size: int) -> AnyTarget | None:
    """x -> size - x (axis 0) or y -> size - y (axis 1)."""
    return _moved(target, lambda p: np.where(np.arange(2) == axis, size - p, p), lambda t: -t)


# --- the steps (Table S1), fed with the plan; called only where the plan touches the image ------------------------------


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
