"""What finds crystals in an array of grey values: ONNX Runtime, or torch where the training half is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..boxes import Floats
from ..errors import InputError, InstallationError
from ..extras import TRAINING, install
from ..models import shipped
from ..photographs.grey import Grey
from .look import Look


@runtime_checkable
class Network(Protocol):
    """A detector of crystals in grey values, as ``Detector`` uses it.

    Attributes:
        source: which file it came from (file, sha256, ...), for settings.json.
        device: "cpu" or "cuda".
        mean, deviation: grey values of its training images, 0..255.
        divisor: sides of images must be multiples of so many px; it must divide 64 where photographs are cut into tiles.
        tiled: whether large photographs are cut into tiles for it.
        look: how it looks at photographs by default.
    """

    source: dict[str, Any]
    device: str
    mean: float
    deviation: float
    divisor: int
    tiled: bool
    look: Look

    def find(self, images: list[Grey]) -> list[tuple[Floats, NDArray]]:
        """(N, 5) boxes le90 and (N,) scores in each of (H, W) grey values 0..255 of one size, suppressed."""


def open_network(
    model: str | Path | Network | None = None,
    device: str | None = None,
    *,
    config: str | Path | None = None,
    score: float | None = None,
    iou: float | None = None,
    amp: bool = False,
) -> Network:
    """The network of a file.

    Args:
        model: None for the one that comes with the package, an .onnx file, a checkpoint, or a network of your own.
        device: "cpu", "cuda", or None for the GPU where one can be used.
        config: configuration of a checkpoint that does not hold its own.
        score, iou: None for what suits the network.
        amp: mixed precision, of checkpoints on a GPU.

    Raises:
        DataError: the file is missing, damaged or of another kind.
        InputError: options that do not fit.
        InstallationError: a checkpoint where the training half is not installed.
    """
    if model is not None and not isinstance(model, str | Path):
        if not isinstance(model, Network):
            raise InputError(f"a {type(model).__name__} is no network; give a file, or an object with what Network says")
        return model
    path = shipped() if model is None else Path(model)
    if path.suffix.lower() != ".onnx":
        return _checkpoint(path, device, config, score, iou, amp)
    from .onnx_network import OnnxNetwork

    if config is not None or amp:
        raise InputError(f"{path.name} is an ONNX file: config and amp are for checkpoints")
    return OnnxNetwork(path, device, score=score, iou=iou)


def _checkpoint(
    path: Path, device: str | None, config: str | Path | None, score: float | None, iou: float | None, amp: bool
) -> Network:
    try:  # by name: nothing in this half imports the other one, which need not be installed
        found: Any = importlib.import_module("pcs_detect.training.network")
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in TRAINING:
            raise
        raise InstallationError(
            f"{path} is a checkpoint, which needs the training half ({e.name} is not installed). Use the detector that comes "
            f"with pcs-detect, or one that 'pcs-detect export' wrote (.onnx), or {install('mmcv')}"
        ) from e
    return found.CheckpointNetwork(path, device, config=config, score=score, iou=iou, amp=amp)
