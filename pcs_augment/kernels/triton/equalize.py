"""Fine equalisation: passes that only textures take which need them, without looking from the host.

Memory for all passes is filled at once; what a pass writes before it is read is not filled at all. Ranks are looked up at the
end, in the table of the last pass that a texture took.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...noise.equalize import HEAVY, PARTS, PASSES
from .launch import launch

_BLOCK, _CHUNK = 1024, 4096
_INF = tl.constexpr(float("inf"))


@triton.jit(do_not_specialize=["bins", "parts", "textures"])
def _clear(low, high, counts, active, whole, bins, parts, textures, n, BLOCK: tl.constexpr):
    """Ends of so many bins and counts of so many parts; every texture takes the first pass, with all n values in one bin."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    nothing = tl.zeros((BLOCK,), tl.float32)
    tl.store(low + place, nothing + _INF, place < bins)
    tl.store(high + place, nothing - _INF, place < bins)
    tl.store(counts + place, tl.zeros((BLOCK,), tl.int32), place < parts)
    tl.store(active + place, tl.zeros((BLOCK,), tl.int32) + 1, place < textures)
    tl.store(whole + place, tl.zeros((BLOCK,), tl.int32) + n, place < textures)


@triton.jit(do_not_specialize=["bins"], do_not_specialize_on_alignment=["rows", "low", "high"])
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


@triton.jit(do_not_specialize=["bins"], do_not_specialize_on_alignment=["low", "high", "counts"])
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


@triton.jit(do_not_specialize=["bins", "total"], do_not_specialize_on_alignment=["rows", "low", "new_counts"])
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


@triton.jit(do_not_specialize=["total", "number"], do_not_specialize_on_alignment=["table", "counts"])
def _tables(table, still, taken, counts, distinct, active, step, heavy, total, number, CHUNK: tl.constexpr):
    """Middle ranks of the parts, and whether the texture takes another pass."""
    t = tl.program_id(0)
    if tl.load(active + t) > 0:
        tl.store(taken + t, number)
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
    else:
        tl.store(still + t, 0)


@triton.jit
def rank_of(table, index, taken, t, n, place, here, textures, PARTS: tl.constexpr):
    """What the last pass that texture t took says of its values at these places."""
    number = tl.load(taken + t).to(tl.int64)
    # a pass has PARTS bins more than the one before, the first 1 + PARTS
    start = textures * (number + PARTS * (number * (number + 1) // 2)) + t * (1 + PARTS * (number + 1))
    row = number * 0 + t  # of 64 bits, whatever t is
    return tl.load(table + start + tl.load(index + row * n + place, here, other=0), here, other=0.0)


@triton.jit(do_not_specialize=["textures"])
def _look_up(out, table, index, taken, n, textures, blocks, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    t, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    place = block * BLOCK + tl.arange(0, BLOCK)
    here = place < n
    tl.store(out + t.to(tl.int64) * n + place, rank_of(table, index, taken, t, n, place, here, textures, PARTS), here)


def equalize_rows(x: Tensor) -> Tensor:
    textures, n = x.shape
    blocks = triton.cdiv(n, _BLOCK)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    launch(_look_up, textures * blocks, out, *ranked(x.contiguous()), n, textures, blocks, PARTS=PARTS, BLOCK=_BLOCK)
    return out


def ranked(rows: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Tables of ranks of all passes, the part that each value fell into at last, and the last pass that each texture took.

    present (T,) int32: above 0 for rows that are there, where some are not.
    """
    (textures, n), device = rows.shape, rows.device

    def make(*size: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)

    bins = [1 + PARTS * k for k in range(PASSES)]
    totals = [b + PARTS for b in bins]
    lows, highs = make(textures * sum(bins), dtype=torch.float32), make(textures * sum(bins), dtype=torch.float32)
    tallies, active, counts = make(textures * sum(totals)), make(textures), make(textures)
    sizes = (len(lows), len(tallies), textures, n)
    launch(_clear, triton.cdiv(len(tallies), _BLOCK), lows, highs, tallies, active, counts, *sizes, BLOCK=_BLOCK)
    active = active if present is None else present
    low_of, high_of = (v.split([textures * b for b in bins]) for v in (lows, highs))
    counts_of = tallies.split([textures * t for t in totals])
    blocks = triton.cdiv(n, _BLOCK)
    index, taken, tables = make(textures, n), make(textures), make(len(tallies), dtype=torch.float32)
    lists_of = (bins, totals, low_of, high_of, counts_of, tables.split([textures * t for t in totals]))
    for number, (b, total, low, high, new_counts, table) in enumerate(zip(*lists_of)):
        once = {"FIRST": number == 0, "BLOCK": _BLOCK}
        launch(_ranges, textures * blocks, low, high, rows, index, active, n, b, blocks, **once)
        parts, first, scale = make(textures * b), make(textures * b), make(textures * b, dtype=torch.float32)
        distinct, still = make(textures), make(textures)
        layout = (parts, first, scale, distinct, low, high, counts, active, n, b)
        launch(_layout, textures, *layout, PARTS=PARTS, CHUNK=_CHUNK)
        lists = (index, new_counts, rows, low, scale, parts, first, active, n, b, total, blocks)
        launch(_assign, textures * blocks, *lists, **once)
        limits = (0.5 / n, HEAVY * n, total, number)
        launch(_tables, textures, table, still, taken, new_counts, distinct, active, *limits, CHUNK=_CHUNK)
        active, counts = still, new_counts
    return tables, index, taken
