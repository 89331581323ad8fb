"""A data set, a detector and a configuration so small that training takes seconds; a hook that writes down what it saw."""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmrotate.registry import HOOKS, MODELS
from PIL import Image
from torch import nn

from pcs_detect.boxes import corners

CONFIG = """
default_scope = "mmrotate"
custom_imports = dict(imports=["pcs_detect.training.components", "tiny_training"], allow_failed_imports=False)
model = dict(
    type="TinyDetector",
    dropout={dropout},
    data_preprocessor=dict(
        type="CrystalPreprocessor",
        pad_size_divisor=8,
        augment=[dict(type="GaussianNoise", p=0.7), dict(type="PerlinLayer", p=0.5), dict(type="Rotate90"), dict(type="Flip")],
    ),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="ResumableSampler", shuffle=True),
    dataset=dict(type="CrystalDataset", data=""),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CrystalDataset", data="", test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="CrystalMetric")
test_evaluator = val_evaluator
train_cfg = dict(type="ResumableEpochLoop", max_epochs={epochs}, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1, momentum=0.9))
auto_scale_lr = dict(enable=True, base_batch_size=2)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.3, by_epoch=False, begin=0, end=5),
    dict(type="MultiStepLR", by_epoch=True, milestones=[1, 2], gamma=0.5),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=1),
    checkpoint=dict(type="CrystalCheckpointHook", every_iters={every_iters}, max_keep_ckpts=-1),
    visualization=dict(type="DrawPredictionsHook", count=3, score=0.0),
)
custom_hooks = [dict(type="SeenHook")]
visualizer = dict(type="RotLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")], name="visualizer")
randomness = dict(seed=3)
"""


def write_config(path: Path, dropout: float = 0.3, epochs: int = 3, every_iters: int | None = 3) -> Path:
    path.write_text(CONFIG.format(dropout=dropout, epochs=epochs, every_iters=every_iters))
    return path


def write_data(path: Path, count: int = 8, size: int = 64, seed: int = 0) -> Path:
    """A PCS JSON with its folder of images: grey noise with three brighter rectangles."""
    rng = np.random.default_rng(seed)
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    images, annotations = [], []
    for i in range(1, count + 1):
        pixels = rng.normal(100, 10, (size, size))
        y, x = np.mgrid[:size, :size] + 0.5
        for _ in range(3):
            cx, cy = 8 * rng.integers(2, size // 8 - 2, 2) + 4.0
            w, h, theta = rng.uniform(14, 18), rng.uniform(10, 14), rng.uniform(-0.2, 0.2)
            u = (x - cx) * np.cos(theta) + (y - cy) * np.sin(theta)
            v = (y - cy) * np.cos(theta) - (x - cx) * np.sin(theta)
            pixels[(abs(u) < w / 2) & (abs(v) < h / 2)] += 80
            outline = corners([[cx, cy, w, h, theta]])[0].flatten().tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": 1,
                    "bbox": [cx, cy, w, h, -float(np.degrees(theta))],
                    "segmentation": [outline],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        name = f"{i:010d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
        images.append({"id": i, "file_name": name, "width": size, "height": size})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Crystal"}]}
    path.write_text(json.dumps(document))
    return path


@MODELS.register_module()
class TinyDetector(BaseModel):
    """Three convolutions that find centres on a grid of 8 px. Every image counts the same, so that ranks average exactly."""

    def __init__(self, data_preprocessor: dict, dropout: float = 0.0) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 5, 4, 2), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 5, 1)
        )

    def forward(self, inputs, data_samples=None, mode="tensor"):
        out = self.net(inputs)
        if mode == "loss":
            wanted, there = torch.zeros_like(out), torch.zeros_like(out[:, :1])
            for i, sample in enumerate(data_samples):
                boxes = sample.gt_instances.bboxes.tensor
                column, row = ((boxes[:, k] / 8).long().clamp(0, out.shape[3 - k] - 1) for k in (0, 1))
                wanted[i, 1:, row, column] = torch.stack([boxes[:, 2] / 20, boxes[:, 3] / 20, boxes[:, 4], 0 * boxes[:, 0]])
                there[i, 0, row, column] = 1
            return {
                "loss_score": nn.functional.binary_cross_entropy_with_logits(out[:, :1], there),
                "loss_box": ((out[:, 1:] - wanted[:, 1:]).abs() * there).mean(),
            }
        for i, sample in enumerate(data_samples):
            bright = nn.functional.avg_pool2d(inputs[i], 8)[0]  # so that it finds something without learning
            score, index = (out[i, 0] + 3 * bright).sigmoid().flatten().topk(8)
            row, column = index // out.shape[-1], index % out.shape[-1]
            w, h, angle, _ = out[i, 1:].flatten(1)[:, index].tanh() / 10
            boxes = torch.stack([column * 8.0 + 4, row * 8.0 + 4, 16 + 10 * w, 12 + 10 * h, angle], -1)
            sample.pred_instances = InstanceData(bboxes=boxes, scores=score, labels=torch.zeros_like(index))
        return data_samples


@HOOKS.register_module()
class SeenHook(Hook):
    """Writes a line for every training step to the file that SEEN names: iteration, epoch, image ids, hashes of their pixels.

    The pixels are what the network gets, augmented. SEEN_PAUSE: seconds to wait after every step.
    """

    def before_run(self, runner):
        model = getattr(runner.model, "module", runner.model)
        model.data_preprocessor.register_forward_hook(self._keep)

    def _keep(self, module, arguments, output):
        self.hashes = [hashlib.sha256(i.numpy().tobytes()).hexdigest()[:16] for i in output["inputs"]]
        self.ids = [s.img_id for s in output["data_samples"]]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if "SEEN" in os.environ:
            with open(f"{os.environ['SEEN']}.{get_rank()}", "a") as file:
                file.write(json.dumps([runner.iter, runner.epoch, self.ids, self.hashes]) + "\n")
        time.sleep(float(os.environ.get("SEEN_PAUSE", "0")))


def seen(path: Path, rank: int = 0) -> list:
    file = path.with_name(f"{path.name}.{rank}")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
