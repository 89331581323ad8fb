"""One image with its labels, and what must hold for them."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcs_augment.extras import missing

from ..errors import DataError, InputError

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]

QUARTER = np.float32(np.pi / 2)
_END = b"\0\0\0\0IEND\xaeB`\x82"  # a chunk that holds nothing, with its checksum
EDGE = 0.01  # px: how far a corner may lie outside the image, or outside its oriented box, by rounding


@dataclass(frozen=True, eq=False)
class Record:
    """One image and its N crystals. Coordinates: px, x right, y down, pixel i spans [i, i + 1).

    Attributes:
        image_id: 0 .. 10^10 - 1.
        png: the picture's file, 8-bit grey.
        width: px.
        height: px.
        boxes: (N, 5) cx, cy, w, h, theta: w >= h, theta in [-pi/2, pi/2), positive clockwise on screen.
        polygons: N times (K, 2): the convex hull of each crystal.
        depth: (N,) distance of the crystal's centre from the camera plane.
        model: (N,) ids of the shapes.
        refractive_index: (N,)
        targets: (N, 4) area in px^2, ratio, angle in degrees counter-clockwise, largest area: as ``scene.Target``.
        scene: its JSON.
        seconds: render time.

    Examples:
        >>> record = shards.Reader("data").record(2)
        >>> record.image_id, record.width, record.boxes.dtype
        (2, 64, dtype('float32'))
    """

    image_id: int
    png: bytes
    width: int
    height: int
    boxes: Floats
    polygons: list[Floats]
    depth: Floats
    model: Integers
    refractive_index: Floats
    targets: Floats
    scene: str
    seconds: float


@dataclass(frozen=True, eq=False)
class Labels:
    """What a Record says of its crystals, the polygons' corners in one array.

    Attributes:
        image_id: as in ``Record``.
        width: px.
        height: px.
        boxes: (N, 5), as in ``Record``.
        points: (P, 2) the corners of all polygons, crystal after crystal.
        corners: (N,) how many of them belong to each.
        depth: (N,), as in ``Record``.
        model: (N,)
        refractive_index: (N,)
        targets: (N, 4), as in ``Record``.

    Examples:
        >>> first = next(shards.Reader("data").labels())
        >>> len(first.points) == sum(first.corners.tolist()), len(first.polygons) == len(first.boxes)
        (True, True)
    """

    image_id: int
    width: int
    height: int
    boxes: Floats
    points: Floats
    corners: Integers
    depth: Floats
    model: Integers
    refractive_index: Floats
    targets: Floats

    @property
    def polygons(self) -> list[Floats]:
        """N times (K, 2)."""
        ends = np.cumsum(self.corners).tolist()
        return [self.points[a:b] for a, b in zip([0, *ends], ends)]


def checked(record: Record) -> Record:
    """The record with its arrays in their types. Raises InputError for whatever ``fault`` finds."""
    try:
        boxes, targets = _matrix(record.boxes, 5), _matrix(record.targets, 4)
        boxes[boxes[:, 4] == QUARTER, 4] = -QUARTER  # where the last number below pi/2 is rounded to
        record = replace(
            record,
            image_id=int(record.image_id),
            png=bytes(record.png),
            width=int(record.width),
            height=int(record.height),
            boxes=boxes,
            polygons=[_matrix(p, 2) for p in record.polygons],
            depth=np.array(record.depth, np.float32),
            model=_whole(record.model),
            refractive_index=np.array(record.refractive_index, np.float32),
            targets=targets,
            seconds=float(record.seconds),
        )
    except (TypeError, ValueError, OverflowError) as e:
        raise InputError(f"image {record.image_id}: its arrays are not of the documented shapes and types: {e}") from e
    if not 0 <= record.image_id < 10**10:
        raise InputError(f"image id {record.image_id} is not allowed; ids have at most ten digits")
    if not 0 <= record.seconds < np.inf:
        raise InputError(f"image {record.image_id}: its render time is {record.seconds}; it is a number of seconds")
    reason = (
        scene_fault(record.scene, record.image_id)
        or fault(labels_of(record))
        or header_fault(record.png, record.width, record.height)
    )
    if reason:
        raise InputError(f"image {record.image_id} is not written: {reason}")
    return record


def _matrix(values: Any, width: int) -> Floats:
    out = np.array(values, np.float32)
    if out.size and (out.ndim != 2 or out.shape[1] != width):
        raise ValueError(f"an array has the shape {out.shape}, not (N, {width})")
    return out.reshape(-1, width)


def _whole(values: Any) -> Integers:
    out = np.array(values)
    if out.size and out.dtype.kind not in "iu":
        raise ValueError(f"model ids are whole numbers, not {out.dtype}")
    return out.astype(np.int32)


def labels_of(record: Record) -> Labels:
    """The labels of a record whose arrays have their types."""
    return Labels(
        record.image_id,
        record.width,
        record.height,
        record.boxes,
        np.concatenate([np.zeros((0, 2), np.float32), *record.polygons]),
        np.array([len(p) for p in record.polygons], np.int32),
        record.depth,
        record.model,
        record.refractive_index,
        record.targets,
    )


def fault(labels: Labels) -> str | None:
    """The first thing wrong with the labels of an image, or None."""
    n = len(labels.boxes)
    names = ("corners", "depth", "model", "refractive_index", "targets")
    for name in names:
        if len(getattr(labels, name)) != n:
            what = "polygons" if name == "corners" else name
            return f"{n} boxes but {len(getattr(labels, name))} {what}; every crystal needs one of each"
    for name in ("boxes", "points", "depth", "refractive_index", "targets"):
        if not np.isfinite(getattr(labels, name)).all():
            return f"{name} holds a number that is not finite"
    if n == 0:
        return None
    cx, cy, w, h, theta = labels.boxes.astype(np.float64).T
    tests: list[tuple[NDArray[np.bool_], str]] = [
        ((w >= h) & (h > 0), "has sides that are not w >= h > 0"),
        ((theta >= -QUARTER) & (theta < QUARTER), "has an angle outside [-pi/2, pi/2)"),
        (labels.corners >= 3, "has a polygon of fewer than 3 corners"),
        (labels.model >= 0, "has a negative model id"),
        (labels.refractive_index > 0, "has a refractive index that is not positive"),
    ]
    for good, text in tests:
        if not good.all():
            i = int(np.argmin(good))
            return f"crystal {i}, box {labels.boxes[i].tolist()}, {text}"
    if int(labels.corners.sum()) != len(labels.points):
        return f"the polygons have {int(labels.corners.sum())} corners, but {len(labels.points)} are there"
    owner = np.repeat(np.arange(n), labels.corners)
    x, y = labels.points.astype(np.float64).T
    inside = (x >= -EDGE) & (x <= labels.width + EDGE) & (y >= -EDGE) & (y <= labels.height + EDGE)
    if not inside.all():
        i = int(np.argmin(inside))
        return f"crystal {owner[i]} has a corner at ({x[i]}, {y[i]}), outside the {labels.width} x {labels.height} px image"
    dx, dy, c, s = x - cx[owner], y - cy[owner], np.cos(theta)[owner], np.sin(theta)[owner]
    boxed = (np.abs(dx * c + dy * s) <= w[owner] / 2 + EDGE) & (np.abs(dy * c - dx * s) <= h[owner] / 2 + EDGE)
    if not boxed.all():
        i = int(np.argmin(boxed))
        return f"crystal {owner[i]} has a corner at ({x[i]}, {y[i]}), outside its own box {labels.boxes[owner[i]].tolist()}"
    return None


def row_digest(record: Record) -> int:
    """A checksum over what belongs together in a row: id, picture, scene and labels."""
    digest = zlib.crc32(f"{record.image_id} {record.width} {record.height}".encode())
    for part in (record.png, record.scene.encode(), *(p.tobytes() for p in record.polygons)):
        digest = zlib.crc32(part, digest)
    for name in ("boxes", "depth", "model", "refractive_index", "targets"):
        digest = zlib.crc32(getattr(record, name).tobytes(), digest)
    return digest


def scene_fault(scene: str, image_id: int) -> str | None:
    """What is wrong with a scene's text, or None."""
    try:
        content = json.loads(scene)
    except (TypeError, ValueError):
        content = None
    if not isinstance(content, dict):
        return "its scene is not the text of a JSON object"
    if content.get("image", image_id) != image_id:
        return f"its scene is that of image {content['image']!r}"
    return None


def header_fault(png: bytes, width: int, height: int) -> str | None:
    """What is wrong with the beginning of a PNG file of 8-bit grey values, or None."""
    if len(png) < 33 or png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        return "its picture is not a PNG file"
    w, h, depth, kind = struct.unpack(">IIBB", png[16:26])
    if (w, h) != (width, height):
        return f"its picture is {w} x {h} px, its labels say {width} x {height}"
    if (depth, kind) != (8, 0):
        return f"its picture has {depth} bits and PNG colour type {kind}; it must be 8-bit grey (type 0)"
    return None


def decoded(png: bytes) -> NDArray[np.uint8]:
    """(H, W) grey values of a PNG file. Raises DataError."""
    return _decode(png, strict=False)


def decode_fault(png: bytes) -> str | None:
    """What is wrong with any part of a PNG file, its checksums included, or None."""
    try:
        _decode(png, strict=True)
    except DataError as e:
        return str(e)
    return None


def _decode(png: bytes, strict: bool) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as e:
        raise DataError(missing("PIL", "reading images", command="render")) from e
    if strict and not png.endswith(_END):
        raise DataError("the picture does not end as a PNG file does")
    try:
        if strict:
            with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
                image.verify()
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            pixels: NDArray[Any] = np.array(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
        raise DataError(f"the picture cannot be decoded ({e})") from e
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise DataError("the picture is not 8-bit grey")
    return pixels
