"""TIFF files through tifffile: which of their pages are photographs, what they say of scale and time, and their pixels."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .decoders import decoded_by_opencv, opened_by_pillow
from .frames import MAX_PIXELS, Frame, Scale
from .scale import imagej_scale, imagej_step, ome_scales, resolution_scale

REDUCED = 1  # bit of NewSubfileType: a smaller version of another page
ALIKE = 0.02  # relative difference of shapes of a page and its thumbnail
ORIENTATION = 274
TURNS = {  # what makes the pixels of each orientation upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class Plane:
    """Where a picture lies: the offset of its page's directory, or of the pixels themselves in a series with one directory;
    key: its place (t, z, c) along the axes that have one, None where the file does not say what its pages are; image: which
    of an OME file's images it is of."""

    directory: int | None
    pixels: int | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    key: tuple[int, int, int] | None = None
    image: int = 0


Found = tuple[Any, Plane, Scale, float | None]  # page, where its picture lies, scale, seconds or hours


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A tifffile.TiffFile of this file alone, without what its library logs of damaged files, which errors say."""
    import tifffile

    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        with tifffile.TiffFile(path, _multifile=False) as tif:
            yield tif
    finally:
        log.disabled = before


def tiff_frames(path: Path) -> list[Frame]:
    """The photographs in a TIFF file, one by one, planes of Z stacks too.

    Pages marked as smaller versions of others, and pages that look like thumbnails of the largest, are no photographs.
    Raises DataError for what cannot be read.
    """
    with opened(path) as tif:
        found, passed_over = _series(tif) if tif.is_ome or tif.is_imagej else _pages(tif)
        if not found:
            raise DataError(f"{path}: a TIFF without a picture")
        frames = [_frame(path, tif, page, plane, scale, hours) for page, plane, scale, hours in found]
        planes = len({p.key[1] for _, p, _, _ in found if p.key is not None}) or 1
    frames = [replace(f, passed_over=passed_over) for f in frames]
    if len(frames) == 1:
        return frames
    return [replace(f, number=i, planes=planes) for i, f in enumerate(frames, 1)]


def tiff_levels(frame: Frame) -> tuple[NDArray[Any], float | None]:
    """(pixels of a frame, upright, (H, W) or (H, W, C); the level of white where the file says it)."""
    plane: Plane = frame.where
    with opened(frame.path) as tif:
        page = _page_at(tif, plane.directory)
        if plane.pixels is not None:
            count = math.prod(plane.shape)
            levels = np.fromfile(frame.path, np.dtype(plane.dtype), count, offset=plane.pixels)
            if len(levels) < count:
                raise DataError(f"{frame.path}: cut short, it ends within a picture")
            levels = levels.reshape(plane.shape).astype(levels.dtype.newbyteorder("="))
            levels, white = _interpreted(page, levels, int(page.photometric), page.bitspersample)
        else:
            _check_whole(page, frame.path)
            levels, white = _decoded(page, frame.path)
        return _upright(levels, _orientation(page)), white


def _frame(path: Path, tif: Any, page: Any, plane: Plane, scale: Scale, hours: float | None) -> Frame:
    height, width = page.imagelength, page.imagewidth
    if height * width > MAX_PIXELS:
        raise DataError(f"{path}: {width} x {height} px, more than {MAX_PIXELS} are not read")
    size = (width, height) if _orientation(page) > 4 else (height, width)
    depth = "uint8" if page.photometric in (3, 6) or page.bitspersample == 1 else np.dtype(page.dtype).name
    return Frame(path, size, depth, scale=scale, hours=hours, where=plane)


def _series(tif: Any) -> tuple[list[Found], int]:
    """Of ImageJ and OME files, whose series have axes; how many pages were passed over."""
    found: list[Found] = []
    images = ome_scales(tif.ome_metadata) if tif.is_ome and tif.ome_metadata else []
    for number, series in enumerate(tif.series):
        scale, times = images[number] if number < len(images) else (Scale(), {})
        page = series.keyframe
        if tif.is_imagej:
            metadata = tif.imagej_metadata or {}
            scale = imagej_scale(metadata, _value(page, 282), _value(page, 283))
            step = imagej_step(metadata)
            times = {} if step is None else {(t, -1, -1): t * step for t in range(max(series.shape))}
        outer = [(axis, n) for axis, n in zip(series.axes, series.shape) if axis not in "YXS"]
        keys = [_key([a for a, _ in outer], place) for place in itertools.product(*(range(n) for _, n in outer))]
        pages = list(series.pages)
        if len(pages) == len(keys):
            planes = [(p.aspage(), Plane(p.offset, key=k, image=number)) for p, k in zip(pages, keys) if p is not None]
        elif series.dataoffset is not None and page.compression == 1:
            inner = tuple(n for a, n in zip(series.axes, series.shape) if a in "YXS")
            if "S" in series.axes and series.axes.index("S") < series.axes.index("Y"):
                raise DataError("its channels lie one after another in one directory; save it anew as separate pages")
            dtype = np.dtype(series.dtype).newbyteorder(tif.byteorder)
            step = math.prod(inner) * dtype.itemsize
            starts = range(series.dataoffset, series.dataoffset + len(keys) * step, step)
            planes = [(page, Plane(page.offset, s, inner, dtype.str, k, number)) for s, k in zip(starts, keys)]
        else:
            raise DataError("a stack whose pictures share one directory; save each picture as a page of its own")
        for own, plane in planes:
            t, z, c = plane.key or (0, 0, 0)
            found.append((own, plane, scale, times.get((t, z, c), times.get((t, -1, -1)))))
    found, passed_over = _without_previews(found)
    return _from_first(found), passed_over


def _key(axes: list[str], place: tuple[int, ...]) -> tuple[int, int, int]:
    there = dict(zip(axes, place))
    return there.get("T", 0), there.get("Z", 0), there.get("C", 0)


def _pages(tif: Any) -> tuple[list[Found], int]:
    """Of all other files: every page, those in pages too (SubIFDs); how many were passed over."""
    every: list[Any] = []
    for entry in tif.pages:
        page = entry.aspage()  # later pages may have been read in part only
        every.append(page)
        every += [inner.aspage() for inner in page.pages or ()]
    found = []
    for page in every:
        scale = resolution_scale(int(_value(page, 296) or 2), _value(page, 282), _value(page, 283))
        found.append((page, Plane(page.offset), scale, _taken(page)))
    found, passed_over = _without_previews(found)
    found = _from_first(found)
    return found if len(found) > 1 else [(p, q, s, None) for p, q, s, _ in found], passed_over


def _from_first(found: list[Found]) -> list[Found]:
    """With hours since the first of all these pictures in place of seconds, which count from one moment for a whole file."""
    first = min((seconds for *_, seconds in found if seconds is not None), default=0.0)
    return [(p, q, s, None if seconds is None else (seconds - first) / 3600) for p, q, s, seconds in found]


def _without_previews(found: list[Found]) -> tuple[list[Found], int]:
    """(photographs, how many unmarked pages were taken for thumbnails of the largest of them)"""
    full = [f for f in found if not int(_value(f[0], 254) or 0) & REDUCED] or found
    sizes = [sorted((page.imagelength, page.imagewidth)) for page, *_ in full]  # a thumbnail may lie turned
    largest = max(sizes, key=math.prod, default=[0, 0])
    kept = [f for f, size in zip(full, sizes) if not _is_thumbnail(size, largest)]
    return kept, len(full) - len(kept)


def _is_thumbnail(size: list[int], largest: list[int]) -> bool:
    """Whether a page of this size, shorter side first, has the shape of the largest and at most half its length. Pages of other
    shapes or of nearly that size, such as crops, are photographs of their own."""
    (short, long), (height, width) = size, largest
    expected = long * height / width
    # both sides were rounded
    return long < width and 2 * long <= width + 1 and abs(short - expected) <= max(1.0, ALIKE * expected)


def _taken(page: Any) -> float | None:
    """When a page was taken, in seconds since some moment."""
    try:
        when = datetime.strptime(str(_value(page, 306) or "").strip(), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return (when - datetime.min).total_seconds()  # timestamp() would skip an hour in spring


def _value(page: Any, tag: int) -> Any:
    found = page.tags.get(tag)
    return None if found is None else found.value


def _orientation(page: Any) -> int:
    value = _value(page, ORIENTATION)
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def _page_at(tif: Any, directory: int | None) -> Any:
    for entry in tif.pages:
        if entry.offset == directory:
            return entry.aspage()
        for inner in entry.aspage().pages or ():
            if inner.offset == directory:
                return inner.aspage()
    raise DataError(f"{tif.filename}: changed while it was read")


def _check_whole(page: Any, path: Path) -> None:
    end = path.stat().st_size
    if any(o + n > end for o, n in zip(page.dataoffsets, page.databytecounts)):
        raise DataError(f"{path}: not a readable image: cut short, it ends within a picture")
    if len(page.dataoffsets) != len(page.databytecounts) or not page.dataoffsets:
        raise DataError(f"{path}: not a readable image: its directory is damaged")


def _decoded(page: Any, path: Path) -> tuple[NDArray[Any], float | None]:
    """(levels as stored, not turned; white)"""
    photometric, bits = int(page.photometric), page.bitspersample
    if photometric in (0, 1, 2, 3):
        try:
            levels = page.asarray()
        except (ImportError, ValueError, NotImplementedError) as e:  # ImportError: of what Python itself may lack, such as zstd
            if not isinstance(e, ImportError) and "imagecodecs" not in str(e):
                raise
            if page.compression == 1 and page.samplesperpixel == 1 and bits in (10, 12, 14) and not page.is_tiled:
                levels = _unpacked(page, path, bits)
                return _inverted(levels, bits) if photometric == 0 else levels, _white(bits)
        else:
            return _interpreted(page, levels, photometric, bits)
    content = _alone(path, page)
    if max(np.atleast_1d(bits)) > 8:
        levels = _deep(page, path, content)
        return _inverted(levels, bits) if photometric == 0 else levels, _white(bits)
    try:
        with opened_by_pillow(io.BytesIO(content)) as image:
            image.load()
            grey = image.mode in ("1", "L", "LA", "La")
            return np.asarray(image.convert("L" if grey else "RGB")), None
    except (OSError, ValueError) as e:
        raise _undecoded(page, path) from e


def _deep(page: Any, path: Path, content: bytes) -> NDArray[Any]:
    """Levels of more than 8 bits, by OpenCV or Pillow, whichever knows the compression; Pillow has deep grey alone."""
    import cv2

    found = decoded_by_opencv(content, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is not None:
        return found if found.ndim == 2 else found[..., [2, 1, 0, 3][: found.shape[2]]]
    try:
        with opened_by_pillow(io.BytesIO(content)) as image:
            if image.mode.startswith("I") or image.mode == "F":
                return np.asarray(image)
    except (OSError, ValueError) as e:
        raise _undecoded(page, path) from e
    raise _undecoded(page, path)


def _undecoded(page: Any, path: Path) -> DataError:
    """What to say of a page that no decoder here reads."""
    if page.compression == 1:
        kind = getattr(page.photometric, "name", page.photometric)
        return DataError(f"{path}: a TIFF of a kind that is not read ({kind}); save it anew as grey or RGB")
    return DataError(
        f"{path}: a TIFF compressed as {page.compression.name}, which cannot be read here; if the file is whole, pip install "
        "imagecodecs, or save it anew without compression"
    )


def _interpreted(page: Any, levels: NDArray[Any], photometric: int, bits: Any) -> tuple[NDArray[Any], float | None]:
    axes = page.axes
    if "S" in axes and axes.index("S") == 0 and levels.ndim == 3:
        levels = np.moveaxis(levels, 0, -1)
    if levels.ndim > 3:
        raise DataError(f"a page of shape {levels.shape}, axes {axes}; save each picture as a page of its own")
    if photometric == 3:
        colours = np.asarray(page.colormap)
        if colours.max(initial=0) > 255:  # some programs write 8 bits where the format has 16
            colours = colours >> 8
        indices = levels.astype(np.uint8) if levels.dtype == bool else levels  # of one bit, which as truth values would select
        return colours.astype(np.uint8).T[indices], None
    if photometric == 0:
        levels = _inverted(levels, bits)
    if levels.dtype == np.uint8 and isinstance(bits, int) and bits < 8:
        return levels, float(2**bits - 1)
    return levels, _white(bits)


def _unpacked(page: Any, path: Path, bits: int) -> NDArray[Any]:
    """Levels of 10, 12 or 14 bits that lie without gaps; every row begins a byte."""
    height, width = page.imagelength, page.imagewidth
    with path.open("rb") as file:
        strips = []
        for offset, length in zip(page.dataoffsets, page.databytecounts):
            file.seek(offset)
            strips.append(file.read(length))
    rows = np.frombuffer(b"".join(strips), np.uint8)[: height * -(-width * bits // 8)].reshape(height, -1)
    levels = np.zeros((height, width), np.uint16)
    flat = np.unpackbits(rows, axis=1)[:, : width * bits].reshape(height, width, bits)
    for bit in range(bits):
        levels |= flat[..., bit].astype(np.uint16) << (bits - 1 - bit)
    return levels


def _inverted(levels: NDArray[Any], bits: Any) -> NDArray[Any]:
    """Of pictures whose zero is white."""
    if levels.dtype == bool:
        return ~levels
    if levels.dtype.kind == "f":
        return levels.max() - levels
    return (2 ** int(max(np.atleast_1d(bits))) - 1 - levels.astype(np.int64)).astype(levels.dtype)


def _white(bits: Any) -> float | None:
    """What cameras of 10, 12 and 14 bits say where they say it."""
    most = int(max(np.atleast_1d(bits)))
    return float(2**most - 1) if 8 < most < 16 else None


def _upright(levels: NDArray[Any], orientation: int) -> NDArray[Any]:
    return np.ascontiguousarray(TURNS[orientation](levels)) if orientation in TURNS else levels


def _alone(path: Path, page: Any) -> bytes:
    """The file with this page first and upright, for decoders that read the first page of a file and may or may not turn it."""
    content = bytearray(path.read_bytes())
    order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
    big = int.from_bytes(content[2:4], order) == 43
    place, length = (8, 8) if big else (4, 4)
    content[place : place + length] = page.offset.to_bytes(length, order)
    tag = page.tags.get(ORIENTATION)
    if tag is not None:
        content[tag.valueoffset : tag.valueoffset + 2] = (1).to_bytes(2, order)
    return bytes(content)
