"""Labelled images as a torch Dataset: the published PCS JSON and ordinary COCO with polygons."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from . import boxes as bx
from . import json_labels
from .errors import DataError, InputError
from .ragged import BatchTargets, Outlines, Target, Targets, gathered

SUFFIXES = (".json.gzip", ".json.gz", ".gzip", ".json")
MAX_PIXELS = 2**28


class PCSDataset(Dataset[tuple[Tensor, Target, int]]):
    """Images with oriented boxes and outlines from a COCO-layout JSON.

    annotations: ``.json``, ``.json.gz``, ``.gzip`` or ``.json.gzip``; images: their folder, by default the one beside the JSON
    that is named like it. Five-number ``bbox`` are the published PCS form (cx, cy, w, h, degrees counter-clockwise);
    four-number ones are COCO's (left, top, w, h), and where there is a polygon the oriented box is the minimum-area one around
    it. Crowd annotations are left out. published_labels=True moves labels down by 1 px: the released PCS files lie that much
    too high; leave it off for any other file. Large files are read block by block where numba is installed
    (``pip install 'pcs-augment[cpu]'``): the published training set, 16.8 million crystals, takes about 3 GiB; without, all of
    the text and its Python objects are in memory at once.

    Item i is (image, target, i): image (1, H, W) uint8 grey; target ``boxes (N, 5)`` and ``polygons`` (N outlines) as
    float32 in px and radians, ``labels (N,)`` counted from 0 in the order of the categories, ``image_id`` int.
    Raises DataError for whatever is missing, malformed, unreadable or outside the folder.
    """

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        published_labels: bool = False,
    ) -> None:
        self.path = Path(annotations)
        self.folder = Path(images) if images is not None else self.path.with_name(_stem(self.path))
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder of images; pass images=FOLDER")
        document, columns = _read(self.path, 1.0 if published_labels else 0.0)
        entries = _list_of_dicts(document, "images", self.path)
        self.categories: list[dict[str, Any]] = _list_of_dicts(document, "categories", self.path)
        self.image_ids = np.array([_integer(e, "id", self.path) for e in entries], dtype=np.int64)
        self.file_names = [_text(e, "file_name", self.path) for e in entries]
        self.sizes = [(e.get("height"), e.get("width")) for e in entries]
        if columns is None:
            columns = json_labels.Columns(1.0 if published_labels else 0.0)
            for a in _list_of_dicts(document, "annotations", self.path):
                one = _annotation(a, self.path)
                if one is not None:
                    columns.add(one)
        self._keep(columns)

    def _keep(self, columns: json_labels.Columns) -> None:
        if len(np.unique(self.image_ids)) != len(self.image_ids):
            raise DataError(f"{self.path}: an image id occurs twice; make ids unique")
        categories = np.array([_integer(c, "id", self.path) for c in self.categories], dtype=np.int64)
        images, labels = _places(columns.image_id, self.image_ids), _places(columns.category_id, categories)
        if min(images.min(initial=0), labels.min(initial=0)) < 0:
            i = int(np.argmax((images < 0) | (labels < 0)))
            image, category = columns.image_id[i], columns.category_id[i]
            raise DataError(
                f"{self.path}: annotation {columns.id(i)} names image {image} and category {category}; both must be listed"
            )
        counts = np.bincount(images, minlength=len(self.image_ids))
        order, boxes, corners, points = columns.by_image(images)
        self._boxes, self._points = torch.from_numpy(boxes), torch.from_numpy(points)
        self._labels = torch.from_numpy((labels if order is None else labels[order]).astype(np.int32))
        self._corners = corners
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self._first_point = np.concatenate(([0], np.cumsum(corners, dtype=np.int64)))[self._first]

    def __len__(self) -> int:
        return len(self.image_ids)

    def target(self, i: int) -> Target:
        """The labels of image i, without reading the image."""
        if not 0 <= i < len(self):  # also what ends iteration over a data set
            raise IndexError(f"image {i} of {len(self)}")
        mine = slice(self._first[i], self._first[i + 1])
        points = self._points[self._first_point[i] : self._first_point[i + 1]].clone()
        return {
            "boxes": self._boxes[mine].clone(),
            "labels": self._labels[mine].long(),
            "polygons": Outlines.split(points, self._corners[mine].astype(np.int64)),
            "image_id": int(self.image_ids[i]),
        }

    def counts(self, min_area: float = 0.0) -> NDArray[np.int64]:
        """How many crystals of at least so many px^2 (w h) each image has, of all images at once."""
        large = (self._boxes[:, 2] * self._boxes[:, 3] >= min_area).numpy()
        upto = np.concatenate(([0], np.cumsum(large)))[self._first]
        return upto[1:] - upto[:-1]

    def __getitem__(self, i: int) -> tuple[Tensor, Target, int]:
        target = self.target(i)
        name = self.file_names[i]
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{self.path}: file_name {name!r} leads out of {self.folder}; image files must lie inside it")
        image = read_grey(path)
        height, width = self.sizes[i]
        if (height is not None and height != image.shape[1]) or (width is not None and width != image.shape[2]):
            raise DataError(
                f"{path} is {image.shape[1]} x {image.shape[2]} px, {self.path.name} says {height} x {width}; "
                "labels and image do not belong together"
            )
        return image, target, i


def _stem(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    raise DataError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")


def _read(path: Path, shift: float) -> tuple[dict[str, Any], json_labels.Columns | None]:
    """The document, and its annotations where it is so large that they were read apart."""
    with _readable(path):
        streamed = json_labels.stream(path, lambda a: _annotation(a, path), shift)
    return (read_json(path), None) if streamed is None else streamed


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a plain or gzip-compressed file. Raises DataError."""
    with _readable(path):
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        document = json.loads(raw)
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: expected a JSON object with images, annotations and categories, got a {type(document).__name__}"
        )
    return document


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises DataError for what goes wrong when a JSON file is read."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except (OSError, EOFError, zlib.error) as e:
        raise DataError(f"{path}: cannot be read ({e}); is it complete?") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not valid JSON ({e}); is it complete?") from e


def _places(values: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each value stands among the ids, where there are several the last; -1 for one that is not there."""
    if not len(ids):
        return np.full(len(values), -1)
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    places = np.searchsorted(ordered, values, side="right") - 1
    absent = ordered[places] != values  # for a value before all, place -1, the last id, differs as well
    places = order[places]
    places[absent] = -1
    return places


def _list_of_dicts(document: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    value = document.get(key)
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise DataError(f"{path}: {key!r} must be a list of objects, as in COCO files")
    return value


def _integer(entry: dict[str, Any], key: str, path: Path) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise DataError(f"{path}: entry {entry.get('id')}: {key!r} must be an integer, got {value!r}")
    return value


def _text(entry: dict[str, Any], key: str, path: Path) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise DataError(f"{path}: entry {entry.get('id')}: {key!r} must be a file name, got {value!r}")
    return value


def _annotation(a: Any, path: Path) -> json_labels.Annotation | None:
    """One entry of the annotations; None for a crowd."""
    if a.get("iscrowd"):
        return None
    image, category = _integer(a, "image_id", path), _integer(a, "category_id", path)
    return json_labels.Annotation(a.get("id"), image, category, *_shape_of(a, path))


def _shape_of(annotation: dict[str, Any], path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The oriented box (5,) and outline (K, 2) of one annotation."""
    where = f"{path}: annotation {annotation.get('id')}"
    numbers = _numbers(annotation.get("bbox"), f"{where}: 'bbox'")
    if len(numbers) not in (4, 5) or (numbers[2:4] <= 0).any():
        raise DataError(
            f"{where}: 'bbox' must be [cx, cy, w, h, degrees] or [x, y, w, h] with w, h > 0, got {numbers.tolist()}"
        )
    segments = annotation.get("segmentation") or []
    if not isinstance(segments, list):
        raise DataError(f"{where}: 'segmentation' must be a list of polygons (run-length masks only for crowds)")
    parts = [_numbers(s, f"{where}: 'segmentation'") for s in segments]
    for p in parts:
        if len(p) < 6 or len(p) % 2:
            raise DataError(f"{where}: a polygon needs at least 3 points as [x1, y1, x2, y2, ...], got {len(p)} numbers")
    outline = parts[0].reshape(-1, 2) if parts else None
    if len(parts) > 1:  # one crystal seen in several pieces: its outline goes around all of them
        outline = bx.convex_hull(np.concatenate(parts).reshape(-1, 2))
    if len(numbers) == 5:
        box = bx.le90(np.append(numbers[:4], -np.radians(numbers[4]))[None])[0]
    elif outline is not None:
        box = bx.min_area_box(outline)
        if box[3] <= 1e-9 * box[2]:
            raise DataError(f"{where}: the polygon {outline.tolist()} has no area")
    else:
        x, y, w, h = numbers
        box = bx.le90(np.array([[x + w / 2, y + h / 2, w, h, 0.0]]))[0]
    return box, outline if outline is not None else bx.box_corners(box[None])[0]


def _numbers(value: Any, where: str) -> NDArray[np.float64]:
    try:
        out = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        out = np.array(np.nan)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise DataError(f"{where} must be a list of finite numbers, got {str(value)[:80]}")
    return out


def read_grey(path: str | os.PathLike[str]) -> Tensor:
    """An image file as (1, H, W) uint8 grey; colour by its luma, deeper greys scaled to 8 bits. Raises DataError."""
    try:
        from PIL import Image
    except ImportError as e:
        raise DataError("reading images needs Pillow: pip install 'pcs-augment[data]'") from e
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path}: {image.width} x {image.height} px, more than {MAX_PIXELS} are not read")
                if image.mode.startswith("I") or image.mode == "F":
                    return torch.from_numpy(_to_8bit(np.asarray(image, dtype=np.float64), image.mode))[None]
                return torch.from_numpy(np.array(image.convert("L")))[None]
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such image file") from e
    except Image.DecompressionBombError as e:
        raise DataError(f"{path}: refused, it would decompress to too many pixels ({e})") from e
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, zlib.error) as e:
        raise DataError(f"{path}: not a readable image ({e})") from e


def _to_8bit(values: NDArray[np.float64], mode: str) -> NDArray[np.uint8]:
    if mode == "F":  # no agreed range: [0, 1] if it fits, else 8-bit levels
        values = values * (255 if values.max(initial=0) <= 1 else 1)
    else:
        values = values / 257
    return np.clip(np.round(np.nan_to_num(values)), 0, 255).astype(np.uint8)


def collate(samples: Sequence[tuple[Tensor, Target, int]]) -> tuple[Tensor, Targets, Tensor]:
    """(image, target, index) samples to (images (B, C, H, W), list of targets, index (B,)), as AugmentedLoader expects."""
    images, targets, index = zip(*samples)
    shapes = {tuple(i.shape) for i in images}
    if len(shapes) > 1:
        raise InputError(
            f"images of one batch must have one size, got {sorted(shapes)}; crop or resize them, or use batch_size=1"
        )
    return torch.stack(images), BatchTargets(map(gathered, targets)), torch.tensor(index, dtype=torch.int64)
