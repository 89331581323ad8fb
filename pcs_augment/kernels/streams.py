"""numba twins of the host's random words; rng.philox is the definition."""

from __future__ import annotations

import numpy as np
from numba import njit

_jit = njit(nogil=True, cache=True, error_model="numpy")

_ZERO, _S32, _MASK = np.uint64(0), np.uint64(32), np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@_jit
def _philox(c0, c1, c2, c3, k0, k1):
    """rng.philox"""
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (p1 >> _S32) ^ c1 ^ k0, p1 & _MASK, (p0 >> _S32) ^ c3 ^ k1, p0 & _MASK
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@_jit
def philox(n, item, key0, key1, lane):
    """rng.host_philox: (calls, 4) words."""
    out = np.empty((n.size, 4), np.uint64)
    for i in range(n.size):
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = _philox(n[i], item[i], lane, _ZERO, key0[i], key1[i])
    return out


@_jit
def words(first, item, keys, calls, lane):
    """rng._words"""
    out = np.empty((first.size, 4 * calls), np.uint64)
    for i in range(first.size):
        for j in range(calls):
            drawn = _philox(first[i] + np.uint64(j), item[i], lane, _ZERO, keys[i, 0], keys[i, 1])
            for w in range(4):
                out[i, 4 * j + w] = drawn[w]
    return out


@_jit
def first_words(sample, epoch, position, seed, calls):
    """rng._first_words"""
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
