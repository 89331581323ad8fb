"""Quarter turns (row 13) and flips (row 14): pixels move, boxes and outlines follow exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import boxes as bx
from ..base import Step
from ..checks import Shape
from ..kernels import operator
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors, to_device


class _Symmetry(Step):
    """Shared by both: a column ``kind`` says what happens to each image; 0 is nothing."""

    words = 2
    _matrices: staticmethod
    flips: bool

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        raise NotImplementedError

    def _draw(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        kinds = self._kinds(shape)
        return {"images": {"sample": sample, "kind": kinds[stream.integer(1, 0, len(kinds) - 1)[sample]]}}

    def _symmetry(self, tables: Tables, shape: Shape) -> NDArray[np.float64]:
        kind = np.zeros(shape[0], np.int64)
        kind[tables["images"]["sample"]] = tables["images"]["kind"]
        return type(self)._matrices(kind, *shape[2:])

    def _change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        kind = np.zeros(len(images), np.int64)
        kind[table["sample"]] = table["kind"]
        return symmetry(images, *host_tensors(kind), self.flips) if kind.any() else images


@operator("symmetry(Tensor images, Tensor kind, bool flip) -> Tensor", fake=lambda images, kind, flip: torch.empty_like(images))
def symmetry(images: Tensor, kind: Tensor, flip: bool) -> Tensor:
    """kind (B,): quarter turns counter-clockwise, or with ``flip`` 0 nothing, 1 horizontally, 2 vertically."""
    out = torch.empty_like(images)
    if images.device.type == "cpu":
        for image, new, k in zip(images, out, kind.tolist()):
            new.copy_(moved(image[None], k, flip)[0])
        return out
    for k in kind.unique().tolist():
        rows = to_device(np.flatnonzero(kind.numpy() == k), images.device)
        out.index_copy_(0, rows, moved(images.index_select(0, rows), k, flip))
    return out


def moved(x: Tensor, kind: int, flip: bool) -> Tensor:
    """(..., C, H, W) pixels under one symmetry."""
    if kind == 0:
        return x
    return (x.flip(3) if kind == 1 else x.flip(2)) if flip else torch.rot90(x, kind, (2, 3))


class Rotate90(_Symmetry):
    """Rotate counter-clockwise by 0, 90, 180 or 270 degrees; images that are not square by 0 or 180 only."""

    _matrices = staticmethod(bx.quarter_turns)
    flips = False

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__(p, seed)

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        return np.arange(4) if shape[2] == shape[3] else np.array([0, 2])


class Flip(_Symmetry):
    """Flip not at all, horizontally or vertically, with equal chances."""

    _matrices = staticmethod(bx.flips)
    flips = True

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__(p, seed)

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        return np.arange(3)
