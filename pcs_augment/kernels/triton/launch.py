"""What every Triton kernel here shares: how it is launched, and which way its arithmetic rounds.

Products and sums are never contracted (``enable_fp_fusion=False``), quotients and square roots are the correctly rounded ones:
the same bits as the torch functions on any device. Grids are one-dimensional, so that no list is too long for them.

An image may have 2^31 values and more, one channel has at most 2^28. What depends on the draw alone is not specialised: of
each kernel one variant is compiled for an image size, not another when a number happens to be 1 or a multiple of 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ... import transfer
from ...transfer import all_to_device

SCRATCH_PX = 2**25  # pixels of images between two kernels, at 4 bytes each
TILE_X, TILE_Y = 128, 16  # pixels of a program; wide rows, since memory is read along x


def launch(kernel: Any, programs: int, *args: Any, num_warps: int = 4, **constants: Any) -> None:
    """Run so many programs of a kernel on the device of its first argument."""
    if programs <= 0:
        return
    device = args[0].device
    if device.type == "meta" and transfer.recording is not None:
        transfer.recording.launched(kernel, programs, *args, num_warps=num_warps, **constants)
        return
    # Triton launches on the current device, which need not be the tensors'
    with torch.cuda.device(device if device.type == "cuda" else -1):
        kernel[(programs,)](*args, num_warps=num_warps, enable_fp_fusion=False, **constants)


def tiles(height: int, width: int, rows: int = TILE_Y) -> tuple[int, int]:
    """How many tiles an image has along x, and in all."""
    across = triton.cdiv(width, TILE_X)
    return across, across * triton.cdiv(height, rows)


def in_goes(images: int, pixels: int) -> Iterator[slice]:
    """Consecutive images, so many at once that what is kept of each of their ``pixels`` stays bounded."""
    at_once = max(1, SCRATCH_PX // max(pixels, 1))
    return (slice(a, min(a + at_once, images)) for a in range(0, images, at_once))


def sent(images: Tensor, *columns: Tensor) -> list[Tensor]:
    """Columns on the host to the images' device, by one copy."""
    return all_to_device(images.device, *(c.numpy() for c in columns))


def channels_of(images: Tensor) -> tuple[int, int, int]:
    """(C, H, W) of a batch, contiguous as kernels take it for granted."""
    if not images.is_contiguous():
        raise ValueError(f"kernels take contiguous images, got strides {images.stride()}")
    _, channels, height, width = images.shape
    return channels, height, width


@triton.jit
def clip(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@triton.jit
def tile_of(tile, across, TX: tl.constexpr, TY: tl.constexpr):
    """(TY, 1) rows and (1, TX) columns of a tile."""
    return (tile // across) * TY + tl.arange(0, TY)[:, None], (tile % across) * TX + tl.arange(0, TX)[None, :]
