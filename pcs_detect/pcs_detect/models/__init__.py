"""The detectors that ship, and what their cards say."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..errors import DataError


def shipped(ending: str = ".onnx") -> Path:
    """The detector that comes with the package: its ONNX file, its weights (.pth) to train on from, or its card (.md).

    Raises:
        DataError: this copy of the package came without.
    """
    folder = Path(str(resources.files("pcs_detect.models")))
    files = sorted(folder.glob(f"*{ending}"))
    if len(files) != 1:
        raise DataError(f"{folder} holds {len(files)} files *{ending}, not one: this copy of pcs-detect lacks its detector")
    return files[0]
