"""Operations in order, several in one pass, which also adds up what the next one needs to know of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...joining import Operation, operations_of
from ...noise.textures import textures_of
from .layers import add_layers_with
from .pixel_noise import add_impulses
from .points import make_points, points_for
from .tone import stretch_with
from .totals import Totals

_NEED_SUMS = ("stretch", "add_layers")


def joined(images: Tensor, columns: Sequence[Tensor], names: str) -> None:
    operations = operations_of(columns, names)
    totals = Totals(images, sum(o.name in _NEED_SUMS for o in operations))
    while operations:
        run = _together(operations, points_for(images))
        operations = operations[len(run) :]
        totals.into = _into(operations, 2 * totals.begun + 2 * (run[0].name in _NEED_SUMS), len(images))
        _make(images, run, totals)


def _together(operations: Sequence[Operation], points: Sequence[str]) -> list[Operation]:
    """The first operations that one pass can make."""
    run = [operations[0]]
    for operation in operations[1:]:
        before, name = run[-1].name, operation.name
        if before not in points or name not in points or points.index(name) <= points.index(before):
            break
        run.append(operation)
    return run


def _into(operations: Sequence[Operation], row: int, batch: int) -> NDArray[np.int64]:
    """(B,) where sums of the images go, of which the rows from ``row`` on are those of the operations that need some.

    Negative for an image of which none is needed before it changes again.
    """
    into, changed = np.full(batch, -1), np.zeros(batch, bool)
    for operation in operations:
        sample = operation.columns[0].numpy()
        if operation.name in _NEED_SUMS:
            new = sample[~changed[sample]]
            into[new] = row * batch + new
            row += 2
        changed[sample] = True
    return into


def _make(images: Tensor, run: Sequence[Operation], totals: Totals) -> None:
    """Make operations that one pass can make."""
    name, columns, rest = run[0]
    if name in points_for(images):
        make_points(images, {o.name: o.columns for o in run}, totals)
    elif name == "add_impulses":
        add_impulses(images, *columns)
    elif name == "stretch":
        sample, factor = columns
        stretch_with(images, sample, factor, totals)
    else:
        kind, c, equalize_layer = rest
        add_layers_with(images, textures_of(*columns), kind, c, equalize_layer, totals)
