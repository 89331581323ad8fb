"""Backbones for grey images: one input channel, also with weights for three, and ResNet without max-pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmdet.models.backbones import CSPNeXt, ResNet
from mmrotate.registry import MODELS

# means and deviations of ImageNet's red, green and blue (0 .. 255), which pretrained weights have seen subtracted and divided
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
Grey = tuple[float, float]
Colours = tuple[Sequence[float], Sequence[float]]


def fold_colours(weight: Tensor, mean: Sequence[float], std: Sequence[float], grey: Grey) -> tuple[Tensor, Tensor]:
    """A convolution of grey images in place of one of colour images.

    weight: (O, 3, kH, kW) of a convolution that expects (x_c - mean_c) / std_c in channel c; grey: the (mean, std) with which
    grey images x are normalised to u = (x - m) / s. A grey image repeated in three channels has
    (x - mean_c) / std_c = (s / std_c) u + (m - mean_c) / std_c, so the colour convolution equals the returned weight
    (O, 1, kH, kW) on u plus the returned constant (O,), except where padding takes part: zeros stand for another grey value
    there.
    """
    m, s = grey
    scale = weight.new_tensor([s / d for d in std]).view(1, -1, 1, 1)
    shift = weight.new_tensor([(m - c) / d for c, d in zip(mean, std, strict=True)]).view(1, -1, 1, 1)
    return (weight * scale).sum(1, keepdim=True), (weight * shift).sum((1, 2, 3))


def _fold_into(state: dict[str, Any], convolution: nn.Conv2d, names: tuple[str, str], colours: Colours, grey: Grey) -> None:
    """Fold the first convolution of a state where it has three input channels and the model one.

    names: of the convolution and of the batch norm after it, whose running mean takes the constant; other norms have none.
    """
    weight, running = names[0] + ".weight", names[1] + ".running_mean"
    if weight in state and state[weight].shape[1:2] == (3,) and convolution.in_channels == 1:
        state[weight], constant = fold_colours(state[weight], *colours, grey)
        if running in state:
            state[running] = state[running] - constant


@MODELS.register_module()
class CrystalResNet(ResNet):
    """mmdet's ResNet for grey images.

    max_pool=False skips the max-pooling after the first convolution and so halves every stride: C2 .. C5 have 2 .. 16
    (paper: Machine learning). grey: the (mean, std) that the preprocessor normalises with. ImageNet weights for three channels
    are folded into one when they are loaded (``fold_colours``), so that a grey image meets the features that it would have met
    repeated in three channels with ImageNet's own normalisation; exactly, but for what zero padding reaches. deep_stem=True is
    the published stem: three 3 x 3 convolutions that all have stem_channels outputs (in mmdet the first two have half).
    """

    def __init__(
        self, depth: int, in_channels: int = 1, max_pool: bool = True, grey: Grey = (132.6, 61.2), **arguments: Any
    ) -> None:
        super().__init__(depth, in_channels=in_channels, **arguments)
        self.grey = grey
        if not max_pool:
            self.maxpool = nn.Identity()

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        super()._make_stem_layer(in_channels, stem_channels)
        if not self.deep_stem:
            return
        layers: list[nn.Module] = []
        for inputs, stride in ((in_channels, 2), (stem_channels, 1), (stem_channels, 1)):
            layers += [
                build_conv_layer(self.conv_cfg, inputs, stem_channels, 3, stride=stride, padding=1, bias=False),
                build_norm_layer(self.norm_cfg, stem_channels)[1],
                nn.ReLU(inplace=True),
            ]
        self.stem = nn.Sequential(*layers)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if not self.deep_stem:  # whose shapes are no pretrained network's
            names = prefix + "conv1", prefix + self.norm1_name
            _fold_into(state_dict, self.conv1, names, IMAGENET, self.grey)
        super()._load_from_state_dict(state_dict, prefix, *rest)


@MODELS.register_module()
class CrystalCSPNeXt(CSPNeXt):
    """mmdet's CSPNeXt for grey images; three-channel weights (trained on blue, green, red) are folded as in CrystalResNet."""

    def __init__(self, in_channels: int = 1, grey: Grey = (132.6, 61.2), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.grey = grey
        first, old = self.stem[0], self.stem[0].conv
        first.in_channels = in_channels
        first.conv = nn.Conv2d(in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        names = prefix + "stem.0.conv", prefix + "stem.0.bn"
        _fold_into(state_dict, self.stem[0].conv, names, (IMAGENET[0][::-1], IMAGENET[1][::-1]), self.grey)
        super()._load_from_state_dict(state_dict, prefix, *rest)
