"""Annotations of a COCO-layout JSON as columns, and how a large file becomes such without ever being in memory as a whole.

The published training set is 4.8 GB of text. It is read in blocks, by a thread, since decompressing takes as long as reading
the numbers; a compiled scanner (``kernels/numba/json_labels.py``) fills the columns. What the scanner does not take, one
annotation or what surrounds their list, goes through ``json``, so that the result is the same.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import boxes as bx
from .dispatch import module, uses_numba

LARGE = 4 * 2**20  # bytes on disk: below, loading the scanner takes longer than it saves
BLOCK = 8 * 2**20  # bytes of text
_PADDING = bytes(16)


class Annotation(NamedTuple):
    """One crystal. box: (5,) as everywhere here; outline: (K, 2); px, float64."""

    id: Any
    image_id: int
    category_id: int
    box: NDArray[np.float64]
    outline: NDArray[np.float64]


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
        """Add what the scanner read; its arrays are overwritten. points: (V, 2)."""
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


def stream(path: Path, read: Callable[[Any], Annotation | None], shift: float) -> tuple[dict[str, Any], Columns] | None:
    """A large file: the document, its list of annotations emptied, and the annotations that were in it.

    read: how to understand one annotation as json gives it; None to leave it out. Returns None for a small file, without
    numba, and for a document that is not an object with one plain list of annotations. Raises what opening, decompressing and
    json raise, and ValueError for text that ends too early.
    """
    if path.stat().st_size < LARGE or not uses_numba():
        return None
    reader = _Reader(read, shift)
    rest, pieces, wanted, size = b"", [], 0, 0
    for piece in _blocks(path, BLOCK):
        pieces.append(piece)
        size += len(piece)
        if size < wanted:
            continue
        text = b"".join([rest, *pieces])
        rest, pieces = text[reader.take(text) :], []
        if reader.odd:
            return None
        # what is cut off is looked at again when twice as much of it is there, or a very long one would take forever
        wanted, size = len(rest), 0
    text = b"".join([rest, *pieces])
    rest = text[reader.take(text) :]
    if reader.odd or not reader.found:
        return None
    if reader.inside:
        raise ValueError("the text ends in the list of annotations")
    document = json.loads(b"".join([*reader.around, rest]))
    return (document, reader.columns) if isinstance(document, dict) else None


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """The text of a plain or gzip-compressed file, read one block ahead."""
    with path.open("rb") as raw, ThreadPoolExecutor(1) as thread:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        ahead = thread.submit(file.read, size)
        while block := ahead.result():
            ahead = thread.submit(file.read, size)
            yield block


class _Reader:
    """Takes the text of a document piece by piece."""

    def __init__(self, read: Callable[[Any], Annotation | None], shift: float) -> None:
        kernel: Any = module("numba", "json_labels")
        self._kernel = kernel
        self._read = read
        self._depth = 0
        self._expected = kernel.FIRST
        self._scratch: tuple[NDArray[Any], ...] = ()
        self.columns = Columns(shift)
        self.around: list[bytes] = []  # the text but for the annotations
        self.found = self.inside = self.odd = False

    def take(self, content: bytes) -> int:
        """Read what is complete; returns how many bytes that is."""
        text, end, p = np.frombuffer(content + _PADDING, np.uint8), len(content), 0
        while not self.odd:
            if self.inside:
                p, more = self._annotations(content, text, p)
                if more:
                    return p
            else:
                begin = p
                p, self._depth, how = self._kernel.outside(text, begin, end, self._depth)
                self.around.append(content[begin:p])
                if how == self._kernel.MORE:
                    return p
                self.odd = self.found or how == self._kernel.ODD
                self.found = self.inside = True
        return p

    def _annotations(self, content: bytes, text: NDArray[np.uint8], p: int) -> tuple[int, bool]:
        """Read on from p: (how far, whether more text is needed)."""
        kernel = self._kernel
        whole, boxes, bare, corners, points = arrays = self._room(len(text))
        p, self._expected, n, v = kernel.scan(text, p, self._expected, *arrays)
        self.columns.extend(whole[:n], boxes[:n], bare[:n], corners[:n], points[: 2 * v].reshape(-1, 2))
        if self._expected == kernel.ENDED:
            self.inside = False
            self.around.append(b"]")
            return p, False
        if p == len(content):
            return p, True
        if self._expected == kernel.COMMA or content[p : p + 1] != b"{":
            self.odd = True
            return p, False
        stop = kernel.object_end(text, p, len(content))
        if stop < 0:
            return p, True
        one = self._read(json.loads(content[p:stop]))
        if one is not None:
            self.columns.add(one)
        self._expected = kernel.COMMA
        return stop, False

    def _room(self, size: int) -> tuple[NDArray[Any], ...]:
        n, v = size // 40 + 1, size // 2 + 8
        if not self._scratch or len(self._scratch[-1]) < v:
            self._scratch = (
                np.empty((n, 3), np.int64),
                np.empty((n, 5)),
                np.empty(n, np.bool_),
                np.empty(n, np.int32),
                np.empty(v),
            )
        return self._scratch
