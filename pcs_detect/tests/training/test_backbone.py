"""Grey images need one channel, whatever the weights were trained on; without max-pooling strides are halved."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.backbones import CSPNeXt, ResNet
from torch import nn
from torch.nn import functional as F

from pcs_detect.training.models.backbone import IMAGENET, CrystalCSPNeXt, CrystalResNet, fold_colours

greys = st.tuples(st.floats(0, 255), st.floats(1, 100))


def colours(x, order=1):
    """A grey image (B, 1, H, W), 0 .. 255, in three channels with ImageNet's normalisation (order=-1: blue first)."""
    mean, std = (torch.tensor(c[::order]).view(1, 3, 1, 1) for c in IMAGENET)
    return (x.repeat(1, 3, 1, 1) - mean) / std


def evaluated(network):
    network.eval()  # which returns nothing in mmdet
    return network


def trained(network):
    """As if trained: random norms and statistics."""
    generator = torch.Generator().manual_seed(1)
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d):
            for value in (m.weight.data, m.running_var):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            for value in (m.bias.data, m.running_mean):
                value.copy_(torch.rand(value.shape, generator=generator) - 0.5)
    return evaluated(network)


@settings(max_examples=30, deadline=None)
@given(grey=greys, mean=st.tuples(*[st.floats(0, 255)] * 3), std=st.tuples(*[st.floats(1, 100)] * 3), seed=st.integers(0, 99))
def test_folded_convolution_equals_the_colour_one_on_grey_images(grey, mean, std, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    x = 255 * torch.rand(2, 1, 9, 12, generator=generator, dtype=torch.float64)
    m, s = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (mean, std))
    folded, constant = fold_colours(weight, mean, std, grey)
    assert folded.shape == (4, 1, 5, 5)
    one = F.conv2d((x - grey[0]) / grey[1], folded) + constant.view(1, -1, 1, 1)
    torch.testing.assert_close(one, F.conv2d((x - m) / s, weight), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("grey", [(132.6, 61.2), (0.0, 255.0)])
def test_resnet_with_colour_weights_has_the_colour_networks_features(grey):
    torch.manual_seed(0)
    colour = trained(ResNet(18, base_channels=16))
    state = colour.state_dict()
    before = copy.deepcopy(state)
    network = evaluated(CrystalResNet(18, base_channels=16, grey=grey))
    network.load_state_dict(state)
    assert all(torch.equal(state[k], before[k]) for k in before)  # the caller's weights are left alone
    x = 255 * torch.rand(1, 1, 256, 256)
    with torch.no_grad():
        ours, theirs = network((x - grey[0]) / grey[1]), colour(colours(x))
    for stride, margin, a, b in zip((4, 8), (32, 64), ours[:2], theirs[:2]):  # margin: half the receptive field, px
        inner = slice(margin // stride, -margin // stride)
        torch.testing.assert_close(a[..., inner, inner], b[..., inner, inner], rtol=1e-4, atol=1e-4)
        assert b[..., inner, inner].std() > 0.01


def test_cspnext_with_colour_weights_has_the_colour_networks_stem():
    torch.manual_seed(0)
    size = {"deepen_factor": 0.167, "widen_factor": 0.375}
    colour = trained(CSPNeXt(**size))
    network = evaluated(CrystalCSPNeXt(**size))
    network.load_state_dict(colour.state_dict())
    x = 255 * torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        ours, theirs = network.stem((x - 132.6) / 61.2), colour.stem(colours(x, -1))
    torch.testing.assert_close(ours[..., 3:-3, 3:-3], theirs[..., 3:-3, 3:-3], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert [64 // f.shape[-1] for f in network(torch.zeros(1, 1, 64, 64))] == [8, 16, 32]


@pytest.mark.parametrize("network", [CrystalResNet, CrystalCSPNeXt])
def test_pretrained_files_are_folded_and_own_weights_are_left_alone(network, tmp_path):
    settings = (
        {"depth": 18, "base_channels": 16} if network is CrystalResNet else {"widen_factor": 0.25, "deepen_factor": 0.167}
    )
    parent = ResNet if network is CrystalResNet else CSPNeXt
    colour = trained(parent(**settings))
    path = tmp_path / "colour.pth"
    torch.save(colour.state_dict(), path)
    one = network(**settings, init_cfg={"type": "Pretrained", "checkpoint": str(path)})
    one.init_weights()
    two = network(**settings)
    two.load_state_dict(colour.state_dict())
    three = network(**settings)
    three.load_state_dict(two.state_dict())
    for key, value in two.state_dict().items():
        assert torch.equal(one.state_dict()[key], value), key
        assert torch.equal(three.state_dict()[key], value), key


@pytest.mark.parametrize("deep_stem", [False, True])
def test_without_max_pooling_strides_are_halved(deep_stem):
    x = torch.randn(1, 1, 64, 96)
    for max_pool, strides in ((True, (4, 8, 16, 32)), (False, (2, 4, 8, 16))):
        network = evaluated(CrystalResNet(18, base_channels=8, max_pool=max_pool, deep_stem=deep_stem))
        with torch.no_grad():
            features = network(x)
        assert [tuple(f.shape[2:]) for f in features] == [(64 // s, 96 // s) for s in strides]


def test_max_pooling_is_all_that_differs():
    torch.manual_seed(0)
    network = evaluated(CrystalResNet(18, base_channels=8, max_pool=False))
    pooled = evaluated(CrystalResNet(18, base_channels=8))
    pooled.load_state_dict(network.state_dict())
    pooled.maxpool = nn.Identity()
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        for a, b in zip(network(x), pooled(x)):
            assert torch.equal(a, b)


def test_published_stem_and_group_norm():
    network = CrystalResNet(50, deep_stem=True, norm_cfg={"type": "GN", "num_groups": 32})
    convolutions = [m for m in network.stem if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in convolutions] == [
        (1, 64, (3, 3), (2, 2)),
        (64, 64, (3, 3), (1, 1)),
        (64, 64, (3, 3), (1, 1)),
    ]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_frozen_stages_neither_learn_nor_gather_statistics():
    network = CrystalResNet(18, base_channels=8, frozen_stages=1, norm_eval=False)
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    features = network(torch.randn(2, 1, 64, 64))
    sum(f.sum() for f in features).backward()
    with torch.no_grad():
        for p in network.parameters():
            if p.grad is not None:
                p -= p.grad
    changed = {k.split(".")[0] for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"layer2", "layer3", "layer4"}
