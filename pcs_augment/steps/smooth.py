"""Gaussian blur (row 12)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .. import gaussian, rooms
from ..base import Step
from ..checks import Shape, check_kernels
from ..dispatch import operator
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from ..turns import in_turn
from .update import update


class Blur(Step):
    """Gaussian blur with a kernel size drawn per image (paper, Table S1, row 12).

    Args:
        p: chance for an image, 0 .. 1.
        kernels: odd sizes k in 1 .. 99 px, equally likely.
        sigma: px; None takes 0.3 ((k - 1) / 2 - 1) + 0.8 for a kernel of k, the published code always uses 2.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> soft = pa.Blur(kernels=(9,))(images)
        >>> bool(soft.std() < (images / 255).std())
        True
    """

    words = 2

    def __init__(
        self, p: float = 1.0, kernels: Sequence[int] = (3, 5, 7, 9), sigma: float | None = None, seed: int = 0
    ) -> None:
        super().__init__(p, seed)
        self.kernels = check_kernels("kernels", kernels)
        self.sigma = gaussian.check_sigma(sigma)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        kernel = np.array(self.kernels)[stream.integer(1, 0, len(self.kernels) - 1)[sample]]
        return {"images": {"sample": sample, "kernel": kernel}}

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        if rooms.to_do(len(table["sample"])):
            blur(images, *host_tensors(table["sample"], gaussian.weights(table["kernel"], self.sigma)))
        return images


@operator("blur(Tensor(a!) images, Tensor sample, Tensor taps) -> ()")
def blur(images: Tensor, sample: Tensor, taps: Tensor) -> None:
    """taps: (A, 1 + r), zero beyond an image's own reach; images of equal reach together, so that no zeros are summed."""
    for mine, reach in gaussian.by_reach(taps):
        update(images, sample[mine], gaussian.blur, taps[mine, : 1 + reach])
