"""Exact sums behind means and deviations, which a step may leave to one that follows."""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from ...rooms import ABSENT, to_do
from .edges import small
from .launch import launch

_BLOCK = 1024
_RUN = 16  # blocks that a program of a sum adds up before it writes
_ONE = tl.constexpr(2.0**32)


@triton.jit
def mean_of(total, inverse):
    """The float32 mean or mean square of a sum of multiples of 2^-32."""
    return total.to(tl.float32) * inverse


@triton.jit
def leave_sum(totals, place, x, here):
    """Add values of a block to totals[place], unless that is negative."""
    if place >= 0:
        tl.atomic_add(totals + place, tl.sum((tl.where(here, x, 0.0) * _ONE).to(tl.int64)), sem="relaxed")


@triton.jit(do_not_specialize_on_alignment=["totals", "middles"])
def _sum(images, totals, middles, sample, inverse, n, runs, SQUARES: tl.constexpr, RUN: tl.constexpr, BLOCK: tl.constexpr):
    """Add up the values in units of 2^-32, or the squares of their differences from the mean that ``middles`` gives."""
    a, run = tl.program_id(0) // runs, tl.program_id(0) % runs
    image = tl.load(sample + a)
    if image < 0:  # absent, or known
        return
    start = images + image.to(tl.int64) * n
    sums = tl.zeros((BLOCK,), tl.int64)
    for i in range(RUN):
        place = (run.to(tl.int64) * RUN + i) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(start + place, place < n, other=0.0)
        if SQUARES:
            d = x - mean_of(tl.load(middles + image), inverse)
            x = tl.where(place < n, d * d, 0.0)
        sums += (x * _ONE).to(tl.int64)
    tl.atomic_add(totals + image, tl.sum(sums), sem="relaxed")


class Totals:
    """Sums of images for steps that need them: of each two rows (B,), of values and of squares of differences from the mean.

    rows: (2 S, B) int64 on the device, in units of 2^-32, for S steps; inverse: what makes a mean of a sum; into: (B,) where in
    ``rows``, flattened, the sum goes of an image that a kernel writes now, negative where no step needs it.
    """

    def __init__(self, images: Tensor, steps: int) -> None:
        self.inverse = 1.0 / (2.0**32 * images[0].numel())
        self.rows = torch.zeros(2 * steps, len(images), dtype=torch.int64, device=images.device)
        self.known = np.zeros(self.rows.shape, bool)
        self.begun = 0
        self.into = np.full(len(images), -1)

    def begin(self) -> int:
        """The row of the next step that needs sums."""
        self.begun += 1
        return 2 * (self.begun - 1)

    def unknown(self, row: int, sample: NDArray[np.int64]) -> NDArray[np.int32]:
        """The images whose sums no kernel has left in a row, ABSENT instead of others."""
        return small(np.where(self.known[row, sample], ABSENT, sample))

    def left(self, sample: NDArray[np.int64]) -> NDArray[np.int32]:
        """Where the sums go of images that a kernel writes now; from then on they are known."""
        into = self.into[sample]
        self.known.reshape(-1)[into[into >= 0]] = True
        return small(into)

    def wanted(self) -> NDArray[np.bool_]:
        """(B,) of which images a step needs the sum and does not have it."""
        wanted = self.into >= 0
        wanted[wanted] = ~self.known.reshape(-1)[self.into[wanted]]
        return wanted

    def add_up(self, images: Tensor, row: int, unknown: NDArray[np.int32], where: Tensor) -> Tensor:
        """The sums (B,) of a row, after adding up what is unknown, on the device: ``where``."""
        if to_do(int((unknown >= 0).sum())):
            self._launch(images, row, row, where)
        return self.rows[row]

    def squares(self, images: Tensor, row: int, where: Tensor) -> Tensor:
        """The sums (B,) of squares for a row of sums, of images ``where``."""
        self._launch(images, row + 1, row, where)
        return self.rows[row + 1]

    def _launch(self, images: Tensor, row: int, middles: int, where: Tensor) -> None:
        n = images[0].numel()
        runs = triton.cdiv(n, _RUN * _BLOCK)
        arguments = (self.rows[row], self.rows[middles], where, self.inverse, n, runs)
        launch(_sum, len(where) * runs, images, *arguments, SQUARES=row != middles, RUN=_RUN, BLOCK=_BLOCK)
