"""The wall of the well: black with a ragged, blurred edge, covering much of the picture; crystals under it are gone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import clipping, fields, placing
from ..base import Step
from ..checks import Shape, check_chance, check_interval
from ..plan import Tables
from ..rng import LANE_LATTICE, LANE_PAINT, Stream, keys_in
from ..targets import Instances
from ..transfer import host_tensors
from .update import keys_of, per_image, update

_COLUMNS = (
    "nx",
    "ny",
    "edge",
    "mx",
    "my",
    "other",
    "round",
    "coarse",
    "fine",
    "soft",
    "through",
    "level",
    "shade",
    "reach",
    "glint",
)
_NEVER = 1e6  # px; the second edge of a wall that has only one
_GRID = (np.arange(24) + 0.5) / 24


class WellWall(Step):
    """Darken the picture beyond one straight edge, or beyond two that meet in a rounded corner.

    The edges lie at a random angle and cover a share of the picture drawn from ``cover``; with chance ``corner`` there are two
    of them at right angles. Two smooth random fields make them ragged (6 to 16 px and 24 to 80 px long, each displacing the
    edge by up to a few px) and a ramp of ``soft`` px blurs them. The wall lets a share U(through) of the light pass and adds
    a grey level of U(0, 0.04) and, close to its edge, a few bright glints. In front of it, up to half of the light
    is lost, less with the square of the distance over a reach of 2 to 60 px.

    Objects are cut at the straight edges: outlines and boxes become those of the visible part, and objects with less than
    ``visible`` of their area left are dropped. With chance ``clear`` the wall lets 25 to 60 % of the light pass; objects under
    it are then kept whole.

    Args:
        cover: share of the picture that the wall covers, 0 .. 1.
        corner: chance of two edges.
        soft: width of the ramp, px.
        through: share of the light that passes.
        clear: chance of a wall through which crystals are seen.
        visible: share of the area of an object that must stay visible.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images, targets = pa.WellWall(p=0.2)(images, targets)
    """

    words = 20
    looks_at_objects = True

    def __init__(
        self,
        p: float = 1.0,
        cover: tuple[float, float] = (0.1, 0.8),
        corner: float = 0.35,
        soft: tuple[float, float] = (2.0, 14.0),
        through: tuple[float, float] = (0.0, 0.06),
        clear: float = 0.1,
        visible: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.cover = check_interval("cover", cover, 0, 1)
        self.corner = check_chance("corner", corner)
        self.soft = check_interval("soft", soft, 0.01, 1000)
        self.through = check_interval("through", through, 0, 1)
        self.clear = check_chance("clear", clear)
        self.visible = check_chance("visible", visible)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        height, width = shape[2:]
        sample = self.chosen(stream)
        mine = stream.of(sample)
        # most walls stand nearly upright in the picture, some at any angle
        quarter = mine.integer(1, 0, 3) * (np.pi / 2)
        angle = quarter + np.where(mine.uniform(2) < 0.7, mine.uniform(3, -0.06, 0.06), mine.uniform(3, -np.pi / 4, np.pi / 4))
        two = mine.uniform(4) < self.corner
        cover = mine.uniform(5, *self.cover)
        # of two edges, the open parts multiply
        part = np.where(two, mine.uniform(6, 0.2, 0.8), 1.0)
        first, second = (1 - (1 - cover) ** s for s in (part, 1 - part))
        nx, ny = np.cos(angle), np.sin(angle)
        clear = mine.uniform(7) < self.clear
        fine = mine.uniform(9, 6, 16)
        columns = {
            "sample": sample,
            **keys_of(stream.keys, sample),
            "nx": nx,
            "ny": ny,
            "edge": _beyond(nx, ny, 1 - first, height, width),
            "mx": -ny,
            "my": nx,
            "other": np.where(two, _beyond(-ny, nx, 1 - second, height, width), _NEVER),
            "round": mine.uniform(8, 4, 60),
            "coarse": mine.uniform(10, 0, 4) ** 1.5,
            "fine": mine.uniform(11, 0, 2.5),
            "grain": fine,
            "soft": self.soft[0] + (self.soft[1] - self.soft[0]) * mine.uniform(12) ** 2,
            "through": np.where(clear, mine.uniform(13, 0.25, 0.6), mine.uniform(13, *self.through)),
            "level": mine.uniform(14, 0, 0.04),
            "shade": mine.uniform(15, 0, 0.5),
            "reach": 2 * 30 ** mine.uniform(16),
            "glint": np.maximum(0, mine.uniform(17, -0.3, 0.5)),
            "clear": clear.astype(np.int64),
        }
        return {"images": columns, **self._cut(instances, columns)}

    def _cut(self, instances: Instances | None, columns: dict[str, NDArray]) -> Tables:
        if instances is None:
            return placing.tables(None, np.zeros(0, bool), np.zeros(0, bool))
        row = np.full(instances.images, -1)
        row[columns["sample"]] = np.where(columns["clear"] > 0, -1, np.arange(len(columns["sample"])))
        mine = row[instances.sample]
        under = mine >= 0
        planes = []
        for names in (("nx", "ny", "edge"), ("mx", "my", "other")):
            plane = np.tile([1.0, 0, np.inf], (len(mine), 1))
            plane[under] = np.stack([columns[n][mine[under]] for n in names], -1)
            planes.append(plane)
        cut, keep = clipping.visible_parts(instances, planes, self.visible)
        changed = np.any(cut.boxes != instances.boxes, 1) & keep
        return placing.tables(cut, changed, keep)

    def remaining(self, instances: Instances, tables: Tables) -> Instances:
        return placing.remaining(instances, tables)

    def drop(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        placing.drop(tables["dropped"], keep, first)

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        numbers = np.stack([table[c] for c in _COLUMNS], -1)
        sample, keys, grain, shape = host_tensors(table["sample"], keys_in(table), table["grain"], numbers)
        update(images, sample, _walled, keys, grain, shape)
        return images


def _beyond(nx: NDArray, ny: NDArray, share: NDArray, height: int, width: int) -> NDArray:
    """(A,) offsets that a share of the picture's points lie below along (nx, ny)."""
    x, y = np.meshgrid(_GRID * width, _GRID * height)
    along = np.sort(nx[:, None] * x.ravel() + ny[:, None] * y.ravel(), 1)
    rank = np.minimum((share * along.shape[1]).astype(np.int64), along.shape[1] - 1)
    return along[np.arange(len(along)), rank]


def _walled(images: Tensor, keys: Tensor, grain: Tensor, shape: Tensor) -> Tensor:
    height, width = images.shape[2:]
    s = {name: per_image(shape[:, i]) for i, name in enumerate(_COLUMNS)}
    x = (torch.arange(width, device=images.device) + 0.5).view(1, 1, 1, -1)
    y = (torch.arange(height, device=images.device) + 0.5).view(1, 1, -1, 1)
    first = s["nx"] * x + s["ny"] * y - s["edge"] + s["round"]
    second = s["mx"] * x + s["my"] * y - s["other"] + s["round"]
    # distance to a corner that is rounded: positive beyond the edge
    depth = torch.maximum(first, second).clamp_(max=0)
    depth += (first.clamp_(min=0).square_() + second.clamp_(min=0).square_()).sqrt_()
    depth -= s["round"]
    rough = fields.smooth(keys, LANE_LATTICE, grain, height, width)
    depth += fields.smooth(keys, LANE_PAINT, grain * 4.5, height, width).mul_(s["coarse"]).add_(rough * s["fine"])
    glints = (
        rough.sub_(1.7).clamp_(min=0).mul_(s["glint"]).mul_(depth.mul(1 / 25).clamp_(min=0).add_(1).square_().reciprocal_())
    )
    light = depth.div(-s["reach"]).clamp_(min=0).add_(1).square_().reciprocal_().mul_(-s["shade"]).add_(1)
    dark = fields.smoothstep(depth.div_(s["soft"]).add_(0.5))
    gain = light.mul_(1 - dark).add_(dark * s["through"])
    return images.mul_(gain).add_(dark.mul_(glints.add_(s["level"]))).clamp_(0, 1)
