"""Marks inside crystals: rings and pits, growth steps, faces that are etched or catch the light otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import fields, stamps
from ..base import Step
from ..checks import Shape, check_chance, check_interval
from ..plan import Table, Tables
from ..rng import LANE_OBJECT, Stream, scale_uniform
from ..targets import Instances
from ..transfer import to_device

_NUMBERS = (
    *("facet", "facet_x", "facet_y", "facet_at", "ring", "ring_x", "ring_y", "ring_size", "ring_flat", "ring_width", "heart"),
    *("step", "step_x", "step_y", "step_at", "step_every", "rough", "rough_x", "rough_y"),
)


class Marks(Step):
    """Add grey offsets inside the outlines of single objects.

    Each object whose shorter side has at least ``smallest`` px is marked with chance ``each``, and then, with these chances
    and independently:

    - 0.6 two faces: one side of a line through the inside is brighter and the other darker, by up to 0.15;
    - 0.4 a ring (bubble or pit): a dark oval of 15 to 40 % of the shorter side, with a bright or dark centre;
    - 0.3 growth steps: parallel lines, one to eight px apart or more, dark beside bright;
    - 0.15 an etched face: wavy lines 3 to 9 px apart, broken up.

    Args:
        each: chance of an object of a chosen image.
        strength: factor of all offsets, lowest and highest, per object.
        smallest: px.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images, targets = pa.Marks(p=0.5)(images, targets)
    """

    words = 1
    looks_at_objects = True

    def __init__(
        self,
        p: float = 1.0,
        each: float = 0.5,
        strength: tuple[float, float] = (0.3, 1.0),
        smallest: float = 8.0,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.each = check_chance("each", each)
        self.strength = check_interval("strength", strength, 0, 10)
        self.smallest = check_interval("smallest", (smallest, smallest), 0, 1e6)[0]

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if instances is None:
            none = np.zeros(0, np.int64)
            instances = Instances(shape[0], none, none, np.zeros((0, 5)), np.zeros((0, 2)), none)
        touched = np.zeros(shape[0], bool)
        touched[self.chosen(stream)] = True
        words = stream.item_words(instances.sample, instances.object, 24, LANE_OBJECT)
        u = scale_uniform(words).T
        marked = (
            touched[instances.sample] & (u[0] < self.each) & (instances.boxes[:, 2:4].min(1, initial=np.inf) >= self.smallest)
        )
        mine, u = instances.picked(marked), u[:, marked]
        short = mine.boxes[:, 2:4].min(1, initial=np.inf)
        theta = mine.boxes[:, 4]
        strength = self.strength[0] + (self.strength[1] - self.strength[0]) * u[1]
        # lines run along one of the box's axes, more or less
        line = theta + np.round(u[2]) * (np.pi / 2) + (u[3] - 0.5) * 0.8
        steps = theta + np.round(u[4]) * (np.pi / 2) + (u[5] - 0.5) * 0.3
        etch = 2 * np.pi * u[6]
        wave = 2 * np.pi / (3 + 6 * u[7])
        sign = 1 - 2 * np.round(u[8])
        columns = {
            "facet": np.where(u[9] < 0.6, 0.15 * u[10] * strength * sign, 0),
            "facet_x": -np.sin(line),
            "facet_y": np.cos(line),
            "facet_at": (u[11] - 0.5) * 0.6 * short,
            "ring": np.where(u[12] < 0.4, -(0.1 + 0.3 * u[13]) * strength, 0),
            "ring_x": (u[14] - 0.5) * 0.4 * short,
            "ring_y": (u[15] - 0.5) * 0.4 * short,
            "ring_size": 1 / (short * (0.075 + 0.125 * u[16])),
            "ring_flat": 1 + 0.8 * u[17],
            "ring_width": 1 / (0.15 + 0.25 * u[18]),
            "heart": (u[19] - 0.3) * 0.5 * strength,
            "step": np.where(u[20] < 0.3, (0.03 + 0.12 * u[21]) * strength, 0),
            "step_x": -np.sin(steps),
            "step_y": np.cos(steps),
            "step_at": u[5] * 10,
            "step_every": 1 / (short * (0.12 + 0.3 * u[22])),
            "rough": np.where(u[23] < 0.15, (0.02 + 0.08 * u[21]) * strength, 0),
            "rough_x": np.cos(etch) * wave,
            "rough_y": np.sin(etch) * wave,
        }
        columns["heart"] *= columns["ring"] != 0
        owner = np.repeat(mine.sample, mine.corners)
        return {
            "objects": {
                "sample": mine.sample,
                "object": mine.object,
                "corners": mine.corners,
                "cx": mine.boxes[:, 0],
                "cy": mine.boxes[:, 1],
                **columns,
            },
            "outlines": {"sample": owner, "x": mine.points[:, 0], "y": mine.points[:, 1]},
        }

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table, outlines = tables["objects"], tables["outlines"]
        ends = np.append(0, np.cumsum(table["corners"]))
        for part in stamps.parts(table["sample"], images.device):
            points = np.stack([outlines[c][ends[part.start] : ends[part.stop]] for c in ("x", "y")], -1)
            _drawn(images, {name: column[part] for name, column in table.items()}, points)
        return images


def _drawn(images: Tensor, table: Table, points: NDArray) -> None:
    height, width = images.shape[2:]
    device = images.device
    at, inside = stamps.filled(points, table["corners"], height, width, device)
    numbers = to_device(np.stack([table[n] for n in ("cx", "cy", *_NUMBERS)]), device).index_select(1, at.instance)
    value = _marked(numbers, at.x.float() + 0.5, at.y.float() + 0.5).mul_(inside)
    sample, slot = np.unique(table["sample"], return_inverse=True)
    place = to_device(slot, device)[at.instance]
    stamps.add(images, sample, stamps.summed(len(sample), height, width, place, at.x, at.y, value))


def _marked(numbers: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(P,) grey offsets at pixel centres."""
    n = dict(zip(("cx", "cy", *_NUMBERS), numbers))
    dx, dy = x - n["cx"], y - n["cy"]
    value = ((n["facet_x"] * dx + n["facet_y"] * dy - n["facet_at"]).clamp_(-1, 1)).mul_(n["facet"])
    u, v = (dx - n["ring_x"]) * n["ring_size"], (dy - n["ring_y"]) * n["ring_size"] * n["ring_flat"]
    q = (u * u + v * v).sqrt_()
    value += fields.bump((q - 1) * n["ring_width"]).mul_(n["ring"])
    value += fields.bump(q * 2).mul_(n["heart"])
    t = (n["step_x"] * dx + n["step_y"] * dy) * n["step_every"] + n["step_at"]
    t = (t - t.floor()).sub_(0.5).div_(n["step_every"])  # px from the nearest step
    value += (t * fields.bump(t.clone())).mul_(n["step"])
    p, q = n["rough_x"] * dx + n["rough_y"] * dy, n["rough_y"] * dx - n["rough_x"] * dy
    lines = (p + (q * 0.31).sin_().mul_(2)).sin_() * (q * 0.73 + (p * 0.23).sin_().mul_(3)).sin_()
    return value.add_(lines.mul_(n["rough"]))
