"""Blending of a noise layer with an image (paper Eqs. 11 and 12)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_positive
from ..errors import InputError
from ..statistics import deviation, exp2_twice


def blend(image: Tensor, layer: Tensor, weight_layer: Tensor, c: float = 5.0) -> Tensor:
    """A(b, l, w) = (b + w l) / (1 + w) with w = c sigma_b l' 2^(1 - 2 l).

    image: (H, W), (C, H, W) or (B, C, H, W) float in [0, 1]; layer l and weight_layer l': values in [0, 1], shapes that
    broadcast to it. sigma_b is the population standard deviation of each image. Dark parts of the layer are reinforced up to
    twice, bright ones suppressed down to half. Returns the image's shape and dtype, in [0, 1]. Raises InputError.
    """
    if not isinstance(image, Tensor) or image.ndim not in (2, 3, 4) or not image.is_floating_point() or 0 in image.shape:
        what = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"image must be a float tensor (H, W), (C, H, W) or (B, C, H, W), got {what}")
    b = image.float()
    try:
        layer, weight_layer = (v.to(torch.float32).broadcast_to(b.shape) for v in (layer, weight_layer))
    except (RuntimeError, AttributeError) as e:
        raise InputError(
            f"layer and weight_layer must be tensors that broadcast to the image {tuple(image.shape)}, "
            f"got {_shape(layer)} and {_shape(weight_layer)}: they do not broadcast"
        ) from e
    sigma = deviation(b if b.ndim == 4 else b[None]).reshape(-1, *[1] * (b.ndim - 1))
    return blend_with(b, layer, weight_layer, sigma * check_positive("c", c, zero=True)).to(image.dtype)


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def blend_with(b: Tensor, layer: Tensor, weight_layer: Tensor, strength: Tensor) -> Tensor:
    """The same with c sigma_b given; the quotient is a convex mean, so it needs no clipping but for rounding."""
    w = exp2_twice(0.5 - layer).mul_(weight_layer).mul(strength)
    return (w * layer).add(b).div_(w.add_(1)).clamp_(0, 1)
