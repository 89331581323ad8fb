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
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from . import boxes as bx
from . import images, json_labels
from .errors import DataError, InputError
from .json_labels import LARGEST, SMALLEST
from .keys import Labelled, Target
from .ragged import BatchTargets, Outlines, gathered

if TYPE_CHECKING:
    from jaxtyping import Integer, Shaped, UInt8

SUFFIXES = (".json.gzip", ".json.gz", ".gzip", ".json")
NO = ("", "0", "0.0", "false", "no", "none", "null")


class PcsDataset(Dataset[tuple[Tensor, Target, int]]):
    """Images with oriented boxes and outlines from a COCO-layout JSON.

    Item i is (image, target, first_index + i): image (1, H, W) uint8 grey; target ``boxes (N, 5)`` and ``polygons`` (N
    outlines) as float32 in px and radians, ``labels (N,)`` counted from 0 in the order of the categories, ``image_id`` int.

    Five-number ``bbox`` are the published PCS form (cx, cy, w, h, degrees counter-clockwise); four-number ones are COCO's
    (left, top, w, h), and where there is a polygon the oriented box is the minimum-area one around it; a polygon also makes up
    for a ``bbox`` that is no box. Crowd annotations are left out. Others that cannot be used (no area, run lengths without a
    polygon, broken) are skipped: ``skipped`` lists their ids and one warning counts them. The text is read block by block: the
    published training set, 16.8 million crystals, takes about 3 GiB.

    Args:
        annotations: ``.json``, ``.json.gz``, ``.gzip`` or ``.json.gzip``.
        images: their folder, by default the one beside the JSON that is named like it.
        published_labels: move labels down by 1 px: the released PCS files lie that much too high. Leave it off for any other
            file.
        strict: refuse annotations that cannot be used.
        white: of images with more than 8 bits, see ``pcs_augment.images.read_grey``, which also says what becomes of EXIF
            orientations.
        first_index: of data sets that are used side by side, see ``number_parts``.

    Raises:
        DataError: something is missing, malformed, unreadable or outside the folder.

    Example:
        >>> data = pa.PcsDataset(sample_path())
        >>> image, target, number = data[3]
        >>> len(data), image.shape, target["boxes"].shape, number
        (12, torch.Size([1, 384, 384]), torch.Size([25, 5]), 3)
    """

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str] | None = None,
        published_labels: bool = False,
        strict: bool = False,
        white: float | None = None,
        first_index: int = 0,
    ) -> None:
        self.path, self.white, self.first_index = Path(annotations), white, first_index
        self.folder = Path(images) if images is not None else self.path.with_name(_stem(self.path))
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder of images; pass images=FOLDER")
        skipped = Skipped(self.path, strict)
        document, columns = _read(self.path, 1.0 if published_labels else 0.0, skipped)
        entries = _list_of_dicts(document, "images", self.path)
        self.categories: list[dict[str, Any]] = _list_of_dicts(document, "categories", self.path)
        self.image_ids = np.array([_integer(e, "id", self.path) for e in entries], dtype=np.int64)
        self.file_names = [_text(e, "file_name", self.path) for e in entries]
        self.sizes = [(_side(e.get("height")), _side(e.get("width"))) for e in entries]
        if columns is None:
            columns = json_labels.Columns(1.0 if published_labels else 0.0)
            for a in _list_of_dicts(document, "annotations", self.path):
                one = _annotation(a, self.path, skipped)
                if one is not None:
                    columns.add(one)
        self._keep(columns)
        self.skipped = skipped.ids
        skipped.warn()

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
        """Give the labels of image ``i``, 0 .. len - 1, without reading the image."""
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
        """Count the crystals of at least ``min_area`` px^2 (w h) in each of the images: (len,)."""
        large = (self._boxes[:, 2] * self._boxes[:, 3] >= min_area).numpy()
        upto = np.concatenate(([0], np.cumsum(large)))[self._first]
        return upto[1:] - upto[:-1]

    def __getitem__(self, i: int) -> tuple[UInt8[Tensor, "1 H W"], Target, int]:
        target = self.target(i)
        path = self.image_path(i)
        height, width = self.sizes[i]
        image = torch.from_numpy(images.read_grey(path, self.white, (height, width)))[None]
        if (height is not None and height != image.shape[1]) or (width is not None and width != image.shape[2]):
            raise DataError(
                f"{path} is {image.shape[1]} x {image.shape[2]} px, {self.path.name} says {height} x {width}; "
                "labels and image do not belong together"
            )
        return image, target, self.first_index + i

    def image_path(self, i: int) -> Path:
        """The file of image i. Raises DataError for a name that climbs out of the folder; links are followed."""
        name = self.file_names[i]
        path = os.path.normpath(name)
        if os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
            raise DataError(f"{self.path}: file_name {name!r} leads out of {self.folder}; image files must lie inside it")
        return self.folder / path

    def __add__(self, other: Any) -> ConcatDataset[Any]:
        return number_parts(ConcatDataset([self, other]))


PCSDataset = PcsDataset  # its name up to version 0.3


class Skipped:
    """Annotations that cannot be used: collected to be named in one warning, or refused at once if ``strict``."""

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.ids: list[Any] = []
        self.reasons: list[str] = []

    def add(self, annotation: Any, error: DataError) -> None:
        if self.strict:
            raise error
        self.ids.append(annotation)
        if len(self.reasons) < 5:
            self.reasons.append(str(error).removeprefix(f"{self.path}: "))

    def forget(self) -> None:
        """Start anew."""
        self.ids, self.reasons = [], []

    def warn(self) -> None:
        if self.ids:
            more = f"; and {len(self.ids) - 5} more" if len(self.ids) > 5 else ""
            warnings.warn(
                f"{self.path}: {len(self.ids)} annotations cannot be used and are skipped: {'; '.join(self.reasons)}{more}. "
                "Correct them, or refuse such files with strict=True",
                stacklevel=4,
            )


def number_parts(data: Any) -> Any:
    """Give the data sets in a ConcatDataset distinct indices, so that no two images share their noise; returns ``data``.

    The first keeps 0, 1, ..; each following one counts on. ``AugmentedLoader`` calls this for its loader's data set.
    """
    if isinstance(data, ConcatDataset):  # a data set by itself keeps the index that it was given
        _number(data, 0)
    return data


def _number(data: Any, first: int) -> None:
    if isinstance(data, ConcatDataset):
        for part in data.datasets:
            _number(part, first)
            first += len(part)  # type: ignore[arg-type]
    elif hasattr(data, "first_index"):
        data.first_index = first


def _stem(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    raise DataError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")


def _read(path: Path, shift: float, skipped: Skipped) -> tuple[dict[str, Any], json_labels.Columns | None]:
    """The document, and its annotations where they could be read apart."""
    with _readable(path):
        streamed = json_labels.stream(path, lambda a: _annotation(a, path, skipped), shift)
    if streamed is not None:
        return streamed
    skipped.forget()
    return read_json(path), None


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


def _side(value: Any) -> Any:
    """A number of px; some converters write it as text."""
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def _text(entry: dict[str, Any], key: str, path: Path) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise DataError(f"{path}: entry {entry.get('id')}: {key!r} must be a file name, got {value!r}")
    return value


def _annotation(a: Any, path: Path, skipped: Skipped) -> json_labels.Annotation | None:
    """One entry of the annotations; None for a crowd, and for what cannot be used."""
    crowd = a.get("iscrowd")
    if crowd and not (isinstance(crowd, str) and crowd.strip().lower() in NO):  # some converters write text
        return None
    image, category = _integer(a, "image_id", path), _integer(a, "category_id", path)
    try:
        return json_labels.Annotation(a.get("id"), image, category, *_shape_of(a, path))
    except DataError as e:
        skipped.add(a.get("id"), e)
        return None


def usable(annotation: dict[str, Any], path: Path) -> bool:
    """Whether an annotation of the file is among the data set's objects."""
    return _annotation(annotation, path, Skipped(path, strict=False)) is not None


def oriented(annotation: dict[str, Any]) -> bool:
    """Whether its ``bbox`` has the five numbers of the published files."""
    box = annotation.get("bbox")
    return isinstance(box, list | tuple) and len(box) == 5


def _shape_of(annotation: dict[str, Any], path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The oriented box (5,) and outline (K, 2) of one annotation. Raises DataError where neither says where it is."""
    where = f"{path}: annotation {annotation.get('id')}"
    outline = _outline(annotation.get("segmentation") or [], where)
    try:
        numbers = _box_numbers(annotation.get("bbox"), where)
    except DataError:
        if outline is None:
            raise
        numbers = np.zeros(4)  # the polygon says it
    if len(numbers) == 5:
        box = bx.le90(np.append(numbers[:4], -np.radians(numbers[4]))[None])[0]
    elif outline is not None:
        box = bx.min_area_box(outline)
        if box[3] <= 1e-9 * box[2]:
            raise DataError(f"{where}: the polygon {outline.tolist()} has no area")
    else:
        x, y, w, h = numbers
        box = bx.le90(np.array([[x + w / 2, y + h / 2, w, h, _turned(annotation, where)]]))[0]
    if np.abs(box[:4]).max() > LARGEST or box[2:4].min() < SMALLEST:
        raise DataError(f"{where}: a box of {box[2]:g} x {box[3]:g} px at ({box[0]:g}, {box[1]:g}) fits no image")
    return box, outline if outline is not None else bx.box_corners(box[None])[0]


def _turned(annotation: dict[str, Any], where: str) -> float:
    """By how many radians, clockwise, an upright box is turned about its centre: CVAT writes degrees among the attributes."""
    attributes = annotation.get("attributes")
    degrees = attributes.get("rotation") if isinstance(attributes, dict) else None
    if degrees is None:
        return 0.0
    try:
        radians = float(np.radians(float(degrees)))
    except (TypeError, ValueError):
        radians = np.nan
    if not np.isfinite(radians):
        raise DataError(f"{where}: the attribute 'rotation' must be a number of degrees, got {str(degrees)[:40]!r}")
    return radians


def _box_numbers(value: Any, where: str) -> NDArray[np.float64]:
    numbers = _numbers(value, f"{where}: 'bbox'")
    if len(numbers) not in (4, 5) or (numbers[2:4] <= 0).any():
        raise DataError(
            f"{where}: 'bbox' must be [cx, cy, w, h, degrees] or [x, y, w, h] with w, h > 0, got {numbers.tolist()}"
        )
    return numbers


def _outline(segments: Any, where: str) -> NDArray[np.float64] | None:
    if not isinstance(segments, list):
        raise DataError(f"{where}: 'segmentation' must be a list of polygons (run-length masks are read of crowds only)")
    parts = [_numbers(s, f"{where}: 'segmentation'") for s in segments]
    for p in parts:
        if len(p) < 6 or len(p) % 2:
            raise DataError(f"{where}: a polygon needs at least 3 points as [x1, y1, x2, y2, ...], got {len(p)} numbers")
    if len(parts) > 1:  # one crystal seen in several pieces: its outline goes around all of them
        return bx.convex_hull(np.concatenate(parts).reshape(-1, 2))
    return parts[0].reshape(-1, 2) if parts else None


def _numbers(value: Any, where: str) -> NDArray[np.float64]:
    try:
        out = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        out = np.array(np.nan)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise DataError(f"{where} must be a list of finite numbers, got {str(value)[:80]}")
    return out


def read_grey(path: str | os.PathLike[str], white: float | None = None) -> Tensor:
    """An image file as (1, H, W) uint8 grey; see ``pcs_augment.images.read_grey``. Raises DataError, InputError."""
    return torch.from_numpy(images.read_grey(path, white))[None]


def collate(
    samples: Sequence[tuple[Shaped[Tensor, "C H W"], Labelled, int | tuple[int, int]]],
) -> tuple[Shaped[Tensor, "B C H W"], list[Labelled], Integer[Tensor, "B ..."]]:
    """Make a batch of samples, as ``AugmentedLoader`` expects it; a ``collate_fn`` of DataLoaders.

    Args:
        samples: (image (C, H, W), target, index) of one image size; an index is an integer or a pair (index, copy).

    Returns:
        (images (B, C, H, W), list of B targets, index (B,) or (B, 2) int64).

    Raises:
        InputError: a sample is not of this form, or sizes differ.

    Example:
        >>> images, targets, index = pa.collate([data[0], data[5]])
        >>> images.shape, len(targets), index
        (torch.Size([2, 1, 384, 384]), 2, tensor([0, 5]))
    """
    for s in samples:
        if not isinstance(s, (tuple, list)) or len(s) != 3 or not isinstance(s[0], Tensor) or not isinstance(s[1], dict):
            parts = [type(v).__name__ for v in s] if isinstance(s, (tuple, list)) else type(s).__name__
            raise InputError(
                "a sample must be (image, target, index): a tensor (C, H, W), a dict with 'boxes', and the sample's number in "
                f"the data set; got {parts}"
            )
    images, targets, index = zip(*samples)
    try:
        rows = np.asarray(index)
    except (TypeError, ValueError):
        rows = np.zeros(0)
    if rows.dtype.kind not in "iu":
        raise InputError(f"the index of a sample must be an integer or a pair (index, copy), got {index!r}")
    shapes = {tuple(i.shape) for i in images}
    if len(shapes) > 1:
        raise InputError(
            f"images of one batch must have one size, got {sorted(shapes)}; crop or resize them, or use batch_size=1"
        )
    together = BatchTargets(map(gathered, targets))
    return torch.stack(images), cast(list[Labelled], together), torch.as_tensor(rows.astype(np.int64))
