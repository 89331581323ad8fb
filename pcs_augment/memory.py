"""Room for batches on the host, used again once nobody holds it: new pages of memory cost as much as a step of the pipeline."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_KEPT, _LARGEST = 2, 2**28  # batches, and bytes of one that is kept
_rooms: list[NDArray[np.float32]] = []
_lock = threading.Lock()


def _holders(rooms: list[NDArray[np.float32]], i: int) -> int:
    return sys.getrefcount(rooms[i])


_NOBODY = _holders([np.empty(0, np.float32)], 0)


def batch(shape: Sequence[int]) -> Tensor:
    """A float32 tensor of a shape, with whatever an earlier one left there.

    A tensor, like every view of it, holds the array that it was made from; an array that only this list holds is free.
    """
    with _lock:
        for i in range(len(_rooms)):  # a variable of the loop would hold one
            if _rooms[i].shape == tuple(shape) and _holders(_rooms, i) == _NOBODY:
                return torch.from_numpy(_rooms[i])
        made = np.empty(tuple(shape), np.float32)  # NumPy asks for large pages
        if made.nbytes <= _LARGEST:
            _rooms.append(made)
            del _rooms[:-_KEPT]
        return torch.from_numpy(made)
