"""Photographs of any kind as grey values, found in folders, and brought to the grey values that a detector was trained on."""

from __future__ import annotations

import contextlib
import glob
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, InputError

Grey = NDArray[np.float32]
Matching = Literal["shift", "scale", "none"]
MAX_PIXELS = 2**28  # a larger image is most likely a bomb
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
WRITTEN = ("overlays", "parts")  # folders that ``predict`` makes in its results
ORIENTATION, BITS = 274, 258  # tags of TIFF
LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # Rec. 601, of red, green and blue
FULL_SCALES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0, 2.0**31 - 1, 2.0**32 - 1)  # 1 for floating point only


def read_photograph(path: str | os.PathLike[str], white: float | None = None) -> Grey:
    """(H, W) grey values of an image file, 0 black to 255 white, as ``grey_values`` makes them of its pixels.

    PNG, JPEG, TIFF, BMP, WebP and what else Pillow or OpenCV read: grey, colour, palette, 1 to 32 bits, floating point; an
    alpha channel is ignored. The image is turned upright as its EXIF orientation says, which is how viewers show it; sizes
    and positions refer to that. Deep images whose scale is stored reversed (white is zero) stay negatives.
    Raises DataError for a file that is missing, damaged, cut short, no image, larger than 2^28 px or a stack of pictures, and
    for a turned TIFF that Pillow and OpenCV get wrong (uncompressed, or deep and in colour).
    """
    with _as_data_errors(path):
        pixels = _pixels(Path(path))
        try:
            return grey_values(pixels, white)
        except DataError as e:
            raise DataError(f"{path}: {e}") from None


def grey_values(pixels: ArrayLike, white: float | None = None) -> Grey:
    """(H, W) float32 from 0 (black) to 255 (white) of the pixels of an image.

    pixels: (H, W), (H, W, 1) grey, (H, W, 2) grey and alpha, (H, W, 3) red, green, blue, or (H, W, 4) with alpha, which is
    ignored; integers of any depth or floating point. Colour becomes its luma (Rec. 601: 0.299 R + 0.587 G + 0.114 B).
    white: the level that counts as white. By default 255 of 8-bit images; of deeper ones the smallest of 255, 1023, 4095,
    16383, 65535 ... that no pixel exceeds, as cameras of 10, 12 and 14 bits leave the upper bits empty; of floating point
    also 1. Levels below 0 count as black, beyond ``white`` as white. Raises DataError for other shapes and for pixels that
    are no finite numbers.
    """
    levels = np.asarray(pixels)
    if levels.ndim == 3 and 1 <= levels.shape[2] <= 4:
        levels = levels[..., :3] if levels.shape[2] > 2 else levels[..., 0]
    if levels.ndim not in (2, 3) or not levels.size or (levels.ndim == 3 and levels.shape[2] != 3):
        raise DataError(f"an image of shape {np.shape(pixels)}; give (H, W) or (H, W, C) with 1 to 4 channels")
    if levels.dtype == bool:
        levels = levels * np.uint8(255)
    if levels.dtype.kind not in "iuf":
        raise DataError(f"an image of {levels.dtype}; give integers or floating point")
    check_white(white)
    if levels.dtype.kind == "f" and not np.isfinite(levels).all():
        raise DataError("an image with grey values that are no finite numbers")
    if white is None:
        white = _full_scale(levels)
    grey = levels.astype(np.float32) if levels.ndim == 2 else levels.astype(np.float32) @ LUMA
    return np.clip(grey * np.float32(255 / white), 0, 255, dtype=np.float32)


def matched(grey: Grey, method: Matching = "shift", mean: float = 132.6, deviation: float = 61.2) -> Grey:
    """Grey values (H, W), 0..255, brought to the distribution of the training images.

    "shift" adds one number to all so that their mean becomes ``mean``: the paper's preprocessing of photomicrographs (2022,
    experimental validation: "shifted to the distribution used during training"), contrast stays. "scale" shifts and stretches
    to ``mean`` and ``deviation`` (an image of one level is only shifted). "none" changes nothing. The result may leave
    0..255, for nothing is clipped. mean, deviation: of the training images, by default those of the paper's detector (SPEC
    section 4). Raises InputError for another method.
    """
    check_matching(method)
    if method == "none":
        return grey
    centred = grey - np.float32(grey.mean(dtype=np.float64))
    if method == "scale" and (own := float(grey.std(dtype=np.float64))) > 1e-6:
        centred *= np.float32(deviation / own)
    return centred + np.float32(mean)


def check_matching(method: str) -> None:
    if method not in get_args(Matching):
        raise InputError(f"grey values are matched by {', '.join(get_args(Matching))}; {method!r} is none of these")


def check_white(white: float | None) -> None:
    if white is not None and not 0 < white < np.inf:
        raise InputError(f"the level of white is {white}; it must be a positive number")


def find_photographs(
    places: Iterable[str | os.PathLike[str]], recursive: bool = False, leave_out: str | os.PathLike[str] | None = None
) -> list[Path]:
    """The image files that files, folders and glob patterns name: each once, in the order given, folders and patterns sorted.

    Of a folder, and of what a pattern matches, files with the endings SUFFIXES count whose names do not begin with a dot; a
    file named itself always. recursive: folders inside folders too. leave_out: the folder of results, whose pictures
    are passed over. Raises DataError for a place that does not exist or holds no images.
    """
    avoided = set() if leave_out is None else {Path(leave_out).resolve() / name for name in WRITTEN}
    found: dict[Path, Path] = {}
    for place in places:
        path = Path(place)
        if path.is_file():
            here = [path]
        elif path.is_dir():
            here = sorted(p for p in (path.rglob("*") if recursive else path.iterdir()) if _is_photograph(p))
        else:
            here = sorted(p for p in map(Path, glob.glob(str(place), recursive=True)) if _is_photograph(p))
            if not here and not glob.has_magic(str(place)):
                raise DataError(f"there is no file or folder {str(place)!r}")
        if avoided:
            here = [p for p in here if p == path or not avoided.intersection(p.resolve().parents)]
        if not here:
            inside = "" if recursive or not path.is_dir() else "; folders inside it are searched with --recursive"
            raise DataError(f"{place}: no images there ({', '.join(SUFFIXES)}){inside}")
        for p in here:
            found.setdefault(p.resolve(), p)
    return list(found.values())


def names_of(photographs: Iterable[Path]) -> list[str]:
    """What the tables call each file: its name, or, where several share one, its path from the folder common to all."""
    paths = [Path(os.path.abspath(p)) for p in photographs]
    count = Counter(p.name.casefold() for p in paths)  # some file systems do not tell a.PNG from a.png
    if max(count.values(), default=0) <= 1:
        return [p.name for p in paths]
    common = os.path.commonpath([p.parent for p in paths])
    return [p.name if count[p.name.casefold()] == 1 else p.relative_to(common).as_posix() for p in paths]


def _is_photograph(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _full_scale(levels: NDArray[Any]) -> float:
    if levels.dtype == np.uint8:
        return 255.0
    most = float(levels.max())
    if not np.isfinite(most) or not np.isfinite(float(levels.min())):
        raise DataError("some of its pixels are no finite numbers")
    scales = FULL_SCALES if levels.dtype.kind == "f" else FULL_SCALES[1:]
    if most > scales[-1]:
        raise DataError(f"its levels reach {most:g}, beyond {scales[-1]:g}; say which level is white (--white)")
    return next(s for s in scales if most <= s)


def _pixels(path: Path) -> NDArray[Any]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    image: Any  # has tags if it is a TIFF
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path}: {image.width} x {image.height} px, more than {MAX_PIXELS} are not read")
            _check_single(image, path)
            deep = _is_deep_colour(image)
            if image.format == "TIFF" and image.tag_v2.get(ORIENTATION, 1) > 4 and (deep or image.tile[0][0] == "raw"):
                raise DataError(f"{path}: an uncompressed or deep TIFF that its orientation tag turns; save it upright")
            if not deep:
                image.load()
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith("I") or upright.mode in ("F", "L"):
                    return np.asarray(upright)
                return np.asarray(upright.convert("L" if upright.mode in ("1", "LA", "La") else "RGB"))
    except UnidentifiedImageError:
        if not path.stat().st_size:
            raise DataError(f"{path}: the file is empty") from None
    return _pixels_by_opencv(path)


def _check_single(image: Any, path: Path) -> None:
    """A later page of another size is a preview that cameras add; equal ones are a stack or a film."""
    if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
        size = image.size
        image.seek(1)
        if image.size == size:
            raise DataError(f"{path}: a stack of {image.n_frames} pictures; save each as a file of its own")
        image.seek(0)


def _is_deep_colour(image: Any) -> bool:
    """Whether colour has more than 8 bits, which Pillow would cut off, or misread where the channels lie one after another."""
    if len(image.getbands()) < 2:
        return False
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS, (8,))) > 8
    return ";16" in str(image.tile)


def _pixels_by_opencv(path: Path) -> NDArray[Any]:
    import cv2

    log: Any = cv2  # whose type stubs leave these two out
    before = log.getLogLevel()
    log.setLogLevel(0)  # what goes wrong is said by the error
    try:
        found = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error:
        found = None
    finally:
        log.setLogLevel(before)
    if found is None:
        raise DataError(f"{path}: not a readable image; is it whole, and an image?")
    return found if found.ndim == 2 else found[..., ::-1]


@contextlib.contextmanager
def _as_data_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL")
            yield
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such image file") from e
    except Image.DecompressionBombError as e:
        raise DataError(f"{path}: refused, it would decompress to too many pixels ({e})") from e
    except (InputError, DataError):
        raise
    except Exception as e:  # of a damaged file the decoders raise whatever they stumble over
        raise DataError(f"{path}: not a readable image ({e})") from e
