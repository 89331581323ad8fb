"""Records as Parquet files of one format, read and written in groups of rows."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pcs_augment.files import written

from ..errors import DataError
from .record import Labels, Record, row_digest

FORMAT = "pcs-shard/1"
KEY = b"pcs"  # of the file's metadata: a JSON object
ROWS = b"pcs_rows"  # likewise: a JSON list of the checksum of every row

# Images that are read together. One random image of 65 kB with 52 crystals, from a file not yet open, takes 0.8 ms at 4, 8 and
# 16 images per group alike, but reads half the bytes at 8 that it does at 16; in order, 0.09, 0.06 and 0.04 ms.
GROUP = 8

SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("png", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("boxes", pa.list_(pa.float32())),  # 5 per crystal
        ("points", pa.list_(pa.float32())),  # 2 per corner
        ("corners", pa.list_(pa.int32())),
        ("depth", pa.list_(pa.float32())),
        ("model", pa.list_(pa.int32())),
        ("refractive_index", pa.list_(pa.float32())),
        ("targets", pa.list_(pa.float32())),  # 4 per crystal
        ("scene", pa.binary()),  # zlib
        ("seconds", pa.float64()),
    ]
)
SIZE_COLUMNS = ("image_id", "width", "height")
LABEL_COLUMNS = (*SIZE_COLUMNS, "boxes", "points", "corners", "depth", "model", "refractive_index", "targets")
IMAGE_COLUMNS = (*LABEL_COLUMNS, "png")
ALL_COLUMNS = tuple(SCHEMA.names)

_LISTS = [f.name for f in SCHEMA if pa.types.is_list(f.type)]
_LEAVES = {name: f"{name}.list.element" if name in _LISTS else name for name in SCHEMA.names}
_COMPRESSION = {leaf: "none" if name in ("png", "scene") else "zstd" for name, leaf in _LEAVES.items()}
_ENCODING = {_LEAVES[n]: "BYTE_STREAM_SPLIT" for n in _LISTS if SCHEMA.field(n).type.value_type == pa.float32()}


def to_table(records: Sequence[Record]) -> pa.Table:
    """Checked records as rows."""

    def ragged(name: str, parts: list[NDArray[Any]]) -> pa.Array:
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64).astype(np.int32)
        kind = SCHEMA.field(name).type.value_type
        return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(parts), kind))

    columns: dict[str, Any] = {
        "png": [r.png for r in records],
        "points": ragged("points", [np.concatenate([np.zeros(0, np.float32), *map(np.ravel, r.polygons)]) for r in records]),
        "corners": ragged("corners", [np.array([len(p) for p in r.polygons], np.int32) for r in records]),
        "scene": [zlib.compress(r.scene.encode()) for r in records],
    }
    for name in ("image_id", "width", "height", "seconds"):
        columns[name] = [getattr(r, name) for r in records]
    for name in ("boxes", "depth", "model", "refractive_index", "targets"):
        columns[name] = ragged(name, [getattr(r, name).ravel() for r in records])
    return pa.table({name: columns[name] for name in SCHEMA.names}, SCHEMA)


def write(path: Path, records: Iterable[Record], metadata: dict[str, Any]) -> None:
    """Write checked records as one file, GROUP of them in memory at a time. Raises OutputError; nothing half-written stays."""
    schema = SCHEMA.with_metadata({KEY: json.dumps({"format": FORMAT, **metadata}).encode()})
    stream = iter(records)
    digests: list[int] = []
    with (
        written(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=_COMPRESSION,
            use_dictionary=False,
            column_encoding=_ENCODING,
            write_page_checksum=True,
            write_statistics=["image_id"],
        ) as writer,
    ):
        while group := list(islice(stream, GROUP)):
            writer.write_table(to_table(group).replace_schema_metadata(schema.metadata), row_group_size=GROUP)
            digests += map(row_digest, group)
        writer.add_key_value_metadata({ROWS: json.dumps(digests)})


class Rows:
    """Some images of a file as NumPy arrays; asking for a column that was not read raises KeyError."""

    def __init__(self, table: pa.Table):
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        self._numbers = {n: _numpy(c) for n, c in columns.items() if n in ("image_id", "width", "height", "seconds")}
        self._bytes = {n: c for n, c in columns.items() if n in ("png", "scene")}
        self._lists = {n: (_numpy(c.values), _numpy(c.offsets)) for n, c in columns.items() if n in _LISTS}
        self.ids: NDArray[np.int64] = self._numbers["image_id"]

    def __len__(self) -> int:
        return len(self.ids)

    def png(self, i: int) -> bytes:
        return self._bytes["png"][i].as_py()

    def size(self, i: int) -> tuple[int, int]:
        """(width, height) in px."""
        return int(self._numbers["width"][i]), int(self._numbers["height"][i])

    def labels(self, i: int) -> Labels:
        """Arrays of its own. Raises DataError where the columns are not whole rows of numbers."""
        try:
            return Labels(
                int(self.ids[i]),
                *self.size(i),
                self._list("boxes", i).reshape(-1, 5),
                self._list("points", i).reshape(-1, 2),
                self._list("corners", i),
                self._list("depth", i),
                self._list("model", i),
                self._list("refractive_index", i),
                self._list("targets", i).reshape(-1, 4),
            )
        except ValueError as e:
            raise DataError(f"the labels of image {self.ids[i]} are not whole: {e}") from e

    def record(self, i: int) -> Record:
        """Raises DataError."""
        a = self.labels(i)
        try:
            scene = zlib.decompress(self._bytes["scene"][i].as_py()).decode()
        except (zlib.error, UnicodeDecodeError) as e:
            raise DataError(f"the scene of image {a.image_id} cannot be decompressed: {e}") from e
        return Record(
            a.image_id,
            self.png(i),
            a.width,
            a.height,
            a.boxes,
            a.polygons,
            a.depth,
            a.model,
            a.refractive_index,
            a.targets,
            scene,
            float(self._numbers["seconds"][i]),
        )

    def _list(self, name: str, i: int) -> NDArray[Any]:
        values, offsets = self._lists[name]
        return values[offsets[i] : offsets[i + 1]].copy()


def _numpy(column: pa.Array) -> NDArray[Any]:
    return column.to_numpy(zero_copy_only=False)


class ShardFile:
    """A Parquet file of records, open for reading.

    Raises DataError when it is missing, no Parquet file, of another format, or damaged: every page read is compared with its
    checksum.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path} is missing; run the same render command again to make it")
        try:
            self._file = pq.ParquetFile(self.path, page_checksum_verification=True, memory_map=False, pre_buffer=False)
            schema, metadata = self._file.schema_arrow, self._file.metadata.metadata or {}
            found, digests = metadata.get(KEY), metadata.get(ROWS)
        except _BROKEN as e:
            raise DataError(_damaged(self.path, e)) from e
        try:
            self.metadata: dict[str, Any] = dict(json.loads(found or b"{}"))
            self.digests: list[int] | None = None if digests is None else list(json.loads(digests))
        except (ValueError, TypeError) as e:
            raise DataError(_damaged(self.path, e)) from e
        if self.metadata.get("format") != FORMAT:
            raise DataError(
                f"{self.path} has the format {self.metadata.get('format')!r}, expected {FORMAT!r}; "
                "read it with the version that wrote it"
            )
        if not schema.equals(SCHEMA):
            raise DataError(f"{self.path} has other columns than {FORMAT}; {_REPAIR}")
        self.images: int = self._file.metadata.num_rows
        self._groups = [self._file.metadata.row_group(g).num_rows for g in range(self._file.metadata.num_row_groups)]
        if any(n != GROUP for n in self._groups[:-1]):
            raise DataError(f"{self.path} is not divided into groups of {GROUP} images; {_REPAIR}")
        self._last: tuple[int, tuple[str, ...], Rows] | None = None

    def close(self) -> None:
        self._file.close()

    def rows(self, group: int, columns: tuple[str, ...]) -> Rows:
        """The images GROUP * group and after; the last group read is kept."""
        if self._last is None or self._last[:2] != (group, columns):
            try:
                # threads of the reader would neither survive a fork nor speed up one small group
                table = self._file.read_row_group(group, columns=list(columns), use_threads=False)
                self._last = (group, columns, Rows(table))
            except _BROKEN as e:
                raise DataError(_damaged(self.path, e)) from e
        return self._last[2]

    def groups(self, columns: tuple[str, ...]) -> Iterator[Rows]:
        for group in range(len(self._groups)):
            yield self.rows(group, columns)


_BROKEN = (OSError, pa.ArrowException, ValueError, MemoryError, OverflowError)
_REPAIR = "delete it and run the same render command again"


def _damaged(path: Path, reason: object) -> str:
    return f"{path} is damaged ({reason}); {_REPAIR}"
