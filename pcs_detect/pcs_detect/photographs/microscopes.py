"""Files of microscopes' own formats, read through packages that the extra ``microscopes`` installs: Nikon ND2, Zeiss CZI and
Leica LIF."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..extras import install
from .frames import MAX_PIXELS, Frame, Scale
from .scale import square

FORMATS = {  # ending: name, package, its class of a file
    ".nd2": ("Nikon ND2", "nd2", "ND2File"),
    ".czi": ("Zeiss CZI", "czifile", "CziFile"),
    ".lif": ("Leica LIF", "liffile", "LifFile"),
}


@dataclass(frozen=True)
class Image:
    """One of the images of a file. sizes: of every axis, in the order of the pixels; seconds: of every frame, empty where
    unknown."""

    sizes: Mapping[str, int]
    dtype: Any
    scale: Scale
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Place:
    """Of a frame in its file: which image, which frame of it, its indices along the axes, and as its key what
    distinguishes it from frames that are planes of another stack, its plane, its channel."""

    image: int
    number: int
    index: tuple[int, ...]
    key: tuple[Any, ...]


def microscope_frames(path: Path) -> list[Frame]:
    """The photographs of a file: times, places, channels and planes of a Z stack, one by one, in the order of the file."""
    name, _, _ = FORMATS[path.suffix.lower()]
    with _opened(path) as file:
        images = {".nd2": _nd2, ".czi": _czi, ".lif": _lif}[path.suffix.lower()](file)
    frames = []
    for number, image in enumerate(images):
        if not {"Y", "X"} <= set(image.sizes):
            continue  # a line or a point
        height, width = image.sizes["Y"], image.sizes["X"]
        if height * width > MAX_PIXELS:
            raise DataError(f"{path}: {width} x {height} px, more than {MAX_PIXELS} are not read")
        outer = {a: n for a, n in image.sizes.items() if a not in "YXS"}
        channels = outer.get("C", 1)
        for k, index in enumerate(itertools.product(*map(range, outer.values()))):
            there = dict(zip(outer, index))
            rest = tuple(n for axis, n in there.items() if axis != "Z")
            place = Place(number, k, index, (rest, there.get("Z", 0), there.get("C", 0)))
            moment = k // channels if len(image.seconds) * channels == math.prod(outer.values()) else k
            hours = image.seconds[moment] / 3600 if moment < len(image.seconds) else None
            depth, planes = np.dtype(image.dtype).name, outer.get("Z", 1)
            frames.append(Frame(path, (height, width), depth, scale=image.scale, hours=hours, planes=planes, where=place))
    if not frames:
        raise DataError(f"{path}: a {name} file without a picture")
    first = min((f.hours for f in frames if f.hours is not None), default=0.0)
    frames = [f if f.hours is None else replace(f, hours=f.hours - first) for f in frames]
    return frames if len(frames) == 1 else [replace(f, number=i) for i, f in enumerate(frames, 1)]


def microscope_levels(frame: Frame) -> tuple[NDArray[Any], float | None]:
    """(pixels of a frame, (H, W) or (H, W, C); the level of white, where the file says it)"""
    place: Place = frame.where
    if frame.path.suffix.lower() == ".nd2":
        with _opened(frame.path) as file:
            channels = int(file.sizes.get("C", 1))
            levels = np.asarray(file.read_frame(place.number // channels))  # whose frames hold all channels
            if channels > 1:
                levels = levels[place.number % channels]
            bits = getattr(file.attributes, "bitsPerComponentSignificant", None)
            return np.array(levels), float(2**bits - 1) if bits and 8 < bits < 16 else None
    axes, whole = _whole(frame.path, frame.path.stat().st_mtime_ns, place.image)
    index = iter(place.index)
    levels = whole[tuple(slice(None) if a in "YXS" else next(index) for a in axes)]
    return np.array(levels), None


@lru_cache(maxsize=1)
def _whole(path: Path, changed: int, image: int) -> tuple[str, NDArray[Any]]:
    """(axes, all pixels of an image of a file): the next frame is most likely one of the same."""
    with _opened(path) as file:
        if path.suffix.lower() == ".czi":
            try:
                scene = _scenes(file)[image]
                return "".join(scene.dims), np.asarray(scene.asarray())
            except (KeyError, ImportError, NotImplementedError) as e:
                raise DataError(
                    f"{path}: its pixels are compressed in a way that the installed czifile cannot read ({e}); pip install "
                    "imagecodecs and a newer czifile, or export TIFF with ZEN"
                ) from e
        found = file.images[image]
        return "".join(found.dims), np.asarray(found.asarray())


def _nd2(file: Any) -> list[Image]:
    sizes = dict(file.sizes)
    order = [a for a in sizes if a not in "CYXS"] + [a for a in "CYXS" if a in sizes]
    voxel = file.voxel_size()
    scale = square(float(voxel.x), float(voxel.y), "ND2") if file.metadata.channels else Scale()
    count = math.prod(sizes[a] for a in order if a not in "CYXS")
    seconds = []
    with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
        for k in range(count):
            seconds.append(float(file.frame_metadata(k).channels[0].time.relativeTimeMs) / 1000)
    return [Image({a: sizes[a] for a in order}, file.dtype, scale, tuple(seconds) if len(seconds) == count else ())]


class _Scene:
    """A scene of a CZI from czifile up to 2019, as later ones have them.

    It is put together of its own blocks: the array of the whole file holds the space between all scenes too, and what its
    threads could not decode is missing from it without a word.
    """

    def __init__(self, file: Any, blocks: list[Any]) -> None:
        # those that are stored smaller than they are make up the smaller versions for viewers
        self._blocks = [b for b in blocks if tuple(b.stored_shape) == tuple(b.shape)] or blocks
        self._first = np.min([b.start for b in self._blocks], axis=0)
        self._shape = np.max([np.add(b.start, b.shape) for b in self._blocks], axis=0) - self._first
        self._axes, self.dtype = str(file.axes), file.dtype
        # its "S" is the scene and "0", the last, holds the samples of a pixel; here and in later ones "S" is for samples
        kept = [(a.replace("0", "S"), int(n)) for a, n in zip(self._axes, self._shape) if a != "S" and (a, n) != ("0", 1)]
        self.sizes: dict[str, int] = dict(kept)
        self.dims = tuple(self.sizes)

    def asarray(self) -> NDArray[Any]:
        whole = np.zeros(self._shape, self.dtype)
        for block in self._blocks:
            begin = np.subtract(block.start, self._first)
            whole[tuple(slice(i, i + n) for i, n in zip(begin, block.shape))] = block.data_segment().data()
        return whole.reshape(tuple(self.sizes.values()))


def _scenes(file: Any) -> list[Any]:
    """What has the dims, sizes, dtype and asarray() of every scene of a CZI: czifile's own from 2026 on."""
    if not hasattr(file, "axes"):
        return list(file.scenes.values())
    axis = str(file.axes).find("S")
    blocks: dict[int, list[Any]] = {}
    for block in file.filtered_subblock_directory:
        blocks.setdefault(int(block.start[axis]) if axis >= 0 else 0, []).append(block)
    return [_Scene(file, blocks[number]) for number in sorted(blocks)]


def _czi(file: Any) -> list[Image]:
    lengths: dict[str, float] = {}
    with contextlib.suppress(ElementTree.ParseError, TypeError, ValueError):
        for distance in ElementTree.fromstring(file.metadata()).iterfind(".//Scaling/Items/Distance"):
            value = distance.findtext("Value")
            if value:
                lengths[distance.get("Id", "")] = float(value) * 1e6  # from metres
    scale = square(lengths.get("X"), lengths.get("Y"), "CZI")
    return [Image(scene.sizes, scene.dtype, scale) for scene in _scenes(file)]


def _lif(file: Any) -> list[Image]:
    images = []
    for found in file.images:
        steps = {}
        for axis in "YX":
            along = found.coords.get(axis)
            if along is not None and len(along) > 1:
                steps[axis] = abs(float(along[1]) - float(along[0])) * 1e6  # from metres
        stamps = found.timestamps
        seconds: tuple[float, ...] = ()
        if stamps is not None and len(stamps):
            seconds = tuple(((stamps - stamps[0]) / np.timedelta64(1, "s")).astype(float).tolist())
        images.append(Image(dict(found.sizes), found.dtype, square(steps.get("X"), steps.get("Y"), "LIF"), seconds))
    return images


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    name, package, kind = FORMATS[path.suffix.lower()]
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise DataError(
            f"{path}: a {name} file; export TIFF with the microscope's own program, or to read it {install(package)}"
        ) from None
    with getattr(module, kind)(os.fspath(path)) as file:
        yield file
