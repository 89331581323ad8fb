"""Quarter turns (row 13) and flips (row 14): pixels move, boxes and outlines follow exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import boxes as bx
from .. import rooms
from ..base import Step
from ..checks import Shape
from ..dispatch import operator
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from ..turns import in_turn
from .update import update


class _Symmetry(Step):
    """Shared by both: a column ``kind`` says what happens to each image; 0 is nothing."""

    words = 2
    _matrices: staticmethod
    flips: bool

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        raise NotImplementedError

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        kinds = self._kinds(shape)
        return {"images": {"sample": sample, "kind": kinds[stream.integer(1, 0, len(kinds) - 1)[sample]]}}

    def symmetry(self, tables: Tables, shape: Shape) -> NDArray[np.float64]:
        kind = np.zeros(shape[0], np.int64)
        kind[tables["images"]["sample"]] = tables["images"]["kind"]
        return type(self)._matrices(kind, *shape[2:])

    @property
    def moves_only(self) -> bool:
        return type(self).change is _Symmetry.change and type(self).drop is Step.drop

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        turn(images, *host_tensors(table["sample"], table["kind"]), self.flips)
        return images

    def move(self, images: Tensor, matrix: NDArray[np.float64]) -> Tensor:
        linear = matrix[:, :, :2]
        swapped = linear[:, 0, 0] == 0
        backwards = linear.sum(2) < 0  # along x, along y
        form = swapped + 2 * backwards[:, 0] + 4 * backwards[:, 1]
        sample = np.flatnonzero(form)
        if rooms.to_do(len(sample)):
            reorder(images, *host_tensors(sample, form[sample]))
        return images


@operator("turn(Tensor(a!) images, Tensor sample, Tensor kind, bool flip) -> ()")
def turn(images: Tensor, sample: Tensor, kind: Tensor, flip: bool) -> None:
    """kind (A,): quarter turns counter-clockwise, or with ``flip`` 0 nothing, 1 horizontally, 2 vertically."""
    for k in (1, 2, 3):
        update(images, sample[kind == k], lambda x, k=k: moved(x, k, flip))


@operator("reorder(Tensor(a!) images, Tensor sample, Tensor form) -> ()")
def reorder(images: Tensor, sample: Tensor, form: Tensor) -> None:
    """Move the pixels of images ``sample`` (A,).

    form (A,): the sum of 1 where rows become columns, then 2 where columns run backwards and 4 where rows do.
    """
    for k in range(1, 8):
        update(images, sample[form == k], lambda x, k=k: reordered(x, k))


def reordered(x: Tensor, form: int) -> Tensor:
    """(..., C, H, W) pixels in another order."""
    if form & 1:
        x = x.transpose(2, 3)
    return x.flip([axis for axis, bit in ((3, 2), (2, 4)) if form & bit])


def moved(x: Tensor, kind: int, flip: bool) -> Tensor:
    """(..., C, H, W) pixels under one symmetry."""
    if kind == 0:
        return x
    return (x.flip(3) if kind == 1 else x.flip(2)) if flip else torch.rot90(x, kind, (2, 3))


class Rotate90(_Symmetry):
    """Rotate counter-clockwise by 0, 90, 180 or 270 degrees; boxes, outlines, masks and keypoints follow (Table S1, row 13).

    Images that are not square are rotated by 0 or 180 degrees only, so that a batch keeps its shape.

    Args:
        p: chance for an image, 0 .. 1; the four angles are equally likely then.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> turned, followed = pa.Rotate90()(images, targets)
    """

    _matrices = staticmethod(bx.quarter_turns)
    flips = False

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__(p, seed)

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        return np.arange(4) if shape[2] == shape[3] else np.array([0, 2])


class Flip(_Symmetry):
    """Flip not at all, horizontally or vertically; boxes, outlines, masks and keypoints follow (paper, Table S1, row 14).

    Args:
        p: chance for an image, 0 .. 1; the three cases are equally likely then.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> flipped, followed = pa.Flip()(images, targets)
    """

    _matrices = staticmethod(bx.flips)
    flips = True

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__(p, seed)

    def _kinds(self, shape: Shape) -> NDArray[np.int64]:
        return np.arange(3)
