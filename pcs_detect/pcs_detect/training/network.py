"""A detector in torch, from a checkpoint, as ``pcs_detect.Detector`` uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import openmmlab  # isort: skip  # first: it makes mmrotate importable

from mmdet.structures import DetDataSample

from ..boxes import Floats
from ..errors import InputError
from ..inference.averages import PART
from ..inference.decoding import averaged
from ..photographs.grey import Grey
from .engine.hooks import plain_boxes
from .engine.loading import load_detector
from .engine.train import chosen_device

EVERY = 1_000_000  # boxes of an image: all of them
ANY = 2.0  # an overlap that none reaches
GREY = (132.6, 61.2)  # mean and deviation of training images where a model does not say its own


class CheckpointNetwork:
    """The network of a checkpoint; see ``engine.loading.load_detector`` and ``inference.networks.Network``."""

    def __init__(
        self,
        checkpoint: str | Path,
        device: str | None = None,
        *,
        config: str | Path | None = None,
        score: float | None = None,
        iou: float | None = None,
        amp: bool = False,
    ) -> None:
        self.device = chosen_device(device)
        if amp and self.device != "cuda":
            raise InputError("mixed precision (amp) needs a GPU")
        loaded = load_detector(checkpoint, config, score, iou)
        openmmlab.check_operations(self.device, two_stages=hasattr(loaded.model, "roi_head"))
        self.model, self.source, self.look, self.amp = loaded.model.to(self.device), loaded.source, loaded.look, amp
        if self.look.average:  # every box is wanted that may count
            if hasattr(self.model, "roi_head"):
                raise InputError(f"{checkpoint}: look.average is for detectors of one stage (S2A-Net, RTMDet-R)")
            # heads have settings of their own, or share those of the model
            parts: list[Any] = [m for m in self.model.modules() if getattr(m, "test_cfg", None) is not None]
            tests = {id(m.test_cfg): m.test_cfg for m in parts}.values()
            self.score, self.iou = parts[0].test_cfg.score_thr, parts[0].test_cfg.nms.iou_threshold
            for test in tests:
                test.update(score_thr=self.score * PART, max_per_img=EVERY, nms={**test.nms, "iou_threshold": ANY})
        preprocessor: Any = self.model.data_preprocessor
        given = [getattr(preprocessor, k, None) for k in ("mean", "std")]
        self.mean, self.deviation = (v if isinstance(v, float) else own for v, own in zip(given, GREY))
        self.divisor = int(getattr(preprocessor, "divisor", 1))
        preprocessor.fringes = "keep"  # the detector takes them out of whole photographs, whose grey values are matched by now
        self.tiled = not hasattr(preprocessor, "size")  # Mask R-CNN fits whatever it is given into its own size

    @torch.inference_mode()
    def find(self, images: list[Grey]) -> list[tuple[Floats, NDArray]]:
        """(N, 5) boxes le90 and (N,) scores in each of (H, W) grey values 0..255 of one size, suppressed."""
        samples = []
        for k, image in enumerate(images):
            meta = {"img_id": k, "img_path": "", "ori_shape": image.shape, "img_shape": image.shape, "scale_factor": (1.0, 1.0)}
            samples.append(DetDataSample(metainfo=meta))
        inputs = [torch.from_numpy(np.array(i))[None] / 255 for i in images]  # the preprocessor takes 0 .. 1
        with torch.autocast(self.device, dtype=torch.float16, enabled=self.amp):
            results = self.model.test_step({"inputs": inputs, "data_samples": samples})  # type: ignore[operator]
        found = [(plain_boxes(r.pred_instances.bboxes), r.pred_instances.scores.double().cpu().numpy()) for r in results]
        return [averaged(*f, self.iou, self.score) for f in found] if self.look.average else found
