"""Large images in overlapping tiles, and the crystals found in the tiles put together again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boxes import corners
from ..errors import InputError
from ..inference.suppression import kept_ranks
from ..overlaps import overlapping_pairs

Floats = NDArray[np.float64]

STEP = 64  # px; tiles begin at its multiples, so that the grids of a detector (strides up to 64) lie alike in all of them
EDGE = 2.0  # px; a box that comes so close to a tile's edge counts as cut by it
SLACK = 8.0  # px; so much may the centres differ that two tiles give to one crystal
THIN = 0.1  # IoU; what two tiles report of one needle a few px thick may overlap as little


class Tile(NamedTuple):
    """A part of an image: columns x0 <= x < x1, rows y0 <= y < y1. Crystals centred in its core are its own: the cores (low and
    high x, low and high y) meet halfway where tiles overlap, and reach to infinity where the image ends."""

    x0: int
    y0: int
    x1: int
    y1: int
    core: tuple[float, float, float, float]


class Found(NamedTuple):
    """boxes (N, 5) le90 in px and radians with scores (N,), best first; cut: (M, 5) what was left out since the edge of a tile
    cuts it: pieces of objects that are larger than the overlap of the tiles; scales: (N,) at which the boxes were found."""

    boxes: Floats
    scores: Floats
    cut: Floats
    scales: Floats


def tiles(size: tuple[int, int], tile: int | None, overlap: int) -> list[Tile]:
    """Tiles of at most ``tile`` x ``tile`` px that cover an image of ``size`` (H, W), neighbours sharing ``overlap`` px.

    Row by row; they may share more. All have the same size but the last of a row or column, which may be up to
    STEP - 1 px smaller. None: one tile, the image. Raises InputError.
    """
    check_tiles(tile, overlap)
    height, width = size
    rows, columns = (_spans(side, tile or side, overlap) for side in (height, width))
    return [Tile(x0, y0, x1, y1, (*across, *along)) for y0, y1, along in rows for x0, x1, across in columns]


def check_tiles(tile: int | None, overlap: int) -> None:
    if overlap < 0 or (tile is not None and tile - overlap < STEP):
        raise InputError(
            f"tiles of {tile} px that overlap by {overlap} px: the overlap must be from 0 to {STEP} px less than a tile"
        )


def _spans(side: int, tile: int, overlap: int) -> list[tuple[int, int, tuple[float, float]]]:
    """(first px, last px + 1, core) along one side of an image."""
    if side <= tile:
        return [(0, side, (-math.inf, math.inf))]
    count = _count(side, tile, overlap)
    while tile - STEP - overlap >= STEP and _count(side, tile - STEP, overlap) == count:
        tile -= STEP  # as many tiles, that share less
    last = -(-(side - tile) // STEP)  # in steps, and so is the largest stride
    starts = [k * last // count * STEP for k in range(count + 1)]
    ends = [min(s + tile, side) for s in starts]
    borders = [-math.inf, *((a + b) / 2 for a, b in zip(starts[1:], ends)), math.inf]
    return [(s, e, (low, high)) for s, e, low, high in zip(starts, ends, borders, borders[1:])]


def _count(side: int, tile: int, overlap: int) -> int:
    """How many tiles follow the first one."""
    return math.ceil(math.ceil((side - tile) / STEP) / ((tile - overlap) // STEP))


def merge(parts: Sequence[tuple[Tile, ArrayLike, ArrayLike]], size: tuple[int, int], threshold: float) -> Found:
    """The crystals of an image of ``size`` (H, W) from what was found in its tiles.

    parts: of each tile, boxes (N, 5) in px of the tile and scores (N,). From a tile come the boxes centred in its core or up to
    SLACK px outside, and of these only boxes at least EDGE px inside every edge of the tile that is not the image's. Rotated
    non-maximum suppression at IoU ``threshold`` then leaves one box of a crystal that two tiles report. For boxes of two tiles
    whose centres lie within SLACK / 2 of each other, THIN is enough: a needle seen 3 px apart hardly overlaps itself.

    So an object is reported whole or not at all, and every object that spans at most ``overlap`` - 2 EDGE px in x and in y lies
    whole in the tile in whose core it is centred. Larger ones are reported where they happen to fit in that tile; of the others
    the pieces are in ``cut``.
    """
    boxes, scores, cores, cut = [np.zeros((0, 5))], [np.zeros(0)], [np.zeros((0, 4))], [np.zeros((0, 5))]
    for tile, found, score in parts:
        mine = np.array(found, dtype=np.float64).reshape(-1, 5)
        mine[:, :2] += tile.x0, tile.y0
        crossing = _crosses(mine, tile, size)
        kept = _within(mine, tile.core, SLACK) & ~crossing
        boxes.append(mine[kept])
        scores.append(np.asarray(score, dtype=np.float64).reshape(-1)[kept])
        cores.append(np.tile(tile.core, (int(kept.sum()), 1)))
        cut.append(mine[_within(mine, tile.core, 0.0) & crossing])
    every, score = np.concatenate(boxes), np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    order = order[_once(every[order], np.concatenate(cores)[order])]
    order = order[kept_ranks(every[order], threshold)]
    return Found(every[order], score[order], np.concatenate(cut), np.ones(len(order)))


def _once(boxes: Floats, cores: Floats) -> NDArray[np.intp]:
    """Ranks of boxes (N, 5), best first, from tiles with these cores (N, 4), without what another tile reports better.

    Two crystals that lie so near to each other are not taken for one: the other tile reports both of them, so near its core.
    """
    beside = np.flatnonzero(~_within(boxes, cores.T, -SLACK))
    i, j, _ = overlapping_pairs(boxes[beside], boxes[beside], THIN)
    i, j = beside[i], beside[j]
    near = np.hypot(*(boxes[i, :2] - boxes[j, :2]).T) <= SLACK / 2
    same = (cores[i] == cores[j]).all(1)
    return alive(len(boxes), i, j, near & ~same & (j > i) & _within(boxes[j], cores[i].T, SLACK / 2))


def alive(count: int, i: NDArray[np.intp], j: NDArray[np.intp], fells: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Ranks that no living one fells: of the pairs that ``fells`` marks, i fells j."""
    i, j = i[fells], j[fells]
    living = np.ones(count, bool)
    for k in np.argsort(i, kind="stable"):  # a box that has fallen itself fells none
        if living[i[k]]:
            living[j[k]] = False
    return np.flatnonzero(living)


def touches_border(boxes: ArrayLike, size: tuple[int, int], margin: ArrayLike = 1.0) -> NDArray[np.bool_]:
    """(N,) whether a corner of each box (N, 5) is within ``margin`` px of the border of an image ``size`` (H, W), or beyond.

    margin: one number, or one for each box.
    """
    p = corners(boxes).reshape(-1, 4, 2)
    room = np.asarray(margin, dtype=np.float64).reshape(-1, 1, 1)
    near = (p <= room) | (p >= np.array(size[::-1], dtype=np.float64) - room)
    return np.asarray(near.any((1, 2)), dtype=np.bool_)


def _within(boxes: Floats, core: ArrayLike, slack: float) -> NDArray[np.bool_]:
    x, y = boxes[:, 0], boxes[:, 1]
    low_x, high_x, low_y, high_y = np.asarray(core)
    return (x >= low_x - slack) & (x < high_x + slack) & (y >= low_y - slack) & (y < high_y + slack)


def _crosses(boxes: Floats, tile: Tile, size: tuple[int, int]) -> NDArray[np.bool_]:
    x, y = corners(boxes)[..., 0], corners(boxes)[..., 1]
    out = np.zeros(len(boxes), bool)
    for beyond, inner in (
        (x < tile.x0 + EDGE, tile.x0 > 0),
        (y < tile.y0 + EDGE, tile.y0 > 0),
        (x > tile.x1 - EDGE, tile.x1 < size[1]),
        (y > tile.y1 - EDGE, tile.y1 < size[0]),
    ):
        if inner:
            out |= beyond.any(1)
    return out
