"""A network that needs no training and no file: the smallest boxes around what is bright. Its one weight scales scores."""

import hashlib

import cv2
import numpy as np

from pcs_detect.boxes import min_area_box, to_le90
from pcs_detect.inference.look import Look


class FixedNetwork:
    """The score is the mean of the normalised grey values inside, 0.2 for a box 50 levels above the mean."""

    device, mean, deviation, divisor, tiled, look = "cpu", 100.0, 50.0, 32, True, Look()

    def __init__(self, weight=0.2, **changes):
        self.weight = weight
        name = f"{weight} {sorted(changes.items())}"
        self.source = {"file": "fixed.onnx", "sha256": hashlib.sha256(name.encode()).hexdigest()}
        for key, value in changes.items():
            setattr(self, key, value)

    def find(self, images):
        return [self._find((image.astype(np.float64) - self.mean) / self.deviation) for image in images]

    def _find(self, image):
        bright = (image > 0.5).astype(np.uint8)
        outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        boxes, scores = [np.zeros((0, 5))], []
        for outline in outlines:
            points = outline[:, 0].astype(float) + 0.5
            box = min_area_box(points) if len(points) > 2 else np.array([*points[0], 0, 0, 0])
            box[2:4] += 1  # from centres of pixels to their edges
            mask = cv2.drawContours(np.zeros_like(bright), [outline], -1, 1, -1)
            boxes.append(to_le90(box))
            scores.append(float(image[mask > 0].mean() * self.weight))
        return np.concatenate(boxes), np.array(scores)
