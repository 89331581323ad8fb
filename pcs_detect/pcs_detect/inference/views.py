"""A photograph seen in several orientations (test-time augmentation): a crystal is the same however the slide lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..boxes import Floats, to_le90
from ..overlaps import overlapping_pairs
from ..photographs.grey import Grey
from .averages import SAME, mean_boxes
from .networks import Network
from .suppression import kept_ranks

# (mirrored in x, mirrored in y, then transposed): as it is and its quarter turns, the most different first; then mirrored
ORIENTATIONS = (
    (False, False, False),
    (True, False, True),
    (True, True, False),
    (False, True, True),
    (True, False, False),
    (False, False, True),
    (False, True, False),
    (True, True, True),
)


class Views:
    """A network that looks at every picture in several orientations; a ``networks.Network`` itself.

    Of boxes that overlap by IoU > ``iou`` the best stays and becomes the mean of those of the same crystal in all views
    (``averages.mean_boxes``). Its score becomes the mean over the views of the best of these (0 where a view has none), so what
    is seen in one orientation alone counts little.

    Args:
        network: that looks.
        count: of orientations: 1, 2 or 4 (quarter turns), or 8 (mirrored as well); it takes as many times longer.
        iou: of boxes that overlap by more, one stays.
    """

    def __init__(self, network: Network, count: int, iou: float) -> None:
        self.network, self.iou, self.orientations = network, iou, ORIENTATIONS[:count]
        self.source, self.device, self.look = network.source, network.device, network.look
        self.mean, self.deviation = network.mean, network.deviation
        self.divisor, self.tiled = network.divisor, network.tiled

    def find(self, images: list[Grey]) -> list[tuple[Floats, NDArray]]:
        """(N, 5) boxes le90 and (N,) scores in each of (H, W) grey values 0..255 of one size, suppressed."""
        views = [self.network.find([_turned(image, *way) for image in images]) for way in self.orientations]
        return [self._agreed(image, [view[k] for view in views]) for k, image in enumerate(images)]

    def _agreed(self, image: Grey, found: list[tuple[Floats, NDArray]]) -> tuple[Floats, NDArray]:
        size = (image.shape[0], image.shape[1])
        boxes = np.concatenate([_turned_back(b, size, *way) for way, (b, _) in zip(self.orientations, found)])
        scores = np.concatenate([np.asarray(s, dtype=np.float64) for _, s in found])
        view = np.repeat(np.arange(len(found)), [len(s) for _, s in found])
        order = np.argsort(-scores, kind="stable")
        first = order[kept_ranks(boxes[order], self.iou)]
        i, j, _ = pairs = overlapping_pairs(boxes[first], boxes, SAME)
        means = mean_boxes(boxes[first], scores[first], boxes, scores, pairs)
        best = np.zeros((len(found), len(first)))
        best[view[first], np.arange(len(first))] = scores[first]  # a box without area overlaps nothing, not even itself
        np.maximum.at(best, (view[j], i), scores[j])
        rates = best.mean(0)
        order = np.argsort(-rates, kind="stable")
        order = order[kept_ranks(means[order], self.iou)]  # means may have come nearer to each other
        return means[order], rates[order]


def _turned(image: Grey, mirror_x: bool, mirror_y: bool, transpose: bool) -> Grey:
    if mirror_x:
        image = image[:, ::-1]
    if mirror_y:
        image = image[::-1]
    return np.ascontiguousarray(image.T if transpose else image)


def _turned_back(boxes: Floats, size: tuple[int, int], mirror_x: bool, mirror_y: bool, transpose: bool) -> Floats:
    """Boxes (N, 5) of a turned picture, in px of the picture of ``size`` (H, W) as it was."""
    cx, cy, w, h, theta = np.asarray(boxes, dtype=np.float64).reshape(-1, 5).T
    if transpose:
        cx, cy, theta = cy, cx, np.pi / 2 - theta
    if mirror_y:
        cy, theta = size[0] - cy, -theta
    if mirror_x:
        cx, theta = size[1] - cx, -theta
    return to_le90(np.stack((cx, cy, w, h, theta), -1))
