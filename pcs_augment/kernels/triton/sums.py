"""Counts of values, and the ranks that follow from them.

From Triton 3.8 on a program counts in shared memory, and writes once what it has counted. Before, Triton counts in registers,
which thousands of bins overflow: counting in the memory of the device is faster by far, one atomic operation a value.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import launch

IN_SHARED_MEMORY = tuple(int(n) for n in triton.__version__.split(".")[:2]) >= (3, 8)
_CHUNK = 4096  # counts that a program adds up at once
_BINS, _BLOCK = 8192, 8192  # that a program counts, and values that it looks at together


def empty_counts(rows: int, copies: int, bins: int, device: torch.device) -> Tensor:
    """(rows, copies, bins) int32 that kernels write; or (rows, 1, bins) of zeros where they add in global memory."""
    if IN_SHARED_MEMORY:
        return torch.empty(rows, copies, bins, dtype=torch.int32, device=device)
    return torch.zeros(rows, 1, bins, dtype=torch.int32, device=device)


def empty_sums(layers: int, n: int, bins: int, device: torch.device) -> Tensor:
    """(layers, n) for sums below ``bins``: in 16 bits where they fit, in whose sign the highest is kept."""
    return torch.empty(layers, n, dtype=torch.int16 if bins <= 65536 else torch.int32, device=device)


@triton.jit
def value_at(layers, layer, n, place, here, WIDE: tl.constexpr):
    """Sums of ranks of a layer, stored in 16 bits unless WIDE."""
    value = tl.load(layers + layer.to(tl.int64) * n + place, here, other=0).to(tl.int32)
    if not WIDE:
        value &= 0xFFFF
    return value


@triton.jit(do_not_specialize=["bins", "slices", "ranks"])
def _layer_counts(counts, layers, first, n, bins, slices, ranks, WIDE: tl.constexpr, BINS: tl.constexpr, BLOCK: tl.constexpr):
    """Counts of BINS values, in shared memory; layer i sums first[i + 1] - first[i] ranks of at most ``ranks``."""
    layer, part = tl.program_id(0) // slices, tl.program_id(0) % slices
    total = tl.zeros((BINS,), tl.int32)
    most = (tl.load(first + layer + 1) - tl.load(first + layer)) * ranks
    if (most > 0) & (part * BINS <= most):  # there are none of a layer that is absent: see rooms.py
        for start in range(0, n, BLOCK):
            place = start + tl.arange(0, BLOCK)
            value = value_at(layers, layer, n, place, place < n, WIDE) - part * BINS
            here = (place < n) & (value >= 0) & (value < BINS)
            total += tl.histogram(tl.where(here, value, 0), BINS, mask=here)
    place = part * BINS + tl.arange(0, BINS)
    tl.store(counts + layer.to(tl.int64) * bins + place, total, place < bins)


def layer_counts(layers: Tensor, first: Tensor, bins: int, ranks: int) -> Tensor:
    """(n, 1, bins) counts of (n, H * W) sums of ranks."""
    rows, n = layers.shape
    counts = torch.empty(rows, 1, bins, dtype=torch.int32, device=layers.device)
    slices = triton.cdiv(bins, _BINS)
    wide = layers.dtype == torch.int32
    arguments = (first, n, bins, slices, ranks)
    launch(_layer_counts, rows * slices, counts, layers, *arguments, num_warps=16, WIDE=wide, BINS=_BINS, BLOCK=_BLOCK)
    return counts


@triton.jit(do_not_specialize=["copies"])
def _rank_table(table, counts, copies, n, ranks, step, bins, WHOLE: tl.constexpr, CHUNK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    below = tl.zeros((), tl.int32)  # of at most 2^28
    for i in range(0, bins, CHUNK):
        place = i + tl.arange(0, CHUNK)
        total = tl.zeros((CHUNK,), tl.int32)
        for copy in range(copies):
            total += tl.load(counts + (row * copies + copy) * bins + place, place < bins, other=0)
        middle = 2 * (below + tl.cumsum(total)) - total
        if WHOLE:
            # (middle * ranks + n) // (2 * n): the quotient is a whole number or far enough from one
            exact = middle.to(tl.float64)
            rank = tl.floor((exact * ranks + n) / (exact * 0.0 + n + n)).to(tl.int16)
        else:
            rank = middle.to(tl.float32) * step
        tl.store(table + row * bins + place, rank, place < bins)
        below += tl.sum(total)


def rank_tables(counts: Tensor, n: int, ranks: int | None = None) -> Tensor:
    """Middle ranks of n values from (R, copies, bins) counts, which are added up first.

    layer._rank_table as int16 in 0 .. ranks, or float32 in [0, 1] without.
    """
    rows, copies, bins = counts.shape
    table = torch.empty(rows, bins, dtype=torch.float32 if ranks is None else torch.int16, device=counts.device)
    arguments = (counts, copies, n, ranks or 0, 0.5 / n, bins)
    launch(_rank_table, rows, table, *arguments, num_warps=8, WHOLE=ranks is not None, CHUNK=_CHUNK)
    return table
