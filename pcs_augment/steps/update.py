"""Changing some samples of a batch in place, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import cpu_kernels, run_all
from ..raster import to_device


def update(
    images: Tensor,
    sample: NDArray[np.int64],
    change: Callable[..., Tensor],
    *columns: NDArray,
    twin: str = "",
    constants: tuple[NDArray, ...] = (),
) -> Tensor:
    """images[sample] = change(images[sample], *columns), where columns have one row per entry of ``sample``.

    On a CPU one image at a time, which stays in the cache; elsewhere all at once. ``change`` may work in place on what it is
    given. ``sample`` holds no index twice. twin: the CPU kernel of this name does the same to one (C, H, W) image,
    given the ``constants`` too.
    """
    if not len(sample):
        return images
    device = images.device
    rows = [to_device(c, device) for c in columns]
    fast = cpu_kernels(device) if twin else None
    if fast is not None:
        kernel, pixels, values = getattr(fast, twin), images.numpy(), [r.numpy() for r in rows]
        run_all(lambda j: kernel(pixels[sample[j]], *(v[j] for v in values), *constants), range(len(sample)))
        return images
    if device.type == "cpu":
        for j, i in enumerate(sample.tolist()):
            view = images[i : i + 1]
            new = change(view, *(r[j : j + 1] for r in rows))
            if new is not view:
                view.copy_(new)
        return images
    if len(sample) == len(images):
        return change(images, *rows)
    index = to_device(sample, device)
    return images.index_copy_(0, index, change(images.index_select(0, index), *rows))


def per_image(values: Tensor) -> Tensor:
    """(A,) to (A, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def keys_of(stream_keys: NDArray[np.uint64], sample: NDArray[np.int64]) -> dict[str, NDArray[np.uint64]]:
    """The plan's columns for stream keys."""
    return {"key0": stream_keys[sample, 0], "key1": stream_keys[sample, 1]}
