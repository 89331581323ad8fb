"""Images labelled by hand in Labelme: what a file says, as regions of one crystal each."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from PIL import Image, ImageOps
from shapely import Polygon

from ..errors import DataError
from ..photographs.frames import MAX_PIXELS

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp"}
LEAST_AREA = 1e-3  # px^2; smaller pieces are crumbs of the geometry
QUARTER = 16  # corners of a quarter of a circle


class Crystal(NamedTuple):
    """One labelled object: its pieces, that may have holes, in px, pixel i spanning [i, i + 1)."""

    label: str
    pieces: list[Polygon]


class Labelled(NamedTuple):
    """What one Labelme file holds; picture: the image file's bytes, to be named with ``ending``; size: (H, W) px."""

    path: Path
    picture: bytes
    ending: str
    size: tuple[int, int]
    crystals: list[Crystal]


def read_labelme(path: str | Path, labels: Sequence[str] | None = None, hole: str = "hole") -> Labelled:
    """Read a Labelme file (version 3 to 5) and its image, embedded or beside it.

    labels: shapes that count, by their labels; None: all. Polygons, rectangles, circles (as polygons of 64 corners) and masks
    are read. Shapes of one label with the same group_id are one crystal in several pieces. Labelme has no holes in polygons: a
    shape labelled ``hole`` is cut out of the crystal that it covers most of, or of those with its group_id; a mask may have
    holes itself. Outlines that cross themselves enclose what lies inside an odd number of times; what lies outside the image is
    cut off. An image that its file says is to be turned is turned, as Labelme shows it.

    Raises DataError naming the file, and the shape where one is at fault.
    """
    path = Path(path)
    document = _document(path)
    picture, ending, size = _picture(document, path)
    for key, wanted in (("imageHeight", size[0]), ("imageWidth", size[1])):
        if document.get(key) not in (None, wanted):
            raise DataError(f"{path}: {key} is {document[key]}, the image has {wanted} px; they do not belong together")
    groups: dict[tuple[str, Any], list[Polygon]] = {}
    holes: list[tuple[str, Any, Polygon]] = []
    for number, shape in enumerate(document["shapes"], 1):
        label = shape.get("label") if isinstance(shape, dict) else None
        where = f"{path}: shape {number} ({label!r})"
        if not isinstance(label, str) or not label:
            raise DataError(f"{where} has no label; correct it in Labelme")
        if labels is not None and label not in labels and label != hole:
            continue
        region, group = _region(shape, where, size), shape.get("group_id")
        if not isinstance(group, int | str | None):
            raise DataError(f"{where}: group_id is {group!r}; Labelme has whole numbers there, or null")
        if label == hole and (labels is None or hole not in labels):
            holes.append((where, group, region))
        else:
            groups.setdefault((label, ("alone", number) if group is None else group), []).append(region)
    regions = {key: shapely.union_all(parts) for key, parts in groups.items()}
    for where, group, region in holes:
        for whole in _pierced(regions, group, region, where):
            regions[whole] = regions[whole].difference(region)
            if not _pieces(regions[whole]):
                raise DataError(f"{where} leaves nothing of the crystal that it is cut out of; correct it in Labelme")
    return Labelled(path, picture, ending, size, [Crystal(label, _pieces(r)) for (label, _), r in regions.items()])


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror or e})") from e
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not valid JSON ({e}); is it complete?") from e
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DataError(f"{path}: no file of Labelme, which holds a list of 'shapes'; leave only such files in the folder")
    return document


def _picture(document: dict[str, Any], path: Path) -> tuple[bytes, str, tuple[int, int]]:
    """The image file's bytes, ending and (H, W)."""
    embedded, name = document.get("imageData"), document.get("imagePath")
    where = f"{path}: imageData"
    if embedded is not None:
        try:
            content = base64.b64decode(embedded, validate=True)
        except (TypeError, ValueError, binascii.Error) as e:
            raise DataError(f"{where} is no base64 text ({e}); save the file anew in Labelme") from e
    else:
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}: neither imageData nor imagePath; there is no image to these labels")
        relative = Path(name.replace("\\", "/"))
        found = [p for p in (path.parent / relative, path.parent / relative.name) if p.is_file()]
        if not found:
            raise DataError(f"{path}: there is no image {name!r} beside it; put it there, or save the file with its image data")
        where = str(found[0])
        content = found[0].read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{where}: {image.width} x {image.height} px, more than {MAX_PIXELS} are not read")
                image.load()
                turned = image.getexif().get(0x0112, 1) not in (0, 1)
                if image.format in ENDINGS and not turned:
                    return content, ENDINGS[image.format], (image.height, image.width)
                upright = ImageOps.exif_transpose(image)
                buffer = io.BytesIO()
                upright.save(buffer, "PNG")
                return buffer.getvalue(), ".png", (upright.height, upright.width)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
        raise DataError(f"{where}: not a readable image ({e})") from e


def _region(shape: dict[str, Any], where: str, size: tuple[int, int]) -> Polygon:
    """What a shape encloses inside the image."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in READERS:
        raise DataError(f"{where} is a {kind}, which encloses nothing; name other labels, or draw {', '.join(READERS)}")
    try:
        points = np.array(shape.get("points"), dtype=np.float64)
    except (TypeError, ValueError):
        points = np.array(np.nan)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise DataError(f"{where}: 'points' must be a list of finite [x, y], got {str(shape.get('points'))[:80]}")
    needed = 3 if kind == "polygon" else 2
    if len(points) < needed or (needed == 2 and len(points) != 2):
        least = "at least 3" if needed == 3 else "2"
        raise DataError(f"{where}: a {kind} has {least} points, got {len(points)}")
    region = shapely.intersection(READERS[kind](points, shape, where), shapely.box(0, 0, size[1], size[0]))
    if not _pieces(region):
        raise DataError(
            f"{where} encloses no area inside the image of {size[1]} x {size[0]} px; correct or remove it in Labelme"
        )
    return region


def _polygon(points: np.ndarray, _: dict[str, Any], __: str) -> Polygon:
    return shapely.make_valid(Polygon(points))


def _rectangle(points: np.ndarray, _: dict[str, Any], __: str) -> Polygon:
    return shapely.box(*points.min(0), *points.max(0))


def _circle(points: np.ndarray, _: dict[str, Any], __: str) -> Polygon:
    return shapely.Point(points[0]).buffer(math.dist(*points), quad_segs=QUARTER)


def _mask(points: np.ndarray, shape: dict[str, Any], where: str) -> Polygon:
    """The pixels of a mask, whose first one lies at the first point."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape.get("mask") or "", validate=True))) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} px")
            pixels = np.asarray(image.convert("L")) > 0
    except (OSError, TypeError, ValueError, SyntaxError, binascii.Error) as e:
        raise DataError(f"{where}: its mask is no base64 text of a PNG ({e})") from e
    steps = np.diff(pixels.astype(np.int8), axis=1, prepend=0, append=0)
    (y, start), (_, end) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    left, top = points.astype(np.int64).min(0)
    return shapely.union_all(shapely.box(left + start, top + y, left + end, top + y + 1))


READERS: dict[str, Callable[[np.ndarray, dict[str, Any], str], Polygon]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _mask,
}


def _pieces(region: Any) -> list[Polygon]:
    return [p for p in shapely.get_parts(region) if p.geom_type == "Polygon" and p.area >= LEAST_AREA]


def _pierced(regions: dict[tuple[str, Any], Any], group: Any, hole: Polygon, where: str) -> list[tuple[str, Any]]:
    """Which crystals a hole is cut out of."""
    if group is not None and (named := [key for key in regions if key[1] == group]):
        return named
    shared = {key: region.intersection(hole).area for key, region in regions.items()}
    best = max(shared, key=lambda key: (shared[key], -regions[key].area), default=None)
    if best is None or shared[best] < LEAST_AREA:
        raise DataError(f"{where} is a hole in no crystal; correct or remove it in Labelme, or name another label for holes")
    return [best]
