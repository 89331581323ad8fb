"""What a user reads when OpenMMLab is not whole."""

import importlib
import subprocess
import sys

import pytest

from pcs_detect.errors import InstallationError
from pcs_detect.training import openmmlab
from pcs_detect.training.engine.train import running


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
        ("mmdet", ModuleNotFoundError("No module named 'mmdet'"), "onedl-mmdetection.*\n.*pip install"),
        ("mmcv._ext", ModuleNotFoundError("No module named 'mmcv._ext'"), "installed without them.*\n.*MMCV_WITH_OPS=1"),
        ("mmcv._ext", ImportError("undefined symbol: _ZN3c105"), "do not fit the installed torch.*undefined symbol"),
        ("mmrotate.models", ImportError("cannot import name 'x'"), "onedl-mmrotate.*cannot import name"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_helps(monkeypatch, module, error, message):
    monkeypatch.setattr(importlib, "import_module", failing(module, error))
    with pytest.raises(InstallationError, match=message):
        openmmlab.check()


def test_operations_without_cuda_are_found_before_a_training_on_a_gpu(monkeypatch):
    monkeypatch.setattr("mmcv.ops.get_compiling_cuda_version", lambda: "12.8")
    openmmlab.check_cuda()
    monkeypatch.setattr("mmcv.ops.get_compiling_cuda_version", lambda: "not available")
    with pytest.raises(InstallationError, match=r"without CUDA.*\n.*FORCE_CUDA=1 MMCV_WITH_OPS=1"), running({}, "cuda"):
        pass


def test_the_stand_in_for_torchvision_does_not_stay():
    code = (
        "import sys, importlib.util as u; there = u.find_spec('torchvision') is not None; "
        "import pcs_detect.training.openmmlab, mmrotate.models; assert there or 'torchvision' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
