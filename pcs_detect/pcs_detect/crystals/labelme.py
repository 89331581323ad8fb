"""What was found in photographs as files that label tools open, correct and save: Labelme, and X-AnyLabeling."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ..boxes import corners
from ..errors import InputError
from ..files import made_folder, written
from ..results import file_digest

Shape = Literal["polygon", "oriented_rectangle", "rotation"]
LABEL = "crystal"
OWN = "pcs_detect"  # the key, among those of Labelme, under which a file says what this project wrote
VERSION = "5.4.1"  # of Labelme, whose layout this is; every later version reads it, and X-AnyLabeling


class Written(NamedTuple):
    """path: of the Labelme file; kept: why an existing file was left as it is, "" where this one was written."""

    path: Path
    kept: str


def check_shape(shape: str) -> None:
    if shape not in get_args(Shape):
        raise InputError(f"shapes are {', '.join(get_args(Shape))}; {shape!r} is none of these")


def labelme_shapes(boxes: ArrayLike, scores: ArrayLike, shape: Shape = "polygon") -> list[dict[str, Any]]:
    """Shapes of boxes (N, 5) with scores (N,), px and radians: their four corners, editable in Labelme.

    shape: "polygon" opens in every version of Labelme and in X-AnyLabeling; "oriented_rectangle" stays a rectangle while it is
    edited in Labelme from 5.12 on; "rotation" does in X-AnyLabeling.
    """
    check_shape(shape)
    made = []
    given = np.asarray(boxes, np.float64).reshape(-1, 5)
    for box, outline, score in zip(given, corners(given), np.asarray(scores, np.float64).reshape(-1).tolist()):
        one: dict[str, Any] = {
            "label": LABEL,
            "points": outline.round(3).tolist(),
            "group_id": None,
            "description": f"score {score:.3f}",
            "shape_type": shape,
            "flags": {},
            "mask": None,
        }
        if shape == "rotation":
            del one["mask"]
            one |= {"score": round(score, 4), "difficult": False, "attributes": {}, "direction": float(box[4] % (2 * math.pi))}
        made.append(one)
    return made


def write_labelme(
    folder: str | Path,
    name: str,
    photograph: Path | None,
    grey: NDArray[Any] | None,
    size: tuple[int, int],
    boxes: ArrayLike,
    scores: ArrayLike,
    shape: Shape = "polygon",
    stem: str | None = None,
) -> Written:
    """Write one Labelme file of a photograph, unless a file is there that differs from what this function wrote.

    name: the photograph's, as in the tables; photograph: its file, which the labels then name; None where label tools could
    not show it (deep, a picture of a stack): a PNG of ``grey`` (H, W), 0 to 255, is written beside the labels. size: (H, W).
    stem: of the file, by default ``name``. Raises OutputError.
    """
    folder = made_folder(folder)
    path = folder / f"{stem or name}.json"
    made_folder(path.parent)
    picture = path.with_name(path.name.removesuffix(".json") + ".png")
    content = b"" if photograph is not None or grey is None else _png(grey)
    before = own_part(path)
    if path.exists() and before is None:
        return Written(path, f"{path} was changed since it was written, or is not of this project; it stays as it is")
    if photograph is None and picture.exists():
        own = (before or {}).get("picture_sha256")
        if file_digest(picture) not in (own, hashlib.sha256(content).hexdigest()):
            return Written(path, f"{picture} is not of this project or was changed; it and its labels stay as they are")
    height, width = size
    document: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": labelme_shapes(boxes, scores, shape),
        "imagePath": _relative(photograph, path.parent) if photograph is not None else picture.name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    own_keys: dict[str, Any] = {"image": name}
    if photograph is None:
        own_keys["picture_sha256"] = hashlib.sha256(content).hexdigest()
        with written(picture) as temporary:
            temporary.write_bytes(content)
    document[OWN] = {**own_keys, "sha256": _digest(document, own_keys)}
    with written(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return Written(path, "")


def own_part(path: Path) -> dict[str, Any] | None:
    """What a Labelme file says that this project wrote, where it is as it was written; else None."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        own = document.pop(OWN)
        digest = own.pop("sha256")
        return own if digest == _digest(document, own) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def own_picture(path: Path) -> bool:
    """Whether ``write_labelme`` wrote a picture for label tools, which the labels beside it say, however these were edited."""
    labels = path.with_suffix(".json")
    if path.suffix != ".png" or not labels.is_file():
        return False
    try:
        document = json.loads(labels.read_text(encoding="utf-8"))
        said = document[OWN]["picture_sha256"]
        return document["imagePath"] == path.name and said == file_digest(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(document: dict[str, Any], own: dict[str, Any]) -> str:
    text = json.dumps([document, own], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _relative(photograph: Path, folder: Path) -> str:
    target = photograph.resolve()
    try:
        return Path(os.path.relpath(target, folder.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return target.as_posix()


def _png(grey: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(grey).round().clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
