"""What lies in a drop and is no crystal: bubbles, round cells, dust, precipitate, and what is far out of focus."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .. import fields, raster, stamps
from ..base import Step
from ..checks import Shape, check_integers, check_interval
from ..plan import Table, Tables
from ..raster import repeat_ranges
from ..rng import LANE_OBJECT, LANE_PAINT, Stream, scale_integer, scale_uniform
from ..targets import Instances
from ..transfer import to_device

BUBBLE, CELL, DUST, SPOT, PRECIPITATE = range(5)
_SHADE = ("core", "rim", "rim_at", "rim_width", "heart", "relief")
_REACH = 1.6  # radii within which a thing is drawn


class Debris(Step):
    """Draw round things that carry no label, in groups of one kind.

    Per image a whole number of groups from ``groups``; each group is, with equal chances:

    - 1 to 4 bubbles of 4 to 40 px radius: a black rim, a bright middle;
    - 2 to 12 round cells of 3 to 9 px: a thin dark rim, a centre a little brighter or darker than the ground;
    - 2 to 20 grains of dust of 0.7 to 2.5 px: dark;
    - 2 to 10 spots of 8 to 30 px far out of focus: 2 to 12 % darker than the ground, without an edge;
    - 20 to ``grains`` grains of precipitate of 0.7 to 2.2 px, lit from one side, normally distributed about a point
      with a deviation of 8 to 50 px.

    Sizes are log-uniform and grow with ``size``.

    Args:
        groups: how many, fewest and most.
        grains: most grains of one precipitate.
        size: factor of all radii.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Debris(p=0.4)(images)
    """

    words = 4

    def __init__(
        self,
        p: float = 1.0,
        groups: tuple[int, int] = (1, 3),
        grains: int = 150,
        size: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.groups = check_integers("groups", groups, 1, 100)
        self.grains = check_integers("grains", (20, grains), 20, 10000)[1]
        self.size = check_interval("size", (size, size), 0.01, 100)[0]

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        height, width = shape[2:]
        sample = self.chosen(stream)
        owner, number = repeat_ranges(stream.of(sample).integer(1, *self.groups))
        group = stream.item_words(sample[owner], number, 12, LANE_PAINT)
        kind = scale_integer(group[:, 0], 0, 4)
        most = np.array([4, 12, 20, 10, self.grains])[kind]
        fewest = np.array([1, 2, 2, 2, 20])[kind]
        count = fewest + (scale_uniform(group[:, 1]) * (most - fewest + 1)).astype(np.int64)
        where = np.stack((scale_uniform(group[:, 2]) * width, scale_uniform(group[:, 3]) * height), -1)
        spread = scale_uniform(group[:, 4], 8, 50) * self.size
        light = scale_uniform(group[:, 5], 0, 2 * np.pi)
        strength, rim, middle = (scale_uniform(group[:, i]) for i in (6, 7, 8))

        of, item = repeat_ranges(count)
        words = stream.item_words(sample[owner[of]], number[of] << 16 | item, 8, LANE_OBJECT)
        u = [scale_uniform(words[:, i]) for i in range(8)]
        k = kind[of]
        low, high = np.array([4, 3, 0.7, 8, 0.7]), np.array([40, 9, 2.5, 30, 2.2])
        radius = low[k] * (high / low)[k] ** u[0] * self.size
        far, turn = np.sqrt(-2 * np.log1p(-u[1])), 2 * np.pi * u[2]
        cloud = where[of] + spread[of, None] * far[:, None] * np.stack((np.cos(turn), np.sin(turn)), -1)
        centre = np.where((k == PRECIPITATE)[:, None], cloud, np.stack((u[1] * width, u[2] * height), -1))
        s, r, m = strength[of], rim[of], middle[of]
        shades = {
            "core": np.choose(k, [0.1 * m, 0.0 * m, -0.3 - 0.6 * s, -0.02 - 0.1 * s, -0.1 * s]),
            "rim": np.choose(k, [-0.5 - 0.4 * s, -0.1 - 0.35 * s, 0 * s, 0 * s, 0 * s]),
            "rim_at": np.choose(k, [0.85 - 0.1 * r, 0.85 + 0 * r, 1 + 0 * r, 1 + 0 * r, 1 + 0 * r]),
            "rim_width": np.choose(k, [0.05 + 0.1 * r, 0.1 + 0.1 * r, 1 + 0 * r, 1 + 0 * r, 1 + 0 * r]),
            "heart": np.choose(k, [0.5 * m, 0.3 * m - 0.15, 0 * m, 0 * m, 0 * m]),
            "relief": np.choose(k, [0.1 * m, 0.2 * m, 0 * m, 0 * m, 0.1 + 0.25 * s]),
        }
        return {
            "images": {"sample": sample},
            "things": {
                "sample": sample[owner[of]],
                "x": centre[:, 0],
                "y": centre[:, 1],
                "radius": radius,
                "squash": np.where(k == BUBBLE, 1.0, 1 - 0.35 * u[3]),
                "turn": np.pi * u[4],
                "soft": np.where(k == SPOT, 1.0, np.clip(0.8 / radius, 0.05, 0.9)),
                "light": light[of],
                **shades,
            },
        }

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        for part in stamps.parts(tables["things"]["sample"], images.device):
            _drawn(images, {name: column[part] for name, column in tables["things"].items()})
        return images


def _drawn(images: Tensor, table: Table) -> None:
    height, width = images.shape[2:]
    device = images.device
    reach = np.maximum(table["radius"] * _REACH, 1.5)
    rectangles = stamps.discs(np.stack((table["x"], table["y"]), -1), reach, height, width)
    at = raster.pixels(rectangles, device)
    turn, light = table["turn"], table["light"]
    rows = [table["x"], table["y"], np.cos(turn), np.sin(turn), 1 / table["radius"], 1 / table["squash"], table["soft"]]
    rows += [np.cos(light), np.sin(light), *(table[n] for n in _SHADE)]
    # what each pixel of the list needs of its thing, fetched at once
    numbers = to_device(np.stack(rows), device).index_select(1, at.instance)
    value = _shaded(numbers, at.x.float() + 0.5, at.y.float() + 0.5)
    sample, slot = np.unique(table["sample"], return_inverse=True)
    place = to_device(slot, device)[at.instance]
    stamps.add(images, sample, stamps.summed(len(sample), height, width, place, at.x, at.y, value))


def _shaded(numbers: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(P,) grey offsets at pixel centres."""
    cx, cy, c, s, scale, squash, soft, light_x, light_y, core, rim, rim_at, rim_width, heart, relief = numbers
    dx, dy = (x - cx) * scale, (y - cy) * scale  # in radii
    u, v = c * dx + s * dy, (c * dy - s * dx) * squash
    q = (u * u + v * v).sqrt_()
    inside = fields.smoothstep((1 - q) / soft + 0.5)
    value = inside * (core + relief * (light_x * dx + light_y * dy))
    value += fields.bump((q - rim_at) / rim_width) * rim
    return value + fields.bump(q * 3) * heart
