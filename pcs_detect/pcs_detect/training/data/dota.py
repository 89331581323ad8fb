"""Folders in the layout of the DOTA data set: images, and for each a text file of corners."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from pcs_augment.boxes import le90
from pcs_augment.data import read_grey
from pcs_augment.errors import DataError as UnreadableImage
from pcs_augment.targets import Outlines

from ...errors import DataError

IMAGES = "images"
LABELS = ("labelTxt", "annfiles")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
HEADERS = ("imagesource:", "gsd:")


class DotaFolder(Dataset[tuple[Tensor, dict[str, Any], int]]):
    """Images of ``folder/images`` with labels of ``folder/labelTxt`` or ``folder/annfiles``, as pcs-render exports them.

    Each image has a text file of its name; a line is "x1 y1 x2 y2 x3 y3 x4 y4 category difficulty", px; the difficulty may be
    missing and does not count. Lines of an image's source and ground sampling distance are passed over. categories: which
    become crystals; None for all.

    Item i is (image, target, i): image (1, H, W) uint8 grey; target ``boxes (N, 5)`` float32, px and radians, the minimum-area
    ones around the four corners, ``polygons`` N times those corners (4, 2), ``labels (N,)`` zeros, ``image_id`` int: the number
    that is the image's name, or i where not every name is a number of its own. Labels are read with their image; the folder is
    listed once. Raises DataError for what is missing or malformed.
    """

    def __init__(self, folder: str | os.PathLike[str], categories: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        found = [self.folder / name for name in LABELS if (self.folder / name).is_dir()]
        if not is_dota(self.folder) or len(found) != 1:
            raise DataError(
                f"{folder} must hold a folder {IMAGES} and one of labels, {' or '.join(LABELS)}; "
                f"found: {', '.join(p.name for p in found) or 'no labels'}"
            )
        self.labels = found[0]
        self.categories = None if categories is None else frozenset(categories)
        names = sorted(n for n in os.listdir(self.folder / IMAGES) if n.lower().endswith(SUFFIXES) and n[0] != ".")
        stems = [os.path.splitext(n)[0] for n in names]
        if len(set(stems)) < len(stems):
            twice = Counter(stems).most_common(1)[0][0]
            raise DataError(f"{self.folder / IMAGES} holds two images named {twice}; labels belong to one: remove the other")
        if not names:
            raise DataError(f"{self.folder / IMAGES} holds no images; their names must end in {', '.join(SUFFIXES)}")
        absent = sorted(set(stems) - {os.path.splitext(n)[0] for n in os.listdir(self.labels) if n.endswith(".txt")})
        if absent:
            raise DataError(
                f"{self.labels}: no {absent[0]}.txt, {len(absent)} of {len(stems)} images have no labels; "
                "an image without crystals needs an empty file"
            )
        self.names: NDArray[np.str_] = np.array(names)
        numbers = [int(s) for s in stems if s.isascii() and s.isdecimal() and len(s) < 19]
        usable = len(set(numbers)) == len(names)
        self.image_ids: NDArray[np.int64] = np.array(numbers, np.int64) if usable else np.arange(len(names))

    def __len__(self) -> int:
        return len(self.names)

    def path(self, i: int) -> Path:
        """The image file."""
        return self.folder / IMAGES / str(self.names[i])

    def target(self, i: int) -> dict[str, Any]:
        """The labels of image i, without reading the image."""
        if not 0 <= i < len(self):  # also what ends iteration over a data set
            raise IndexError(f"image {i} of {len(self)}")
        boxes, corners = read_labels(self.labels / f"{self.path(i).stem}.txt", self.categories)
        points = torch.from_numpy(corners.astype(np.float32))
        return {
            "boxes": torch.from_numpy(boxes.astype(np.float32)),
            "labels": torch.zeros(len(boxes), dtype=torch.int64),
            "polygons": Outlines(points.unbind()),
            "image_id": int(self.image_ids[i]),
        }

    def __getitem__(self, i: int) -> tuple[Tensor, dict[str, Any], int]:
        target = self.target(i)
        try:
            return read_grey(self.path(i)), target, i
        except UnreadableImage as e:
            raise DataError(str(e)) from e


def is_dota(folder: Path) -> bool:
    """Whether there are folders of images and of labels."""
    return (folder / IMAGES).is_dir() and any((folder / name).is_dir() for name in LABELS)


def read_labels(path: Path, categories: frozenset[str] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 5) boxes and (N, 4, 2) corners of the objects in a text file. Raises DataError with the number of the bad line."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: cannot be read ({e})") from e
    rows: list[list[float]] = []
    places: list[int] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith(HEADERS):
            continue
        if len(words) not in (9, 10):
            raise DataError(f'{path}, line {number}: expected "x1 y1 x2 y2 x3 y3 x4 y4 category difficulty", got {line[:80]!r}')
        if len(words) == 9 and _is_yolo(words):
            raise DataError(
                f"{path}, line {number}: a line of YOLO's oriented boxes (class first, corners as parts of the image): "
                f"{line[:80]!r}; export in the layout of DOTA, corners in px and the class after them"
            )
        try:
            row = [float(w) for w in words[:8]]
        except ValueError:
            row = [math.nan]
        if not all(map(math.isfinite, row)):
            raise DataError(f"{path}, line {number}: the eight coordinates must be finite numbers, got {line[:80]!r}")
        if categories is not None and words[8] not in categories:
            continue
        rows.append(row)
        places.append(number)
    corners = np.array(rows, np.float64).reshape(-1, 4, 2)
    boxes = boxes_around(corners)
    flat = boxes[:, 3] <= 1e-9 * boxes[:, 2]
    if flat.any():
        number = places[int(flat.argmax())]
        more = f", and {flat.sum() - 1} more of this file" if flat.sum() > 1 else ""
        warnings.warn(
            f"{path}, line {number}: the four corners enclose no area, so the object is skipped{more}: "
            f"{lines[number - 1][:80]!r}",
            stacklevel=2,
        )
        boxes, corners = boxes[~flat], corners[~flat]
    return boxes, corners


def _is_yolo(words: Sequence[str]) -> bool:
    """Whether nine words are a class and eight parts of the image's sides."""
    try:
        return words[0].isdigit() and all(-0.5 <= float(w) <= 1.5 for w in words[1:])
    except ValueError:
        return False


def boxes_around(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 5) minimum-area oriented boxes around (N, 4, 2) corners, as pcs_augment.boxes.min_area_box gives them one by one.

    One side of such a box lies on an edge of the hull, and that joins two of the four: the six pairs are tried.
    """
    first, second = np.triu_indices(4, 1)
    angle = np.arctan2(*np.moveaxis(corners[:, second] - corners[:, first], -1, 0)[::-1])  # (N, 6)
    c, s = np.cos(angle), np.sin(angle)
    x, y = corners[:, None, :, 0], corners[:, None, :, 1]
    along, across = c[..., None] * x + s[..., None] * y, c[..., None] * y - s[..., None] * x  # (N, 6, 4)
    w, h = np.ptp(along, -1), np.ptp(across, -1)
    u, v = (along.max(-1) + along.min(-1)) / 2, (across.max(-1) + across.min(-1)) / 2
    candidates = np.stack([c * u - s * v, s * u + c * v, w, h, angle], -1)
    return le90(candidates[np.arange(len(corners)), np.argmin(w * h, -1)])
