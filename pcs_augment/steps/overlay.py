"""Rounded corner and border overlay (row 11): the edge of the well or of the field of view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .. import gaussian, rooms
from ..base import Step
from ..checks import Shape, check_chance, check_integers, check_interval, check_kernels
from ..dispatch import operator
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from ..turns import in_turn
from .update import update

_SHAPE_COLUMNS = ("round", "x", "y", "radius", "left", "top", "right", "bottom")


class Overlay(Step):
    """Multiply by a soft mask that goes black beyond a circle (chance ``round_chance``) or in two border bands.

    The edge of the well or of the field of view (paper, Table S1, row 11). Circle: centred on a random image corner, moved by
    U(-jitter, jitter) of the image size along x and y; radius U(radius) times the diagonal / sqrt 2. Bands: one horizontal (top
    or bottom) and one vertical (left or right). The mask is smoothed by a Gaussian.

    Args:
        p: chance for an image, 0 .. 1.
        round_chance: chance of a circle.
        radius: lowest and highest, in 0 .. 100 times the diagonal / sqrt 2.
        jitter: share of the image size, 0 .. 10.
        band: width of a band, lowest and highest, whole px in 0 .. 16384.
        kernels: odd sizes of the Gaussian in 1 .. 99 px, equally likely.
        sigma: of the Gaussian in px; None takes it from the kernel size (see ``Blur``), the published code always uses 2.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> white = torch.ones(1, 1, 64, 64)
        >>> framed = pa.Overlay(round_chance=0, band=(8, 8), kernels=(5,))(white)
        >>> framed.min(), framed.max()
        (tensor(0.), tensor(1.))
    """

    words = 9

    def __init__(
        self,
        p: float = 1.0,
        round_chance: float = 0.5,
        radius: tuple[float, float] = (1.14, 1.34),
        jitter: float = 0.1,
        band: tuple[int, int] = (1, 31),
        kernels: Sequence[int] = tuple(range(1, 32, 2)),
        sigma: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.round_chance = check_chance("round_chance", round_chance)
        self.radius = check_interval("radius", radius, 0, 100)
        self.jitter = check_interval("jitter", (0, jitter), 0, 10)[1]
        self.band = check_integers("band", band, 0, 16384)
        self.kernels = check_kernels("kernels", kernels)
        self.sigma = gaussian.check_sigma(sigma)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        height, width = shape[2:]
        sample = self.chosen(stream)
        mine = stream.of(sample)
        bottom, right = mine.integer(2, 0, 1), mine.integer(3, 0, 1)
        across, down = mine.integer(7, *self.band), mine.integer(8, *self.band)
        columns = {
            "sample": sample,
            "kernel": np.array(self.kernels)[mine.integer(6, 0, len(self.kernels) - 1)],
            "round": (mine.uniform(1) < self.round_chance).astype(np.int64),
            "x": (right + mine.uniform(4, -self.jitter, self.jitter)) * width,
            "y": (bottom + mine.uniform(5, -self.jitter, self.jitter)) * height,
            "radius": self._radius(mine, height, width),
            # the part that stays visible between the bands
            "left": np.minimum(np.where(right, 0, across), width),
            "right": np.maximum(np.where(right, width - across, width), 0),
            "top": np.minimum(np.where(bottom, 0, down), height),
            "bottom": np.maximum(np.where(bottom, height - down, height), 0),
        }
        return {"images": columns}

    def _radius(self, stream: Stream, height: int, width: int) -> np.ndarray:
        # the two kinds exclude each other, so the circle's radius may share its word with the width of a band
        return stream.uniform(7, *self.radius) * np.hypot(height, width) / np.sqrt(2)

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        if rooms.to_do(len(table["sample"])):
            shapes = np.stack([table[c].astype(np.float64) for c in _SHAPE_COLUMNS], -1)
            mask(images, *host_tensors(table["sample"], gaussian.weights(table["kernel"], self.sigma), shapes))
        return images


@operator("mask(Tensor(a!) images, Tensor sample, Tensor taps, Tensor shapes) -> ()")
def mask(images: Tensor, sample: Tensor, taps: Tensor, shapes: Tensor) -> None:
    """shapes: (A, 8), the columns of _SHAPE_COLUMNS; taps as for a blur."""
    for mine, reach in gaussian.by_reach(taps):
        update(images, sample[mine], _masked, taps[mine, : 1 + reach], *shapes[mine].unbind(1))


def _masked(images: Tensor, taps: Tensor, *shape: Tensor) -> Tensor:
    height, width = images.shape[2:]
    circle, x, y, radius, left, top, right, bottom = (c.view(-1, 1, 1, 1) for c in shape)
    px = torch.arange(width, device=images.device).view(1, 1, 1, -1) + 0.5
    py = torch.arange(height, device=images.device).view(1, 1, -1, 1) + 0.5
    disc = (px - x).square() + (py - y).square() <= radius.square()
    window = ((px > left) & (px < right)) & ((py > top) & (py < bottom))
    visible = torch.where(circle > 0, disc, window).float()
    return images.mul_(gaussian.blur(visible, taps)).clamp_(0, 1)
