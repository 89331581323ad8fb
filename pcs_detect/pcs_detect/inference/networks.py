"""What finds crystals in an array of grey values: ONNX Runtime, or torch where the training half is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..boxes import Floats
from ..photographs.grey import Grey


@runtime_checkable
class Network(Protocol):
    """A detector of crystals in grey values, as ``Detector`` uses it.

    source: which file it came from (file, sha256, ...), for settings.json; device: "cpu" or "cuda"; mean, deviation: grey
    values of its training images, 0..255; divisor: sides of images must be multiples of so many px; tiled: whether large
    photographs are cut into tiles for it.
    """

    source: dict[str, Any]
    device: str
    mean: float
    deviation: float
    divisor: int
    tiled: bool

    def find(self, images: list[Grey]) -> list[tuple[Floats, NDArray]]:
        """(N, 5) boxes le90 and (N,) scores in each of (H, W) grey values 0..255 of one size, suppressed."""


def open_network(
    model: str | Path | Network,
    device: str | None = None,
    *,
    config: str | Path | None = None,
    score: float = 0.2,
    iou: float = 0.3,
    amp: bool = False,
) -> Network:
    """The network of a file. Raises DataError, InputError; InstallationError where a checkpoint needs the training half."""
    if isinstance(model, Network):
        return model
    from ..training.network import CheckpointNetwork

    return CheckpointNetwork(model, device, config=config, score=score, iou=iou, amp=amp)
