"""Host numbers to the device, without waiting for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ALIGNED = 16  # bytes
recording: Any = None  # what writes down copies and launches, while the work of a batch is packed


def _plain(values: NDArray) -> NDArray:
    """Floats as float32, 64-bit words as int64, in one piece."""
    if values.dtype == np.uint64:
        values = values.astype(np.int64)
    return np.ascontiguousarray(values, np.float32 if values.dtype.kind == "f" else None)


def to_device(values: NDArray, device: torch.device) -> Tensor:
    """An array on the device: floats as float32, 64-bit words as int64."""
    return send(torch.from_numpy(_plain(values)), device)


def send(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device, from pinned memory where there is a GPU: from other memory more than 64 KB may wait for it."""
    if recording is not None and device.type == "meta" and not values.is_meta:
        return recording.copied(values)
    if device.type == "cuda" and not values.is_cuda:
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def host_tensors(*arrays: NDArray) -> list[Tensor]:
    """Arrays as tensors on the host, as operators take them: 64-bit words as int64, no copies otherwise."""
    signed = (a.astype(np.int64) if a.dtype == np.uint64 else a for a in arrays)
    return [torch.from_numpy(np.ascontiguousarray(a)) for a in signed]


def all_to_device(device: torch.device, *arrays: NDArray) -> list[Tensor]:
    """The same for several arrays by a single copy, from pinned memory where there is a GPU."""
    plain = [_plain(a) for a in arrays]
    if recording is not None and device.type == "meta":
        return [recording.copied(torch.from_numpy(a)) for a in plain]
    starts = np.cumsum([0] + [-(-a.nbytes // _ALIGNED) * _ALIGNED for a in plain]).tolist()
    host = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    buffer = host.numpy()
    for start, a in zip(starts, plain):
        buffer[start : start + a.nbytes] = a.reshape(-1).view(np.uint8)
    moved = host.to(device, non_blocking=True)
    kinds = (torch.from_numpy(a[:0]).dtype for a in plain)
    return [moved[s : s + a.nbytes].view(kind).view(a.shape) for s, a, kind in zip(starts, plain, kinds)]
