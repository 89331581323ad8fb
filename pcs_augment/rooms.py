"""Rooms: sizes up to which a batch's lists are filled, so that one batch makes the calls of another.

How many curves, textures or objects a batch has is drawn; the grids of its kernels and the places of its lists follow from
that. In a room each list has a size that stays, so grids and addresses stay, and only what the lists hold differs: this is what
a CUDA graph needs, which is captured once and replayed. Entries that are absent are marked, or hold nothing to do: an image
that is absent has the number -1, an outline that is has no corners.

While a batch is packed in a room (``Room.entered``), what lays out lists asks it for their ``size``. Outside of a room a list
is as long as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ABSENT = -1  # instead of the number of an image
_STEP = 8  # sizes are multiples of it, unless there can be no more entries than fewer


class Room:
    """Sizes of the lists of a batch, by name. A batch that needs more makes the room larger by a quarter more than it needs.

    Sizes never shrink. Those that it is made with lie in shared memory, so that the workers of a loader have one room: make
    it with the ``sizes()`` of a room that a few batches were packed in.
    """

    def __init__(self, sizes: Mapping[str, int] | None = None) -> None:
        given = dict(sizes or {})
        self.places = {name: i for i, name in enumerate(given)}
        self.shared = torch.tensor(list(given.values()), dtype=torch.int64).share_memory_()
        self.late: dict[str, int] = {}  # of lists that were unknown then, in this process alone
        self.asked: Counter[str] = Counter()

    def sizes(self) -> dict[str, int]:
        """All of them."""
        return dict(zip(self.places, self.shared.tolist())) | self.late

    @contextmanager
    def entered(self) -> Iterator[Room]:
        """Inside, a batch is packed in this room."""
        global _now
        before, _now = _now, self
        self.asked.clear()
        try:
            yield self
        finally:
            _now = before

    def size(self, name: str, needed: int, most: int | None) -> int:
        """Of the next list with this name."""
        self.asked[name] += 1
        name = f"{name} {self.asked[name]}"
        place = self.places.get(name)
        size = self.late.get(name, 0) if place is None else int(self.shared[place])
        if needed > size:
            size = -(-5 * needed // 4 // _STEP) * _STEP
            size = size if most is None else max(needed, min(size, most))
            if place is None:
                self.late[name] = size
            else:
                self.shared[place] = size
        return size


_now: Room | None = None


def active() -> bool:
    """Whether a batch is being packed in a room."""
    return _now is not None


def to_do(rows: int) -> bool:
    """Whether there is work for a list with so many rows: in a room also for none, as the next batch may have some."""
    return rows > 0 or active()


def size(name: str, needed: int, most: int | None = None) -> int:
    """How many entries a list of ``needed`` gets, at most ``most``: more of them in a room."""
    return int(needed) if _now is None else _now.size(name, int(needed), most)


def flags(objects: int) -> int:
    """How many flags the objects of a batch get: in a room at least one more, which is that of absent objects."""
    return objects if _now is None else size("objects", objects + 1)


def filled(values: NDArray[Any], rows: int, value: float | None = 0) -> NDArray[Any]:
    """An array with so many rows: what is missing is ``value``, or the last row again where that is None."""
    missing = rows - len(values)
    if missing <= 0:
        return values
    if value is None:
        return np.concatenate((values, np.repeat(values[-1:], missing, 0)))
    return np.concatenate((values, np.full((missing, *values.shape[1:]), value, values.dtype)))


def by_image(images: Tensor, sample: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
    """The numbers (A,) of images that change and columns with a row for each, on the host: as long as the room has it."""
    if _now is None:
        return sample, *columns
    rows = size("images", len(sample), len(images))
    return tuple(torch.from_numpy(filled(c.numpy(), rows, 0 if i else ABSENT)) for i, c in enumerate((sample, *columns)))
