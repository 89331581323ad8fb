"""Images of any type as float32 in [0, 1], in one pass."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import clip, launch

_BLOCK = 2048


@triton.jit(do_not_specialize=["n"])
def _converted(out, images, n, EIGHT_BITS: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(images + place, place < n).to(tl.float32)
    if EIGHT_BITS:
        value = tl.div_rn(x, x * 0.0 + 255.0)
    else:
        value = tl.where(x == x, clip(x), x)  # NaN stays
    tl.store(out + place, value, place < n)


def as_float(images: Tensor) -> Tensor:
    given = images.contiguous()
    out = torch.empty(given.shape, dtype=torch.float32, device=given.device)
    n = given.numel()
    launch(_converted, triton.cdiv(n, _BLOCK), out, given, n, EIGHT_BITS=given.dtype == torch.uint8, BLOCK=_BLOCK)
    return out
