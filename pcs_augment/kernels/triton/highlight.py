"""Paint on single objects."""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ... import gaussian, raster
from ...raster import BORDER, FILL_TWICE, OUTLINE
from ...transfer import all_to_device
from .edges import BLOCK_X, BLOCK_Y, crossing, distance_to, edges_of, exact, parts_of
from .gaussian import add_blurred
from .launch import channels_of, in_goes, launch


@triton.jit
def _paint(
    owner, parts, edges, rows, copies, copy_rows, first, slot, reach, kind, height, width,
    OUTLINE: tl.constexpr, TWICE: tl.constexpr, BX: tl.constexpr, BY: tl.constexpr,
):  # fmt: skip
    part = parts + 5 * tl.program_id(0)
    n = tl.load(part)
    begin, end, near, what = tl.load(first + n), tl.load(first + n + 1), tl.load(reach + n), tl.load(kind + n)
    image = owner + tl.load(slot + n) * height * width
    for top in range(tl.load(part + 2), tl.load(part + 4), BY):
        y = top + tl.arange(0, BY)[:, None]
        for left in range(tl.load(part + 1), tl.load(part + 3), BX):
            x = left + tl.arange(0, BX)[None, :]
            fx, fy = x.to(tl.float32), y.to(tl.float32)
            touched = tl.zeros((BY, BX), tl.int32)
            inside = tl.zeros((BY, BX), tl.int32)
            again = tl.zeros((BY, BX), tl.int32)
            for e in range(begin, end):
                touched |= (distance_to(edges + 6 * e, fx + 0.5, fy + 0.5) <= near).to(tl.int32)
                if what != OUTLINE:
                    row = (y >= tl.load(rows + 2 * e)) & (y < tl.load(rows + 2 * e + 1))
                    inside ^= (row & (fx >= tl.ceil(crossing(edges + 6 * e, fy) - 0.5))).to(tl.int32)
                if what == TWICE:
                    row = (y >= tl.load(copy_rows + 2 * e)) & (y < tl.load(copy_rows + 2 * e + 1))
                    again ^= (row & (fx >= tl.ceil(crossing(copies + 6 * e, fy) - 0.5))).to(tl.int32)
            paint = 2 * n.to(tl.int32) + 1 + (inside & again)
            here = ((touched | inside) > 0) & (y < tl.load(part + 4)) & (x < tl.load(part + 3))
            tl.atomic_max(image + y * width + x, paint, here, sem="relaxed")


@triton.jit(do_not_specialize=["n"])
def _offsets(out, owner, offsets, n, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + place, tl.load(offsets + tl.load(owner + place, place < n, other=0)), place < n)


def paint_objects(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    _, height, columns = channels_of(images)
    ends = np.append(0, np.cumsum(corners.numpy()))
    for some in in_goes(len(sample), 3 * height * columns):
        mine = slice(*np.searchsorted(owner.numpy(), (sample[some][0], sample[some][-1] + 1)))
        mine_points = points[ends[mine.start] : ends[mine.stop]]
        _paint_some(
            images, sample[some], taps[some], owner[mine], corners[mine], kind[mine], offset[mine], shift[mine], width[mine],
            mine_points,
        )  # fmt: skip


def _paint_some(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    height, columns = images.shape[2:]
    outlines, counts, what = points.numpy(), corners.numpy(), kind.numpy()
    reach = np.where(what == OUTLINE, width.numpy() / 2, BORDER)
    lists = (
        sample.numpy(),
        taps.numpy(),
        gaussian.reach_of(taps).numpy(),
        exact(outlines),
        exact(outlines + np.repeat(shift.numpy(), counts, 0)),
        raster.following(counts),
        parts_of(raster.bounds(outlines, counts, height, columns, reach.max())),
        np.append(0, np.cumsum(counts)),
        np.searchsorted(sample.numpy(), owner.numpy()),
        reach,
        what,
        np.append(0.0, offset.numpy().reshape(-1)),
    )
    where, weights, radius, at, copied, following, parts, *described, offsets = all_to_device(images.device, *lists)
    edges, rows = edges_of(at, following, height)
    copies, copy_rows = edges_of(copied, following, height)
    painted = torch.zeros(len(sample), 1, height, columns, dtype=torch.int32, device=images.device)
    constants = {"OUTLINE": OUTLINE, "TWICE": FILL_TWICE, "BX": BLOCK_X, "BY": BLOCK_Y}
    arguments = (parts, edges, rows, copies, copy_rows, *described, height, columns)
    launch(_paint, len(parts), painted, *arguments, num_warps=2, **constants)
    maps = torch.empty(painted.shape, device=images.device)
    launch(_offsets, triton.cdiv(maps.numel(), 1024), maps, painted, offsets, maps.numel(), BLOCK=1024)
    add_blurred(images, where, maps, weights, radius)
