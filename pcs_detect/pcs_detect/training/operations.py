"""What stands in for mmcv's compiled operations where they are absent, so that a CPU trains without a compiler.

RTMDet-R and S2A-Net need one of them on a CPU, S2A-Net's rotating filters, which is written here in torch; overlaps,
suppression, alignment and losses have implementations of their own (``models``). Every other operation names itself when it is
called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor

from ..errors import InstallationError

TOOLS = 'pip install ninja psutil "setuptools>=77"'
REBUILD = "MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall onedl-mmcv"
BUILD = f"Build them against this torch, with a C++ compiler (10 to 40 minutes on two cores):\n  {TOOLS}\n  {REBUILD}"


def active_rotated_filter_forward(weight: Tensor, indices: Tensor, output: Tensor) -> None:
    """Turn filters by r angles (oriented response networks, Zhou et al. 2017).

    weight: (D, C, O, K, K), a filter for each of O orientations; indices: (O, K, K, r), from 1, the place among O K K that
    each weight takes in each turn; output: (D r, C O, K, K), written to.
    """
    places = indices.flatten(0, 2).long() - 1
    channels, inputs = weight.shape[:2]
    turned = output.view(channels, places.shape[1], inputs, len(places))
    for turn, place in enumerate(places.T):
        turned[:, turn, :, place] = weight.reshape(channels, inputs, len(places))


def active_rotated_filter_backward(gradient: Tensor, indices: Tensor, output: Tensor) -> None:
    """Write the gradient of the weights to ``output`` (D, C, O, K, K), given that of the turned filters (D r, C O, K, K)."""
    places = indices.flatten(0, 2).long() - 1
    channels, inputs = output.shape[:2]
    turned = gradient.reshape(channels, places.shape[1], inputs, len(places))
    output.zero_()
    for turn, place in enumerate(places.T):
        output += turned[:, turn][:, :, place].view_as(output)


def get_compiling_cuda_version() -> str:
    """What mmcv says of operations without CUDA."""
    return "not available"


def get_compiler_version() -> str:
    """What mmcv says where nothing was compiled."""
    return "not available"


def __getattr__(name: str) -> Callable[..., NoReturn]:  # an operation that mmcv looks up when it is imported
    if name.startswith("__"):
        raise AttributeError(name)

    def absent(*_: Any, **__: Any) -> NoReturn:
        raise InstallationError(f"{name} is one of mmcv's compiled operations, which this installation lacks. {BUILD}")

    return absent
