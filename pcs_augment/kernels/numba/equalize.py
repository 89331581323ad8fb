"""Fine equalisation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...noise.equalize import HEAVY, PARTS, PASSES
from .compiling import compiled, helper
from .threads import run_all

F = np.float32


@helper(fastmath={"nnan", "nsz"})
def _extent(x):
    low, high = x[0], x[0]
    for v in x:
        low, high = min(low, v), max(high, v)
    return low, high


@compiled
def equalize_row(x, out, parts, heavy, passes):
    """equalize.equalize_rows of one row; heavy: how many pixels a bin may hold."""
    n = np.int64(x.size)
    index, counts = np.empty(x.size, np.int32), np.empty(1, np.int64)
    counts[0] = n
    for i in range(x.size):
        index[i] = 0
    for _ in range(passes):
        bins = counts.size
        low, high = np.empty(bins, F), np.empty(bins, F)
        for b in range(bins):
            low[b], high[b] = F(np.inf), F(-np.inf)
        if bins == 1:
            low[0], high[0] = _extent(x)
        else:
            for i in range(x.size):
                b = index[i]
                low[b], high[b] = min(low[b], x[i]), max(high[b], x[i])
        share, first, scale = np.empty(bins, np.int32), np.empty(bins, np.int32), np.empty(bins, F)
        before, distinct = np.int32(0), False
        for b in range(bins):
            share[b], scale[b] = 0, F(0)
            if counts[b] > 0:
                share[b] = (counts[b] * parts + n - 1) // n
            if high[b] > low[b]:
                scale[b] = min(F(share[b]) / (high[b] - low[b]), F(3e38))
                distinct = True
            first[b] = before
            before += share[b]
        counts = np.empty(bins + parts, np.int64)
        for b in range(counts.size):
            counts[b] = 0
        if bins == 1:  # without look-ups it vectorises
            bottom, per_unit, last = low[0], scale[0], share[0] - np.int32(1)
            for i in range(x.size):
                index[i] = min(np.int32((x[i] - bottom) * per_unit), last)
        else:
            for i in range(x.size):
                b = index[i]
                index[i] = min(np.int32((x[i] - low[b]) * scale[b]), share[b] - np.int32(1)) + first[b]
        for part in index:
            counts[part] += 1
        table = np.empty(counts.size, F)
        below, most, step = np.int64(0), np.int64(0), F(0.5 / x.size)
        for b in range(counts.size):
            table[b] = F(2 * below + counts[b]) * step
            below += counts[b]
            most = max(most, counts[b])
        for i in range(x.size):
            out[i] = table[index[i]]
        if not distinct or F(most) <= F(heavy):
            break


def equalize_rows(x: Tensor) -> Tensor:
    rows = x.contiguous().numpy()
    ranks, most = np.empty_like(rows), HEAVY * rows.shape[1]
    run_all(lambda i: equalize_row(rows[i], ranks[i], PARTS, most, PASSES), range(len(rows)))
    return torch.from_numpy(ranks)
