"""Gaussian noise (row 4) and impulse noise (row 5)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..base import Step
from ..checks import Shape, check_interval
from ..dispatch import operator
from ..joining import Operation
from ..plan import Tables
from ..rng import LANE_PIXEL, Stream, halves, keys_in, normals
from ..targets import Instances
from ..transfer import host_tensors
from ..turns import in_turn
from .update import keys_of, per_image, update


class GaussianNoise(Step):
    """Add N(0, s) to every value and clip to [0, 1] (paper, Table S1, row 4).

    Args:
        p: chance for an image, 0 .. 1.
        sigma: lowest and highest s, a share of the grey range in 0 .. 10; uniform in between, one per image.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> noisy = pa.GaussianNoise(sigma=(0.05, 0.05))(torch.full((1, 1, 64, 64), 0.5))
        >>> round(float(noisy.std()), 2)
        0.05
    """

    words = 2

    def __init__(self, p: float = 1.0, sigma: tuple[float, float] = (0.01, 0.06), seed: int = 0) -> None:
        super().__init__(p, seed)
        self.sigma = check_interval("sigma", sigma, 0, 10)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        sigma = stream.uniform(1, *self.sigma)[sample]
        return {"images": {"sample": sample, "sigma": sigma, **keys_of(stream.keys, sample)}}

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        return self._operation(tables).make(images)

    def _operation(self, tables: Tables) -> Operation:
        table = tables["images"]
        return Operation("add_noise", host_tensors(table["sample"], table["sigma"], keys_in(table)))


def _noisy(x: Tensor, sigma: Tensor, keys: Tensor) -> Tensor:
    noise = normals(keys, x[0].numel()).view_as(x)
    return x.add_(noise.mul_(per_image(sigma))).clamp_(0, 1)


@operator("add_noise(Tensor(a!) images, Tensor sample, Tensor sigma, Tensor keys) -> ()")
def add_noise(images: Tensor, sample: Tensor, sigma: Tensor, keys: Tensor) -> None:
    update(images, sample, _noisy, sigma, keys)


class ImpulseNoise(Step):
    """Set a share U(white) of the pixels to 1 and a share U(black) to 0, all channels alike (paper, Table S1, row 5).

    Args:
        p: chance for an image, 0 .. 1.
        white: lowest and highest share, 0 .. 0.5; drawn independently of the other, one per image.
        black: lowest and highest share, 0 .. 0.5.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> grey = torch.full((1, 1, 64, 64), 0.5)
        >>> speckled = pa.ImpulseNoise(white=(0.1, 0.1), black=(0, 0))(grey)
        >>> round(float((speckled == 1).float().mean()), 1)
        0.1
    """

    words = 3

    def __init__(
        self,
        p: float = 1.0,
        white: tuple[float, float] = (0.0, 0.05),
        black: tuple[float, float] = (0.0, 0.05),
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.white = check_interval("white", white, 0, 0.5)
        self.black = check_interval("black", black, 0, 0.5)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        white, black = stream.uniform(1, *self.white)[sample], stream.uniform(2, *self.black)[sample]
        return {"images": {"sample": sample, "white": white, "black": black, **keys_of(stream.keys, sample)}}

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        return self._operation(tables).make(images)

    def _operation(self, tables: Tables) -> Operation:
        table = tables["images"]
        white = np.round(table["white"] * 65536).astype(np.int64)
        black = 65536 - np.round(table["black"] * 65536).astype(np.int64)
        return Operation("add_impulses", host_tensors(table["sample"], white, black, keys_in(table)))


def _speckled(x: Tensor, white: Tensor, black: Tensor, keys: Tensor) -> Tensor:
    draw = halves(keys, LANE_PIXEL, x.shape[2] * x.shape[3]).view(-1, 1, *x.shape[2:])
    x.masked_fill_(draw < per_image(white), 1)
    return x.masked_fill_(draw >= per_image(black), 0)


@operator("add_impulses(Tensor(a!) images, Tensor sample, Tensor white, Tensor black, Tensor keys) -> ()")
def add_impulses(images: Tensor, sample: Tensor, white: Tensor, black: Tensor, keys: Tensor) -> None:
    """white: halves below become 1; black: halves from there on become 0."""
    update(images, sample, _speckled, white, black, keys)
