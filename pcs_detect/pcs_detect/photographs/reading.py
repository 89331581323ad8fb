"""Photographs of any kind as grey values."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from .decoders import decoded_by_opencv, opened_by_pillow
from .frames import Frame, Projection, Scale, check_projection, numbered, projected
from .grey import Grey, grey_values
from .microscopes import FORMATS as MICROSCOPES
from .microscopes import microscope_frames, microscope_levels
from .tiff import tiff_frames, tiff_levels

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FOREIGN = {  # endings of pictures that are not read, and what to do about them
    **dict.fromkeys((".heic", ".heif", ".avif"), "export JPEG, PNG or TIFF, as phones do with 'most compatible'"),
    **dict.fromkeys((".nef", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2"), "develop raw files of cameras to TIFF or PNG"),
    **dict.fromkeys((".oib", ".oif", ".vsi", ".oir", ".zvi", ".svs", ".ndpi", ".ims", ".dv", ".mrxs"),
                    "export TIFF with the microscope's own program, or with Fiji"),
    **dict.fromkeys((".jp2", ".psd", ".gif", ".pdf", ".svg", ".eps"), "save it as PNG or TIFF"),
    **dict.fromkeys((".avi", ".mp4", ".mov", ".mkv"), "save the frames of the film as PNG"),
}  # fmt: skip


class Levels(NamedTuple):
    """Pixels as a file has them.

    Attributes:
        pixels: upright, (H, W) or (H, W, C), in the file's own type.
        white: the level that is white, where the file says it.

    Examples:
        >>> levels = photographs.read_levels(photographs.frames_of("drop.png")[0])
        >>> levels.pixels.shape, levels.white
        ((256, 256), None)
    """

    pixels: NDArray[Any]
    white: float | None


def read_photograph(path: str | os.PathLike[str], white: float | None = None, z: Projection | None = None) -> Grey:
    """Read the grey values of a photograph, as ``grey_values`` makes them of its pixels.

    The picture is turned upright as the file says, which is how viewers show it; sizes and positions refer to that. Where a
    TIFF says that zero is white, levels are reversed.

    Args:
        path: a PNG, JPEG, TIFF, BMP, WebP and what else Pillow or OpenCV read, or with the extra ``microscopes`` a Nikon ND2,
            Zeiss CZI or Leica LIF; grey, colour, palette, 1 to 32 bits, floating point; an alpha channel is ignored. Of a file
            with several photographs "stack.tif#0003" is the third (``frames_of``).
        white: the level that counts as white; by default what the file says, or ``grey_values`` takes.
        z: makes one photograph of the planes of a Z stack: "max", "min" or "focus".

    Returns:
        (H, W) float32, 0 black to 255 white.

    Raises:
        DataError: the file is missing, damaged, cut short, no image, larger than 2^28 px, or of several photographs of which
            none is named.

    Examples:
        >>> photographs.read_photograph("drop.png")[100, 100]
        np.float32(90.0)
    """
    return read_scaled(path, white, z)[0]


def read_scaled(path: str | os.PathLike[str], white: float | None = None, z: Projection | None = None) -> tuple[Grey, Scale]:
    """(grey values, scale that the file gives) of a photograph, as ``read_photograph``."""
    file, number = numbered(Path(path))
    frames = frames_of(file, z)
    if number is not None:
        frames = [f for f in frames if f.number == number]
        if not frames:
            raise DataError(f"{path}: {file.name} has no photograph {number}")
    if len(frames) > 1:
        raise DataError(
            f"{path}: a stack of {len(frames)} pictures; name one, such as {file.name}{frames[2 % len(frames)].ending}"
        )
    found = read_levels(frames[0])
    with as_data_errors(path):
        return grey_values(found.pixels, found.white if white is None else white), frames[0].scale


def frames_of(path: str | os.PathLike[str], z: Projection | None = None) -> list[Frame]:
    """List the photographs of a file, without their pixels: one, or those of a TIFF's pages or a microscope's file.

    Args:
        path: of the file.
        z: makes one of the planes of every Z stack: "max", "min" or "focus"; None: planes are photographs of their own.

    Returns:
        One entry per photograph.

    Raises:
        DataError: the file cannot be read.
        InputError: another ``z``.

    Examples:
        >>> Image.fromarray(grey).save("stack.tif", save_all=True, append_images=[Image.fromarray(255 - grey)])
        >>> [frame.ending for frame in photographs.frames_of("stack.tif")]
        ['#0001', '#0002']
    """
    check_projection(z)
    path = Path(path)
    with as_data_errors(path):
        kind = _kind(path)
        if kind == "tiff":
            frames = tiff_frames(path)
        elif kind == "microscope":
            frames = microscope_frames(path)
        else:
            return [_single(path)]
    return frames if z is None else _stacked(frames, z)


def read_levels(frame: Frame) -> Levels:
    """Read the pixels of a photograph.

    Args:
        frame: one of ``frames_of``.

    Returns:
        Its pixels, and the level of white where the file says it.

    Raises:
        DataError: it cannot be read.

    Examples:
        >>> photographs.read_levels(photographs.frames_of("drop.png")[0]).pixels.max()
        np.uint8(150)
    """
    with as_data_errors(frame.path):
        kind = _kind(frame.path)
        if kind == "picture":
            return Levels(_pixels(frame.path), None)
        read = tiff_levels if kind == "tiff" else microscope_levels
        if frame.projection is None:
            return Levels(*read(frame))
        found = [read(replace(frame, where=where)) for where in frame.where]
        return Levels(projected([levels for levels, _ in found], frame.projection), found[0][1])


def _stacked(frames: list[Frame], z: Projection) -> list[Frame]:
    """One frame of all planes that share place in time, channel and image; of pages of which the file does not say what they
    are, one frame of all of a size."""
    stacks: dict[Any, list[Frame]] = {}
    for frame in frames:
        key = frame.where.key
        other = frame.size if key is None else (getattr(frame.where, "image", 0), key[0], key[2])
        stacks.setdefault(other, []).append(frame)
    made = [
        replace(s[0], where=tuple(f.where for f in s), projection=z, planes=1) if len(s) > 1 else s[0] for s in stacks.values()
    ]
    return [replace(f, number=None if len(made) == 1 else i) for i, f in enumerate(made, 1)]


def _kind(path: Path) -> str:
    if path.suffix.lower() in MICROSCOPES:
        if not path.is_file():
            raise FileNotFoundError(path)
        return "microscope"
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise DataError(f"{path}: the file is empty")
    return "tiff" if head in TIFF else "picture"


def _single(path: Path) -> Frame:
    from PIL import UnidentifiedImageError

    try:
        with opened_by_pillow(path) as image:
            count = getattr(image, "n_frames", 1)
            if count > 1 and image.format != "MPO":  # whose later pictures are previews
                raise DataError(f"{path}: a film of {count} pictures; save each as a file of its own")
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            size = (image.width, image.height) if turned else (image.height, image.width)
            deep = _is_deep_colour(image) or image.mode.startswith("I")
            return Frame(path, size, "float32" if image.mode == "F" else "uint16" if deep else "uint8")
    except UnidentifiedImageError:
        if path.suffix.lower() in FOREIGN:
            raise DataError(f"{path}: {path.suffix.lower()[1:]} files are not read; {FOREIGN[path.suffix.lower()]}") from None
    height, width = _pixels_by_opencv(path).shape[:2]
    return Frame(path, (height, width), "uint16")


def _pixels(path: Path) -> NDArray[Any]:
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with opened_by_pillow(path) as image:
            if not _is_deep_colour(image):
                image.load()
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith("I") or upright.mode in ("F", "L"):
                    return np.asarray(upright)
                return np.asarray(upright.convert("L" if upright.mode in ("1", "LA", "La") else "RGB"))
    except UnidentifiedImageError:
        pass
    return _pixels_by_opencv(path)


def _is_deep_colour(image: Any) -> bool:
    """Whether colour has more than 8 bits, which Pillow would cut off."""
    return len(image.getbands()) > 1 and ";16" in str(image.tile)


def _pixels_by_opencv(path: Path) -> NDArray[Any]:
    import cv2

    content = path.read_bytes()  # imread cannot open every name on Windows
    found = decoded_by_opencv(content, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if found is None:
        raise DataError(f"{path}: not a readable image; is it whole, and an image?")
    return found if found.ndim == 2 else found[..., ::-1]


@contextlib.contextmanager
def as_data_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever decoders raise becomes a DataError that names the file."""
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
    except InputError:
        raise
    except DataError as e:
        if str(path) in str(e):
            raise
        raise DataError(f"{path}: {e}") from e
    except Exception as e:  # of a damaged file the decoders may raise anything
        raise DataError(f"{path}: not a readable image ({e})") from e
