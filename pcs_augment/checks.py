"""Checks of arguments and images, once, where the value comes in; errors name value, what is allowed and what to do."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dispatch import operator
from .errors import InputError

Shape = tuple[int, int, int, int]
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
OVERSHOOT = 0.01  # how far interpolation and rounding may take values past [0, 1]; bfloat16 alone rounds by 0.004
COPIES = 40  # bits of an index below the number of a copy


def check_chance(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise InputError(f"{name} must be a probability in [0, 1], got {value!r}")
    return float(value)


def check_interval(name: str, value: object, low: float, high: float) -> tuple[float, float]:
    """A pair a <= b inside [low, high]."""
    try:
        a, b = (float(v) for v in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a pair (low, high), got {value!r}") from None
    if not low <= a <= b <= high:
        raise InputError(f"{name} must satisfy {low} <= low <= high <= {high}, got {value!r}")
    return a, b


def check_integers(name: str, value: object, low: int, high: int) -> tuple[int, int]:
    """A pair of integers a <= b inside [low, high]."""
    a, b = check_interval(name, value, low, high)
    if a != int(a) or b != int(b):
        raise InputError(f"{name} must be a pair of integers, got {value!r}")
    return int(a), int(b)


def check_level(name: str, value: object) -> int:
    """A number of 8-bit grey levels."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or float(value) not in range(256):
        raise InputError(f"{name} must be a whole number of grey levels in 0 .. 255, got {value!r}")
    return int(float(value))


def check_kernels(name: str, value: object) -> tuple[int, ...]:
    """A non-empty sequence of odd kernel sizes in 1 .. 99."""
    try:
        sizes = tuple(int(v) for v in value if int(v) == v)  # type: ignore[attr-defined]
        whole = len(sizes) == len(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        sizes, whole = (), False
    if not whole or not sizes or any(k % 2 == 0 or not 1 <= k <= 99 for k in sizes):
        raise InputError(f"{name} must be a sequence of odd integers in 1 .. 99, got {value!r}")
    return sizes


def check_positive(name: str, value: object, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(float(value)):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    if float(value) < 0 or (float(value) == 0 and not zero):
        raise InputError(f"{name} must be {'at least' if zero else 'above'} 0, got {value!r}")
    return float(value)


def check_epoch(epoch: object) -> int:
    if isinstance(epoch, bool) or not isinstance(epoch, numbers.Integral) or not 0 <= int(epoch) < 2**32:
        raise InputError(f"epoch must be an integer in [0, 2**32), got {epoch!r}")
    return int(epoch)


def check_shape(shape: Sequence[int]) -> Shape:
    try:
        size = tuple(int(n) for n in shape)
    except (TypeError, ValueError):
        size = ()
    if len(size) != 4 or min(size) < 1:
        raise InputError(f"images must be (B, C, H, W) with every size at least 1, got {shape!r}")
    if max(size[2:]) > 16384:
        raise InputError(f"images may have up to 16384 px a side, got {size[2]} x {size[3]}; cut them into tiles")
    return size


def check_images(images: object) -> Tensor:
    """Type, rank and size, without looking at pixels."""
    if not isinstance(images, Tensor):
        raise InputError(f"images must be a torch.Tensor (B, C, H, W), got {type(images).__name__}")
    if images.dtype not in (*FLOATS, torch.float64, torch.uint8):
        raise InputError(f"images must be float32, float16, bfloat16, float64 or uint8, got {images.dtype}; convert them")
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(
            f"images must be (B, C, H, W) with every size at least 1, got shape {tuple(images.shape)}; "
            "add dimensions with images[None] or leave out empty batches"
        )
    check_shape(images.shape)
    check_gradient(images)
    return images


def check_gradient(images: Tensor) -> None:
    """Refuse images whose gradients would be lost."""
    if images.requires_grad and torch.is_grad_enabled():
        raise InputError(
            "images require gradients, which do not flow through augmentation; pass images.detach(), or augment under "
            "torch.no_grad()"
        )


def in_range(images: Tensor) -> Tensor:
    """A boolean scalar on the images' device: every value in [0, 1], give or take 0.01 (False for NaN)."""
    if images.dtype == torch.uint8:
        return torch.ones((), dtype=torch.bool, device=images.device)
    low, high = images.aminmax()
    return (low >= -OVERSHOOT) & (high <= 1 + OVERSHOOT)


def check_values(valid: bool, images: Tensor) -> None:
    if not valid:
        low, high = (float(v) for v in images.float().aminmax())
        what = "NaN" if low != low or high != high else f"[{low:.8g}, {high:.8g}]"
        raise InputError(
            f"image values span {what}; expected floats in [0, 1], up to {OVERSHOOT} beyond are clamped (divide 8-bit values "
            "by 255, or pass uint8)"
        )


@operator(
    "as_float(Tensor images) -> Tensor",
    fake=lambda images: torch.empty(images.shape, dtype=torch.float32, device=images.device),
)
def as_float(images: Tensor) -> Tensor:
    """A contiguous float32 copy, clamped to [0, 1]; uint8 is divided by 255."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32, copy=True, memory_format=torch.contiguous_format).div_(255)
    return images.to(torch.float32, copy=True, memory_format=torch.contiguous_format).clamp_(0, 1)


@operator("load(Tensor images, Tensor(a!) out, Tensor(b!) valid) -> ()")
def load(images: Tensor, out: Tensor, valid: Tensor) -> None:
    """``as_float`` of a batch into ``out``; valid (B,) becomes false where a value is out of range."""
    out.copy_(images)
    if images.dtype == torch.uint8:
        out.div_(255)
    else:
        out.clamp_(0, 1)
    valid.copy_(in_range(images))


def check_index(index: Any, batch: int) -> NDArray[np.int64]:
    """(B,) keys of (B,) integers, or of (B, 2) pairs (index, number of the copy)."""
    if index is None:
        return np.arange(batch)
    rows = np.asarray(index.cpu() if isinstance(index, Tensor) else index)
    pairs = rows.shape == (batch, 2)
    whole = (pairs or rows.shape == (batch,)) and rows.dtype.kind in "iu"
    if not whole or int(rows.min()) < 0 or int(rows.max()) >= 2**63:
        raise InputError(
            f"index must be {batch} integers in [0, 2**63), one per image, or ({batch}, 2) pairs (index, copy), got {index!r}"
        )
    if not pairs:
        return rows.astype(np.int64)
    if int(rows[:, 0].max()) >= 2**COPIES or int(rows[:, 1].max()) >= 2 ** (63 - COPIES):
        raise InputError(f"pairs (index, copy) must be below (2**{COPIES}, 2**{63 - COPIES}), got {index!r}")
    return rows[:, 0].astype(np.int64) | rows[:, 1].astype(np.int64) << COPIES
