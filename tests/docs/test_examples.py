"""The examples run as they stand."""

import importlib.util
import sys
from pathlib import Path

import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_plain_loop_learns():
    losses = load("plain_loop").main(epochs=3)
    assert losses[-1] < losses[0]


def test_the_container_moves_masks_and_keypoints_with_the_images():
    images, masks, keypoints = load("kornia_container").main()
    assert images.shape == masks.shape == (2, 1, 96, 96)
    assert keypoints.shape == (2, 2, 2)


def test_frozen_sets_are_the_same_twice(tmp_path):
    example = load("freeze_validation")
    first, second = (example.main(out=tmp_path / name) for name in "ab")
    assert first.read_text() == second.read_text()


def test_own_steps_keep_the_laws():
    """A batch is its samples one by one, and boxes follow the half turn."""
    example = load("own_step")
    images, _ = example.main()
    assert images.shape == (4, 1, 48, 64)
    step = example.HalfTurn(p=1.0)
    box = {"boxes": torch.tensor([[10.0, 12.0, 8.0, 4.0, 0.3]]), "labels": torch.tensor([0])}
    _, (turned,) = step(torch.rand(1, 1, 48, 64), [box], index=[0], epoch=0)
    torch.testing.assert_close(turned["boxes"], torch.tensor([[54.0, 36.0, 8.0, 4.0, 0.3]]))
    batch = torch.rand(3, 1, 8, 9)
    whole = example.Gradient(p=0.7, seed=2)(batch, index=[5, 6, 7], epoch=1)
    for k in range(3):
        assert torch.equal(whole[k : k + 1], example.Gradient(p=0.7, seed=2)(batch[k : k + 1], index=[5 + k], epoch=1))


def test_the_lightning_loop_trains():
    assert load("lightning_loop").main(epochs=1) is not None
