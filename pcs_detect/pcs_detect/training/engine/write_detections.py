"""What a test found, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmrotate.registry import HOOKS

from ...crystals.detections import Detections, write_detections
from .hooks import plain_boxes


@HOOKS.register_module()
class WriteDetectionsHook(Hook):
    """A test writes what it found, in all processes together, to ``detections.json`` in the work folder."""

    def before_test_epoch(self, runner: Any) -> None:
        self.images: list[Detections] = []

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        for sample in outputs:
            found = sample.pred_instances
            name = Path(sample.metainfo.get("img_path") or "").name or f"{sample.img_id:010d}.png"
            boxes, scores = plain_boxes(found.bboxes), found.scores.double().cpu().numpy()
            self.images.append(Detections(int(sample.img_id), name, tuple(sample.ori_shape[:2]), boxes, scores))

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        found = [image for part in all_gather_object(self.images) for image in part]
        if is_main_process():
            once = {image.image_id: image for image in found}  # a sampler repeats images to give every process as many
            write_detections(Path(runner.work_dir) / "detections.json", (once[i] for i in sorted(once)))
