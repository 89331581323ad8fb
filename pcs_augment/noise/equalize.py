"""Histogram equalisation H: a texture's grey values become uniform on [0, 1].

Exact equalisation is (rank + 1/2) / n with the middle rank for ties; a flat texture becomes 0.5. Sorting is too slow, and 8-bit
histograms (the published code) are off by up to half their heaviest bin. Here a first histogram finds where the mass is and a
second one spreads its bins accordingly, so that every second bin holds little mass or values that are (nearly) tied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

_COARSE = 1024
_FINE = 4096


def equalize(texture: Tensor) -> Tensor:
    """Equalise each image of (..., H, W) real values to float32 uniform on [0, 1].

    Error against exact equalisation: at most 0.002 on average and 0.01 anywhere, on every texture that the pipeline can
    draw at 32 x 32 and above. Raises InputError for fewer than two dimensions, no pixels, or (on the CPU) non-finite values.
    """
    flat = _checked(texture).flatten(-2).reshape(-1, texture.shape[-2] * texture.shape[-1])
    return torch.cat([_equalize_rows(rows) for rows in flat.split(_rows_at_once(flat))]).reshape(texture.shape)


def _checked(texture: Tensor) -> Tensor:
    if not isinstance(texture, Tensor) or texture.ndim < 2 or 0 in texture.shape:
        shape = tuple(texture.shape) if isinstance(texture, Tensor) else type(texture).__name__
        raise InputError(f"a texture must be a tensor (..., H, W) with at least one pixel, got {shape}")
    if texture.is_complex():
        raise InputError(f"a texture must be real, got {texture.dtype}")
    values = texture.float()
    if values.device.type == "cpu" and not bool(torch.isfinite(values).all()):
        raise InputError("a texture must be finite, got NaN or infinity")
    return values


def _rows_at_once(flat: Tensor) -> int:
    return 1 if flat.device.type == "cpu" else max(1, 2**25 // flat.shape[1])


def _equalize_rows(x: Tensor) -> Tensor:
    """(T, n) float32."""
    t, n = x.shape
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    coarse = _bin(x, low, high, torch.full_like(low, _COARSE))
    counts = _count(coarse, _COARSE)
    bin_low = x.new_full((t, _COARSE), float("inf")).scatter_reduce_(1, coarse, x, "amin")
    bin_high = x.new_full((t, _COARSE), float("-inf")).scatter_reduce_(1, coarse, x, "amax")
    share = -(-counts * _FINE // n)  # fine bins for each coarse one, in proportion to its mass
    first = share.cumsum(1) - share
    gather = [v.gather(1, coarse) for v in (bin_low, bin_high, share.float(), first)]
    fine = _bin(x, *gather[:3]) + gather[3]
    counts = _count(fine, _COARSE + _FINE)
    rank = (2 * counts.cumsum(1) - counts).float() * (0.5 / n)  # of a bin's middle; counts are exact in float32 up to 2^24
    return rank.gather(1, fine)


def _bin(x: Tensor, low: Tensor, high: Tensor, bins: Tensor) -> Tensor:
    span = high - low
    scale = torch.where(span > 0, bins / span, torch.zeros_like(span)).clamp_(max=3e38)
    return ((x - low) * scale).clamp_(min=0).minimum(bins - 1).long()


def _count(index: Tensor, bins: int) -> Tensor:
    counts = torch.zeros(len(index), bins, dtype=torch.int64, device=index.device)
    return counts.scatter_add_(1, index, torch.ones_like(index))


def equalize_8bit(texture: Tensor) -> Tensor:
    """As the published code: stretch to 0 .. 255, round, equalise with a 256-bin histogram as OpenCV's equalizeHist.

    (..., H, W) to float32 multiples of 1/255; a flat texture becomes 0.5.
    """
    x = _checked(texture).flatten(-2).reshape(-1, texture.shape[-2] * texture.shape[-1])
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    span = high - low
    grey = ((x - low) * (255 / span.clamp(min=1e-30))).round_().clamp_(0, 255).long()
    counts = _count(grey, 256)
    # grey value 0 always occurs, and OpenCV leaves the first occupied bin out of the sum
    rest = (x.shape[1] - counts[:, :1]).clamp(min=1)
    table = ((counts.cumsum(1) - counts[:, :1]).float() * (255 / rest)).round_() / 255
    out = torch.where(span > 0, table.gather(1, grey), torch.full_like(x, 0.5))
    return out.reshape(texture.shape)
