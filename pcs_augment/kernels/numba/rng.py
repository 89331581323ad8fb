"""Philox 4x32-10 and the words of streams; rng.philox is the definition."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compiling import compiled, helper

_ZERO, _S32, _MASK = np.uint64(0), np.uint64(32), np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
CALLS = 64  # of Philox together


@helper
def _round(c0, c1, c2, c3, k0, k1):
    """One round on 32-bit words in 64-bit lanes, which vectorises best."""
    p0, p1 = (c0 & _MASK) * _M0, (c2 & _MASK) * _M1
    return (p1 >> _S32) ^ c1 ^ k0, p1 & _MASK, (p0 >> _S32) ^ c3 ^ k1, p0 & _MASK


@helper
def _philox(c0, c1, c2, c3, k0, k1):
    """rng.philox"""
    for _ in range(10):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@helper
def block(first, item, lane, key, words):
    """The words of CALLS calls of a lane, from call ``first`` on, as (2 * CALLS,) pairs of them in 64 bits.

    Their view as 16-bit numbers is rng.halves.
    """
    start, thing, use, key0, key1 = np.uint64(first), np.uint64(item), np.uint64(lane), np.uint64(key[0]), np.uint64(key[1])
    for i in range(CALLS):
        # not by _philox, which is compiled to work on two words at a time before it comes here
        c0, c1, c2, c3, k0, k1 = start + np.uint64(i), thing, use, _ZERO, key0, key1
        for _ in range(10):
            c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
            k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
        words[2 * i], words[2 * i + 1] = c0 | c1 << _S32, c2 | c3 << _S32


@compiled
def _halves(out, keys, lane):
    words = np.empty(2 * CALLS, np.uint64)
    halves = words.view(np.uint16)
    for row in range(len(out)):
        for first in range(0, out.shape[1], 8 * CALLS):
            block(first // 8, 0, lane, keys[row], words)
            count = min(8 * CALLS, out.shape[1] - first)
            for i in range(count):
                out[row, first + i] = halves[i]


def halves(key: Tensor, lane: int, count: int) -> Tensor:
    out = np.empty((key.shape[:-1].numel(), count), np.int64)
    _halves(out, key.numpy().reshape(-1, 2), np.uint32(lane))
    return torch.from_numpy(out).view(*key.shape[:-1], count)


@compiled
def _every(n, item, lane, key0, key1):
    out = np.empty((n.size, 4), np.uint64)
    for i in range(n.size):
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = _philox(n[i], item[i], lane, _ZERO, key0[i], key1[i])
    return out


def host_philox(c0, c1, c2, k0, k1):
    shape = np.broadcast_shapes(*(np.shape(v) for v in (c0, c1, k0, k1)))
    n, item, key0, key1 = (np.array(np.broadcast_to(v, shape), dtype=np.uint64).ravel() for v in (c0, c1, k0, k1))
    return _every(n, item, np.uint64(c2), key0, key1).reshape(*shape, 4)


@compiled
def _words(first, item, keys, calls, lane):
    out = np.empty((first.size, 4 * calls), np.uint64)
    for i in range(first.size):
        for j in range(calls):
            drawn = _philox(first[i] + np.uint64(j), item[i], lane, _ZERO, keys[i, 0], keys[i, 1])
            for w in range(4):
                out[i, 4 * j + w] = drawn[w]
    return out


def consecutive_words(first, item, keys, calls, lane):
    return _words(first, item, keys, calls, np.uint64(lane))


@compiled
def first_words(sample, epoch, position, seed, calls):
    keys = np.empty((position.size, sample.size, 2), np.uint64)
    words = 0
    for s in range(position.size):
        words += 4 * calls[s]
    out = np.empty((sample.size, words), np.uint64)
    for b in range(sample.size):
        column = 0
        for s in range(position.size):
            drawn = _philox(sample[b] & _MASK, sample[b] >> _S32, epoch, position[s], seed & _MASK, seed >> _S32)
            key0, key1 = drawn[0], drawn[1]
            keys[s, b, 0], keys[s, b, 1] = key0, key1
            for j in range(calls[s]):
                drawn = _philox(np.uint64(j), _ZERO, _ZERO, _ZERO, key0, key1)
                for w in range(4):
                    out[b, column + w] = drawn[w]
                column += 4
    return keys, out
