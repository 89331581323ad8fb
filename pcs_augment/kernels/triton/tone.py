"""Brightness and contrast."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ...rooms import ABSENT, filled, size
from ...transfer import all_to_device
from .edges import small
from .launch import clip, launch
from .points import make_points
from .totals import Totals, leave_sum, mean_of

_BLOCK = 1024


def scale(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    make_points(images, {"scale": (sample, factor)})


@triton.jit(do_not_specialize_on_alignment=["means"])
def _stretch(images, sample, factor, means, totals, into, inverse, n, blocks, BLOCK: tl.constexpr):
    """The sums of what comes out go to totals[into], unless that is negative."""
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    image = tl.load(sample + a)
    if image < 0:  # absent: see rooms.py
        return
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at, here = images + image.to(tl.int64) * n + place, place < n
    middle = mean_of(tl.load(means + image), inverse)
    x = clip((tl.load(at, here, other=0.0) - middle) * tl.load(factor + a) + middle)
    tl.store(at, x, here)
    leave_sum(totals, tl.load(into + a), x, here)


def stretch(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    stretch_with(images, sample, factor, Totals(images, 1))


def stretch_with(images: Tensor, sample: Tensor, factor: Tensor, totals: Totals) -> None:
    """totals: sums that may be known, and where those of what comes out are left."""
    row, numbers = totals.begin(), sample.numpy()
    unknown = totals.unknown(row, numbers)
    lists, rows = (small(numbers), unknown, totals.left(numbers), factor.numpy()), size("images", len(numbers), len(images))
    where, missing, into, factors = all_to_device(images.device, *(filled(values, rows, ABSENT) for values in lists))
    means = totals.add_up(images, row, unknown, missing)
    n = images[0].numel()
    blocks = triton.cdiv(n, _BLOCK)
    arguments = (where, factors, means, totals.rows, into, totals.inverse, n, blocks)
    launch(_stretch, len(where) * blocks, images, *arguments, BLOCK=_BLOCK)
