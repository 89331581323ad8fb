"""Small Gaussian filters, separable, written as shifted sums.

A backend's convolution may change its result with the batch; a sum of shifted images in a fixed order does not. Kernels of a
batch differ per sample: shorter ones are padded with zero weights, which add exact zeros.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from . import rooms
from .checks import check_positive


def check_sigma(sigma: float | None) -> float | None:
    """None (from the kernel size) or a positive number of px."""
    return None if sigma is None else check_positive("sigma", sigma)


def kernel_sigma(kernel: NDArray[np.int64], sigma: float | None) -> NDArray[np.float64]:
    """Standard deviation in px: the given one, else 0.3 ((k - 1) / 2 - 1) + 0.8 (OpenCV's rule for a kernel of k)."""
    return np.full(len(kernel), sigma) if sigma is not None else 0.3 * ((kernel - 1) / 2 - 1) + 0.8


def weights(kernel: NDArray[np.int64], sigma: float | None = None) -> NDArray[np.float32]:
    """(A,) odd kernel sizes to (A, 1 + r) weights of the centre and of the neighbours at distance 1 .. r = max // 2."""
    reach = np.arange(rooms.size("reach of a blur", int(kernel.max(initial=1)) // 2) + 1)
    w = np.exp(-0.5 * (reach / kernel_sigma(kernel, sigma)[:, None]) ** 2)
    w[reach > (kernel // 2)[:, None]] = 0
    return (w / (2 * w.sum(1, keepdims=True) - w[:, :1])).astype(np.float32)


def reach_of(taps: Tensor) -> Tensor:
    """(A, 1 + r) weights to (A,) int32 distances of the farthest that is not zero."""
    return (taps[:, 1:] != 0).sum(1, dtype=torch.int32)


def by_reach(taps: Tensor) -> Iterator[tuple[Tensor, int]]:
    """The rows of (A, 1 + r) weights on the host that have the same reach, and that reach."""
    reach = reach_of(taps)
    for r in reach.unique().tolist():
        yield torch.nonzero(reach == r).flatten(), r


def each(taps: Tensor) -> list[NDArray[np.float32]]:
    """(A, 1 + r) weights on the host, row by row, without the zeros at their ends."""
    return [row[: 1 + r] for row, r in zip(taps.numpy(), reach_of(taps).tolist())]


def blur(images: Tensor, taps: Tensor) -> Tensor:
    """(A, C, H, W) float32 filtered along y, then x, with (A, 1 + r) weights; borders are mirrored without the edge pixel."""
    return _along(_along(images, taps, 2), taps, 3)


def _along(images: Tensor, taps: Tensor, axis: int) -> Tensor:
    r, n = taps.shape[1] - 1, images.shape[axis]
    padded = _mirrored(images, r, axis)
    weight = taps[:, :, None, None, None]
    out = images * weight[:, 0]
    for i in range(1, r + 1):
        pair = padded.narrow(axis, r - i, n) + padded.narrow(axis, r + i, n)
        out.add_(pair.mul_(weight[:, i]))
    return out


def _mirrored(images: Tensor, r: int, axis: int) -> Tensor:
    n = images.shape[axis]
    if r == 0:
        return images
    if r < n:
        return F.pad(images, (0, 0, r, r) if axis == 2 else (r, r, 0, 0), mode="reflect")
    at = torch.arange(-r, n + r, device=images.device) % max(1, 2 * (n - 1))  # small images: mirror as often as needed
    return images.index_select(axis, at.minimum(2 * (n - 1) - at) if n > 1 else torch.zeros_like(at))
