"""Noise, impulses and brightness in one pass over an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import triton
import triton.language as tl
from torch import Tensor

from ...rng import LANE_PIXEL, device_table
from ...rooms import ABSENT, filled, size
from ...transfer import all_to_device
from .edges import small
from .launch import channels_of, clip, launch
from .rng import half_words
from .totals import Totals, leave_sum

POINTS = ("add_noise", "add_impulses", "scale")  # in the order in which a pass makes them
_CALLS = 128  # of Philox in a program
_LANE = tl.constexpr(LANE_PIXEL)
_NOISE, _IMPULSES, _SCALE = tl.constexpr(1), tl.constexpr(2), tl.constexpr(4)


@triton.jit
def _points(
    images, normal, totals, sample, what, into, sigma, keys, white, black, impulse_keys, factor, n, per_channel, blocks,
    CALLS: tl.constexpr,
):  # fmt: skip
    """As far as ``what`` (A,) says; the sums of what comes out go to totals[into], unless that is negative."""
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    image, mine, to = tl.load(sample + a), tl.load(what + a), tl.load(into + a)
    if image < 0:  # absent: see rooms.py
        return
    calls, zero = block * CALLS + tl.arange(0, CALLS), tl.zeros((), tl.int32)
    place = 8 * (block * CALLS).to(tl.int64) + tl.arange(0, 8 * CALLS)
    at, here = images + image.to(tl.int64) * n + place, place < n
    x = tl.load(at, here, other=0.0)
    if (mine & _NOISE) > 0:
        half = half_words(calls, zero, _LANE, tl.load(keys + 2 * a), tl.load(keys + 2 * a + 1), CALLS)
        x = clip(x + tl.load(normal + half) * tl.load(sigma + a))
    if (mine & _IMPULSES) > 0:
        key0, key1 = tl.load(impulse_keys + 2 * a), tl.load(impulse_keys + 2 * a + 1)
        half = half_words(calls % per_channel, zero, _LANE, key0, key1, CALLS)
        x = tl.where(half < tl.load(white + a), 1.0, x)
        x = tl.where(half >= tl.load(black + a), 0.0, x)
    if (mine & _SCALE) > 0:
        x = clip(x * tl.load(factor + a))
    if mine > 0:
        tl.store(at, x, here)
    leave_sum(totals, to, x, here)


def points_for(images: Tensor) -> tuple[str, ...]:
    """The operators that a pass can make: not impulses where a channel begins in the middle of a call of Philox."""
    channels, height, width = channels_of(images)
    return POINTS if channels == 1 or height * width % 8 == 0 else ("add_noise", "scale")


def make_points(images: Tensor, operations: Mapping[str, Sequence[Tensor]], totals: Totals | None = None) -> None:
    """Make operators, given by name with their columns, in the order of POINTS.

    totals: where sums are left, also those of images that do not change.
    """
    totals = Totals(images, 0) if totals is None else totals
    batch, (_, height, width) = len(images), channels_of(images)
    what, white, black = np.zeros((3, batch), np.int32)
    sigma, factor = np.zeros((2, batch))
    keys, impulse_keys = np.zeros((2, batch, 2), np.int64)
    own = {"add_noise": (sigma, keys), "add_impulses": (white, black, impulse_keys), "scale": (factor,)}
    for name, (sample, *columns) in operations.items():
        mine = sample.numpy()
        what[mine] |= 1 << POINTS.index(name)
        for values, column in zip(own[name], columns, strict=True):
            values[mine] = column.numpy()
    some = np.flatnonzero((what > 0) | totals.wanted())
    lists = (what[some], totals.left(some), *(values[some] for values in (sigma, keys, white, black, impulse_keys, factor)))
    rows = size("images", len(some), batch)
    columns = all_to_device(images.device, small(filled(some, rows, ABSENT)), *(filled(values, rows) for values in lists))
    n, per_channel = images[0].numel(), triton.cdiv(height * width, 8)
    blocks = triton.cdiv(n, 8 * _CALLS)
    arguments = (device_table("normal", images.device), totals.rows, *columns, n, per_channel, blocks)
    launch(_points, rows * blocks, images, *arguments, CALLS=_CALLS)
