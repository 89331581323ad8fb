"""What a user reads when OpenMMLab is not whole."""

import importlib
import itertools
import math
import subprocess
import sys

import pytest
import torch
from test_export import write_random_weights

from pcs_detect.errors import InstallationError
from pcs_detect.training import configs, openmmlab, operations
from pcs_detect.training.engine.train import running
from pcs_detect.training.network import CheckpointNetwork


def failing(name: str, error: ImportError):
    real = importlib.import_module

    def load(module: str, *args):
        if module == name:
            raise error
        return real(module, *args)

    return load


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        ("mmdet", ModuleNotFoundError("No module named 'mmdet'"), r"onedl-mmdetection.*pip install .\./pcs_detect\[train\]"),
        (
            "mmcv._ext",
            ImportError("undefined symbol: _ZN3c105"),
            "do not fit the installed torch.*undefined symbol.*\n.*\n.*MMCV_WITH_OPS=1",
        ),
        ("mmrotate.models", ImportError("cannot import name 'x'"), "onedl-mmrotate.*cannot import name"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_helps(monkeypatch, module, error, message):
    monkeypatch.setattr(importlib, "import_module", failing(module, error))
    with pytest.raises(InstallationError, match=message):
        openmmlab.check()


def test_operations_without_cuda_are_found_before_a_training_on_a_gpu(monkeypatch):
    monkeypatch.setattr("mmcv.ops.get_compiling_cuda_version", lambda: "12.8")
    openmmlab.check_operations("cuda", two_stages=True)
    monkeypatch.setattr("mmcv.ops.get_compiling_cuda_version", lambda: "not available")
    with pytest.raises(InstallationError, match=r"without CUDA.*\n.*\n.*FORCE_CUDA=1 MMCV_WITH_OPS=1"), running({}, "cuda"):
        pass


def test_the_stand_in_for_torchvision_does_not_stay():
    code = (
        "import sys, importlib.util as u; there = u.find_spec('torchvision') is not None; "
        "import pcs_detect.training.openmmlab, mmrotate.models; assert there or 'torchvision' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("shape", "turns"), [((3, 2, 8, 3, 3), 8), ((2, 3, 4, 1, 1), 2), ((1, 1, 1, 1, 1), 1)])
def test_filters_turn_without_a_compiler(shape, turns):
    """Each weight goes where its turn puts it; the backward pass is the transpose of the forward pass."""
    generator = torch.Generator().manual_seed(5)
    channels, inputs, *kernel = shape
    places = torch.stack([torch.randperm(math.prod(kernel), generator=generator) for _ in range(turns)], 1)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    turned = torch.full((channels * turns, inputs * kernel[0], *kernel[1:]), torch.nan, dtype=torch.float64)
    operations.active_rotated_filter_forward(weight, (places + 1).view(*kernel, turns), turned)
    by_turn = turned.view(channels, turns, inputs, -1)
    for place, turn in itertools.product(range(len(places)), range(turns)):
        assert torch.equal(by_turn[:, turn, :, places[place, turn]], weight.view(channels, inputs, -1)[:, :, place])

    gradient = torch.randn(turned.shape, generator=generator, dtype=torch.float64)
    back = torch.full_like(weight, torch.nan)
    operations.active_rotated_filter_backward(gradient, (places + 1).view(*kernel, turns), back)
    torch.testing.assert_close((turned * gradient).sum(), (weight * back).sum())


STEP = """
import sys
if "without" in sys.argv:
    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name == "mmcv._ext":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Absent())
from pcs_detect.training import configs, openmmlab, operations  # first: it makes mmrotate importable
import numpy as np, torch
from pcs_detect.inference.detector import Detector
from pcs_detect.models import shipped
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes
assert (sys.modules["mmcv._ext"] is operations) == ("without" in sys.argv)
torch.set_num_threads(1)
sample = DetDataSample(metainfo={"img_id": 0, "ori_shape": (96, 96), "img_shape": (96, 96), "scale_factor": (1.0, 1.0)})
boxes = torch.tensor([[30.0, 30, 34, 12, 0.4], [70, 66, 18, 13, -1.2], [24, 76, 9, 8, 0.0]])
sample.gt_instances = InstanceData(bboxes=RotatedBoxes(boxes), labels=torch.zeros(3, dtype=torch.long))
image = torch.randint(0, 256, (1, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
for name in ("rtmdet_r_narrow", "s2anet_narrow"):
    torch.manual_seed(7)
    cfg = configs.load(name, {"model.data_preprocessor.augment": None})
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).train()
    batch = model.data_preprocessor({"inputs": [image] * 2, "data_samples": [sample, sample.clone()]}, training=True)
    loss, _ = model.parse_losses(model.loss(batch["inputs"], batch["data_samples"]))
    loss.backward()
    steepness = sum(float(p.grad.double().abs().sum()) for p in model.parameters() if p.grad is not None)
    print(name, f"{float(loss):.5f} {steepness:.6g}")
drop = 180 - 60 * ((np.indices((128, 160)) // 24).sum(0) % 2)
found = Detector(shipped('.pth'), score=0.05).detect(drop.astype(np.float32))
print(len(found.scores), f"{found.boxes.sum():.3f} {found.scores.sum():.5f}")
"""


def test_steps_and_predictions_without_compiled_operations_are_the_same():
    outputs = []
    for words in ([], ["without"]):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", STEP, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0].count("\n") == 3
    assert outputs[1] == outputs[0]


def test_two_stages_need_compiled_operations(monkeypatch, tmp_path):
    weights = write_random_weights("mask_rcnn_tiny", tmp_path / "mask.pth")
    monkeypatch.setitem(sys.modules, "mmcv._ext", operations)
    message = r"two stages.*\n.*\n.*MMCV_WITH_OPS=1"
    with pytest.raises(InstallationError, match=message), running(configs.load("mask_rcnn_tiny"), "cpu"):
        pass
    with pytest.raises(InstallationError, match=message):
        CheckpointNetwork(weights, "cpu")
    with pytest.raises(InstallationError, match=r"roi_align_forward.*\n.*\n.*MMCV_WITH_OPS=1"):
        operations.roi_align_forward(1, 2, three=3)
