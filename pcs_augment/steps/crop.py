"""Random crop and scale to a fixed size: crystals of every size, and crystals that the picture's border cuts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import clipping, placing
from ..base import Step
from ..checks import Shape, check_chance, check_integers, check_interval
from ..errors import InputError
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import to_device


class RandomCrop(Step):
    """Cut a window out at random and scale it to a fixed size; boxes and outlines follow and are clipped.

    The window lies inside the image, at a uniform place. With chance ``p`` the scale is drawn log-uniformly from ``scale``,
    else it is 1; a scale so small that the window would be larger than the image is raised to the least that fits. Scaling
    down filters (a triangle two output px wide), scaling up interpolates linearly.

    Of an object that the border cuts, the visible part remains: its outline is clipped, its box is the minimum-area rectangle
    around that part. It is dropped if less than ``visible`` of its area is left.

    Args:
        size: px of the output, one number or (height, width); None for the size of the input.
        scale: output px per input px, lowest and highest.
        visible: share of the area, 0 .. 1.
        p: chance of a scale other than 1.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> step = pa.RandomCrop(256, scale=(0.5, 2.0))
        >>> images, targets = step(images, targets)  # (B, C, 256, 256)
    """

    words = 4
    looks_at_objects = True

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.5, 2.0),
        visible: float = 0.3,
        p: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.size = _check_size(size)
        self.scale = check_interval("scale", scale, 1 / 64, 64)
        self.visible = check_chance("visible", visible)

    def output_size(self, shape: Shape) -> Shape:
        return shape if self.size is None else (*shape[:2], *self.size)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        (height, width), (rows, columns) = shape[2:], self.output_size(shape)[2:]
        least = max(rows / height, columns / width)
        low = max(self.scale[0], least)
        drawn = np.exp(stream.uniform(1, np.log(low), np.log(max(self.scale[1], low))))
        scale = np.where(stream.uniform(0) < self.p, drawn, max(1.0, least))
        scale = np.maximum(scale, least)  # rounding in exp and log
        left = stream.uniform(2) * np.maximum(width - columns / scale, 0)
        top = stream.uniform(3) * np.maximum(height - rows / scale, 0)
        whole = scale == 1  # pixels are copied then
        left, top = np.where(whole, np.floor(left), left), np.where(whole, np.floor(top), top)
        images = {"sample": np.arange(shape[0]), "scale": scale, "left": left, "top": top}
        changed = keep = np.zeros(0, bool)
        if instances is not None:
            instances, keep = self._cut(instances, images, rows, columns)
            changed = np.ones(len(keep), bool)
        return {"images": images, **placing.tables(instances, changed, keep)}

    def _cut(
        self, instances: Instances, images: dict[str, NDArray], rows: int, columns: int
    ) -> tuple[Instances, NDArray[np.bool_]]:
        scale, left, top = (images[c] for c in ("scale", "left", "top"))
        of, owner = instances.sample, np.repeat(instances.sample, instances.corners)
        boxes = instances.boxes.copy()
        boxes[:, :2] -= np.stack((left, top), -1)[of]
        boxes[:, :4] *= scale[of, None]
        points = (instances.points - np.stack((left, top), -1)[owner]) * scale[owner, None]
        sides = np.array([[-1.0, 0, 0], [1, 0, columns], [0, -1, 0], [0, 1, rows]])
        planes = [np.broadcast_to(side, (len(of), 3)) for side in sides]
        return clipping.visible_parts(replace(instances, boxes=boxes, points=points), planes, self.visible)

    def remaining(self, instances: Instances, tables: Tables) -> Instances:
        return placing.remaining(instances, tables)

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        rows, columns = self.output_size(tuple(images.shape))[2:]  # type: ignore[arg-type]
        down = _taps(table["top"], table["scale"], images.shape[2], rows)
        across = _taps(table["left"], table["scale"], images.shape[3], columns)
        plan = [to_device(v, images.device) for v in (*down, *across)]
        if images.device.type != "cpu":
            return resampled(images, *plan)
        out = images.new_empty(*images.shape[:2], rows, columns)
        for i in range(len(images)):  # one at a time stays in the cache
            out[i : i + 1] = resampled(images[i : i + 1], *(v[i : i + 1] for v in plan))
        return out

    def drop(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        placing.drop(tables["dropped"], keep, first)


def _check_size(size: object) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    try:
        height, width = (check_integers("size", (n, n), 1, 16384)[0] for n in pair)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InputError(f"size must be None, a number of px or (height, width), each 1 .. 16384, got {size!r}") from None
    return height, width


def _taps(start: NDArray, scale: NDArray, length: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(A, count, T) pixels along one axis that each output pixel is a weighted mean of, and their weights."""
    centre = start[:, None] + (np.arange(count) + 0.5) / scale[:, None]  # of output pixels, in input px
    reach = np.maximum(1, 1 / scale)[:, None]
    first = np.floor(centre - reach + 0.5)
    at = first[..., None] + np.arange(int(np.floor(2 * reach.max(initial=1))) + 1)
    weight = np.maximum(0, 1 - np.abs(at + 0.5 - centre[..., None]) / reach[..., None])
    weight /= weight.sum(2, keepdims=True)
    return np.clip(at, 0, length - 1).astype(np.int64), weight


def resampled(images: Tensor, rows: Tensor, row_weights: Tensor, columns: Tensor, column_weights: Tensor) -> Tensor:
    """(A, C, H, W) images at other pixels.

    Args:
        images: the input.
        rows, row_weights: (A, H', T) rows and weights whose sum gives each output row; terms are added in order, so
            that a weight of zero changes nothing.
        columns, column_weights: the same for (A, W', T') columns.

    Returns:
        (A, C, H', W') float32.
    """
    down = _gathered(images, rows, row_weights, 2)
    return _gathered(down, columns, column_weights, 3)


def _gathered(images: Tensor, index: Tensor, weight: Tensor, axis: int) -> Tensor:
    out: Tensor | None = None
    for t in range(index.shape[2]):
        if len(images) == 1:
            part = images.index_select(axis, index[0, :, t])
        else:
            shape = [len(images), images.shape[1], images.shape[2], images.shape[3]]
            shape[axis] = index.shape[1]
            view = (-1, 1, index.shape[1], 1) if axis == 2 else (-1, 1, 1, index.shape[1])
            part = images.gather(axis, index[:, :, t].reshape(view).expand(shape))
        view = (-1, 1, index.shape[1], 1) if axis == 2 else (-1, 1, 1, index.shape[1])
        part = part.mul_(weight[:, :, t].reshape(view))
        out = part if out is None else out.add_(part)
    assert out is not None
    return out
