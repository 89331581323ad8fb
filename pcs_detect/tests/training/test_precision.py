"""Training in bfloat16 on a CPU: the same network, nearly the same numbers, in training only."""

import copy
from types import SimpleNamespace

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmrotate.registry import MODELS

from pcs_detect.training import configs
from pcs_detect.training.engine.precision import Bfloat16Hook


def network():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmrotate"):
        return MODELS.build(ConfigDict(configs.load("rtmdet_r_narrow").model))


def outputs(model, images):
    return [t for level in model.bbox_head(model.extract_feat(images)) for t in level]


def test_training_is_nearly_the_same_and_evaluation_exactly():
    plain = network()
    fast = copy.deepcopy(plain)
    Bfloat16Hook().before_run(SimpleNamespace(model=fast))
    images = torch.randn(2, 1, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for a, b in zip(outputs(plain.eval(), images), outputs(fast.eval(), images)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)  # another memory layout, another order of sums
        differs = 0.0
        for a, b in zip(outputs(training(plain), images), outputs(training(fast), images)):
            assert b.dtype == torch.float32
            differs = max(differs, float((a - b).norm() / a.norm()))
    assert 0 < differs < 0.05


def training(model):
    """In training, but for the norms: those of a batch blow up the rounding of a network that has learnt nothing."""
    for part in model.train().modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eval()
    return model


def test_a_copy_of_the_model_runs_its_own_weights():
    fast = network().train()
    Bfloat16Hook().before_run(SimpleNamespace(model=fast))
    other = copy.deepcopy(fast)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
        zeros = other.backbone(torch.ones(1, 1, 64, 64))
    assert all(not z.any() for z in zeros)
    assert any(p.any() for p in fast.parameters())
