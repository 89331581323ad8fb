"""Straight edges of plastic and scratches, with their shading."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import fields
from ..base import Step
from ..checks import Shape, check_chance, check_integers, check_interval
from ..plan import Tables
from ..raster import repeat_ranges
from ..rng import LANE_OBJECT, Stream, scale_uniform
from ..targets import Instances
from ..transfer import host_tensors
from .update import per_image, update

_NUMBERS = ("nx", "ny", "at", "bend", "middle", "length", "width", "dark", "bright", "beside", "side", "soft")


class Scratches(Step):
    """Lay straight plastic edges and scratches over the picture.

    Each line is an edge with chance ``edge``, else a scratch. An edge crosses the whole picture: a dark band of 1 to 16 px, a
    bright line beside it, and on one of its sides all is up to 20 % darker or brighter. A scratch is 0.5 to 1.5 px wide and 20
    to 150 % of the shorter side long, bends by up to 10 % of its length and has a dark and a bright side. All lines of an
    image run within 0.15 rad of one direction, or of the one at right angles.

    Args:
        lines: how many, fewest and most.
        edge: chance of a line to be an edge.
        strength: factor of all offsets, lowest and highest, per line.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Scratches(p=0.2)(images)
    """

    words = 4

    def __init__(
        self,
        p: float = 1.0,
        lines: tuple[int, int] = (1, 4),
        edge: float = 0.35,
        strength: tuple[float, float] = (0.1, 1.0),
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.lines = check_integers("lines", lines, 1, 64)
        self.edge = check_chance("edge", edge)
        self.strength = check_interval("strength", strength, 0, 10)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        height, width = shape[2:]
        side = min(height, width)
        sample = self.chosen(stream)
        m = stream.of(sample)
        owner, number = repeat_ranges(m.integer(1, *self.lines))
        u = scale_uniform(stream.item_words(sample[owner], number, 16, LANE_OBJECT)).T
        angle = m.uniform(2, 0, 2 * np.pi)[owner] + (u[0] - 0.5) * 0.3 + np.where(u[1] < 0.2, np.pi / 2, 0)
        nx, ny = np.cos(angle), np.sin(angle)
        x, y = u[2] * width, u[3] * height
        edge = u[4] < self.edge
        strength = self.strength[0] + (self.strength[1] - self.strength[0]) * u[5]
        length = np.where(edge, 1e4, side * (0.1 + 0.65 * u[6]))  # half of it
        thick = np.where(edge, 0.5 * 16 ** u[7], 0.5 + u[7])
        table = {
            "sample": sample[owner],
            "nx": nx,
            "ny": ny,
            "at": nx * x + ny * y,
            "bend": np.where(edge, 0, (u[8] - 0.5) * 0.4 / length),
            "middle": -ny * x + nx * y,
            "length": 1 / length,
            "width": 1 / thick,
            "dark": -(0.1 + 0.6 * u[9]) * strength,
            "bright": 0.5 * u[10] * strength,
            "beside": thick * (1 + u[11]) * np.where(u[12] < 0.5, 1, -1),
            "side": np.where(edge, (u[13] - 0.5) * 0.4 * strength, 0.0),
            "soft": 1 / (1 + 8 * u[14]),
        }
        return {"lines": table}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["lines"]
        sample, first, count = np.unique(table["sample"], return_index=True, return_counts=True)
        if not len(sample):
            return images
        rows = np.stack([table[n] for n in _NUMBERS], -1)
        lines = np.zeros((len(sample), int(count.max()), len(_NUMBERS)))  # zeros draw nothing
        owner, rank = repeat_ranges(count)
        lines[owner, rank] = rows[first[owner] + rank]
        which, numbers = host_tensors(sample, lines)
        update(images, which, _scratched, numbers)
        return images


def _scratched(images: Tensor, numbers: Tensor) -> Tensor:
    height, width = images.shape[2:]
    x = (torch.arange(width, device=images.device) + 0.5).view(1, 1, 1, -1)
    y = (torch.arange(height, device=images.device) + 0.5).view(1, 1, -1, 1)
    for k in range(numbers.shape[1]):  # of every image at once
        n = {name: per_image(numbers[:, k, i]) for i, name in enumerate(_NUMBERS)}
        along = n["nx"] * y - n["ny"] * x - n["middle"]
        across = (n["nx"] * x - n["at"]) + n["ny"] * y
        across.add_((along * along).mul_(n["bend"]))
        value = fields.bump((across - n["beside"]).mul_(n["width"])).mul_(n["bright"])
        value += fields.bump(across * n["width"]).mul_(n["dark"])
        value.mul_(fields.bump(along.mul_(n["length"] * 2)))
        gain = fields.smoothstep(across.mul_(n["soft"]).add_(0.5)).mul_(n["side"]).add_(1)
        images.mul_(gain).add_(value)
    return images.clamp_(0, 1)
