"""Brightness (row 6) and contrast (rows 7 and 10)."""

from __future__ import annotations

from torch import Tensor

from .. import statistics
from ..base import Step
from ..checks import Shape, check_interval, check_positive
from ..dispatch import operator
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from .update import per_image, update


class _Tone(Step):
    """Shared by both: one factor base^U(exponent) per image."""

    words = 2
    _formula: staticmethod

    def __init__(self, p: float, base: float, exponent: tuple[float, float], seed: int) -> None:
        super().__init__(p, seed)
        self.base = check_positive("base", base)
        self.exponent = check_interval("exponent", exponent, -32, 32)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        return {"images": {"sample": sample, "factor": self.base ** stream.uniform(1, *self.exponent)[sample]}}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        type(self)._formula(images, *host_tensors(table["sample"], table["factor"]))
        return images


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    return x.mul_(per_image(factor)).clamp_(0, 1)


@operator("scale(Tensor(a!) images, Tensor sample, Tensor factor) -> ()")
def scale(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    update(images, sample, _scaled, factor)


def _stretched(x: Tensor, factor: Tensor) -> Tensor:
    middle = per_image(statistics.mean(x))
    return x.sub_(middle).mul_(per_image(factor)).add_(middle).clamp_(0, 1)


@operator("stretch(Tensor(a!) images, Tensor sample, Tensor factor) -> ()")
def stretch(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    update(images, sample, _stretched, factor)


class Brightness(_Tone):
    """Multiply by base^U(exponent) and clip to [0, 1]; default 2^U(-1, 1)."""

    _formula = staticmethod(scale)

    def __init__(self, p: float = 1.0, base: float = 2.0, exponent: tuple[float, float] = (-1.0, 1.0), seed: int = 0) -> None:
        super().__init__(p, base, exponent, seed)


class Contrast(_Tone):
    """Multiply the difference from the image mean by base^U(exponent) and clip to [0, 1]; default 1.5^U(0, 1)."""

    _formula = staticmethod(stretch)

    def __init__(self, p: float = 1.0, base: float = 1.5, exponent: tuple[float, float] = (0.0, 1.0), seed: int = 0) -> None:
        super().__init__(p, base, exponent, seed)
