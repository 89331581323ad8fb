"""Sums that feed back into pixels, exact and therefore independent of batch shape, thread count and device.

A floating-point sum changes with the order of its terms. Pixels in [0, 1] are therefore truncated to multiples of 2^-32 and
summed as 64-bit integers; a transcendental function per pixel is replaced by a polynomial of plain products and sums, because
vectorised and scalar library versions differ in the last place.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ONE = 2.0**32


def mean(images: Tensor) -> Tensor:
    """(B, ...) float32 in [0, 1] to (B,) means, exact to 2^-32 before rounding to float32."""
    flat = images.flatten(1)
    total = (flat * _ONE).to(torch.int64).sum(1)
    return total.to(torch.float32) * (1.0 / (_ONE * flat.shape[1]))


def deviation(images: Tensor) -> Tensor:
    """(B, ...) float32 in [0, 1] to (B,) population standard deviations."""
    flat = images.flatten(1)
    centred = flat - mean(flat)[:, None]
    total = centred.square_().mul_(_ONE).to(torch.int64).sum(1)
    return sqrt(total.to(torch.float32) * (1.0 / (_ONE * flat.shape[1])))


def sqrt(x: Tensor) -> Tensor:
    """Square roots of float32 values, rounded correctly; torch's own float32 ones may be off in the last place."""
    return x.sqrt() if x.device.type == "mps" else x.double().sqrt_().float()


# near-minimax for 2^z on [-1/2, 1/2], relative error 1e-7 (Chebyshev interpolation of degree 5)
EXP2 = (1.00000008, 0.693147188, 0.240221075, 5.55035711e-2, 9.67603192e-3, 1.33908634e-3)


def exp2_twice(z: Tensor) -> Tensor:
    """2^(2 z) for z in [-1/2, 1/2], by products and sums only."""
    out = z * EXP2[5]
    for c in EXP2[4:0:-1]:
        out.add_(c).mul_(z)
    return out.add_(EXP2[0]).square_()


def histogram(values: Tensor, bins: int) -> Tensor:
    """(R, n) int32 or int64 in [0, bins) to (R, bins) int64 counts, without synchronising."""
    if values.device.type == "cpu":
        return torch.stack([torch.bincount(row, minlength=bins) for row in values])
    counts = torch.zeros(values.shape[0], bins, dtype=torch.int64, device=values.device)
    ones = torch.ones((), dtype=torch.int64, device=values.device).expand(values.shape)
    return counts.scatter_add_(1, values.long(), ones)
