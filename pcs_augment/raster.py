"""Outlines and curves to pixels, as ragged work lists whose lengths the host knows beforehand.

Three lists serve every step: ``inside`` (all pixels of some bounding boxes, with an in-or-out flag by the even-odd rule at
pixel centres), ``strokes`` (the pixels near line segments, with their distance) and ``row_spans`` (per image row the intervals
that an outline, widened by a radius, covers). No list depends on pixel values, so nothing waits for the device.

Coordinates are px with pixel i spanning [i, i + 1); a pixel's centre is i + 1/2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .sums import sqrt
from .transfer import to_device

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int64

FILL, FILL_TWICE, OUTLINE = range(3)  # what is painted of an outline
BORDER = 0.5  # px; a fill covers the pixels its border passes through, so crystals thinner than a pixel show


def repeat_ranges(counts: Int64[np.ndarray, " N"]) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, " M"]]:
    """For counts (2, 3): owners (0, 0, 1, 1, 1) and positions (0, 1, 0, 1, 2)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def following(corners: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " V"]:
    """The next corner of each corner of N outlines, the first one after the last."""
    last = np.cumsum(corners) - 1
    after = np.arange(1, corners.sum() + 1)
    after[last] = last - corners + 1
    return after


def edges(
    points: Float64[np.ndarray, "V 2"], corners: Int64[np.ndarray, " N"]
) -> tuple[Float64[np.ndarray, "V 4"], Int64[np.ndarray, " V"]]:
    """Closed outlines as edges (x0, y0, x1, y1), and the outline each belongs to."""
    return np.concatenate((points, points[following(corners)]), 1), np.repeat(np.arange(len(corners)), corners)


def bounds(
    points: Float64[np.ndarray, "V 2"], corners: Int64[np.ndarray, " N"], height: int, width: int, margin: float = 0.0
) -> Int64[np.ndarray, "N 4"]:
    """Pixel rectangles x0, y0, x1, y1 (ends excluded) around outlines, clipped to the image; possibly empty."""
    start = np.cumsum(corners) - corners
    low = np.floor(np.minimum.reduceat(points, start) - margin)
    high = np.floor(np.maximum.reduceat(points, start) + margin) + 1
    size = np.array([width, height])
    low = np.clip(low, 0, size)
    return np.concatenate((low, np.clip(high, low, size)), 1).astype(np.int64)


class Pixels(NamedTuple):
    """A list of pixels: which instance each is for, and where it is."""

    instance: Int64[Tensor, " P"]
    x: Int64[Tensor, " P"]
    y: Int64[Tensor, " P"]


def pixels(rectangles: Int64[np.ndarray, "N 4"], device: torch.device) -> Pixels:
    """All pixels of rectangles, row by row."""
    shape = rectangles[:, 2:] - rectangles[:, :2]
    counts = shape[:, 0] * shape[:, 1]
    total = int(counts.sum())
    counts_t = to_device(counts, device)
    instance = torch.repeat_interleave(counts_t, output_size=total)
    place = torch.arange(total, device=device) - (counts_t.cumsum(0) - counts_t)[instance]
    left, top = to_device(rectangles[:, 0], device)[instance], to_device(rectangles[:, 1], device)[instance]
    across = to_device(np.maximum(shape[:, 0], 1), device)[instance]
    return Pixels(instance, left + place % across, top + place // across)


def inside(
    points: Float64[np.ndarray, "V 2"],
    corners: Int64[np.ndarray, " N"],
    rectangles: Int64[np.ndarray, "N 4"],
    device: torch.device,
) -> Bool[Tensor, " P"]:
    """Flags in the order of ``pixels(rectangles)``: is the pixel's centre inside the outline (even-odd rule)?

    Each edge toggles, on each row whose centre it crosses, the first pixel centre to its right; a running sum over the list is
    odd inside. Every row has an even number of crossings, all clipped to the rectangle, so the sum is even again at its end.
    """
    edge, owner = edges(points, corners)
    shape = rectangles[:, 2:] - rectangles[:, :2]
    counts = shape[:, 0] * shape[:, 1]
    start = np.cumsum(counts) - counts
    lowest, highest = np.minimum(edge[:, 1], edge[:, 3]), np.maximum(edge[:, 1], edge[:, 3])
    box = rectangles[owner]
    first = np.clip(np.ceil(lowest - 0.5), box[:, 1], box[:, 3])
    last = np.clip(np.ceil(highest - 0.5), box[:, 1], box[:, 3])
    rows = np.where(box[:, 2] > box[:, 0], last - first, 0).astype(np.int64)
    number, step = repeat_ranges(rows)
    # the list has one toggle per crossing, as many as the host has just counted
    x0, y0, x1, y1 = (to_device(edge[number, c], device) for c in range(4))
    row = to_device(first[number].astype(np.int64) + step, device)
    column = crossing(x0, y0, x1, y1, row)
    left, right = (to_device(box[number, c], device) for c in (0, 2))
    column = (column - 0.5).ceil().clamp_(-1e9, 1e9).long().maximum(left).minimum(right)
    base = to_device((start[owner] - box[:, 1] * shape[owner][:, 0] - box[:, 0])[number], device)
    place = base + row * to_device(shape[owner][number, 0], device) + column
    toggles = torch.zeros(int(counts.sum()) + 1, dtype=torch.int32, device=device)
    toggles.index_add_(0, place, torch.ones_like(place, dtype=torch.int32))
    return (toggles[:-1].cumsum(0) & 1).bool()


def filled(
    points: Float64[np.ndarray, "V 2"],
    corners: Int64[np.ndarray, " N"],
    shift: Float64[np.ndarray, "N 2"] | None,
    height: int,
    width: int,
    device: torch.device,
) -> tuple[Pixels, Bool[Tensor, " P"]]:
    """Pixels whose centres lie inside outlines and, given ``shift`` in px, inside copies displaced by it.

    Returns candidates and a flag for each.
    """
    rectangles = bounds(points, corners, height, width)
    flag = inside(points, corners, rectangles, device)
    if shift is not None:
        flag &= inside(points + np.repeat(shift, corners, 0), corners, rectangles, device)
    return pixels(rectangles, device), flag


def crossing(
    x0: Float32[Tensor, " M"],
    y0: Float32[Tensor, " M"],
    x1: Float32[Tensor, " M"],
    y1: Float32[Tensor, " M"],
    row: Int64[Tensor, " M"],
) -> Float32[Tensor, " M"]:
    """x where an edge meets the centre line of a row it is known to cross; exact in whichever direction it is drawn."""
    swap = y0 > y1
    ax, ay = torch.where(swap, x1, x0), torch.where(swap, y1, y0)
    bx, by = torch.where(swap, x0, x1), torch.where(swap, y0, y1)
    return ax + (row.float() + 0.5 - ay) * ((bx - ax) / (by - ay))


def walks(
    segments: Float64[np.ndarray, "S 4"], reach: Float64[np.ndarray, " S"], height: int, width: int
) -> tuple[Float64[np.ndarray, "S 2"], Bool[np.ndarray, " S"], Int64[np.ndarray, " S"], Int64[np.ndarray, " S"], int]:
    """How line segments are walked: along their longer axis, with a window across it that covers the reach.

    Returns differences, whether a segment is steep, its first pixel and the one past its last, and the window's height.
    """
    delta = segments[:, 2:] - segments[:, :2]
    steep = np.abs(delta[:, 1]) > np.abs(delta[:, 0])
    limit = np.where(steep, height, width)
    a, b = (np.where(steep, segments[:, i + 1], segments[:, i]) for i in (0, 2))
    first = np.clip(np.floor(np.minimum(a, b) - reach), 0, limit)
    last = np.clip(np.floor(np.maximum(a, b) + reach) + 1, first, limit)
    return delta, steep, first.astype(np.int64), last.astype(np.int64), window_of(reach)


def window_of(reach: Float64[np.ndarray, " S"]) -> int:
    """Pixels across that a walk looks at: a line drifts by at most 1 px a step, so reach sqrt(2) to each side, and rounding."""
    return int(2 * np.ceil(reach.max(initial=0) * np.sqrt(2) + 0.5)) + 1


def strokes(
    segments: Float64[np.ndarray, "S 4"], reach: Float64[np.ndarray, " S"], height: int, width: int, device: torch.device
) -> tuple[
    Int64[Tensor, "M window"],
    Int64[Tensor, "M window"],
    Int64[Tensor, "M window"],
    Float32[Tensor, "M window"],
    Bool[Tensor, "M window"],
]:
    """Pixels near line segments: (segment, x, y, distance, valid), the distance in px from pixel centre to segment.

    reach: distance up to which pixels are needed. ``valid`` is false for what leaves the image (its x, y are clipped) or
    lies beyond the reach.
    """
    delta, steep, first, last, window = walks(segments, reach, height, width)
    number, step = repeat_ranges(last - first)

    def each(values: NDArray) -> Tensor:
        return to_device(values[number], device)[:, None]

    along = to_device(first[number] + step, device)[:, None]
    x0, y0, dx, dy, tall = each(segments[:, 0]), each(segments[:, 1]), each(delta[:, 0]), each(delta[:, 1]), each(steep)
    start, other = torch.where(tall, y0, x0), torch.where(tall, x0, y0)
    rise, run = torch.where(tall, dx, dy), torch.where(tall, dy, dx)
    slope = rise / torch.where(run == 0, torch.ones_like(run), run)
    middle = other + (along.float() + 0.5 - start) * slope
    across = middle.floor().long() + (torch.arange(window, device=device) - window // 2)
    along = along.expand_as(across)
    x, y = torch.where(tall, across, along), torch.where(tall, along, across)
    px, py = x.float() + 0.5 - x0, y.float() + 0.5 - y0
    length = (dx * dx + dy * dy).clamp(min=1e-12)
    t = ((px * dx + py * dy) / length).clamp_(0, 1)
    distance = sqrt((px - t * dx).square() + (py - t * dy).square())
    segment = to_device(number, device)[:, None].expand_as(across)
    valid = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (distance <= each(reach))
    return segment, x.clamp(0, width - 1), y.clamp(0, height - 1), distance, valid


class Spans(NamedTuple):
    """Row intervals: instance, row y, first column and column past the last; empty where ``right <= left``."""

    instance: Int64[Tensor, " M"]
    y: Int64[Tensor, " M"]
    left: Int64[Tensor, " M"]
    right: Int64[Tensor, " M"]


def row_spans(
    points: Float64[np.ndarray, "V 2"],
    corners: Int64[np.ndarray, " N"],
    radius: float,
    height: int,
    width: int,
    device: torch.device,
) -> Spans:
    """Intervals of pixels whose centres lie inside an outline or within ``radius`` px of it; they may overlap.

    Per edge and row, the part of the row's centre line within the radius of the edge is one interval, and so is the inside
    between two crossings. For convex outlines a row's intervals join to one.
    """
    edge, owner = edges(points, corners)
    low, high = rows_near(edge, radius, height)
    number, step = repeat_ranges(high - low)
    x0, y0, x1, y1 = (to_device(edge[number, c], device) for c in range(4))
    y = to_device(low[number] + step, device)
    left, right = _near_segment(x0, y0, x1, y1, y.float() + 0.5, radius)
    instance = to_device(owner[number], device)

    convex = is_convex(points, corners)
    rectangle = bounds(points, corners, height, width, radius)
    tall = np.where(convex, rectangle[:, 3] - rectangle[:, 1], 0)
    base = np.cumsum(tall) - tall
    slot_owner, slot_step = repeat_ranges(tall)
    parts: list[Spans] = []
    if len(slot_owner):
        # convex: one slot per row of the rectangle, joined over the edges; other outlines go to a spare last slot
        place = np.where(
            convex[owner[number]], base[owner[number]] + low[number] + step - rectangle[owner[number], 1], len(slot_owner)
        )
        slot = to_device(place, device)
        joined_left = torch.full((len(slot_owner) + 1,), float("inf"), device=device).scatter_reduce_(0, slot, left, "amin")
        joined_right = torch.full_like(joined_left, float("-inf")).scatter_reduce_(0, slot, right, "amax")
        rows = to_device(rectangle[slot_owner, 1] + slot_step, device)
        parts.append(_columns(to_device(slot_owner, device), rows, joined_left[:-1], joined_right[:-1], width))
    if not convex.all():
        other = np.flatnonzero(~convex[owner[number]])
        pick = to_device(other, device)
        parts.append(_columns(instance[pick], y[pick], left[pick], right[pick], width))
        parts.append(_between_crossings(x0[pick], y0[pick], x1[pick], y1[pick], y[pick], instance[pick], height, width))
    if not parts:
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        return Spans(empty, empty, empty, empty)
    return Spans(*(torch.cat(column) for column in zip(*parts)))


def rows_near(
    edge: Float64[np.ndarray, "V 4"], radius: float, height: int
) -> tuple[Int64[np.ndarray, " V"], Int64[np.ndarray, " V"]]:
    """First and past-the-last row whose middle comes within ``radius`` px of an edge's ends in y."""
    low = np.clip(np.ceil(np.minimum(edge[:, 1], edge[:, 3]) - radius - 0.5), 0, height)
    high = np.clip(np.floor(np.maximum(edge[:, 1], edge[:, 3]) + radius - 0.5) + 1, low, height)
    return low.astype(np.int64), high.astype(np.int64)


def _columns(
    instance: Int64[Tensor, " M"],
    y: Int64[Tensor, " M"],
    left: Float32[Tensor, " M"],
    right: Float32[Tensor, " M"],
    width: int,
) -> Spans:
    """Intervals of centres to columns: the pixels with left <= x + 1/2 <= right."""
    first = (left - 0.5).ceil().clamp(0, width).long()
    return Spans(instance, y, first, (right - 0.5).floor().clamp(-1, width - 1).long() + 1)


def _near_segment(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, row: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """The interval of x on the line y = row within ``radius`` of a segment; (inf, -inf) where there is none.

    That set is convex (a capsule), so its ends are the extremes of: the two end discs, and the two long sides.
    """
    inf = float("inf")
    dx, dy = x1 - x0, y1 - y0
    length = sqrt(dx * dx + dy * dy).clamp_(min=1e-6)
    nx, ny = -dy / length * radius, dx / length * radius
    left, right = torch.full_like(row, inf), torch.full_like(row, -inf)
    for cx, cy in ((x0, y0), (x1, y1)):
        square = radius * radius - (row - cy).square()
        half = sqrt(square.clamp(min=0))
        hit = square >= 0
        left = torch.where(hit, torch.minimum(left, cx - half), left)
        right = torch.where(hit, torch.maximum(right, cx + half), right)
    rise = torch.where(dy == 0, torch.ones_like(dy), dy)
    for sign in (1, -1):
        t = (row - y0 - sign * ny) / rise
        hit = (t >= 0) & (t <= 1) & (dy != 0)
        at = x0 + sign * nx + t * dx
        left = torch.where(hit, torch.minimum(left, at), left)
        right = torch.where(hit, torch.maximum(right, at), right)
    return left, right


def _between_crossings(
    x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, y: Tensor, instance: Tensor, height: int, width: int
) -> Spans:
    """Interior intervals of arbitrary simple outlines: crossings sorted along each row pair up, by the even-odd rule.

    Two stable sorts order by (instance, row, x); entries that do not cross sort to the end, and each row's count is even.
    """
    row = y.float() + 0.5
    crosses = (y0 <= row) != (y1 <= row)
    at = torch.where(crosses, crossing(x0, y0, x1, y1, y), torch.full_like(row, float("inf")))
    at, order = at.sort(stable=True)
    line = torch.where(crosses, instance * height + y, torch.full_like(y, 2**62))[order]
    line, second = line.sort(stable=True)
    at, order = at[second], order[second]
    pairs = len(line) // 2
    real = line[: 2 * pairs : 2] < 2**62
    left = torch.where(real, at[: 2 * pairs : 2], torch.full_like(at[:pairs], float("inf")))
    right = torch.where(real, at[1 : 2 * pairs : 2], torch.full_like(at[:pairs], float("-inf")))
    first = order[: 2 * pairs : 2]
    return _columns(instance[first], y[first], left, right, width)


def is_convex(points: Float64[np.ndarray, "V 2"], corners: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Whether an outline turns one way only and once around, so that a row meets it in one interval."""
    edge, _ = edges(points, corners)
    start = np.cumsum(corners) - corners
    direction = edge[:, 2:] - edge[:, :2]
    after = following(corners)
    turn = direction[:, 0] * direction[after, 1] - direction[:, 1] * direction[after, 0]
    one_way = (np.minimum.reduceat(turn, start) >= 0) | (np.maximum.reduceat(turn, start) <= 0)
    # a star polygon also turns one way only, but changes its vertical direction more than twice
    down = direction[:, 1] >= 0
    return one_way & (np.add.reduceat((down != down[after]).astype(np.int64), start) <= 2)
