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

from ..crystals.labelme import OWN
from ..errors import DataError
from ..photographs.decoders import opened_by_pillow

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp"}
LEAST_AREA = 1e-3  # px^2; smaller pieces are rounding errors of the geometry
IGNORE, REGION = "ignore", "region"
PLACES = (IGNORE, REGION)  # labels of what is no crystal: places that do not count, the part of the photograph that is labelled
QUARTER = 16  # corners of a quarter of a circle


class Crystal(NamedTuple):
    """One labelled object: its pieces, that may have holes, in px, pixel i spanning [i, i + 1)."""

    label: str
    pieces: list[Polygon]


class Labelled(NamedTuple):
    """What one Labelme file holds; picture: the image file's bytes, to be named with ``ending``; origin: the image file, None
    where it was inside; size: (H, W) px; left: shapes that cannot be used, and why."""

    path: Path
    picture: bytes
    ending: str
    origin: Path | None
    size: tuple[int, int]
    crystals: list[Crystal]
    left: list[str]


def labelme_files(folder: Path) -> list[Path]:
    """The JSON files of a folder and of those in it, without hidden ones."""
    return sorted(p for p in folder.rglob("*.json") if not any(n.startswith(".") for n in p.relative_to(folder).parts))


def read_labelme(path: str | Path, labels: Sequence[str] | None = None, hole: str = "hole") -> Labelled:
    """Read a Labelme file (version 3 and later, of X-AnyLabeling too) and its image, embedded or beside it.

    labels: shapes that count, by their labels; None: all but PLACES. Polygons, rectangles, oriented and turned ones, circles
    (as polygons of 64 corners) and masks are read; what encloses nothing is left out. Shapes of one label with the same
    group_id are one crystal in several pieces. Labelme has no holes in polygons: a shape labelled ``hole`` is cut out of the
    crystal that it covers most of, or of those with its group_id; a mask may have holes itself. Outlines that cross themselves
    enclose what lies inside an odd number of times; what lies outside the image is cut off. An image that its file says is to
    be turned is turned, as Labelme shows it.

    Raises DataError, naming the file, where it or its image cannot be used at all.
    """
    path = Path(path)
    document = _document(path)
    picture, ending, size, origin = _picture(document, path)
    for key, wanted in (("imageHeight", size[0]), ("imageWidth", size[1])):
        if document.get(key) not in (None, wanted):
            raise DataError(f"{path}: {key} is {document[key]}, the image has {wanted} px; they do not belong together")
    crystals, left = _crystals(document, path, size, labels, hole)
    return Labelled(path, picture, ending, origin, size, crystals, left)


def read_shapes(path: Path) -> tuple[str, list[Crystal], list[str]]:
    """(name of the photograph, what is labelled, PLACES too, what cannot be used and why) of a Labelme file, without its image
    and not cut at its border."""
    document = _document(path)
    own = document.get(OWN)
    name = own.get("image") if isinstance(own, dict) else None
    if not name:
        name = str(document.get("imagePath") or path.stem).replace("\\", "/").rpartition("/")[2]
    return str(name), *_crystals(document, path, None, None, "hole", PLACES)


def _crystals(
    document: dict[str, Any],
    path: Path,
    size: tuple[int, int] | None,
    labels: Sequence[str] | None,
    hole: str,
    places: Sequence[str] = (),
) -> tuple[list[Crystal], list[str]]:
    """(crystals, shapes left out and why); places: labels of PLACES that count as well."""
    groups: dict[tuple[str, Any], list[Polygon]] = {}
    holes: list[tuple[str, Any, Polygon]] = []
    left: list[str] = []
    for number, shape in enumerate(document["shapes"], 1):
        label = shape.get("label") if isinstance(shape, dict) else None
        where = f"{path}: shape {number} ({label!r})"
        if not isinstance(label, str) or not label:
            left.append(f"{where} has no label; correct it in Labelme")
            continue
        if label != hole and (label not in labels if labels is not None else label in PLACES and label not in places):
            continue
        try:
            region, group = _region(shape, where, size), shape.get("group_id")
            if not isinstance(group, int | str | None):
                raise DataError(f"{where}: group_id is {group!r}; Labelme has whole numbers there, or null")
        except DataError as e:
            left.append(str(e))
            continue
        if label == hole and (labels is None or hole not in labels):
            holes.append((where, group, region))
        else:
            groups.setdefault((label, ("alone", number) if group is None else group), []).append(region)
    regions = {key: shapely.union_all(parts) for key, parts in groups.items()}
    for where, group, region in holes:
        pierced = _pierced(regions, group, region)
        if not pierced:
            left.append(f"{where} is a hole in no crystal; correct or remove it in Labelme, or name another label for holes")
        for whole in pierced:
            rest = regions[whole].difference(region)
            if _pieces(rest):
                regions[whole] = rest
            else:
                left.append(f"{where} leaves nothing of the crystal that it is cut out of; correct it in Labelme")
    return [Crystal(label, _pieces(r)) for (label, _), r in regions.items()], left


def _document(path: Path) -> dict[str, Any]:
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise DataError(f"{path}: no file of Labelme, which holds a list of 'shapes'")
    return document


def read_json(path: Path) -> Any:
    """A JSON file in UTF-8, with or without a byte order mark, or in the code page of Western Windows. Raises DataError."""
    try:
        content = path.read_bytes()
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror or e})") from e
    try:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252")
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not valid JSON ({e}); is it complete?") from e


def _picture(document: dict[str, Any], path: Path) -> tuple[bytes, str, tuple[int, int], Path | None]:
    """The image file's bytes, ending, (H, W), and its place."""
    origin = None
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
        origin, where = found[0], str(found[0])
        content = found[0].read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with opened_by_pillow(io.BytesIO(content)) as image:
                image.load()
                turned = image.getexif().get(0x0112, 1) not in (0, 1)
                if image.format in ENDINGS and not turned:
                    return content, ENDINGS[image.format], (image.height, image.width), origin
                upright = ImageOps.exif_transpose(image)
                buffer = io.BytesIO()
                upright.save(buffer, "PNG")
                return buffer.getvalue(), ".png", (upright.height, upright.width), origin
    except DataError as e:
        raise DataError(f"{where}: {e}") from e
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
        raise DataError(f"{where}: not a readable image ({e})") from e


def _region(shape: dict[str, Any], where: str, size: tuple[int, int] | None) -> Polygon:
    """What a shape encloses inside the image of a size, or at all."""
    kind = shape.get("shape_type") or "polygon"
    if kind not in READERS:
        raise DataError(f"{where} is a {kind}, which encloses nothing; name other labels, or draw {', '.join(READERS)}")
    try:
        points = np.array(shape.get("points"), dtype=np.float64)
    except (TypeError, ValueError):
        points = np.array(np.nan)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise DataError(f"{where}: 'points' must be a list of finite [x, y], got {str(shape.get('points'))[:80]}")
    least, most = POINTS.get(kind, (2, 2))
    if not least <= len(points) <= most:
        wanted = f"at least {least}" if most > least else str(least)
        raise DataError(f"{where}: a {kind} has {wanted} points, got {len(points)}")
    region = READERS[kind](points, shape, where)
    if size is not None:
        region = shapely.intersection(region, shapely.box(0, 0, size[1], size[0]))
    if not _pieces(region):
        inside = "" if size is None else f" inside the image of {size[1]} x {size[0]} px"
        raise DataError(f"{where} encloses no area{inside}; correct or remove it in Labelme")
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
        with opened_by_pillow(io.BytesIO(base64.b64decode(shape.get("mask") or "", validate=True))) as image:
            pixels = np.asarray(image.convert("L")) > 0
    except (DataError, OSError, TypeError, ValueError, SyntaxError, Image.DecompressionBombError, binascii.Error) as e:
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
    "oriented_rectangle": _polygon,  # Labelme's, by its four corners
    "rotation": _polygon,  # X-AnyLabeling's
    "quadrilateral": _polygon,
}
POINTS = {  # how many a shape has, at least and at most
    "polygon": (3, 10**9),
    "rectangle": (2, 4),  # X-AnyLabeling names all four corners
    **dict.fromkeys(("oriented_rectangle", "rotation", "quadrilateral"), (4, 4)),
}


def _pieces(region: Any) -> list[Polygon]:
    return [p for p in shapely.get_parts(region) if p.geom_type == "Polygon" and p.area >= LEAST_AREA]


def _pierced(regions: dict[tuple[str, Any], Any], group: Any, hole: Polygon) -> list[tuple[str, Any]]:
    """Which crystals a hole is cut out of."""
    if group is not None and (named := [key for key in regions if key[1] == group]):
        return named
    shared = {key: region.intersection(hole).area for key, region in regions.items()}
    best = max(shared, key=lambda key: (shared[key], -regions[key].area), default=None)
    return [] if best is None or shared[best] < LEAST_AREA else [best]
