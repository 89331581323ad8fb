"""S2A-Net's alignment convolution, fast on CPUs too."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmrotate.models.layers.align import AlignConv
from mmrotate.registry import MODELS


@MODELS.register_module()
class CrystalAlignConv(AlignConv):
    """mmrotate's AlignConv with the same parameters and results; on a CPU its training step takes a seventh of the time.

    mmcv's deformable convolution has a tuned kernel on GPUs only. Its gradient on a CPU walks over pixels one by one, and was
    more than half the time of a small detector's training step.
    """

    def forward_single(self, x: Tensor, anchor: Tensor, stride: int) -> Tensor:
        """(B, C, H, W) features, sampled for each pixel on a grid that fills its (B, H W, 5) anchor."""
        if x.is_cuda:
            return super().forward_single(x, anchor, stride)
        height, width = x.shape[-2:]
        offsets = torch.stack([self.get_offset(a.reshape(-1, 5), (height, width), stride) for a in anchor])
        return self.relu(deformable_convolution(x, offsets, self.deform_conv.weight))


def deformable_convolution(x: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Deformable convolution (Dai et al. 2017, eq. 2) with stride 1, "same" padding and no gradient to the offsets.

    x: (B, C, H, W); offsets: (B, 2 K K, H, W) in px, down and right for each tap in turn; weight: (D, C, K, K), K odd.
    Returns (B, D, H, W). Features are interpolated linearly, zero outside.
    """
    batch, channels, height, width = x.shape
    k = weight.shape[-1]
    reach = torch.arange(k, device=x.device, dtype=x.dtype) - (k - 1) // 2
    y = torch.arange(height, device=x.device, dtype=x.dtype)[:, None] + reach.repeat_interleave(k)[:, None, None]
    x_ = torch.arange(width, device=x.device, dtype=x.dtype) + reach.repeat(k)[:, None, None]
    down, right = offsets.detach().view(batch, k * k, 2, height, width).unbind(2)
    # grid_sample's -1 and 1 are the centres of the outermost pixels, so one pixel alone gets a zero beside it; an exported
    # network takes images of any size, so there every row and column does
    any_size = torch.compiler.is_compiling()
    x = F.pad(x, (0, int(any_size or width == 1), 0, int(any_size or height == 1)))
    grid = torch.stack([(x_ + right) * (2 / (x.shape[-1] - 1)) - 1, (y + down) * (2 / (x.shape[-2] - 1)) - 1], -1)
    taps = F.grid_sample(x, grid.view(batch, k * k * height, width, 2), padding_mode="zeros", align_corners=True)
    columns = taps.view(batch, channels * k * k, height * width)
    return (weight.flatten(1) @ columns).view(batch, -1, height, width)
