"""Makes OpenMMLab's packages importable, or says what is missing. Import this before mmcv, mmdet or mmrotate.

mmrotate imports torchvision for one detector that is not used here; where torchvision cannot be had (there is no build of it
for every build of torch), an empty module stands in for that one import. ``operations`` stands in for mmcv's compiled
operations where it was installed without them.
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


def check() -> None:
    """Raises InstallationError where they cannot be imported, or mmcv's compiled operations do not fit torch."""
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
    except ModuleNotFoundError:
        from . import operations

        sys.modules["mmcv._ext"] = operations
    except ImportError as e:
        from .operations import BUILD

        raise InstallationError(
            "mmcv's compiled operations (rotated IoU, NMS, deformable convolution) do not fit the installed torch: "
            f"{e}. {BUILD}"
        ) from e
    _import_mmrotate()


def check_operations(device: str, two_stages: bool) -> None:
    """Raises InstallationError where a detector, of one or two stages, needs operations that were not compiled for a device."""
    from mmcv.ops import get_compiling_cuda_version

    from . import operations

    if device == "cuda" and get_compiling_cuda_version() == "not available":
        raise InstallationError(
            "mmcv's compiled operations were built without CUDA; train on the CPU (--device cpu), or build them with the CUDA "
            f"toolkit of this torch (nvcc):\n  {operations.TOOLS}\n  FORCE_CUDA=1 {operations.REBUILD}"
        )
    if two_stages and sys.modules["mmcv._ext"] is operations:
        raise InstallationError(
            "detectors of two stages need mmcv's compiled operations, which this installation lacks; RTMDet-R and S2A-Net do "
            f"without them on a CPU. {operations.BUILD}"
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
