"""Random cubic splines (row 2): scratches and fibres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import raster, rooms
from ..base import Step
from ..checks import Shape, check_integers, check_interval
from ..dispatch import operator
from ..errors import InputError
from ..plan import Table, Tables
from ..raster import repeat_ranges
from ..rng import Stream, scale_integer, scale_uniform
from ..targets import Instances
from ..transfer import host_tensors, to_device
from ..turns import in_turn

SAMPLES = 100
_FIRST_CURVE, _WORDS_PER_CURVE = 4, 8
_CHUNK_PX = 2**25  # pixels of coverage maps in flight


class Splines(Step):
    """Draw curves with grey offsets onto a map (later ones on top), add it to the image and clip to [0, 1].

    A curve passes through 2 to 4 knots equally spaced across the image, with heights uniform over it, as SciPy's not-a-knot
    spline does, which for so few knots is one polynomial; it is sampled 100 times and turned by a random angle about the image
    centre. Scratches and fibres (paper, Table S1, row 2).

    Args:
        p: chance for an image, 0 .. 1.
        curves: fewest and most per image, 1 .. 1000.
        knots: fewest and most per curve, 2 .. 4.
        widths: px in (0, 50], equally likely.
        offset: lowest and highest grey offset, -1 .. 1; uniform in between, one per curve.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> scratched = pa.Splines(curves=(3, 3), offset=(-0.5, 0.5))(images)
    """

    words_ahead = _FIRST_CURVE

    def __init__(
        self,
        p: float = 1.0,
        curves: tuple[int, int] = (1, 10),
        knots: tuple[int, int] = (2, 4),
        widths: Sequence[float] = (0.5, 1.0, 1.5),
        offset: tuple[float, float] = (-1.0, 1.0),
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.curves = check_integers("curves", curves, 1, 1000)
        self.knots = check_integers("knots", knots, 2, 4)
        self.widths = tuple(float(w) for w in widths) if isinstance(widths, Iterable) else ()
        if not self.widths or not all(0 < w <= 50 for w in self.widths):
            raise InputError(f"widths must be a non-empty sequence of px in (0, 50], got {widths!r}")
        self.offset = check_interval("offset", offset, -1, 1)
        self.words = _FIRST_CURVE + self.curves[1] * _WORDS_PER_CURVE

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        owner, ordinal = repeat_ranges(stream.of(sample).integer(1, *self.curves))
        words = stream.later_words(sample[owner], _FIRST_CURVE + ordinal * _WORDS_PER_CURVE, _WORDS_PER_CURVE)
        heights = scale_uniform(words[:, 4:8]) * shape[2]
        curves = {
            "sample": sample[owner],
            "knots": scale_integer(words[:, 0], *self.knots),
            "angle": scale_uniform(words[:, 1], 0, 2 * np.pi),
            "width": np.array(self.widths)[scale_integer(words[:, 2], 0, len(self.widths) - 1)],
            "offset": scale_uniform(words[:, 3], *self.offset),
        }
        return {"curves": curves | {f"height{i}": heights[:, i] for i in range(4)}}

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["curves"]
        if rooms.to_do(len(table["sample"])):
            points = curve_points(table, *images.shape[2:])
            draw_curves(images, *host_tensors(table["sample"], points, table["width"], table["offset"]))
        return images


@operator("draw_curves(Tensor(a!) images, Tensor sample, Tensor points, Tensor width, Tensor offset) -> ()")
def draw_curves(images: Tensor, sample: Tensor, points: Tensor, width: Tensor, offset: Tensor) -> None:
    """Draw n polylines (n, k, 2) on their images ``sample`` (n,), ascending, later ones on top."""
    table = {"sample": sample.numpy(), "points": points.numpy(), "width": width.numpy(), "offset": offset.numpy()}
    samples, first, counts = np.unique(table["sample"], return_index=True, return_counts=True)
    ends = np.append(first, len(table["sample"]))
    at_once = max(1, _CHUNK_PX // (int(counts.max()) * images.shape[2] * images.shape[3]))
    for a in range(0, len(samples), at_once):
        group = samples[a : a + at_once]
        mine = {k: v[ends[a] : ends[a + len(group)]] for k, v in table.items()}
        offsets = _paint(mine, np.searchsorted(group, mine["sample"]), len(group), images)
        index = to_device(group, images.device)
        images.index_copy_(0, index, images.index_select(0, index).add_(offsets).clamp_(0, 1))


def curve_points(curves: Table, height: int, width: int) -> NDArray[np.float64]:
    """(n, 100, 2) points of n curves, px."""
    knots = curves["knots"]
    heights = np.stack([curves[f"height{i}"] for i in range(4)], -1)
    along = np.linspace(0, 1, SAMPLES)
    y = np.empty((len(knots), SAMPLES))
    for m in np.unique(knots):
        at = np.linspace(0, 1, m)
        basis = np.stack([np.prod([(along - b) / (a - b) for b in at if b != a], 0) for a in at], -1)  # Lagrange
        mine = heights[knots == m]
        y[knots == m] = sum(mine[:, j, None] * basis[:, j] for j in range(m))  # a matrix product may vary with its shape
    x = along * width - width / 2
    y -= height / 2
    c, s = np.cos(curves["angle"])[:, None], np.sin(curves["angle"])[:, None]
    return np.stack((c * x - s * y + width / 2, s * x + c * y + height / 2), -1)


def _strokes(curves: Table, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, NDArray[np.float64]]:
    """The pixels near the curves (see raster.strokes), segment after segment, and each segment's thickness."""
    height, width = like.shape[2:]
    points = curves["points"]
    segments = np.concatenate((points[:, :-1], points[:, 1:]), -1).reshape(-1, 4)
    thickness = np.repeat(curves["width"], points.shape[1] - 1)
    return *raster.strokes(segments, thickness / 2 + 0.5, height, width, like.device), thickness


def _paint(curves: Table, slot: NDArray[np.int64], images: int, like: Tensor) -> Tensor:
    """(images, 1, H, W) offsets: each curve's coverage, composited in order."""
    height, width, device = *like.shape[2:], like.device
    segment, x, y, distance, valid, thickness = _strokes(curves, like)
    wide = to_device(thickness, device)[segment]
    # a pixel's coverage by a line of width w at distance d; a line thinner than a pixel never covers it whole
    cover = torch.minimum((wide / 2 + 0.5 - distance).clamp_(min=0), wide.clamp(max=1)) * valid
    place = segment // (curves["points"].shape[1] - 1) * (height * width) + y * width + x
    covers = torch.zeros(len(slot) * height * width, device=device)
    covers.scatter_reduce_(0, place.flatten(), cover.flatten(), "amax")
    covers = covers.view(len(slot), 1, height, width)
    offset = to_device(curves["offset"], device).view(-1, 1, 1, 1)
    out = torch.zeros(images, 1, height, width, device=device)
    order = np.arange(len(slot)) - np.searchsorted(slot, slot)
    for rank in range(int(order.max(initial=-1)) + 1):  # the n-th curve of every image at once
        chosen = np.flatnonzero(order == rank)
        rows, images_of = to_device(chosen, device), to_device(slot[chosen], device)
        cover = covers.index_select(0, rows)
        under = out.index_select(0, images_of)
        out.index_copy_(0, images_of, under.mul_(1 - cover).add_(cover * offset[rows]))
    return out
