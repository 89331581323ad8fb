"""Detectors as files that run without the detection toolbox: TorchScript, torch.export, ONNX.

The network with the decoding of its boxes is exported, for one image of a fixed size. Suppression of overlapping boxes is not:
rotated non-maximum suppression is no operation of ONNX or of PyTorch, so the file gives every box with its score, and
``suppressed`` (NumPy in, NumPy out) makes crystals of them. Detectors of two stages (Oriented R-CNN, Mask R-CNN) pick a
varying number of regions amid the network, through compiled operations of the toolbox: they cannot be exported. Nor, here,
can RTMDet-R.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..files import written

from . import boxes  # isort: skip  # first: it makes mmrotate importable
from . import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmrotate.models.detectors import RefineSingleStageDetector
from mmrotate.models.utils import ORConv2d

from ..errors import InputError
from ..inference.suppression import kept_ranks
from .engine.loading import Loaded, load_detector

STRIDE = 32  # sides of the image: multiples of this, as in training


class DenseDetector(nn.Module):
    """S2A-Net from grey values to boxes, without suppression.

    forward: image (1, 1, H, W) float32, grey values 0 .. 255 -> boxes (A, 5) float32, cx, cy, w, h, theta in px and radians,
    w >= h, theta in [-pi/2, pi/2), clockwise on screen, pixel i spanning [i, i + 1), and scores (A,) in 0 .. 1; one for each
    place of each level.
    """

    network: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, RefineSingleStageDetector):
            raise InputError(f"{type(model).__name__} cannot be exported; S2A-Net can")
        self.network = _plain(copy.deepcopy(model)).eval()
        self.mean, self.deviation = float(model.data_preprocessor.mean), float(model.data_preprocessor.std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        first, stages = self.network.bbox_head_init, self.network.bbox_head_refine
        features = self.network.extract_feat((image - self.mean) / self.deviation)
        found = first(features)
        rois = first.filter_bboxes(*found)
        for stage in stages:
            found = stage(stage.feature_refine(features, rois))
            rois = stage.refine_bboxes(*found, rois=rois)
        every = torch.cat([getattr(b, "tensor", b) for b in rois[0]])
        height, width = image.shape[-2:]
        centres = torch.stack([every[:, 0].clamp(0, width - 1), every[:, 1].clamp(0, height - 1)], -1)  # as the toolbox does
        scores = [s.permute(0, 2, 3, 1).reshape(-1).sigmoid() for s in found[0]]
        return boxes.to_le90(torch.cat([centres, every[:, 2:]], -1)), torch.cat(scores)


def export(
    checkpoint: str | Path, out: str | Path, size: tuple[int, int] = (384, 384), config: str | Path | None = None
) -> None:
    """Write a detector as ``out``: .ts TorchScript, .pt2 torch.export, .onnx ONNX (needs onnx and onnxscript).

    size: (H, W) px of the image that it will take, multiples of 32. checkpoint, config: see ``loading.load_detector``. Raises
    InputError, DataError.
    """
    path = Path(out)
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: a detector is exported to a file ending in {', '.join(WRITERS)}")
    if any(s < STRIDE or s % STRIDE for s in size):
        raise InputError(f"size is {size[0]} x {size[1]}; both sides must be multiples of {STRIDE} px")
    loaded: Loaded = load_detector(checkpoint, config)
    dense = DenseDetector(loaded.model).eval()
    image = torch.randint(0, 256, (1, 1, *size), generator=torch.Generator().manual_seed(0)).float()
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), warnings.catch_warnings(), written(path) as temporary:
        warnings.simplefilter("ignore")  # torch's about itself
        WRITERS[path.suffix](dense, image, temporary)


def suppressed(
    found: ArrayLike, scores: ArrayLike, score: float = 0.2, iou: float = 0.3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What remains of the boxes (A, 5) and scores (A,) of an exported detector: (K, 5) and (K,), best first.

    score: least score; iou: of boxes that overlap by more, the one with the highest score stays (SPEC section 4).
    """
    every, rates = np.asarray(found, np.float64).reshape(-1, 5), np.asarray(scores, np.float64).reshape(-1)
    order = np.argsort(-rates, kind="stable")
    order = order[rates[order] >= score]
    order = order[kept_ranks(every[order], iou)]
    return every[order], rates[order]


def _torchscript(dense: DenseDetector, image: Tensor, path: Path) -> None:
    traced = torch.jit.trace(dense, image)
    torch.jit.save(torch.jit.freeze(traced), str(path))


def _torch_export(dense: DenseDetector, image: Tensor, path: Path) -> None:
    program = torch.export.export(dense, (image,))
    with path.open("wb") as file:
        torch.export.save(program, file)


def _onnx(dense: DenseDetector, image: Tensor, path: Path) -> None:
    try:
        torch.onnx.export(
            dense,
            (image,),
            str(path),
            input_names=["image"],
            output_names=["boxes", "scores"],
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except ModuleNotFoundError as e:
        raise InputError(f"ONNX needs the package {e.name}: pip install onnx onnxscript") from None


WRITERS: dict[str, Callable[[DenseDetector, Tensor, Path], None]] = {
    ".ts": _torchscript,
    ".pt2": _torch_export,
    ".onnx": _onnx,
}


def _plain(model: nn.Module) -> nn.Module:
    """The model with every convolution of turned filters replaced by one that holds the turned filters: they turn through an
    operation of the toolbox, which depends on the weights alone."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ORConv2d):
                weight = child.rotate_arf().detach()
                plain = nn.Conv2d(
                    weight.shape[1], weight.shape[0], weight.shape[2:], child.stride, child.padding, bias=child.bias is not None
                )
                plain.weight.data = weight.clone()
                if child.bias is not None:
                    plain.bias.data = child.bias.detach().clone()  # type: ignore[union-attr]
                setattr(parent, name, plain)
    return model
