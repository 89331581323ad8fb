"""Philox 4x32-10 and the words of streams; rng.philox is the definition."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .compiling import compiled

_ZERO, _S32, _MASK = np.uint64(0), np.uint64(32), np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
CALLS = 64  # of Philox in flight: 32-bit words side by side vectorise


@compiled
def _round(c0, c1, c2, c3, k0, k1):
    """One round on 32-bit words."""
    p0, p1 = np.uint64(c0) * _M0, np.uint64(c2) * _M1
    return np.uint32(p1 >> _S32) ^ c1 ^ k0, np.uint32(p1), np.uint32(p0 >> _S32) ^ c3 ^ k1, np.uint32(p0)


@compiled
def _philox(c0, c1, c2, c3, k0, k1):
    """rng.philox of 64-bit integers that hold 32-bit words."""
    a, b, c, d = np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)
    for _ in range(10):
        a, b, c, d = _round(a, b, c, d, np.uint32(k0), np.uint32(k1))
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(d)


@compiled
def block(first, item, lane, key, words, halves):
    """rng.halves: the 16-bit numbers of CALLS calls of a lane, from call ``first`` on; words (4, CALLS) is room to work in."""
    c0, c1, c2, c3 = words
    for i in range(CALLS):
        c0[i], c1[i], c2[i], c3[i] = first + i, item, lane, 0
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        round0, round1 = np.uint32(k0), np.uint32(k1)
        for i in range(CALLS):
            c0[i], c1[i], c2[i], c3[i] = _round(c0[i], c1[i], c2[i], c3[i], round0, round1)
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    for i in range(CALLS):
        for j in range(4):
            halves[8 * i + 2 * j] = words[j, i] & 0xFFFF
            halves[8 * i + 2 * j + 1] = words[j, i] >> 16


@compiled
def _halves(out, keys, lane):
    words, halves = np.empty((4, CALLS), np.uint32), np.empty(8 * CALLS, np.int64)
    for row in range(len(out)):
        for first in range(0, out.shape[1], 8 * CALLS):
            block(first // 8, 0, lane, keys[row], words, halves)
            count = min(8 * CALLS, out.shape[1] - first)
            out[row, first : first + count] = halves[:count]


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
    out = np.empty((sample.size, 4 * calls.sum()), np.uint64)
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
