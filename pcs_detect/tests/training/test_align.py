"""The alignment convolution against mmcv's deformable convolution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import DeformConv2d
from mmrotate.models.layers.align import AlignConv

from pcs_detect.training.models.align import CrystalAlignConv, deformable_convolution


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 4),
    k=st.sampled_from([1, 3, 5]),
    reach=st.floats(0, 6),
    seed=st.integers(0, 99),
)
def test_features_and_gradients_are_those_of_mmcv(height, width, channels, k, reach, seed):
    torch.manual_seed(seed)
    x = torch.randn(2, channels, height, width, requires_grad=True)
    theirs = DeformConv2d(channels, 3, k, padding=(k - 1) // 2)
    offsets = torch.randn(2, 2 * k * k, height, width) * reach
    expected = theirs(x, offsets)
    got = deformable_convolution(x, offsets, theirs.weight)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)
    upstream = torch.randn_like(expected)
    for mine, other in zip(
        torch.autograd.grad(got, [x, theirs.weight], upstream), torch.autograd.grad(expected, [x, theirs.weight], upstream)
    ):
        torch.testing.assert_close(mine, other, atol=5e-5, rtol=1e-4)


def test_without_offsets_it_is_a_convolution():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 6, 5), torch.randn(4, 3, 3, 3)
    got = deformable_convolution(x, torch.zeros(1, 18, 6, 5), weight)
    torch.testing.assert_close(got, torch.nn.functional.conv2d(x, weight, padding=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (1, 5), (3, 1)])
def test_the_module_is_mmrotates_with_the_same_parameters(size):
    torch.manual_seed(0)
    mine, theirs = CrystalAlignConv(4, 3, strides=[4, 8]), AlignConv(4, 3, strides=[4, 8])
    theirs.load_state_dict(mine.state_dict())
    height, width = size
    features = [torch.randn(2, 4, height, width), torch.randn(2, 4, height, width)]
    anchors = [
        [torch.rand(height * width, 5) * torch.tensor([4.0 * width, 4.0 * height, 20, 10, 3]) for _ in features]
        for _ in range(2)
    ]
    for a, b in zip(mine(features, anchors), theirs(features, anchors)):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)
