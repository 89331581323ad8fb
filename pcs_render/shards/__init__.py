"""The data set on disk: Parquet shards of pictures and labels, a manifest with checksums, readers for training.

    folder/manifest.json                     what it is, which shards are finished, their checksums
    folder/shards/00000000.parquet           up to ``shard_size`` images
    folder/shards/00000001.partial/*.parquet finished images of a shard that is not yet complete, one each
    folder/quarantine/0000000017.json        an image skipped, with the reason

Writing, checking and reading records need pyarrow and NumPy, pictures Pillow; only PcsShards and StreamingPcsShards need torch,
which is imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .check import Report, verify
from .data_set import DataSetPlan, Todo
from .manifest import Manifest, ShardSummary
from .reader import Reader
from .record import Labels, Record
from .writer import Writer

if TYPE_CHECKING:
    from .datasets import PcsShards, StreamingPcsShards

Plan = DataSetPlan  # its name up to version 0.3

__all__ = [
    "DataSetPlan",
    "Labels",
    "Manifest",
    "PcsShards",
    "Reader",
    "Record",
    "Report",
    "ShardSummary",
    "StreamingPcsShards",
    "Todo",
    "Writer",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in ("PcsShards", "StreamingPcsShards"):
        from . import datasets

        return getattr(datasets, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
