"""Folders of Labelme to the files that detectors are trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon
from tqdm import tqdm

from ..boxes import convex_hull, outline_box, published
from ..errors import DataError, InputError
from ..files import made_folder, written
from .labelme import Crystal, labelme_files, read_labelme

Format = Literal["coco", "pcs"]
DECIMALS = 3
OWN_INFO = {"program": "pcs-detect convert"}


class Converted(NamedTuple):
    """What was written; left: files and shapes that cannot be used, and why."""

    path: Path
    images: int
    crystals: int
    left: list[str]


def convert(
    folder: str | Path, out: str | Path, format: Format = "coco", labels: Sequence[str] | None = None, hole: str = "hole"
) -> Converted:
    """Write the Labelme files of a folder, and of those in it, as one JSON with its images in a folder of its name beside it.

    out: NAME.json, outside ``folder``. format "coco": a category for each label, polygons, one for each piece of a crystal,
    holes connected to their outlines by a cut (and so seen by every reader of polygons), upright boxes. "pcs": one category,
    oriented boxes (degrees, counter-clockwise), and one outline for each crystal: of several pieces the convex hull, holes
    filled. CrystalDataset reads both; it, too, takes the convex hull around several pieces. labels: which count, in the order
    of the categories; None: all, by name, but for "ignore" and "region". hole: label of holes, see ``read_labelme``. Images are
    named like their Labelme files, with the folders that these lie in, and keep their bytes where possible.

    A file or shape that cannot be used is left out. What is there already is never replaced unless this function wrote it: an
    image only by the same one, NAME.json only where it says so itself. Raises DataError where nothing can be used, InputError
    for wrong arguments and for a place where something else would be replaced; then nothing is written."""
    source, path = Path(folder), Path(out)
    if format not in get_args(Format):
        raise InputError(f"format {format!r}: allowed are {', '.join(get_args(Format))}")
    if labels is not None and (not labels or len(set(labels)) < len(labels)):
        raise InputError(f"labels {list(labels)}: name each label once, or none for all")
    if not source.is_dir():
        raise DataError(f"there is no folder {str(source)!r} of Labelme files")
    if path.suffix != ".json" or path.resolve().is_relative_to(source.resolve()) or _images(path) == source.resolve():
        raise InputError(
            f"out {str(path)!r}: name a .json outside {source}, whose images go to a folder of that name beside it"
        )
    if path.exists() and not _is_own(path):
        raise InputError(f"{path} is there, and pcs-detect convert did not write it; name another file (--out)")
    files = labelme_files(source)
    if not files:
        raise DataError(f"{source}: no Labelme files (*.json) in it")
    entries: list[dict[str, Any]] = []
    crystals: list[tuple[int, Crystal]] = []
    copies: list[tuple[Path, Path]] = []
    left: list[str] = []
    for file in tqdm(files, desc="reading", unit=" images", disable=None):
        try:
            found = read_labelme(file, labels, hole)
        except DataError as e:
            left.append(str(e))
            continue
        name = file.relative_to(source).with_suffix(found.ending)
        target = path.with_suffix("") / name
        _check_target(target, found.picture, path)
        copies.append((file, target))
        image_id = len(entries) + 1
        entries.append({"id": image_id, "file_name": name.as_posix(), "height": found.size[0], "width": found.size[1]})
        crystals += [(image_id, crystal) for crystal in found.crystals]
        left += found.left
    if not entries:
        raise DataError(f"{source}: none of its {len(files)} files can be used; {left[0]}")
    present = sorted({c.label for _, c in crystals})
    if labels is not None and (absent := [label for label in labels if label not in present]):
        raise InputError(
            f"no shape of {source} is labelled {', '.join(absent)}; there are {', '.join(present) or 'none of these'}"
        )
    names = ["Crystal"] if format == "pcs" else list(labels or present) or ["Crystal"]
    annotations = [
        {"id": number, "image_id": image_id, "iscrowd": 0, **_described(crystal, format, names)}
        for number, (image_id, crystal) in enumerate(crystals, 1)
    ]
    categories = [{"id": k, "name": name, "supercategory": "Crystal"} for k, name in enumerate(names, 1)]
    for file, target in tqdm(copies, desc="writing", unit=" images", disable=None):
        picture = read_labelme(file, labels, hole).picture  # read again: all of them together may not fit into the memory
        _check_target(target, picture, path)
        made_folder(target.parent)
        if not target.exists():
            with written(target) as temporary:
                temporary.write_bytes(picture)
    document = {"info": OWN_INFO, "images": entries, "annotations": annotations, "categories": categories}
    with written(path) as temporary:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
    return Converted(path, len(entries), len(annotations), left)


def _is_own(path: Path) -> bool:
    """Whether ``convert`` wrote this file, which its first key says."""
    try:
        with path.open("rb") as file:
            return file.read(200).startswith(json.dumps({"info": OWN_INFO})[:-1].encode())
    except OSError:
        return False


def _check_target(target: Path, picture: bytes, path: Path) -> None:
    if target.exists() and (not target.is_file() or target.read_bytes() != picture):
        raise InputError(
            f"{target} is there and would be replaced by another picture; name another file than {path} (--out), or move that "
            "folder away"
        )


def _images(path: Path) -> Path:
    return path.with_suffix("").resolve()


def _described(crystal: Crystal, format: Format, names: list[str]) -> dict[str, Any]:
    if format == "pcs":
        outline = _outline(crystal.pieces)
        box = outline_box([outline])
        area = shapely.area(Polygon(outline))
        return {"category_id": 1, "bbox": published(box)[0], "area": _rounded([area])[0], "segmentation": [_rounded(outline)]}
    left, top, right, bottom = shapely.total_bounds(crystal.pieces)
    return {
        "category_id": names.index(crystal.label) + 1,
        "bbox": _rounded([left, top, right - left, bottom - top]),
        "area": _rounded([sum(p.area for p in crystal.pieces)])[0],
        "segmentation": [_rounded(cut_open(p)) for p in crystal.pieces],
    }


def _outline(pieces: list[Polygon]) -> NDArray[np.float64]:
    outer = [np.asarray(p.exterior.coords)[:-1] for p in pieces]
    return outer[0] if len(outer) == 1 else convex_hull(np.concatenate(outer))


def cut_open(polygon: Polygon) -> NDArray[np.float64]:
    """(K, 2) one outline around a polygon with holes: a cut of no width, there and back, joins each hole to the rest.

    It encloses the polygon by either rule, of odd crossings and of windings.
    """
    turned = shapely.orient_polygons(polygon)  # holes the other way round than the outline
    ring = np.asarray(turned.exterior.coords)[:-1]
    for interior in turned.interiors:
        hole = np.asarray(interior.coords)[:-1]
        distance = ((ring[:, None] - hole) ** 2).sum(-1)
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        around = np.concatenate((hole[j:], hole[: j + 1]))
        ring = np.concatenate((ring[: i + 1], around, ring[i:]))
    return ring


def _rounded(values: Iterable[Any]) -> list[float]:
    flat: list[float] = np.asarray(values, dtype=np.float64).flatten().round(DECIMALS).tolist()
    return flat
