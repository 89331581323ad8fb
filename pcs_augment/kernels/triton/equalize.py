"""Fine equalisation: passes that only textures take which need them, without looking from the host."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...noise.equalize import HEAVY, PARTS, PASSES
from .launch import launch

_BLOCK, _CHUNK = 1024, 4096
_INF = tl.constexpr(float("inf"))


@triton.jit(do_not_specialize=["bins"], do_not_specialize_on_alignment=["rows"])
def _ranges(low, high, rows, index, active, n, bins, blocks, FIRST: tl.constexpr, BLOCK: tl.constexpr):
    """The lowest and highest value of every bin; the first pass has one bin."""
    t, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(active + t) > 0:
        place = block * BLOCK + tl.arange(0, BLOCK)
        here = place < n
        x = tl.load(rows + t.to(tl.int64) * n + place, here, other=0.0)
        if FIRST:
            tl.atomic_min(low + t, tl.min(tl.where(here, x, _INF)), sem="relaxed")
            tl.atomic_max(high + t, tl.max(tl.where(here, x, -_INF)), sem="relaxed")
        else:
            at = t.to(tl.int64) * bins + tl.load(index + t.to(tl.int64) * n + place, here, other=0)
            tl.atomic_min(low + at, x, here, sem="relaxed")
            tl.atomic_max(high + at, x, here, sem="relaxed")


@triton.jit(do_not_specialize=["bins"])
def _layout(parts, first, scale, distinct, low, high, counts, active, n, bins, PARTS: tl.constexpr, CHUNK: tl.constexpr):
    """Into how many parts each bin is split, where they begin, and parts per unit of value."""
    t = tl.program_id(0)
    if tl.load(active + t) > 0:
        start = t.to(tl.int64) * bins
        before, differ = tl.zeros((), tl.int32), tl.zeros((), tl.int32)
        for i in range(0, bins, CHUNK):
            place = i + tl.arange(0, CHUNK)
            here = place < bins
            count = tl.load(counts + start + place, here, other=0).to(tl.int64)
            share = ((count * PARTS + n - 1) // n).to(tl.int32)
            bottom, top = tl.load(low + start + place, here, other=0.0), tl.load(high + start + place, here, other=0.0)
            wide = top > bottom
            per_unit = tl.div_rn(share.to(tl.float32), tl.where(wide, top - bottom, 1.0))
            tl.store(scale + start + place, tl.where(wide, tl.minimum(per_unit, 3e38), 0.0), here)
            tl.store(parts + start + place, share, here)
            tl.store(first + start + place, before + tl.cumsum(share) - share, here)
            before += tl.sum(share)
            differ = tl.maximum(differ, tl.max(wide.to(tl.int32)))
        tl.store(distinct + t, differ)


@triton.jit(do_not_specialize=["bins", "total"], do_not_specialize_on_alignment=["rows"])
def _assign(
    index, new_counts, rows, low, scale, parts, first, active, n, bins, total, blocks, FIRST: tl.constexpr, BLOCK: tl.constexpr
):
    """The part that each value falls into, and how many fall into each."""
    t, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(active + t) > 0:
        place = block * BLOCK + tl.arange(0, BLOCK)
        here = place < n
        at = index + t.to(tl.int64) * n + place
        x = tl.load(rows + t.to(tl.int64) * n + place, here, other=0.0)
        own = t.to(tl.int64) * bins + place * 0
        if not FIRST:
            own += tl.load(at, here, other=0)
        part = ((x - tl.load(low + own, here, other=0.0)) * tl.load(scale + own, here, other=0.0)).to(tl.int32)
        part = tl.maximum(tl.minimum(part, tl.load(parts + own, here, other=1) - 1), 0)  # NaN is no number of a part
        part += tl.load(first + own, here, other=0)
        tl.store(at, part, here)
        tl.atomic_add(new_counts + t.to(tl.int64) * total + part, 1, here, sem="relaxed")


@triton.jit(do_not_specialize=["total"])
def _tables(table, still, counts, distinct, active, step, heavy, total, CHUNK: tl.constexpr):
    """Middle ranks of the parts, and whether the texture takes another pass."""
    t = tl.program_id(0)
    if tl.load(active + t) > 0:
        start = t.to(tl.int64) * total
        below, most = tl.zeros((), tl.int64), tl.zeros((), tl.int32)
        for i in range(0, total, CHUNK):
            place = i + tl.arange(0, CHUNK)
            count = tl.load(counts + start + place, place < total, other=0)
            wide = count.to(tl.int64)
            rank = 2 * (below + tl.cumsum(wide)) - wide
            tl.store(table + start + place, rank.to(tl.float32) * step, place < total)
            below += tl.sum(wide)
            most = tl.maximum(most, tl.max(count))
        tl.store(still + t, ((most.to(tl.float32) > heavy) & (tl.load(distinct + t) > 0)).to(tl.int32))


@triton.jit(do_not_specialize=["total"])
def _look_up(out, table, index, active, n, total, blocks, BLOCK: tl.constexpr):
    t, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    if tl.load(active + t) > 0:
        place = block * BLOCK + tl.arange(0, BLOCK)
        here = place < n
        at = t.to(tl.int64) * n + place
        tl.store(out + at, tl.load(table + t.to(tl.int64) * total + tl.load(index + at, here, other=0), here), here)


def equalize_rows(x: Tensor) -> Tensor:
    textures, n = x.shape
    rows, device = x.contiguous(), x.device

    def make(size: int, value: float = 0, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.full((textures, size), value, dtype=dtype, device=device)

    blocks = triton.cdiv(n, _BLOCK)
    out = torch.empty_like(rows)
    index = torch.empty(textures, n, dtype=torch.int32, device=device)
    active, counts, bins = make(1, 1), make(1, n), 1
    for number in range(PASSES):
        total, once = bins + PARTS, {"FIRST": number == 0, "BLOCK": _BLOCK}
        low, high = make(bins, float("inf"), torch.float32), make(bins, -float("inf"), torch.float32)
        launch(_ranges, textures * blocks, low, high, rows, index, active, n, bins, blocks, **once)
        parts, first, scale = make(bins), make(bins), make(bins, 0, torch.float32)
        distinct, still, new_counts = make(1), make(1), make(total)
        layout = (parts, first, scale, distinct, low, high, counts, active, n, bins)
        launch(_layout, textures, *layout, PARTS=PARTS, CHUNK=_CHUNK)
        lists = (index, new_counts, rows, low, scale, parts, first, active, n, bins, total, blocks)
        launch(_assign, textures * blocks, *lists, **once)
        table = make(total, 0, torch.float32)
        sizes = (0.5 / n, HEAVY * n, total)
        launch(_tables, textures, table, still, new_counts, distinct, active, *sizes, CHUNK=_CHUNK)
        launch(_look_up, textures * blocks, out, table, index, active, n, total, blocks, BLOCK=_BLOCK)
        active, counts, bins = still, new_counts, total
    return out
