"""Blending of a noise layer with an image (paper Eqs. 11 and 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..checks import check_positive
from ..errors import InputError
from ..sums import deviation, exp2_twice

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


def blend(
    image: Float[Tensor, "*B H W"], layer: Float[Tensor, "*#B #H #W"], weight_layer: Float[Tensor, "*#B #H #W"], c: float = 5.0
) -> Float[Tensor, "*B H W"]:
    """Blend an image b with a layer l: A(b, l, w) = (b + w l) / (1 + w), w = c sigma_b l' 2^(1 - 2 l) (paper, Eqs. 11, 12).

    sigma_b is the population standard deviation of each image. Dark parts of the layer are reinforced up to twice, bright ones
    suppressed down to half.

    Args:
        image: b, float in [0, 1]: (H, W), (C, H, W) or (B, C, H, W).
        layer: l, values in [0, 1], of a shape that broadcasts to the image's.
        weight_layer: l', likewise.
        c: strength, at least 0; 5 as published.

    Returns:
        The image's shape and dtype, values in [0, 1].

    Raises:
        InputError: an argument of another type, or shapes that do not broadcast.

    Examples:
        >>> image = images[0].float() / 255
        >>> l, w = (pa.noise_layer(pa.perlin([20, 60], (384, 384), seed=s)) for s in (1, 2))
        >>> pa.blend(image, l, w).shape
        torch.Size([1, 384, 384])
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


def blend_with(
    b: Float32[Tensor, "*B H W"],
    layer: Float32[Tensor, "*#B H W"],
    weight_layer: Float32[Tensor, "*#B H W"],
    strength: Float32[Tensor, "*#B 1 1"],
) -> Float32[Tensor, "*B H W"]:
    """The same with c sigma_b given; the quotient is a convex mean, so it needs no clipping but for rounding."""
    w = exp2_twice(0.5 - layer).mul_(weight_layer).mul(strength)
    return (w * layer).add(b).div_(w.add_(1)).clamp_(0, 1)
