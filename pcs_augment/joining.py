"""Steps that follow each other at once, where a GPU does the work: an image is read once for several of them.

Symmetries add up to one, which moves pixels once. A step whose ``change`` makes a single operator of this library may say so,
by an ``Operation``; several of them become the operator ``joined``, whose definition is to make them one by one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import boxes as bx
from . import rooms
from .checks import Shape
from .dispatch import operator
from .plan import Tables


class Operation(NamedTuple):
    """An operator by name, and what it takes beside images: columns on the host, the first of which names images, and more."""

    name: str
    columns: Sequence[Tensor]
    rest: tuple[Any, ...] = ()

    def make(self, images: Tensor) -> Tensor:
        """Change images in place."""
        getattr(torch.ops.pcs_augment, self.name).default(images, *self.columns, *self.rest)
        return images


class Together:
    """What steps have yet to do to the pixels of a batch: symmetries that follow each other, or operations."""

    def __init__(self) -> None:
        self.mover: Any = None  # the last Step that moves pixels
        self.distance: NDArray[np.float64] | None = None  # (B, 2, 3), how far pixels are to be moved
        self.operations: list[Operation] = []

    def change(self, images: Tensor, step: Any, tables: Tables, shape: Shape) -> Tensor:
        """The images after the ``change`` of a step, which may wait."""
        if step.moves_only:
            images = self._made(images)
            self.mover, self.distance = step, then(self.distance, step.symmetry(tables, shape))
            return images
        images = self._moved(images)
        operation = step._operation(tables) if _made_by(type(step), "change") is _made_by(type(step), "_operation") else None
        if operation is None:
            return step.change(self._made(images), tables)
        self.operations.append(operation)
        return images

    def settle(self, images: Tensor) -> Tensor:
        """The images after what waits."""
        return self._moved(self._made(images))

    def _moved(self, images: Tensor) -> Tensor:
        mover, distance = self.mover, self.distance
        self.mover = self.distance = None
        return images if mover is None or distance is None else mover.move(images, distance)

    def _made(self, images: Tensor) -> Tensor:
        operations = [o for o in self.operations if rooms.to_do(len(o.columns[0]))]
        self.operations = []
        if len(operations) == 1:
            return operations[0].make(images)
        if operations:
            names = json.dumps([(o.name, len(o.columns), o.rest) for o in operations])
            joined(images, [column for o in operations for column in o.columns], names)
        return images


def then(first: NDArray[np.float64] | None, second: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Both matrices (B, 2, 3) in turn; None stands for nothing."""
    return second if first is None else first if second is None else bx.compose(second, first)


def _made_by(kind: type, name: str) -> type:
    """The class that a method is from: a subclass may change pixels in a way of its own."""
    return next(c for c in kind.__mro__ if name in vars(c))


@operator("joined(Tensor(a!) images, Tensor[] columns, str names) -> ()")
def joined(images: Tensor, columns: Sequence[Tensor], names: str) -> None:
    """Make operations in order; ``names`` is JSON: the name of each, how many of the columns it takes, and what else."""
    for operation in operations_of(columns, names):
        operation.make(images)


def operations_of(columns: Sequence[Tensor], names: str) -> list[Operation]:
    """What the arguments of ``joined`` stand for."""
    rest = iter(columns)
    return [Operation(name, [next(rest) for _ in range(count)], tuple(more)) for name, count, more in json.loads(names)]
