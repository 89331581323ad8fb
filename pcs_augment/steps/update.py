"""Changing some samples of a batch in place, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..transfer import to_device


def update(images: Tensor, sample: Tensor, change: Callable[..., Tensor], *columns: Tensor) -> None:
    """images[sample] = change(images[sample], *columns), where columns have one row per entry of ``sample``, on the host.

    On a CPU one image at a time, which stays in the cache; elsewhere all at once. ``change`` may work in place on what it is
    given. ``sample`` holds no index twice.
    """
    if not len(sample):
        return
    device = images.device
    rows = [to_device(c.numpy(), device) for c in columns]
    if device.type == "cpu":
        for j, i in enumerate(sample.tolist()):
            view = images[i : i + 1]
            new = change(view, *(r[j : j + 1] for r in rows))
            if new is not view:
                view.copy_(new)
        return
    index = to_device(sample.numpy(), device)
    images.index_copy_(0, index, change(images.index_select(0, index), *rows))


def per_image(values: Tensor) -> Tensor:
    """(A,) to (A, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def keys_of(stream_keys: NDArray[np.uint64], sample: NDArray[np.int64]) -> dict[str, NDArray[np.uint64]]:
    """The plan's columns for stream keys."""
    return {"key0": stream_keys[sample, 0], "key1": stream_keys[sample, 1]}
