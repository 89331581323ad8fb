"""Random streams in plain NumPy: Philox written out once more, so that the oracle depends on nothing that it tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..plan import Table

Array = NDArray[np.float64]

PIXEL, LATTICE, DISPLACE = 2, 3, 4  # lanes of a stream


def philox(counter: NDArray[np.uint64], key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Philox 4x32-10 (Salmon et al. 2011): (..., 4) counters and (..., 2) keys, 32-bit words in uint64, to (..., 4) words."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d = (counter[..., i] for i in range(4))
    k, m = key[..., 0], key[..., 1]
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (q >> half) ^ b ^ k, q & low, (p >> half) ^ d ^ m, p & low
        k, m = (k + np.uint64(0x9E3779B9)) & low, (m + np.uint64(0xBB67AE85)) & low
    return np.stack((a, b, c, d), -1)


def numbers(table: Table, row: int, lane: int, count: int, item: int = 0) -> NDArray[np.int64]:
    """The first 16-bit numbers of a stream: counters (n, item, lane, 0), eight numbers to each, low halves first."""
    counter = np.zeros((-(-count // 8), 4), np.uint64)
    counter[:, 0], counter[:, 1], counter[:, 2] = np.arange(len(counter)), item, lane
    words = philox(counter, np.array([[table["key0"][row], table["key1"][row]]], np.uint64))
    return np.stack((words & np.uint64(0xFFFF), words >> np.uint64(16)), -1).reshape(-1)[:count].astype(np.int64)


def normals(draw: NDArray[np.int64]) -> Array:
    """16-bit numbers u to the mean of a standard normal between its quantiles u / 65536 and (u + 1) / 65536."""
    low, high = (np.exp(-0.5 * ndtri(q / 65536) ** 2) / np.sqrt(2 * np.pi) for q in (draw, draw + 1))
    return (low - high) * 65536
