"""The two filters: too small to be worth learning (before row 1), and undetectable (after row 14)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import raster
from ..base import Shape, Step, check_integers, check_positive
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances


class MinEdge(Step):
    """Drop objects whose box has a side below ``min_edge`` px."""

    def __init__(self, min_edge: float = 0.0) -> None:
        super().__init__()
        self.min_edge = check_positive("min_edge", min_edge, zero=True)

    def _small(self, instances: Instances) -> NDArray[np.bool_]:
        return instances.boxes[:, 2:4].min(1, initial=np.inf) < self.min_edge

    def _draw(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if instances is None:
            return {"dropped": {"sample": np.zeros(0, np.int64), "object": np.zeros(0, np.int64)}}
        small = self._small(instances)
        return {"dropped": {"sample": instances.sample[small], "object": instances.object[small]}}

    def _after(self, instances: Instances, tables: Tables, shape: Shape) -> Instances:
        return instances.picked(~self._small(instances))

    def _filter(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        table = tables["dropped"]
        if len(table["sample"]):
            rows = torch.from_numpy(first[table["sample"]] + table["object"])
            keep.index_fill_(0, rows.to(keep.device, non_blocking=True), False)


class KeepDetectable(Step):
    """Drop objects whose grey values, rounded to 8 bits, span at most ``threshold`` levels near their outline.

    Looked at are the pixels whose centres lie inside the outline or within ``dilation`` px of it, in all channels. Row-wise
    range queries on a table of running extremes make this independent of how large the objects are.
    """

    def __init__(self, threshold: int = 0, dilation: float = 2.0) -> None:
        super().__init__()
        self.threshold = check_integers("threshold", (threshold, threshold), 0, 255)[0]
        self.dilation = check_positive("dilation", dilation)

    def _draw(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if instances is None:
            instances = Instances(0, *(np.zeros(0, np.int64),) * 2, np.zeros((0, 5)), np.zeros((0, 2)), np.zeros(0, np.int64))
        owner = np.repeat(instances.sample, instances.corners)
        return {
            "objects": {"sample": instances.sample, "object": instances.object, "corners": instances.corners},
            "outlines": {"sample": owner, "x": instances.points[:, 0], "y": instances.points[:, 1]},
        }

    def _filter(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        table, outlines = tables["objects"], tables["outlines"]
        if not len(table["sample"]):
            return
        height, width = images.shape[2:]
        points = np.stack((outlines["x"], outlines["y"]), -1)
        spans = raster.row_spans(points, table["corners"], self.dilation, height, width, images.device)
        sample = torch.from_numpy(table["sample"]).to(images.device, non_blocking=True)[spans.instance]
        low, high = _row_extremes(images, sample, spans)
        count = len(table["sample"])
        lowest = torch.full((count,), 255, dtype=torch.int64, device=images.device)
        lowest.scatter_reduce_(0, spans.instance, low, "amin")
        highest = torch.zeros_like(lowest).scatter_reduce_(0, spans.instance, high, "amax")
        rows = torch.from_numpy(first[table["sample"]] + table["object"]).to(images.device, non_blocking=True)
        keep.index_copy_(0, rows, keep.index_select(0, rows) & (highest - lowest > self.threshold))


def _row_extremes(images: Tensor, sample: Tensor, spans: raster.Spans) -> tuple[Tensor, Tensor]:
    """(S,) int64 lowest and highest 8-bit grey value in each span; (255, 0) for empty ones.

    Level j of the table holds the extremes of the 2^j pixels that start at each place; a span of n pixels is the union of two
    windows of level floor(log2 n).
    """
    grey = (images * 255).round_().to(torch.uint8)
    low, high = grey.amin(1), grey.amax(1)  # (B, H, W) over channels
    width = low.shape[-1]
    lows, highs = [low], [high]
    for j in range(width.bit_length() - 1):
        half = 1 << j
        lows.append(lows[-1].clone())
        highs.append(highs[-1].clone())
        torch.minimum(lows[-2][..., :-half], lows[-2][..., half:], out=lows[-1][..., :-half])
        torch.maximum(highs[-2][..., :-half], highs[-2][..., half:], out=highs[-1][..., :-half])
    length = (spans.right - spans.left).clamp(min=1)
    thresholds = 2 ** torch.arange(1, len(lows), device=images.device)
    level = torch.bucketize(length, thresholds, right=True)
    row = (sample * low.shape[1] + spans.y) * width
    start = row + spans.left.clamp(max=width - 1)
    end = row + (spans.right - (1 << level)).clamp(min=0)
    base = level * low.numel()
    empty = spans.right <= spans.left
    low_table, high_table = torch.stack(lows).flatten(), torch.stack(highs).flatten()
    lowest = torch.minimum(low_table[base + start], low_table[base + end]).long().masked_fill_(empty, 255)
    highest = torch.maximum(high_table[base + start], high_table[base + end]).long().masked_fill_(empty, 0)
    return lowest, highest
