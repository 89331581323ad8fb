"""Annotations of a COCO-layout JSON as columns, and how a large file becomes such without ever being in memory as a whole.

The published training set is 4.8 GB of text. It is read in blocks, by a thread, since decompressing takes as long as reading
the numbers; msgspec reads the annotations of a block. Where one of them has another form than the published ones, all of the
block go through ``json``, as does what surrounds their list, so that the result is that of ``json``.

msgspec takes 3.6 s of a core and 120 MB for 198 MB of text; our own scanner in numba took 1.5 s (5.5 s when first compiled),
290 MB and 310 lines more; orjson takes 5 s, json 9 s; Parquet 0.5 s, but it is a second file, written from what is read here.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from . import boxes as bx
from .coco_json import LARGEST, SMALLEST, Annotation

BLOCK = 2**18  # bytes of text


class _Column:
    """Rows of one array that grows in place."""

    def __init__(self, dtype: type, *width: int) -> None:
        self._rows: NDArray[Any] = np.empty((0, *width), dtype)
        self._count = 0

    def extend(self, rows: NDArray[Any]) -> None:
        end = self._count + len(rows)
        if end > len(self._rows):
            self._resize(end + end // 8 + 1024)
        self._rows[self._count : end] = rows
        self._count = end

    def rows(self) -> NDArray[Any]:
        self._resize(self._count)
        return self._rows

    def _resize(self, count: int) -> None:
        # realloc: the system moves the pages of a large array, so that no second copy of it comes to be
        self._rows.resize((count, *self._rows.shape[1:]), refcheck=False)


class Columns:
    """N annotations with V corners in all, in the order of the file.

    shift: px that all labels are moved down. Once everything is added: image_id, category_id (N,) int64; boxes (N, 5) float32;
    corners (N,) int32, how many corners each has; points (V, 2) float32.
    """

    def __init__(self, shift: float = 0.0) -> None:
        self._shift = shift
        self._ids, self._image_id, self._category_id = _Column(np.int64), _Column(np.int64), _Column(np.int64)
        self._boxes, self._corners, self._points = _Column(np.float32, 5), _Column(np.int32), _Column(np.float32, 2)
        self._other_ids: dict[int, Any] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, one: Annotation) -> None:
        whole = np.array([[0, one.image_id, one.category_id]], np.int64)
        self._other_ids[len(self)] = one.id  # it may be anything: only messages show it
        self._extend(whole, one.box[None].copy(), np.array([len(one.outline)]), one.outline.copy())

    def extend(
        self,
        whole: NDArray[np.int64],
        boxes: NDArray[np.float64],
        bare: NDArray[np.bool_],
        corners: NDArray[np.int32],
        points: NDArray[np.float64],
    ) -> None:
        """Add many; the arrays are overwritten.

        whole: (N, 3) id, image_id, category_id; boxes: (N, 5) as published; bare: (N,) whether there is no outline, but four
        places for one; corners: (N,); points: (V, 2).
        """
        boxes[:, 4] = -np.radians(boxes[:, 4])
        boxes = bx.le90(boxes)
        rows = np.flatnonzero(bare)
        if len(rows):
            first = np.cumsum(corners)[rows] - 4
            points[first[:, None] + np.arange(4)] = bx.box_corners(boxes[rows])
        self._extend(whole, boxes, corners, points)

    def _extend(
        self,
        whole: NDArray[np.int64],
        boxes: NDArray[np.float64],
        corners: NDArray[Any],
        points: NDArray[np.float64],
    ) -> None:
        if self._shift:
            boxes[:, 1] += self._shift
            points[:, 1] += self._shift
        self._ids.extend(whole[:, 0])
        self._image_id.extend(whole[:, 1])
        self._category_id.extend(whole[:, 2])
        self._boxes.extend(boxes)
        self._corners.extend(corners)
        self._points.extend(points)
        self._count += len(whole)

    def id(self, i: int) -> Any:
        """What annotation i is called in the file."""
        return self._other_ids[i] if i in self._other_ids else int(self._ids.rows()[i])

    @property
    def image_id(self) -> NDArray[np.int64]:
        return self._image_id.rows()

    @property
    def category_id(self) -> NDArray[np.int64]:
        return self._category_id.rows()

    def by_image(
        self, images: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """(order, boxes, corners, points) sorted by the (N,) images; order None where they are sorted as they are."""
        boxes, corners, points = self._boxes.rows(), self._corners.rows(), self._points.rows()
        np.maximum(boxes[:, 4], np.float32(bx.LOWEST), out=boxes[:, 4])  # where float32 rounds below -pi/2
        if not (images[1:] < images[:-1]).any():
            return None, boxes, corners, points
        order = np.argsort(images, kind="stable")
        first = np.cumsum(corners, dtype=np.int64) - corners
        moved = np.empty_like(points)
        end = 0
        for begin in range(0, len(order), 2**18):  # in pieces: the row numbers of all corners would double the memory
            mine = order[begin : begin + 2**18]
            count = corners[mine]
            ends = np.cumsum(count, dtype=np.int64)
            rows = np.arange(ends[-1]) + np.repeat(first[mine] - (ends - count), count)
            moved[end : end + len(rows)] = points[rows]
            end += len(rows)
        return order, boxes[order], corners[order], moved


class _Row(msgspec.Struct, gc=False):
    """An annotation as published."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float, float]
    segmentation: Annotated[list[Annotated[list[float], msgspec.Meta(min_length=6)]], msgspec.Meta(max_length=1)] | None = None
    iscrowd: Literal[0] = 0


_ROWS = msgspec.json.Decoder(list[_Row])
_IDS, _BBOX = attrgetter("id", "image_id", "category_id"), attrgetter("bbox")
_BARE = (0.0,) * 8
_LIST = re.compile(rb'"annotations"\s*:\s*\[')
_BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")
_END = re.compile(rb"\}\s*\]")
_READ = "annotations, read already"


def stream(path: Path, read: Callable[[Any], Annotation | None], shift: float) -> tuple[dict[str, Any], Columns] | None:
    """The document without its annotations, and these as columns.

    read: how to understand one annotation as json gives it; None to leave it out. Returns None for a document that is to be
    read whole: one that is not valid, is not an object with a list of objects as annotations, or has lists of objects within
    these. Raises what opening, decompressing and json raise, and ValueError for text that ends too early.
    """
    # closed here: left to the garbage collector, the reading thread could be waited for in the middle of starting another one
    with closing(_blocks(path, BLOCK)) as blocks:
        return _streamed(blocks, read, shift)


def _streamed(
    blocks: Iterator[bytes], read: Callable[[Any], Annotation | None], shift: float
) -> tuple[dict[str, Any], Columns] | None:
    columns = Columns(shift)
    head, text = _head(blocks)
    if not head:
        return None
    ends_early = False
    for block in chain([b""], blocks):
        text += block
        end = _END.search(text)
        if end is None:
            cuts = [m.span() for m in _BETWEEN.finditer(text)]
            if not cuts:
                continue
            stop, after = cuts[-1][0] + 1, cuts[-1][1]
        else:
            stop, after = end.start() + 1, end.end()
        # what is cut at a wrong place, within a string or a list, lacks its end, and neither msgspec nor json takes it
        if not _take(text[:stop], columns, read):
            return None
        text, ends_early = text[after:], True
        if end is not None:
            document = json.loads(b"".join([head, json.dumps(_READ).encode(), b"]", text, *blocks]))
            # another list of this name, deeper or after this one, may be the one that counts
            return (document, columns) if isinstance(document, dict) and document.get("annotations") == [_READ] else None
    if ends_early:
        raise ValueError("the text ends in the list of annotations")
    return None


def _head(blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """(the text up to the list of annotations, what follows of the block); empty where there is no list."""
    text = bytearray()
    for block in blocks:
        text += block
        found = _LIST.search(text, max(len(text) - len(block) - 100, 0))
        if found:
            return bytes(text[: found.end()]), bytes(text[found.end() :])
    return b"", b""


def _take(text: bytes, columns: Columns, read: Callable[[Any], Annotation | None]) -> bool:
    """Add the annotations of a piece of their list; False where it is no such piece."""
    try:
        arrays = _arrays(_ROWS.decode(f"[{text.decode()}]"))
    except (ValueError, OverflowError):
        arrays = None
    if arrays is not None:
        columns.extend(*arrays)
        return True
    try:
        rows = json.loads(b"[" + text + b"]")
    except (ValueError, RecursionError):
        return False
    if not all(isinstance(a, dict) for a in rows):
        return False
    for one in filter(None, map(read, rows)):
        columns.add(one)
    return True


def _arrays(rows: list[_Row]) -> tuple[NDArray[Any], ...] | None:
    """Arguments of ``Columns.extend``; None where one is for ``read`` to judge. Raises OverflowError."""
    n = len(rows)
    outlines = [row.segmentation[0] if row.segmentation else _BARE for row in rows]
    numbers = np.fromiter(map(len, outlines), np.int32, n)
    boxes = np.fromiter(chain.from_iterable(map(_BBOX, rows)), np.float64, 5 * n).reshape(n, 5)
    if (numbers % 2).any() or np.abs(boxes[:, :4]).max() > LARGEST or boxes[:, 2:4].min() < SMALLEST:
        return None
    whole = np.fromiter(chain.from_iterable(map(_IDS, rows)), np.int64, 3 * n).reshape(n, 3)
    bare = np.fromiter((not row.segmentation for row in rows), np.bool_, n)
    points = np.fromiter(chain.from_iterable(outlines), np.float64, int(numbers.sum())).reshape(-1, 2)
    return whole, boxes, bare, numbers // 2, points


def _blocks(path: Path, size: int) -> Generator[bytes, None, None]:
    """The text of a plain or gzip-compressed file, read one block ahead."""
    with path.open("rb") as raw, ThreadPoolExecutor(1) as thread:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        ahead = thread.submit(file.read, size)
        while block := ahead.result():
            ahead = thread.submit(file.read, size)
            yield block
