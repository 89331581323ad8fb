"""Detections as JSON, with a score beside every box: the PCS layout, which the data set reader takes, and plain COCO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..boxes import corners, published
from ..files import written


class Detections(NamedTuple):
    """What was found in one image."""

    image_id: int
    file_name: str
    size: tuple[int, int]  # (H, W) px
    boxes: NDArray[np.float64]  # (N, 5) le90
    scores: NDArray[np.float64]  # (N,) 0..1


def write_detections(path: Path, images: Iterable[Detections]) -> None:
    """Write the published PCS layout (degrees, counter-clockwise) with ``score`` in every annotation; the
    outline is the box. Raises OutputError."""

    def described(boxes: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
        outlines = corners(boxes).reshape(-1, 8).round(4).tolist()
        for bbox, outline in zip(published(boxes), outlines):
            yield {"bbox": bbox, "area": round(bbox[2] * bbox[3], 4), "segmentation": [outline]}

    _write(path, images, described)


def write_coco(path: Path, images: Iterable[Detections]) -> None:
    """Write a document that COCO's tools read: ``bbox`` [x, y, w, h] upright around the oriented box, whose corners are the
    ``segmentation``, its ``area`` and ``score``; one category. Raises OutputError."""

    def described(boxes: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
        for outline, area in zip(corners(boxes), boxes[:, 2] * boxes[:, 3]):
            low, high = outline.min(0), outline.max(0)
            upright = np.concatenate([low, high - low]).round(3).tolist()
            yield {"bbox": upright, "area": round(float(area), 3), "segmentation": [outline.flatten().round(3).tolist()]}

    _write(path, images, described)


def _write(
    path: Path, images: Iterable[Detections], described: Callable[[NDArray[np.float64]], Iterable[dict[str, Any]]]
) -> None:
    """A JSON of images, one category, and annotations, of which ``described`` says the geometry."""
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in images:
        height, width = image.size
        pictures.append({"id": image.image_id, "file_name": image.file_name, "width": width, "height": height})
        for shape, score in zip(described(image.boxes), image.scores.tolist()):
            number = {"id": len(annotations) + 1, "image_id": image.image_id, "category_id": 1}
            annotations.append({**number, **shape, "iscrowd": 0, "score": round(score, 6)})
    document = {"images": pictures, "annotations": annotations, "categories": [{"id": 1, "name": "Crystal"}]}
    with written(path) as temporary:
        temporary.write_text(json.dumps(document))
