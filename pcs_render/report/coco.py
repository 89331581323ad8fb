"""Labels of any data set in COCO layout: PCS files with five-number boxes, and COCO files with polygons."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcs_augment import coco_json
from pcs_augment.boxes import le90
from pcs_augment.images import read_grey

from ..errors import DataError


class Document:
    """A PCS or COCO JSON file.

    ``counts`` (M,) annotations per image, ``boxes`` (N, 5) image after image, px and rad clockwise on screen, ``sizes`` how
    often each (width, height) occurs. Crowd annotations are left out. Raises DataError.
    """

    def __init__(self, path: Path, published_labels: bool = False):
        self.path = path
        content = coco_json.read_json(path)
        self._images = coco_json.entries(content, "images", path)
        info = content.get("info")
        offset = info.get("label_offset_y") if isinstance(info, dict) else None
        self.shift = -float(offset) if isinstance(offset, (int, float)) else float(published_labels)  # px down
        position = {image.get("id"): i for i, image in enumerate(self._images)}
        if len(position) != len(self._images):
            raise DataError(f"{path}: an image id occurs twice or is missing; make ids unique")
        skipped = coco_json.Skipped(path, strict=False)
        every = coco_json.entries(content, "annotations", path)
        kept = [a for a in every if not coco_json.is_crowd(a) and self._is_usable(a, skipped)]
        skipped.warn()
        for a in kept:
            if a.get("image_id") not in position:
                raise DataError(f"{path}: annotation {a.get('id')} names image {a.get('image_id')!r}, which is not listed")
        where = np.array([position[a["image_id"]] for a in kept], np.int64)
        self._annotations = [kept[i] for i in np.argsort(where, kind="stable").tolist()]
        self.counts = np.bincount(where, minlength=len(self._images)).astype(np.int64)
        self._first = np.concatenate(([0], np.cumsum(self.counts)))
        self.boxes = np.array([self._shape(a)[0] for a in self._annotations], np.float64).reshape(-1, 5)
        self.sizes = Counter(
            (width, height) for height, width in map(_size, self._images) if isinstance(width, int) and isinstance(height, int)
        )

    def labels(self, i: int) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Boxes (n, 5) and outlines (K, 2) each of image i; a crystal without polygon has its box as outline."""
        mine = slice(int(self._first[i]), int(self._first[i + 1]))
        return self.boxes[mine], [self._shape(a)[1] for a in self._annotations[mine]]

    def shape(self, i: int) -> tuple[int, int]:
        """(height, width) of image i, as the file says or else as its labels need, px."""
        reach = np.concatenate([np.ones((1, 2)), *self.labels(i)[1]]).max(0)
        height, width = _size(self._images[i])
        return height or math.ceil(reach[1]), width or math.ceil(reach[0])

    def pixels(self, i: int, folder: Path) -> NDArray[np.uint8] | None:
        """(H, W) grey values of image i, None where its file is not there. Raises DataError for a file that is broken."""
        path = coco_json.image_path(folder, coco_json.text(self._images[i], "file_name", self.path), self.path)
        return read_grey(path, size=_size(self._images[i])) if path.is_file() else None

    def _is_usable(self, annotation: dict[str, Any], skipped: coco_json.Skipped) -> bool:
        try:
            self._shape(annotation)
        except DataError as e:
            skipped.add(annotation.get("id"), e)
            return False
        return True

    def _shape(self, annotation: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The box and outline of one annotation, moved to where the crystal is drawn."""
        box, outline = coco_json.shape_of(annotation, self.path)
        if "rbox" in annotation:  # as this library's COCO export writes it
            box = le90(
                coco_json.box_numbers(annotation["rbox"], f"{self.path}: annotation {annotation.get('id')}", "rbox")[None]
            )[0]
        return box + np.array([0, self.shift, 0, 0, 0]), outline + np.array([0, self.shift])


def _size(image: dict[str, Any]) -> tuple[Any, Any]:
    """(height, width) px as the file says it, None where it does not."""
    return coco_json.side(image.get("height")), coco_json.side(image.get("width"))
