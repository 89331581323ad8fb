"""Random numbers on the device: the counters and keys of ``rng``, drawn by Triton's own Philox 4x32-10."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import launch

_CALLS = 128  # of Philox in a program


@triton.jit
def philox(n, item, lane, key0, key1):
    """The four 32-bit words of calls n (a block) of one stream."""
    zero = n.to(tl.uint32) * 0
    return tl.philox_impl(n.to(tl.uint32), zero + item.to(tl.uint32), zero + lane, zero, key0.to(tl.uint32), key1.to(tl.uint32))


@triton.jit
def half_words(n, item, lane, key0, key1, CALLS: tl.constexpr):
    """rng.halves: (8 CALLS,) 16-bit integers of calls n, in order."""
    w0, w1, w2, w3 = philox(n, item, lane, key0, key1)
    words = tl.join(tl.join(w0, w2), tl.join(w1, w3))  # (CALLS, 2, 2): word 2 i + j at [i, j]
    return tl.reshape(tl.join(words & 0xFFFF, words >> 16), (8 * CALLS,)).to(tl.int32)


@triton.jit
def _halves(out, keys, lane, count, blocks, CALLS: tl.constexpr):
    row, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    first = block * CALLS
    halves = half_words(
        first + tl.arange(0, CALLS), tl.zeros((), tl.int32), lane, tl.load(keys + 2 * row), tl.load(keys + 2 * row + 1), CALLS
    )
    place = 8 * first + tl.arange(0, 8 * CALLS)
    tl.store(out + row.to(tl.int64) * count + place, halves.to(tl.int64), place < count)


def halves(key: Tensor, lane: int, count: int) -> Tensor:
    out = torch.empty(*key.shape[:-1], count, dtype=torch.int64, device=key.device)
    blocks = triton.cdiv(count, 8 * _CALLS)
    launch(_halves, key.shape[:-1].numel() * blocks, out, key.contiguous(), lane, count, blocks, CALLS=_CALLS)
    return out
