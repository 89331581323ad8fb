"""Changing some samples of a batch in place, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import cpu_kernels, run_all
from ..transfer import to_device


def update(
    images: Tensor,
    sample: Tensor,
    change: Callable[..., Tensor],
    *columns: Tensor,
    twin: str = "",
    constants: tuple[NDArray, ...] = (),
) -> None:
    """images[sample] = change(images[sample], *columns), where columns have one row per entry of ``sample``, on the host.

    On a CPU one image at a time, which stays in the cache; elsewhere all at once. ``change`` may work in place on what it is
    given. ``sample`` holds no index twice. twin: the numba kernel of this name does the same to one (C, H, W) image,
    given the ``constants`` too.
    """
    if not len(sample):
        return
    device = images.device
    rows = [to_device(c.numpy(), device) for c in columns]
    fast = cpu_kernels(device) if twin else None
    if fast is not None:
        kernel, pixels, values, which = getattr(fast, twin), images.numpy(), [r.numpy() for r in rows], sample.numpy()
        run_all(lambda j: kernel(pixels[which[j]], *(v[j] for v in values), *constants), range(len(which)))
        return
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


def keys_in(table: dict[str, NDArray]) -> NDArray[np.uint64]:
    """(A, 2) stream keys from those columns."""
    return np.stack((table["key0"], table["key1"]), -1)
