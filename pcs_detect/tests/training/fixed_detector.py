"""A detector that needs no training: the smallest boxes around what is bright. Its one weight scales scores."""

import cv2
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from torch import nn

from pcs_augment.boxes import min_area_box
from pcs_detect.training.engine.checkpoints import write_checkpoint

SETTINGS = {
    "type": "FixedDetector",
    "data_preprocessor": {"type": "CrystalPreprocessor", "mean": 100.0, "std": 50.0, "augment": [{"type": "GaussianNoise"}]},
}


@MODELS.register_module()
class FixedDetector(BaseModel):
    """The score is the mean of the normalised grey values inside, 0.2 for a box 50 levels above the mean."""

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.weight = nn.Parameter(torch.tensor(0.2))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        for image, sample in zip(inputs, data_samples):
            bright = (image[0] > 0.5).cpu().numpy().astype("uint8")
            outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            boxes, scores = [], []
            for outline in outlines:
                points = outline[:, 0].astype(float) + 0.5
                box = torch.as_tensor(min_area_box(points)) if len(points) > 2 else torch.tensor([*points[0], 0, 0, 0])
                box[2:4] += 1  # from centres of pixels to their edges
                mask = torch.zeros(bright.shape).numpy()
                cv2.drawContours(mask, [outline], -1, 1.0, -1)
                boxes.append(box.float())
                scores.append(float((image[0] * torch.from_numpy(mask)).sum() / mask.sum() * self.weight))
            found = InstanceData(bboxes=torch.stack(boxes) if boxes else torch.zeros(0, 5), scores=torch.tensor(scores))
            sample.pred_instances = found
        return data_samples


def write_fixed(path, settings=None, **changes):
    """A checkpoint of it, as a training writes them."""
    settings = settings or {"model": {**SETTINGS, **changes}}
    write_checkpoint({"meta": {"settings": settings, "epoch": 7}, "state_dict": {"weight": torch.tensor(0.2)}}, path)
    return path
