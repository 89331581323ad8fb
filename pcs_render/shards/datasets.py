"""Data sets as torch Datasets: by random access, and as a stream."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from pcs_augment.ragged import Outlines

from ..errors import DataError, InputError
from .columns import LABEL_COLUMNS
from .manifest import Manifest, Split
from .reader import Reader
from .record import Labels, decoded

Item = tuple[Tensor, dict[str, Any], int]
Entry = tuple[Labels, bytes, int]
Folders = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class TargetDict(dict[str, Any]):
    """A dict whose tensors travel between processes within the message: in shared memory, as torch sends them, each of so many
    small ones would cost a file, which made a loader with workers slower than one without."""

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = {k: a for k, v in self.items() if (a := _arrays(v))}
        return _target, (list(self), arrays, {k: v for k, v in self.items() if k not in arrays})


def _arrays(value: Any) -> tuple[NDArray[Any], ...]:
    """What a tensor, or outlines that are views of one, are sent as; empty for all else."""
    whole = (value,) if type(value) is Tensor else getattr(value, "whole", None)
    if whole is None or whole[0].device.type != "cpu" or whole[0].requires_grad:
        return ()
    return (whole[0].numpy(), *whole[1:])


def _target(keys: list[str], arrays: dict[str, tuple[NDArray[Any], ...]], others: dict[str, Any]) -> TargetDict:
    return TargetDict({k: _received(*arrays[k]) if k in arrays else others[k] for k in keys})


def _received(values: NDArray[Any], *corners: NDArray[np.int64]) -> Any:
    tensor = torch.from_numpy(values)
    return Outlines.split(tensor, *corners) if corners else tensor


class PcsShards(Dataset[Item]):
    """One or more data sets by random access. Opening reads the manifests only; workers may fork or spawn.

    Item i is (image, target, i): image (1, H, W); target ``boxes (N, 5)`` float32 in px and radians, ``labels (N,)`` int64
    zeros, ``polygons`` N times (K, 2) float32, ``depth (N,)``, ``refractive_index (N,)`` float32, ``model (N,)`` int64,
    ``image_id`` int.

    Args:
        folders: of one or several data sets, which follow one another.
        split: "train", "validation" or None for all.
        validation: part (0.03) or number (10000) of images for validation, as in the manifest unless given.
        dtype: of the pictures: torch.float32 in [0, 1], or torch.uint8 as stored.

    Raises:
        DataError: something is missing or damaged.
        InputError: an argument is wrong.

    Examples:
        >>> data = shards.PcsShards("data")
        >>> image, target, number = data[1]
        >>> len(data), image.shape, target["image_id"], number
        (3, torch.Size([1, 48, 64]), 1, 1)
    """

    first_index = 0  # of data sets that are used side by side: see ``pcs_augment.data.number_parts``

    def __init__(
        self,
        folders: Folders,
        split: Split | None = None,
        validation: int | float | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._dtype = _checked_dtype(dtype)
        self.readers = _readers(folders, split, validation)
        self._ends = np.cumsum([len(r) for r in self.readers])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> Item:
        reader, position = self._place(i)
        rows, row = reader.at(position)
        return item(rows.labels(row), rows.png(row), self.first_index + i, self._dtype)

    def target(self, i: int) -> dict[str, Any]:
        """Give the labels of image ``i``, 0 .. len - 1, without reading its picture."""
        reader, position = self._place(i)
        rows, row = reader.at(position, LABEL_COLUMNS)
        return target(rows.labels(row))

    def labels(self) -> Iterator[Labels]:
        """All labels in order as NumPy arrays; pictures are not read."""
        for reader in self.readers:
            yield from reader.labels()

    def _place(self, i: int) -> tuple[Reader, int]:
        if not 0 <= i < len(self):  # also what ends iteration over a data set
            raise IndexError(f"image {i} of {len(self)}")
        k = int(np.searchsorted(self._ends, i, "right"))
        return self.readers[k], i - (int(self._ends[k - 1]) if k else 0)


class StreamingPcsShards(IterableDataset[Item]):
    """The items of PcsShards as a stream that reads files in order: every image exactly once per epoch.

    Shards come in an order drawn from (seed, epoch); the stream is cut into one piece per worker and rank, equal but for one
    group of images; each worker draws at random from a buffer. ``i`` is the same for the same image. Ranks may differ by a few
    images, so let training stop by steps or use ``Join``. Call ``set_epoch`` before each epoch; persistent workers see it.

    Args:
        folders: of one or several data sets, which follow one another.
        split: "train", "validation" or None for all.
        validation: part (0.03) or number (10000) of images for validation, as in the manifest unless given.
        dtype: of the pictures: torch.float32 in [0, 1], or torch.uint8 as stored.
        seed: of the order, 0 .. 2^63 - 1.
        shuffle: False for the order of ids, cut likewise.
        buffer: images that a worker holds to draw from, at least 1.
        rank: of this process; that of torch.distributed unless given.
        world: number of processes; likewise.

    Raises:
        DataError: something is missing or damaged.
        InputError: an argument is wrong.

    Examples:
        >>> stream = shards.StreamingPcsShards("data", seed=1)
        >>> stream.set_epoch(4)
        >>> sorted(number for image, target, number in stream)
        [0, 1, 2]
    """

    def __init__(
        self,
        folders: Folders,
        split: Split | None = None,
        validation: int | float | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        seed: int = 0,
        shuffle: bool = True,
        buffer: int = 512,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if buffer < 1:
            raise InputError(f"buffer is {buffer}; it takes at least 1 image")
        if not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}; it takes a whole number from 0 to 2^63 - 1")
        self._dtype = _checked_dtype(dtype)
        self.readers = _readers(folders, split, validation)
        self._seed, self._shuffle, self._buffer = seed, shuffle, buffer
        self._rank, self._world = _rank(rank, world)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        first = np.cumsum([0, *(len(r) for r in self.readers)])
        # (R, 4): reader, begin, end of its positions, running number of the shard
        runs, shards = [np.zeros((0, 4), np.int64)], 0
        for k, reader in enumerate(self.readers):
            mine = reader.runs()
            order = np.unique(reader.shards()[mine[:, 0]], return_inverse=True)[1]
            runs.append(np.column_stack([np.full(len(mine), k), mine, order + shards]))
            shards += int(order.max(initial=-1)) + 1
        self._runs, self._first, self._shards = np.concatenate(runs), first, shards

    def set_epoch(self, epoch: int) -> None:
        """Say which shuffle comes next: ``epoch`` 0, 1, ..."""
        if epoch < 0:
            raise InputError(f"epoch is {epoch}; it takes 0 or more")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Images of this rank in the epoch that is set, all its workers together."""
        runs = self._piece(self._rank, self._world)
        return int((runs[:, 2] - runs[:, 1]).sum())

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        number, pieces = self._rank * workers + worker, self._world * workers
        stream = self._read(self._piece(number, pieces))
        for labels, png, i in self._shuffled(stream, number) if self._shuffle else stream:
            yield item(labels, png, i, self._dtype)

    def _piece(self, number: int, pieces: int) -> NDArray[np.int64]:
        """(R', 4) the runs of one of so many pieces of the epoch."""
        runs = self._runs
        if self._shuffle:
            place = self._draws(0).permutation(self._shards)
            runs = runs[np.argsort(place[runs[:, 3]], kind="stable")]
        return runs[len(runs) * number // pieces : len(runs) * (number + 1) // pieces]

    def _draws(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self._seed, int(self._epoch)], counter=[0, 0, 0, stream]))

    def _read(self, runs: NDArray[np.int64]) -> Iterator[Entry]:
        for k, begin, end, _ in runs.tolist():
            for position in range(begin, end):
                rows, row = self.readers[k].at(position)
                yield rows.labels(row), rows.png(row), int(self._first[k]) + position

    def _shuffled(self, stream: Iterator[Entry], number: int) -> Iterator[Entry]:
        draws = self._draws(1 + number)
        waiting: list[Entry] = []  # pictures not decoded
        for entry in stream:
            if len(waiting) < self._buffer:
                waiting.append(entry)
                continue
            i = int(draws.integers(self._buffer))
            yield waiting[i]
            waiting[i] = entry
        for i in draws.permutation(len(waiting)).tolist():
            yield waiting[i]


def item(labels: Labels, png: bytes, index: int, dtype: torch.dtype) -> Item:
    """(image (1, H, W), target, index). Raises DataError for a picture that is damaged or of another size."""
    try:
        pixels = decoded(png)
    except DataError as e:
        raise DataError(f"image {labels.image_id}: {e}; verify the data set") from e
    if pixels.shape != (labels.height, labels.width):
        raise DataError(
            f"image {labels.image_id} is {pixels.shape}, labelled {labels.height, labels.width}; verify the data set"
        )
    if dtype == torch.float32:  # in NumPy: torch would hand a few thousand divisions to its threads and wait for them
        image = torch.from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32))
    else:
        image = torch.from_numpy(pixels)
    return image[None], target(labels), index


def target(labels: Labels) -> TargetDict:
    """Labels as tensors."""
    return TargetDict(
        {
            "boxes": torch.from_numpy(labels.boxes),
            "labels": torch.zeros(len(labels.boxes), dtype=torch.int64),
            "polygons": Outlines.split(torch.from_numpy(labels.points), labels.corners.astype(np.int64)),
            "depth": torch.from_numpy(labels.depth),
            "refractive_index": torch.from_numpy(labels.refractive_index),
            "model": torch.from_numpy(labels.model).long(),
            "image_id": labels.image_id,
        }
    )


def _readers(folders: Folders, split: Split | None, validation: int | float | None) -> list[Reader]:
    several = [folders] if isinstance(folders, (str, os.PathLike)) else list(folders)
    if not several:
        raise InputError("no folder was given; name at least one data set")
    readers = [Reader(f, split, validation) for f in several]
    for i, a in enumerate(readers):
        for b in readers[:i]:
            if _images(a.manifest) == _images(b.manifest) and np.intersect1d(a.ids, b.ids).size:
                warnings.warn(
                    f"{b.folder} and {a.folder} show the same images: they were rendered with one seed ({a.manifest.seed}) and "
                    "the same settings and profile; render one of them with another --seed, or use split",
                    stacklevel=3,
                )
    return readers


def _images(manifest: Manifest) -> tuple[int, str, str]:
    """What, with its id, determines an image."""
    return manifest.seed, manifest.settings_hash, manifest.profile_hash


def _checked_dtype(dtype: torch.dtype) -> torch.dtype:
    if dtype not in (torch.float32, torch.uint8):
        raise InputError(f"dtype is {dtype}; allowed are torch.float32 and torch.uint8")
    return dtype


def _rank(rank: int | None, world: int | None) -> tuple[int, int]:
    if (rank is None) != (world is None):
        raise InputError("give both rank and world, or neither")
    if rank is None or world is None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    if not 0 <= rank < world:
        raise InputError(f"rank {rank} of {world} ranks is not possible; ranks are 0 to world - 1")
    return rank, world
