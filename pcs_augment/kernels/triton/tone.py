"""Brightness, contrast, and the exact sums behind means and deviations."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rooms import by_image
from .launch import clip, launch, sent

_BLOCK = 1024
_RUN = 16  # blocks that a program of a sum adds up before it writes
ONE = tl.constexpr(2.0**32)


@triton.jit
def _scale(images, sample, factor, n, blocks, BLOCK: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = images + tl.load(sample + a).to(tl.int64) * n + place
    tl.store(at, clip(tl.load(at, place < n) * tl.load(factor + a)), place < n)


def scale(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    where, factors = sent(images, *by_image(images, sample, factor))
    n = images[0].numel()
    blocks = triton.cdiv(n, _BLOCK)
    launch(_scale, len(where) * blocks, images, where, factors, n, blocks, BLOCK=_BLOCK)


@triton.jit
def mean_of(total, inverse):
    """The float32 mean or mean square of a sum of multiples of 2^-32."""
    return total.to(tl.float32) * inverse


@triton.jit(do_not_specialize_on_alignment=["totals", "middles"])
def _sum(images, totals, sample, middles, inverse, n, runs, SQUARES: tl.constexpr, RUN: tl.constexpr, BLOCK: tl.constexpr):
    """Add up the values in units of 2^-32, or the squares of their differences from the mean that ``middles`` gives."""
    a, run = tl.program_id(0) // runs, tl.program_id(0) % runs
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    start = images + tl.load(sample + a).to(tl.int64) * n
    sums = tl.zeros((BLOCK,), tl.int64)
    for i in range(RUN):
        place = (run.to(tl.int64) * RUN + i) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(start + place, place < n, other=0.0)
        if SQUARES:
            d = x - mean_of(tl.load(middles + a), inverse)
            x = tl.where(place < n, d * d, 0.0)
        sums += (x * ONE).to(tl.int64)
    tl.atomic_add(totals + a, tl.sum(sums), sem="relaxed")


def sums(images: Tensor, sample: Tensor, squares: bool = False) -> tuple[Tensor, float]:
    """(A,) int64 totals of sums.mean, or of sums.deviation, and what turns them into float32 means."""
    n = images[0].numel()
    inverse = 1.0 / (2.0**32 * n)
    totals = torch.zeros(2 if squares else 1, len(sample), dtype=torch.int64, device=images.device)
    runs = triton.cdiv(n, _RUN * _BLOCK)
    for i in range(len(totals)):
        arguments = (sample, totals[0], inverse, n, runs)
        launch(_sum, len(sample) * runs, images, totals[i], *arguments, SQUARES=i == 1, RUN=_RUN, BLOCK=_BLOCK)
    return totals[-1], inverse


@triton.jit
def _stretch(images, sample, factor, totals, inverse, n, blocks, BLOCK: tl.constexpr):
    a, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(sample + a) < 0:  # absent: see rooms.py
        return
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    at = images + tl.load(sample + a).to(tl.int64) * n + place
    middle = mean_of(tl.load(totals + a), inverse)
    tl.store(at, clip((tl.load(at, place < n) - middle) * tl.load(factor + a) + middle), place < n)


def stretch(images: Tensor, sample: Tensor, factor: Tensor) -> None:
    where, factors = sent(images, *by_image(images, sample, factor))
    n = images[0].numel()
    totals, inverse = sums(images, where)
    blocks = triton.cdiv(n, _BLOCK)
    launch(_stretch, len(where) * blocks, images, where, factors, totals, inverse, n, blocks, BLOCK=_BLOCK)
