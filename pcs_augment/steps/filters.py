"""The two filters: too small to be worth learning (before row 1), and undetectable (after row 14)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import raster, rooms
from ..base import Step
from ..checks import Shape, check_level, check_positive
from ..dispatch import operator
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors, to_device
from ..turns import afterwards, in_turn

Ints = NDArray[np.int64]


class MinEdge(Step):
    """Drop objects whose box has a side below ``min_edge``: too small to be worth learning.

    Args:
        min_edge: px, at least 0.

    Raises:
        InputError: the argument is out of range.

    Examples:
        >>> _, large = pa.MinEdge(8)(images, targets)
        >>> bool(large[0]["boxes"][:, 2:4].min() >= 8)
        True
    """

    looks_at_objects = True

    def __init__(self, min_edge: float = 0.0) -> None:
        super().__init__()
        self.min_edge = check_positive("min_edge", min_edge, zero=True)

    def _small(self, instances: Instances) -> NDArray[np.bool_]:
        return np.minimum(instances.boxes[:, 2], instances.boxes[:, 3]) < self.min_edge

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if instances is None:
            return {"dropped": {"sample": np.zeros(0, np.int64), "object": np.zeros(0, np.int64)}}
        small = self._small(instances)
        return {"dropped": {"sample": instances.sample[small], "object": instances.object[small]}}

    def remaining(self, instances: Instances, tables: Tables) -> Instances:
        return instances.picked(~self._small(instances))

    @in_turn
    def drop(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        table = tables["dropped"]
        if rooms.to_do(len(table["sample"])):
            place = first[table["sample"]] + table["object"]
            place = rooms.filled(place, rooms.size("small objects", len(place)), len(keep) - 1)
            keep.index_fill_(0, to_device(place, keep.device), False)


class KeepDetectable(Step):
    """Drop objects whose grey values, rounded to 8 bits, span at most ``threshold`` levels near their outline.

    Looked at are the pixels whose centres lie inside the outline or within ``dilation`` px of it; of several channels, the one
    with the widest range counts (paper: Data augmentation, undetectable crystals).

    Args:
        threshold: 8-bit grey levels, 0 .. 255.
        dilation: px, above 0.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> _, left = pa.KeepDetectable()(torch.full((1, 1, 384, 384), 0.5), targets[:1])  # nothing is seen in even grey
        >>> left[0]["boxes"].shape
        torch.Size([0, 5])
    """

    looks_at_objects = True

    def __init__(self, threshold: int = 0, dilation: float = 2.0) -> None:
        super().__init__()
        self.threshold = check_level("threshold", threshold)
        self.dilation = check_positive("dilation", dilation)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if instances is None:
            instances = Instances(0, *(np.zeros(0, np.int64),) * 2, np.zeros((0, 5)), np.zeros((0, 2)), np.zeros(0, np.int64))
        owner = np.repeat(instances.sample, instances.corners)
        return {
            "objects": {"sample": instances.sample, "object": instances.object, "corners": instances.corners},
            "outlines": {"sample": owner, "x": instances.points[:, 0], "y": instances.points[:, 1]},
        }

    @in_turn
    def drop(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        table, outlines = tables["objects"], tables["outlines"]
        if not rooms.to_do(len(table["sample"])):
            return
        points = np.stack((outlines["x"], outlines["y"]), -1)
        lists = host_tensors(table["sample"], points, table["corners"])
        spread = object_spread(images, *lists, self.dilation, self.threshold)
        flag = rooms.filled(first[table["sample"]] + table["object"], len(spread), len(keep) - 1)
        place = to_device(flag, images.device)
        afterwards(lambda: keep.index_copy_(0, place, keep.index_select(0, place) & (spread > self.threshold)))


@operator(
    "object_spread(Tensor images, Tensor sample, Tensor points, Tensor corners, float radius, int enough=255) -> Tensor",
    fake=lambda images, sample, points, corners, radius, enough=255: images.new_empty(len(sample), dtype=torch.int64),
)
def object_spread(images: Tensor, sample: Tensor, points: Tensor, corners: Tensor, radius: float, enough: int = 255) -> Tensor:
    """(N,) int64 ranges of the 8-bit grey values within ``radius`` px of outlines, the widest of all channels; -1 for none.

    sample (N,): their images, ascending; corners (N,): how many of the points (V, 2) belong to each; enough: of a range above
    this it need only be known that it is.
    """
    return _spread(images, sample.numpy(), points.numpy(), corners.numpy(), radius)


def _spread(images: Tensor, sample: Ints, points: NDArray[np.float64], corners: Ints, radius: float) -> Tensor:
    """By row-wise range queries on a table of running extremes, whose number does not depend on the pixels."""
    height, width = images.shape[2:]
    spans = raster.row_spans(points, corners, radius, height, width, images.device)
    owner = to_device(sample, images.device)[spans.instance]
    extent = raster.bounds(points, corners, height, width, radius)
    widest = int((extent[:, 2] - extent[:, 0]).max())
    spread = torch.full((len(sample),), -1, dtype=torch.int64, device=images.device)
    for channel in images.unbind(1):
        low, high = _row_extremes(channel, owner, spans, widest)
        lowest = torch.full_like(spread, 255).scatter_reduce_(0, spans.instance, low, "amin")
        highest = torch.zeros_like(spread).scatter_reduce_(0, spans.instance, high, "amax")
        spread = torch.maximum(spread, highest - lowest)
    return spread


def _row_extremes(images: Tensor, sample: Tensor, spans: raster.Spans, widest: int) -> tuple[Tensor, Tensor]:
    """(S,) int64 lowest and highest 8-bit grey value in each span of up to ``widest`` px of
    (B, H, W) images; (255, 0) for empty ones."""
    grey = (images * 255).round_().to(torch.uint8)
    _, height, width = grey.shape
    row = (sample * height + spans.y) * width
    start, end = row + spans.left.clamp(max=width - 1), row + spans.right
    empty = spans.right <= spans.left
    lowest = _range_query(grey, start, end, widest, torch.minimum)
    highest = _range_query(grey, start, end, widest, torch.maximum)
    return lowest.masked_fill_(empty, 255), highest.masked_fill_(empty, 0)


def _range_query(grey: Tensor, start: Tensor, end: Tensor, widest: int, extreme: Callable[..., Tensor]) -> Tensor:
    """The extreme of flat pixels start .. end - 1, for intervals of 1 .. widest px.

    Level j of a table holds the extremes of the 2^j pixels that start at each place; n pixels are the union of two windows of
    level floor(log2 n).
    """
    flat = grey.flatten()
    levels = max(1, widest.bit_length())
    table = torch.empty(levels, len(flat), dtype=torch.uint8, device=grey.device)
    table[0] = flat
    for j in range(1, levels):
        half = min(1 << (j - 1), len(flat))
        extreme(table[j - 1, : len(flat) - half], table[j - 1, half:], out=table[j, : len(flat) - half])
    length = (end - start).clamp(min=1)
    level = torch.bucketize(length, 2 ** torch.arange(1, levels, device=grey.device), right=True)
    base = level * len(flat)
    second = (end - (1 << level)).clamp(min=0)
    return extreme(table.view(-1)[base + start], table.view(-1)[base + second]).long()
