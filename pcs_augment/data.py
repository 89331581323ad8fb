"""Labelled images as a torch Dataset: the published PCS JSON and ordinary COCO with polygons."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from . import coco_json, images, json_labels
from .errors import DataError, InputError
from .keys import Labelled, Target
from .ragged import BatchTargets, Outlines, gathered

if TYPE_CHECKING:
    from jaxtyping import Integer, Shaped, UInt8


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
        categories: names in the order of the labels, for files that list the same categories in different orders; by default
            the file's own.

    Raises:
        DataError: something is missing, malformed, unreadable or outside the folder.
        InputError: categories are no different names, or leave out one that occurs.

    Examples:
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
        categories: Sequence[str] | None = None,
    ) -> None:
        self.path, self.white, self.first_index = Path(annotations), white, first_index
        self.folder = Path(images) if images is not None else coco_json.folder_beside(self.path)
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder of images; pass images=FOLDER")
        skipped = coco_json.Skipped(self.path, strict)
        document, columns = _read(self.path, 1.0 if published_labels else 0.0, skipped)
        entries = coco_json.entries(document, "images", self.path)
        self.categories: list[dict[str, Any]] = coco_json.entries(document, "categories", self.path)
        self.label_names = self._own_names() if categories is None else _names(categories)
        self.image_ids = np.array([coco_json.integer(e, "id", self.path) for e in entries], dtype=np.int64)
        self.file_names = [coco_json.text(e, "file_name", self.path) for e in entries]
        self.sizes = [(coco_json.side(e.get("height")), coco_json.side(e.get("width"))) for e in entries]
        if columns is None:
            columns = json_labels.Columns(1.0 if published_labels else 0.0)
            for a in coco_json.entries(document, "annotations", self.path):
                one = coco_json.annotation(a, self.path, skipped)
                if one is not None:
                    columns.add(one)
        self._keep(columns)
        self.skipped = skipped.ids
        skipped.warn()

    def _keep(self, columns: json_labels.Columns) -> None:
        if len(np.unique(self.image_ids)) != len(self.image_ids):
            raise DataError(f"{self.path}: an image id occurs twice; make ids unique")
        categories = np.array([coco_json.integer(c, "id", self.path) for c in self.categories], dtype=np.int64)
        images, labels = _places(columns.image_id, self.image_ids), _places(columns.category_id, categories)
        if min(images.min(initial=0), labels.min(initial=0)) < 0:
            i = int(np.argmax((images < 0) | (labels < 0)))
            image, category = columns.image_id[i], columns.category_id[i]
            raise DataError(
                f"{self.path}: annotation {columns.id(i)} names image {image} and category {category}; both must be listed"
            )
        labels = self._numbered(labels)
        counts = np.bincount(images, minlength=len(self.image_ids))
        order, boxes, corners, points = columns.by_image(images)
        self._boxes, self._points = torch.from_numpy(boxes), torch.from_numpy(points)
        self._labels = torch.from_numpy((labels if order is None else labels[order]).astype(np.int32))
        self._corners = corners
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self._first_point = np.concatenate(([0], np.cumsum(corners, dtype=np.int64)))[self._first]

    def _own_names(self) -> list[str]:
        return [str(c.get("name", c.get("id"))) for c in self.categories]

    def _numbered(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels of annotations whose categories have these places in the file."""
        own = self._own_names()
        if own == self.label_names:
            return places
        label = np.array([self.label_names.index(n) if n in self.label_names else -1 for n in own], dtype=np.int64)
        unknown = [own[k] for k in np.unique(places) if label[k] < 0]
        if unknown:
            raise InputError(
                f"{self.path} has annotations of {unknown}, which categories={self.label_names} leaves out; name every "
                "category that occurs, in the order of the labels"
            )
        return label[places]

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
        return coco_json.image_path(self.folder, self.file_names[i], self.path)

    def __add__(self, other: Any) -> ConcatDataset[Any]:
        return number_parts(ConcatDataset([self, other]))


PCSDataset = PcsDataset  # its name up to version 0.3


def number_parts(data: Any) -> Any:
    """Give the data sets in a ConcatDataset distinct indices, so that no two images share their noise; returns ``data``.

    The first keeps 0, 1, ..; each following one counts on. ``AugmentedLoader`` calls this for its loader's data set. Warns
    where one label would mean several categories.
    """
    if isinstance(data, ConcatDataset):  # a data set by itself keeps the index that it was given
        names: list[Any] = []
        _number(data, 0, names)
        for label, meant in enumerate(itertools.zip_longest(*names)):
            different = list(dict.fromkeys(n for n in meant if n is not None))
            if len(different) > 1:
                warnings.warn(
                    f"label {label} means {different} in data sets that are used side by side; give each the "
                    "same categories=[...]",
                    stacklevel=3,
                )
                break
    return data


def _number(data: Any, first: int, names: list[Any]) -> None:
    if isinstance(data, ConcatDataset):
        for part in data.datasets:
            _number(part, first, names)
            first += len(part)  # type: ignore[arg-type]
    elif hasattr(data, "first_index"):
        data.first_index = first
        names.append(getattr(data, "label_names", ()))


def _names(categories: Any) -> list[str]:
    names = list(categories) if isinstance(categories, (list, tuple)) else []
    if not names or not all(isinstance(n, str) for n in names) or len({*names}) < len(names):
        raise InputError(f"categories must be a list of different names in the order of the labels, got {categories!r}")
    return names


def _read(path: Path, shift: float, skipped: coco_json.Skipped) -> tuple[dict[str, Any], json_labels.Columns | None]:
    """The document, and its annotations where they could be read apart."""
    with coco_json.readable(path):
        streamed = json_labels.stream(path, lambda a: coco_json.annotation(a, path, skipped), shift)
    if streamed is not None:
        return streamed
    skipped.forget()
    return coco_json.read_json(path), None


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

    Examples:
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
