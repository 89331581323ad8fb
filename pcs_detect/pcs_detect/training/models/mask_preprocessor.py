"""The way of a batch into Mask R-CNN: as of other detectors, then fitted into a square, equalised, with masks for targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import PolygonMasks
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS

from pcs_augment.boxes import box_corners

from ...errors import InputError
from .clahe import clahe
from .preprocessor import CrystalPreprocessor, current_epoch

LEAST_SIDE = 1.0  # px of the fitted image


@MODELS.register_module()
class MaskPreprocessor(CrystalPreprocessor):
    """Moves a batch to the device, in training augments it there, then fits, equalises, normalises and pads it (2021 paper).

    size: images are scaled, up or down, until their longer side has so many px, and padded at the right and the bottom with
    black to size x size (2021 paper: 512). clahe: None, or what ``clahe.clahe`` takes, such as
    ``dict(clip_limit=2.0, tiles=(8, 8))``: applied to the fitted image, before the padding. The rest is CrystalPreprocessor's.

    Takes what CrystalDataset gives. Gives inputs (B, 1, S, S) float32, S being ``size`` rounded up to pad_size_divisor, and
    samples whose ``img_shape``, ``scale_factor`` and ``pad_shape`` describe the fitting. In training their ``gt_instances``
    have upright ``bboxes`` (N, 4) (left, top, right, bottom), ``labels`` and ``masks`` (PolygonMasks), in px of the fitted
    image; crystals less than 1 px wide or high there are no targets. Otherwise labels stay what and where they are.
    """

    def __init__(self, size: int = 512, clahe: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.matched:
            raise InputError(f"matched is {self.matched}; Mask R-CNN takes grey values as they are or with clahe: leave it out")
        if self.fringes != "keep":
            raise InputError(f"fringes is {self.fringes!r}; Mask R-CNN takes pictures as they are or with clahe: leave it out")
        if size < 1:
            raise InputError(f"size is {size}; images are fitted into a square of at least 1 px")
        self.size, self.clahe = int(size), None if clahe is None else _checked(clahe)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        images: list[Tensor] = self.cast_data(list(data["inputs"]))
        samples: list[Any] = [s.clone() for s in data.get("data_samples") or []]
        # mixed precision is for the network: noise, scaling and normalisation stay in float32
        with torch.autocast(images[0].device.type, enabled=False):
            if training and self.pipelines:
                images, samples = self._augmented(images, samples, current_epoch())
            fitted = [self._fitted(i) for i in images]
            side = -(-self.size // self.divisor) * self.divisor
            inputs = torch.stack([F.pad(i, (0, side - i.shape[-1], 0, side - i.shape[-2])) for i in fitted])
            inputs = (inputs - self.mean) / self.std
        for sample, before, image in zip(samples, images, fitted):
            (height, width), (old_height, old_width) = image.shape[-2:], before.shape[-2:]
            scale = (width / old_width, height / old_height)
            shapes = {"img_shape": (height, width), "pad_shape": (side, side), "batch_input_shape": (side, side)}
            sample.set_metainfo({**shapes, "scale_factor": scale})
            if training:
                sample.gt_instances = targets(sample.gt_instances, scale, (height, width))
        return {"inputs": inputs, "data_samples": self.cast_data(samples)}

    def _fitted(self, image: Tensor) -> Tensor:
        """(1, h, w) float32, 0..255, of (1, H, W) uint8 or [0, 1]: its longer side has ``size`` px."""
        grey = image * 255 if image.is_floating_point() else image.float()
        height, width = image.shape[-2:]
        scale = self.size / max(height, width)
        new = (max(round(height * scale), 1), max(round(width * scale), 1))
        if new != (height, width):
            grey = F.interpolate(grey[None].float(), new, mode="bilinear", align_corners=False, antialias=True)[0]
        if self.clahe is not None:
            grey = clahe(grey.round().clamp(0, 255).to(torch.uint8), **self.clahe)
        return grey.float()


def targets(labels: InstanceData, scale: tuple[float, float], size: tuple[int, int]) -> InstanceData:
    """Upright boxes and masks, in an image of ``size`` (H, W) px, of labels with oriented ``bboxes`` and maybe ``polygons``.

    scale: by which x and y grow on the way.
    """
    outlines = labels.polygons if "polygons" in labels else list(box_corners(get_box_tensor(labels.bboxes)))
    height, width = size
    moved = [np.asarray(p.cpu(), dtype=np.float64) * scale for p in outlines]
    bounds = np.array([[*p.min(0), *p.max(0)] for p in moved]).reshape(-1, 4).clip(0, [width, height, width, height])
    keep = np.flatnonzero((bounds[:, 2:] - bounds[:, :2] >= LEAST_SIDE).all(1))
    return InstanceData(
        bboxes=torch.from_numpy(bounds[keep]).float(),
        labels=labels.labels[torch.from_numpy(keep).to(labels.labels.device)],
        masks=PolygonMasks([[moved[i].flatten()] for i in keep], height, width),
    )


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    try:
        clahe(torch.zeros(1, 1, dtype=torch.uint8), **known)
    except TypeError as e:
        raise InputError(f"clahe={dict(settings)}: it takes clip_limit and tiles ({e})") from e
    return known
