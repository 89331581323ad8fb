"""A data set opened for reading: by its manifest alone, files when they are asked for."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .columns import ALL_COLUMNS, GROUP, IMAGE_COLUMNS, LABEL_COLUMNS, SIZE_COLUMNS, Rows, ShardFile
from .manifest import Manifest, Split, split_mask
from .record import Labels, Record

OPEN_FILES = 32


class Reader:
    """The images of a data set's finished shards, or of one split of them, in the order of their ids.

    Picklable; files are opened lazily, anew in every process.

    Args:
        folder: of the data set.
        split: "train", "validation" or None for all.
        validation: part (0.03) or number (10000) of images for validation, as in the manifest unless given.

    Raises:
        DataError: a folder without a manifest, and later shards that are missing or damaged.
        InputError: an impossible split.

    Examples:
        >>> reader = shards.Reader("data")
        >>> reader.ids, [len(found.boxes) > 0 for found in reader.labels()]
        (array([0, 1, 2]), [True, True, True])
    """

    def __init__(
        self, folder: str | os.PathLike[str], split: Split | None = None, validation: int | float | None = None
    ) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.load(folder)
        ids, shards, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
        for index, entry in sorted(self.manifest.shards.items()):
            mine = np.array(self.manifest.ids(index), np.int64)
            if entry.missing:
                mine = mine[~np.isin(mine, entry.missing)]
            if len(mine) != entry.images:
                raise DataError(
                    f"{folder}: the manifest lists {entry.images} images in shard {index}, which has room for {len(mine)}; "
                    "run the same render command again"
                )
            ids.append(mine)
            shards.append(np.full(len(mine), index, np.int32))
            rows.append(np.arange(len(mine), dtype=np.int32))
        all_ids = np.concatenate(ids)
        chosen = split_mask(all_ids, split, self.manifest, validation)
        self.ids: NDArray[np.int64] = all_ids[chosen]  # (M,) of the images, ascending
        self._shard, self._row = np.concatenate(shards)[chosen], np.concatenate(rows)[chosen]
        self._files: OrderedDict[int, ShardFile] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def runs(self) -> NDArray[np.int64]:
        """(R, 2) begin and end of the positions whose images lie in one group of one file and so are best read together."""
        key = self._shard.astype(np.int64) << 32 | self._row // GROUP
        begins = np.flatnonzero(np.diff(key, prepend=-1))
        return np.stack([begins, np.append(begins, len(key))[1:]], 1)

    def shards(self) -> NDArray[np.int32]:
        """(M,) the shard that holds each image."""
        return self._shard

    def at(self, position: int, columns: tuple[str, ...] = IMAGE_COLUMNS) -> tuple[Rows, int]:
        """Read ``columns`` of the group that holds the image at a ``position`` (0 .. M - 1); returns it and the place therein.

        Raises DataError, IndexError.
        """
        if not 0 <= position < len(self.ids):
            raise IndexError(f"image {position} of {len(self.ids)}")
        row = int(self._row[position])
        file = self._file(int(self._shard[position]))
        rows = file.rows(row // GROUP, columns)
        if row % GROUP >= len(rows) or rows.ids[row % GROUP] != self.ids[position]:
            raise DataError(
                f"{file.path} does not hold image {self.ids[position]} where the manifest has it; "
                "delete it and run the same render command again"
            )
        return rows, row % GROUP

    def record(self, position: int) -> Record:
        """Read everything of the image at a ``position`` (0 .. M - 1). Raises DataError, IndexError."""
        rows, i = self.at(position, ALL_COLUMNS)
        return rows.record(i)

    def records(self) -> Iterator[Record]:
        """All images in order, a few in memory at a time."""
        return (self.record(p) for p in range(len(self)))

    def labels(self) -> Iterator[Labels]:
        """All labels in order; pictures are not read."""
        for position in range(len(self)):
            rows, i = self.at(position, LABEL_COLUMNS)
            yield rows.labels(i)

    def sizes(self) -> Iterator[tuple[int, int, int]]:
        """(id, width, height) of all images in order; nothing else is read."""
        for position in range(len(self)):
            rows, i = self.at(position, SIZE_COLUMNS)
            yield int(self.ids[position]), *rows.size(i)

    def _file(self, shard: int) -> ShardFile:
        if self._process != os.getpid():  # a fork shares its parent's files
            self._files, self._process = OrderedDict(), os.getpid()
        file = self._files.pop(shard, None) or ShardFile(self.folder / "shards" / self.manifest.shards[shard].file)
        self._files[shard] = file
        if len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return file
