"""Brightness (row 6) and contrast (rows 7 and 10)."""

from __future__ import annotations

from torch import Tensor

from .. import sums
from ..base import Step
from ..checks import Shape, check_interval, check_positive
from ..dispatch import operator
from ..joining import Operation
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from ..turns import in_turn
from .update import per_image, update


class _Tone(Step):
    """Shared by both: one factor base^U(exponent) per image."""

    words = 2
    _formula: str  # the operator

    def __init__(self, p: float, base: float, exponent: tuple[float, float], seed: int) -> None:
        super().__init__(p, seed)
        self.base = check_positive("base", base)
        self.exponent = check_interval("exponent", exponent, -32, 32)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        return {"images": {"sample": sample, "factor": self.base ** stream.uniform(1, *self.exponent)[sample]}}

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        return self._operation(tables).make(images)

    def _operation(self, tables: Tables) -> Operation:
        table = tables["images"]
        return Operation(self._formula, host_tensors(table["sample"], table["factor"]))


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    return x.mul_(per_image(factor)).clamp_(0, 1)


@operator("scale(Tensor(a!) images, Tensor sample, Tensor factor) -> ()")
def scale(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    update(images, sample, _scaled, factor)


def _stretched(x: Tensor, factor: Tensor) -> Tensor:
    middle = per_image(sums.mean(x))
    return x.sub_(middle).mul_(per_image(factor)).add_(middle).clamp_(0, 1)


@operator("stretch(Tensor(a!) images, Tensor sample, Tensor factor) -> ()")
def stretch(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    update(images, sample, _stretched, factor)


class Brightness(_Tone):
    """Multiply an image by base^U(exponent) and clip to [0, 1] (paper, Table S1, row 6: 2^U(-1, 1)).

    Args:
        p: chance for an image, 0 .. 1.
        base: of the power, above 0.
        exponent: lowest and highest, within -32 .. 32; uniform in between, one per image.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> grey = torch.full((1, 1, 2, 2), 0.25)
        >>> pa.Brightness(exponent=(1, 1))(grey).max()
        tensor(0.5000)
    """

    _formula = "scale"

    def __init__(self, p: float = 1.0, base: float = 2.0, exponent: tuple[float, float] = (-1.0, 1.0), seed: int = 0) -> None:
        super().__init__(p, base, exponent, seed)


class Contrast(_Tone):
    """Multiply the difference from the image's mean by base^U(exponent), clip to [0, 1] (paper, Table S1, rows 7 and 10).

    Args:
        p: chance for an image, 0 .. 1.
        base: of the power, above 0; with the default exponents the factor is 1.5^U(0, 1), as published.
        exponent: lowest and highest, within -32 .. 32; uniform in between, one per image.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> stripes = torch.tensor([0.4, 0.6]).expand(1, 1, 4, 2)
        >>> pa.Contrast(base=2, exponent=(1, 1))(stripes)[0, 0, 0]
        tensor([0.3000, 0.7000])
    """

    _formula = "stretch"

    def __init__(self, p: float = 1.0, base: float = 1.5, exponent: tuple[float, float] = (0.0, 1.0), seed: int = 0) -> None:
        super().__init__(p, base, exponent, seed)
