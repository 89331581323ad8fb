"""Labels of any data set in COCO layout: PCS files with five-number boxes, and COCO files with polygons."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..draw import corners
from ..errors import DataError
from ..geometry import hull2d, min_area_rect

SUFFIXES = (".json.gzip", ".json.gz", ".gzip", ".json")


def folder_beside(path: Path) -> Path:
    """The folder of images that belongs to a JSON file: beside it, named like it."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix))
    return path.with_name(path.name + "_images")


class Document:
    """A PCS or COCO JSON file.

    ``counts`` (M,) annotations per image, ``boxes`` (N, 5) image after image, px and rad clockwise on screen, ``sizes`` how
    often each (width, height) occurs. Crowd annotations are left out. Raises DataError.
    """

    def __init__(self, path: Path, published_labels: bool = False):
        self.path = path
        content = _read(path)
        images, annotations = (_objects(content, key, path) for key in ("images", "annotations"))
        info = content.get("info")
        offset = info.get("label_offset_y") if isinstance(info, dict) else None
        self.shift = -float(offset) if isinstance(offset, (int, float)) else float(published_labels)  # px down
        self._images = images
        position = {image.get("id"): i for i, image in enumerate(images)}
        if len(position) != len(images):
            raise DataError(f"{path}: an image id occurs twice or is missing; make ids unique")
        kept = [a for a in annotations if not a.get("iscrowd")]
        places = []
        for a in kept:
            if a.get("image_id") not in position:
                raise DataError(f"{path}: annotation {a.get('id')} names image {a.get('image_id')!r}, which is not listed")
            places.append(position[a["image_id"]])
        where = np.array(places, np.int64)
        order = np.argsort(where, kind="stable")
        self._annotations = [kept[i] for i in order.tolist()]
        self.counts = np.bincount(where, minlength=len(images)).astype(np.int64)
        self._first = np.concatenate(([0], np.cumsum(self.counts)))
        self.boxes = np.array([self._box(a) for a in self._annotations], np.float64).reshape(-1, 5)
        self.boxes[:, 1] += self.shift
        self.sizes: Counter[tuple[int, int]] = Counter()
        for image in images:
            width, height = image.get("width"), image.get("height")
            if isinstance(width, int) and isinstance(height, int):
                self.sizes[width, height] += 1

    def labels(self, i: int) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Boxes (n, 5) and outlines (K, 2) each of image i; a crystal without polygon has its box as outline."""
        mine = slice(int(self._first[i]), int(self._first[i + 1]))
        boxes = self.boxes[mine]
        outlines = []
        for annotation, box in zip(self._annotations[mine], corners(boxes)):
            polygon = self._polygon(annotation)
            outlines.append(box if polygon is None else polygon + np.array([0, self.shift]))
        return boxes, outlines

    def shape(self, i: int) -> tuple[int, int]:
        """(height, width) of image i, as the file says or else as its labels need, px."""
        reach = np.concatenate([np.ones((1, 2)), *self.labels(i)[1]]).max(0)
        height, width = (self._images[i].get(name) for name in ("height", "width"))
        return height or math.ceil(reach[1]), width or math.ceil(reach[0])

    def pixels(self, i: int, folder: Path) -> NDArray[np.uint8] | None:
        """(H, W) grey values of image i, None where its file is not there. Raises DataError for a file that is broken."""
        from PIL import Image

        name = self._images[i].get("file_name")
        path = folder / str(name)
        if not isinstance(name, str) or not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{self.path}: file_name {name!r} leads out of {folder}; image files must lie inside it")
        if not path.is_file():
            return None
        try:
            with Image.open(path) as image:
                return np.array(image.convert("L"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
            raise DataError(f"{path} cannot be read as an image: {e}") from e

    def _box(self, annotation: dict[str, Any]) -> tuple[float, float, float, float, float]:
        where = f"{self.path}: annotation {annotation.get('id')}"
        if "rbox" in annotation:  # as this library's COCO export writes it
            numbers = _numbers(annotation["rbox"], 5, f"{where}: 'rbox'")
            return _ordered(*numbers)
        box = annotation.get("bbox")
        if isinstance(box, list) and len(box) == 5:
            cx, cy, w, h, degrees = _numbers(box, 5, f"{where}: 'bbox'")
            return _ordered(cx, cy, w, h, -math.radians(degrees))
        x, y, w, h = _numbers(box, 4, f"{where}: 'bbox'")
        polygon = self._polygon(annotation)
        if polygon is not None:
            return min_area_rect(polygon)
        return _ordered(x + w / 2, y + h / 2, w, h, 0.0)

    def _polygon(self, annotation: dict[str, Any]) -> NDArray[np.float64] | None:
        segments = annotation.get("segmentation")
        if not isinstance(segments, list) or not segments:
            return None
        try:
            points = np.concatenate([np.asarray(s, np.float64).reshape(-1, 2) for s in segments])
        except (TypeError, ValueError) as e:
            raise DataError(f"{self.path}: annotation {annotation.get('id')}: 'segmentation' holds no [x1, y1, x2, ...]") from e
        flat = len(points) < 3 or np.linalg.matrix_rank(points - points[0], tol=1e-9) < 2
        if flat or not np.isfinite(points).all():
            raise DataError(f"{self.path}: annotation {annotation.get('id')}: its polygon encloses nothing")
        return points if len(segments) == 1 else hull2d(points)  # one crystal in several pieces: around all of them


def _ordered(cx: float, cy: float, w: float, h: float, theta: float) -> tuple[float, float, float, float, float]:
    """The box with w >= h and theta in [-pi/2, pi/2)."""
    if w < h:
        w, h, theta = h, w, theta + math.pi / 2
    return cx, cy, w, h, (theta + math.pi / 2) % math.pi - math.pi / 2


def _numbers(values: Any, count: int, where: str) -> list[float]:
    good = isinstance(values, list) and len(values) == count
    good = good and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)
    if not good or min(values[2:4]) <= 0:
        raise DataError(f"{where} must be [cx, cy, w, h, angle] or [left, top, w, h] with positive sides, not {values!r}")
    return [float(v) for v in values]


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except FileNotFoundError as e:
        raise DataError(f"{path} is not there; name a data set's folder, a folder of scenes, or a PCS or COCO JSON file") from e
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path} cannot be read ({e}); is it complete?") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path} is not valid JSON ({e}); is it complete?") from e
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, not an object with images and annotations")
    return content


def _objects(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise DataError(f"{path}: {key!r} must be a list of objects, as in COCO files")
    return value
