"""The edge of the drop: a dark meniscus, a strong gradient inside, an empty bright outside; crystals end there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import boxes as bx
from .. import clipping, fields, placing
from ..base import Step
from ..checks import Shape, check_chance, check_interval
from ..plan import Tables
from ..rng import LANE_LATTICE, Stream, keys_in
from ..targets import Instances
from ..transfer import host_tensors
from .update import keys_of, per_image, update

_WAVES = 6
_CURVE = ("cx", "cy", "radius", *(f"{part}{k}" for k in range(2, _WAVES + 1) for part in "cs"))
_STEP = 4  # px between the points where smooth fields are computed
_COLUMNS = (
    *("cx", "cy", "radius", "dark", "reach", "power", "lean", "lean_at", "middle", "slope_x", "slope_y", "patches"),
    *("outside", "out_x", "out_y", "soft", "line", "line_at", "line_width", "ink", "ink_width"),
)


class DropEdge(Step):
    """Lay the outline of a drop through the picture.

    The outline is r(angle) = radius (1 + sum of waves 2 .. 6), a smooth closed curve whose radius is log-uniform in ``radius``
    times the shorter side of the picture. It passes through a uniform point of the picture. Inside, light fades towards the
    edge over 3 to 60 % of the radius, down to 2 to 70 % of it, on one side more than on the other; a gradient across
    the picture and soft patches come on top. The edge itself has a thin dark and, with chance 0.6, a thin bright line. Outside
    nothing is seen but an even grey of 0.6 to 1 (with chance 0.15 it is dark) with a slight gradient.

    Objects are cut where the edge passes, along its tangents: outlines and boxes become those of the visible part, and objects
    with less than ``visible`` of their area left are dropped.

    Args:
        radius: shortest and longest mean radius over the shorter side of the picture.
        outside: largest share of the picture that lies outside the drop where the other side of the edge covers less.
        visible: share of the area of an object that must stay inside.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images, targets = pa.DropEdge(p=0.3)(images, targets)
    """

    words = 44
    looks_at_objects = True

    def __init__(
        self,
        p: float = 1.0,
        radius: tuple[float, float] = (0.4, 2.5),
        outside: float = 0.6,
        visible: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.radius = check_interval("radius", radius, 0.01, 100)
        self.outside = check_chance("outside", outside)
        self.visible = check_chance("visible", visible)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        height, width = shape[2:]
        side = min(height, width)
        sample = self.chosen(stream)
        m = stream.of(sample)
        radius = np.exp(m.uniform(1, *np.log(self.radius))) * side
        waves: dict[str, NDArray] = {}
        for k in range(2, _WAVES + 1):
            size, phase = m.uniform(20 + 2 * k, 0, 0.16) * m.uniform(19) / k, m.uniform(21 + 2 * k, 0, 2 * np.pi)
            waves |= {f"c{k}": size * np.cos(phase), f"s{k}": size * np.sin(phase)}
        # the edge passes through (x, y), where its outward direction is ``angle`` or the opposite one
        x, y, angle = m.uniform(2) * width, m.uniform(3) * height, m.uniform(4, 0, 2 * np.pi)
        reach = radius * (1 + _bulge(waves, np.cos(angle), np.sin(angle)))
        back = radius * (1 + _bulge(waves, -np.cos(angle), -np.sin(angle)))
        columns = {
            "sample": sample,
            **keys_of(stream.keys, sample),
            "cx": x - reach * np.cos(angle),
            "cy": y - reach * np.sin(angle),
            "radius": radius,
            **waves,
        }
        grid = np.stack(np.meshgrid((np.arange(16) + 0.5) / 16 * width, (np.arange(16) + 0.5) / 16 * height), -1).reshape(-1, 2)
        rows, at = np.repeat(np.arange(len(sample)), len(grid)), np.tile(grid, (len(sample), 1))
        outside = (_depth(columns, rows, at)[0] < 0).reshape(len(sample), -1).mean(1) if len(sample) else np.zeros(0)
        turn = outside > self.outside
        columns["cx"] = np.where(turn, x + back * np.cos(angle), columns["cx"])
        columns["cy"] = np.where(turn, y + back * np.sin(angle), columns["cy"])
        night = m.uniform(5) < 0.15
        columns |= {
            "dark": m.uniform(6, 0.3, 1.0),
            "reach": radius * 0.03 * 20 ** m.uniform(7),
            "power": m.uniform(8, 0.7, 1.6),
            "lean": m.uniform(9, 0, 1),
            "lean_at": m.uniform(10, 0, 2 * np.pi),
            "middle": m.uniform(11, 0.7, 1.5),
            "slope_x": m.uniform(12, -0.4, 0.4) / width,
            "slope_y": m.uniform(13, -0.4, 0.4) / height,
            "patches": m.uniform(14, 0, 0.08),
            "patch_size": side * m.uniform(15, 0.1, 0.4),
            "outside": np.where(night, m.uniform(16, 0.03, 0.4), m.uniform(16, 0.6, 1.0)),
            "out_x": m.uniform(17, -0.15, 0.15) / width,
            "out_y": m.uniform(18, -0.15, 0.15) / height,
            "soft": 1 + 4 * m.uniform(34) ** 3,
            "line": np.where(m.uniform(35) < 0.6, m.uniform(36, 0.03, 0.35), 0.0),
            "line_at": m.uniform(37, -3, 3),
            "line_width": m.uniform(38, 0.6, 1.4),
            "ink": m.uniform(39, 0.0, 0.7),
            "ink_width": m.uniform(40, 0.8, 3.0),
        }
        return {"images": columns, **self._cut(instances, columns)}

    def _cut(self, instances: Instances | None, columns: dict[str, NDArray]) -> Tables:
        if instances is None:
            return placing.tables(None, np.zeros(0, bool), np.zeros(0, bool))
        row = np.full(instances.images, -1)
        row[columns["sample"]] = np.arange(len(columns["sample"]))
        mine = row[instances.sample]
        planes = np.tile([1.0, 0, np.inf], (5, len(mine), 1))
        radius = np.hypot(instances.boxes[:, 2], instances.boxes[:, 3]) / 2
        near = np.flatnonzero(mine >= 0)
        near = near[_depth(columns, mine[near], instances.boxes[near, :2])[0] < 2 * radius[near]]
        if len(near):
            # the tangents nearest to the centre and to those corners of the box that lie outside
            boxes = instances.boxes[near]
            points = np.concatenate((boxes[:, None, :2], bx.box_corners(boxes)), 1).reshape(-1, 2)
            rows = np.repeat(mine[near], 5)
            outside = _depth(columns, rows, points)[0] < 0
            outside[::5] = True
            for _ in range(3):
                depth, normal = _depth(columns, rows, points)
                points = points + normal * depth[:, None]
            normal = _depth(columns, rows, points)[1]
            tangents = np.concatenate((normal, (normal * points).sum(1, keepdims=True)), 1)
            tangents[~outside] = [1.0, 0, np.inf]
            planes[:, near] = tangents.reshape(-1, 5, 3).transpose(1, 0, 2)
        cut, keep = clipping.visible_parts(instances, list(planes), self.visible)
        return placing.tables(cut, np.any(cut.boxes != instances.boxes, 1) & keep, keep)

    def remaining(self, instances: Instances, tables: Tables) -> Instances:
        return placing.remaining(instances, tables)

    def drop(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        placing.drop(tables["dropped"], keep, first)

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        numbers = np.stack([table[c] for c in _COLUMNS], -1)
        waves = np.stack([np.stack((table[f"c{k}"], table[f"s{k}"]), -1) for k in range(2, _WAVES + 1)], 1)
        args = host_tensors(table["sample"], keys_in(table), table["patch_size"], numbers, waves)
        update(images, args[0], _dropped, *args[1:])
        return images


def _bulge(waves: dict[str, NDArray], c: NDArray, s: NDArray) -> NDArray:
    """r / radius - 1 in the direction (c, s)."""
    angle = np.arctan2(s, c)
    return sum(waves[f"c{k}"] * np.cos(k * angle) + waves[f"s{k}"] * np.sin(k * angle) for k in range(2, _WAVES + 1))


def _depth(columns: dict[str, NDArray], rows: NDArray, points: NDArray) -> tuple[NDArray, NDArray]:
    """(M,) distance from the edge of drop ``rows`` at (M, 2) points, px, positive inside and exact to first order, and the
    (M, 2) direction out of the drop there."""
    own = {name: columns[name][rows] for name in _CURVE}
    dx, dy = points[:, 0] - own["cx"], points[:, 1] - own["cy"]
    rho, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    bulge, slope = np.zeros(len(rho)), np.zeros(len(rho))
    for k in range(2, _WAVES + 1):
        c, s = np.cos(k * angle), np.sin(k * angle)
        bulge += own[f"c{k}"] * c + own[f"s{k}"] * s
        slope += k * (own[f"s{k}"] * c - own[f"c{k}"] * s)
    tilt = slope / (1 + bulge)
    length = np.sqrt(1 + tilt**2)
    x, y = np.cos(angle), np.sin(angle)
    normal = np.stack((x + tilt * y, y - tilt * x), -1) / length[:, None]
    return (own["radius"] * (1 + bulge) - rho) / length, normal


def _dropped(images: Tensor, keys: Tensor, patch_size: Tensor, shape: Tensor, waves: Tensor) -> Tensor:
    height, width = images.shape[2:]
    device = images.device
    s = {name: shape[:, i].view(-1, 1, 1) for i, name in enumerate(_COLUMNS)}
    # smooth in between, so a coarse grid is enough for all but the lines along the edge
    x, y = fields.coarse(_STEP, width, device).view(1, 1, -1), fields.coarse(_STEP, height, device).view(1, -1, 1)
    dx, dy = x - s["cx"], y - s["cy"]
    rho = (dx * dx + dy * dy).sqrt_()
    c1, s1 = dx / rho.clamp(min=1e-3), dy / rho.clamp(min=1e-3)
    bulge, slope = torch.zeros_like(rho), torch.zeros_like(rho)
    c, d = c1, s1
    for k in range(2, _WAVES + 1):
        c, d = c * c1 - d * s1, d * c1 + c * s1  # cosine and sine of k times the angle
        a, b = waves[:, k - 2, 0].view(-1, 1, 1), waves[:, k - 2, 1].view(-1, 1, 1)
        bulge += a * c + b * d
        slope += (b * c - a * d) * k
    bulge += 1
    depth = (s["radius"] * bulge - rho) / ((slope / bulge).square_() + 1).sqrt_()
    lean = 1 - s["lean"] * (0.5 + 0.5 * (c1 * torch.cos(s["lean_at"]) + s1 * torch.sin(s["lean_at"])))
    fade = torch.exp((depth.clamp(min=0) / s["reach"]).pow(s["power"]).clamp_(max=30).neg_())
    gain = s["middle"] * (1 - s["dark"] * lean * fade)
    gain = gain * (1 + s["slope_x"] * (x - width / 2) + s["slope_y"] * (y - height / 2))
    inside = fields.upsampled(gain, _STEP, height, width)
    patches = fields.smooth(keys, LANE_LATTICE, patch_size, height, width)
    inside.mul_(patches.mul_(per_image(shape[:, _COLUMNS.index("patches")])).add_(1).clamp_(min=0))
    outside = fields.upsampled(
        s["outside"] * (1 + s["out_x"] * (x - width / 2) + s["out_y"] * (y - height / 2)).expand_as(depth), _STEP, height, width
    )
    edge = fields.upsampled(depth, _STEP, height, width)
    w = {name: per_image(shape[:, i]) for i, name in enumerate(_COLUMNS)}
    within = fields.smoothstep((edge / w["soft"]).add_(0.5))
    lines = fields.bump((edge - w["line_at"]).div_(w["line_width"])).mul_(w["line"])
    ink = fields.bump(edge.div_(w["ink_width"])).mul_(w["ink"])
    images.mul_(inside).sub_(outside).mul_(within).add_(outside)
    return images.mul_(ink.neg_().add_(1)).add_(lines).clamp_(0, 1)
