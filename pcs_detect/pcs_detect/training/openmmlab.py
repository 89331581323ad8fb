"""Makes OpenMMLab's packages importable, or says what is missing. Import this before mmcv, mmdet or mmrotate.

mmrotate imports torchvision for one detector that is not used here; where torchvision cannot be had (there is no build of it
for every build of torch), an empty module stands in for that one import.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types

from ..errors import InstallationError
from ..extras import install

REBUILD = "MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall onedl-mmcv"


def check() -> None:
    """Raises InstallationError where they or mmcv's compiled operations cannot be imported."""
    for module, distribution in (
        ("mmengine", "onedl-mmengine"),
        ("mmcv", "onedl-mmcv"),
        ("mmdet", "onedl-mmdetection"),
    ):
        try:
            importlib.import_module(module)
        except ImportError as e:
            raise InstallationError(f"{distribution} cannot be imported ({e}); {install('mmcv')}") from e
    try:
        importlib.import_module("mmcv._ext")
    except ImportError as e:
        if "mmcv._ext" in str(e) and "No module" in str(e):
            reason = "it was installed without them"
        else:
            reason = f"they do not fit the installed torch: {e}"
        raise InstallationError(
            f"mmcv's compiled operations (rotated IoU, NMS, deformable convolution) cannot be loaded: {reason}. Build them "
            f"against this torch (about 10 minutes on two cores):\n  {REBUILD}"
        ) from e
    _import_mmrotate()


def check_cuda() -> None:
    """Raises InstallationError where the compiled operations are for CPUs only."""
    from mmcv.ops import get_compiling_cuda_version

    if get_compiling_cuda_version() == "not available":
        raise InstallationError(
            "mmcv's compiled operations were built without CUDA; train on the CPU (--device cpu), or build them with the CUDA "
            f"toolkit of this torch (nvcc):\n  FORCE_CUDA=1 {REBUILD}"
        )


def _import_mmrotate() -> None:
    absent = importlib.util.find_spec("torchvision") is None and "torchvision" not in sys.modules
    if absent:
        stand_in = types.ModuleType("torchvision")
        stand_in.transforms = types.ModuleType("torchvision.transforms")  # type: ignore[attr-defined]
        sys.modules["torchvision"] = stand_in
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for each optional library that is absent
            for part in ("datasets", "evaluation", "models", "visualization"):
                importlib.import_module(f"mmrotate.{part}")
    except ImportError as e:
        raise InstallationError(f"onedl-mmrotate cannot be imported ({e}); {install('mmcv')}") from e
    finally:
        if absent:  # other libraries look whether it is there
            sys.modules.pop("torchvision", None)


check()
