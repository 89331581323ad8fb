"""Quarter turns (row 13) and flips (row 14): pixels move, boxes and outlines follow exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import boxes as bx
from ..base import Step
from ..checks import Shape
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from .update import update


class _Symmetry(Step):
    """Shared by both: a column ``kind`` says what happens to each image; 0 is nothing."""

    words = 2
    _matrices: staticmethod

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
        for kind in (1, 2, 3):
            images = update(images, table["sample"][table["kind"] == kind], lambda x, k=kind: self._move(x, k))
        return images

    def _move(self, x: Tensor, kind: int) -> Tensor:
        raise NotImplementedError


class Rotate90(_Symmetry):
    """Rotate counter-clockwise by 0, 90, 180 or 270 degrees; images that are not square by 0 or 180 only."""

    _matrices = staticmethod(bx.quarter_turns)

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__(p, seed)

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        return np.arange(4) if shape[2] == shape[3] else np.array([0, 2])

    def _move(self, x: Tensor, kind: int) -> Tensor:
        return torch.rot90(x, kind, (2, 3))


class Flip(_Symmetry):
    """Flip not at all, horizontally or vertically, with equal chances."""

    _matrices = staticmethod(bx.flips)

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__(p, seed)

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        return np.arange(3)

    def _move(self, x: Tensor, kind: int) -> Tensor:
        return x.flip(3 if kind == 1 else 2)
