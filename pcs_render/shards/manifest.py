"""The manifest of a data set: what it is, and which shards are finished."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pcs_augment.files import written

from ..errors import DataError, InputError

FORMAT = "pcs-dataset/1"
NAME = "manifest.json"
VALIDATION = 0.03  # about the published 10,000 of 332,558
LEAST = 10  # a set of so many images with a part for validation has at least one there
MOST_FIXED = 50_000_000  # images of a set whose ids for validation are listed in the manifest
_SINCE = ("validation_ids", "history")  # manifests written before these were known lack them

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class ShardSummary:
    """A finished shard, as the manifest lists it.

    Attributes:
        index: its number, from 0.
        images: how many it holds.
        crystals: how many are labelled in them.
        missing: ids of its range that were skipped.
        seconds: render time of its images.
        bytes: of its file.
        sha256: checksum of its file.

    Examples:
        >>> summary = shards.Manifest.load("data").shards[0]
        >>> summary.file, summary.images, summary.seconds
        ('00000000.parquet', 3, 6.0)
    """

    index: int
    images: int
    crystals: int
    missing: tuple[int, ...]
    seconds: float
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """Its name in the folder ``shards``."""
        return f"{self.index:08d}.parquet"


@dataclass(frozen=True)
class Manifest:
    """A data set: images ``first`` to ``first + count - 1``, each a function of (seed, id, settings, profile).

    Attributes:
        seed: 0 .. 2^63 - 1.
        count: images when it is complete, 1 .. 10^10.
        first: id of the first image.
        shard_size: images of a shard, 1 .. 10^6.
        settings: the statistical model, as ``Settings.to_dict`` writes it.
        profile: how it is rendered.
        versions: of what began it; every shard holds those that made its images.
        created: YYYY-MM-DD, UTC.
        validation: part (0.03) or number (10000) of images for validation.
        validation_ids: fixed when the set is begun; None: as ``validation`` says.
        history: versions of every run that made images, in order, each once.
        shards: those that are finished, by number.

    Raises:
        InputError: a number is out of range.

    Examples:
        >>> manifest = shards.Manifest.load("data")
        >>> manifest.images, manifest.complete, manifest.seed
        (3, True, 7)
    """

    seed: int
    count: int
    first: int
    shard_size: int
    settings: dict[str, Any]
    profile: dict[str, Any]
    versions: dict[str, str]
    created: str
    validation: int | float = VALIDATION
    validation_ids: tuple[int, ...] | None = None
    history: tuple[dict[str, str], ...] = ()
    shards: dict[int, ShardSummary] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("seed", 0, 2**63 - 1),
            ("count", 1, 10**10),
            ("first", 0, 10**10),
            ("shard_size", 1, 10**6),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InputError(f"{name} is {value!r}; it takes a whole number from {low} to {high}")
        if self.first + self.count > 10**10:
            raise InputError(f"the last id would be {self.first + self.count - 1}; ids have at most ten digits")
        check_validation(self.validation)

    @property
    def settings_hash(self) -> str:
        return digest(self.settings)

    @property
    def profile_hash(self) -> str:
        return digest(self.profile)

    @property
    def shard_count(self) -> int:
        """How many shards there are when all are finished."""
        return -(-self.count // self.shard_size)

    @property
    def images(self) -> int:
        """Images in finished shards."""
        return sum(s.images for s in self.shards.values())

    @property
    def crystals(self) -> int:
        return sum(s.crystals for s in self.shards.values())

    @property
    def complete(self) -> bool:
        return len(self.shards) == self.shard_count

    def ids(self, shard: int) -> range:
        """List the ids of the shard of this number, those skipped included."""
        begin = self.first + shard * self.shard_size
        return range(begin, min(begin + self.shard_size, self.first + self.count))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "shards"}
        return {
            "format": FORMAT,
            **values,
            "settings_hash": self.settings_hash,
            "profile_hash": self.profile_hash,
            "complete": self.complete,
            "images": self.images,
            "crystals": self.crystals,
            "shards": [{"file": s.file, **dataclasses.asdict(s)} for _, s in sorted(self.shards.items())],
        }

    def save(self, folder: Path) -> None:
        """Write the manifest into ``folder``. Raises OutputError."""
        with written(folder / NAME) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> Manifest:
        """Read the manifest of a folder. Raises DataError for a ``folder`` without a whole one of this format."""
        path = Path(folder) / NAME
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError as e:
            raise DataError(f"{folder} is not a data set: it has no {NAME}; name a folder that pcs-render render wrote") from e
        except OSError as e:
            raise DataError(f"cannot read {path}: {e.strerror}") from e
        except ValueError as e:
            raise DataError(_garbled(path, e)) from e
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise DataError(f"{path} has the format {found!r}, expected {FORMAT!r}; read it with the version that wrote it")
        try:
            shards = [_summary(s) for s in content["shards"]]
            names = [f.name for f in dataclasses.fields(Manifest) if f.name != "shards"]
            values = {n: content[n] for n in names if n in content or n not in _SINCE}
            if values.get("validation_ids") is not None:
                values["validation_ids"] = tuple(sorted(map(operator.index, values["validation_ids"])))
            values["history"] = tuple(dict(v) for v in values.get("history", ()))
            manifest = Manifest(**values, shards={s.index: s for s in shards})
            if any(type(d) is not dict for d in (manifest.settings, manifest.profile, manifest.versions)):
                raise ValueError("settings, profile and versions must be objects")
            datetime.date.fromisoformat(manifest.created)
            if len(manifest.shards) != len(shards) or any(not 0 <= s.index < manifest.shard_count for s in shards):
                raise ValueError("a shard is listed twice or does not belong to it")
            for name in ("settings_hash", "profile_hash", "images", "crystals"):
                if content[name] != getattr(manifest, name):
                    raise ValueError(f"{name} is {content[name]!r}, but the rest of it gives {getattr(manifest, name)!r}")
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(_garbled(path, e)) from e
        return manifest


def digest(values: Mapping[str, Any]) -> str:
    """Sixteen hex digits of a JSON object, whatever the order of its keys; ``Settings.hash`` is that of its settings."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def check_validation(value: int | float) -> None:
    """Raises InputError."""
    good = (type(value) is int and value >= 0) or (type(value) is float and 0 <= value < 1)
    if not good:
        raise InputError(f"validation is {value!r}; it takes a number of images (10000) or a part of them in [0, 1) (0.03)")


def split_mask(
    ids: NDArray[np.int64], split: Split | None, manifest: Manifest, validation: int | float | None
) -> NDArray[np.bool_]:
    """Which of the ids belong to a split; None: all. validation: as in the manifest unless given. Raises InputError.

    The manifest lists the ids that were chosen for validation when the data set was begun. Where it does not, or another
    ``validation`` is given: every id has a pseudorandom key; a part p takes the images whose key lies in the lowest p of all
    keys, at least one of ``LEAST`` images; a number n takes the n ids of the data set with the lowest keys.
    """
    if split is not None and split not in get_args(Split):
        raise InputError(f"split is {split!r}; allowed are {', '.join(get_args(Split))}, or None for all images")
    fixed = manifest.validation_ids if validation is None else None
    validation = manifest.validation if validation is None else validation
    check_validation(validation)
    if split is None:
        return np.ones(len(ids), bool)
    if fixed is not None:
        chosen = np.isin(ids, np.array(fixed, np.int64))
    elif isinstance(validation, float):
        chosen = _keys(ids, manifest.seed) < np.uint64(int(validation * 2**64))
        if 0 < validation * manifest.count < MOST_FIXED and manifest.count >= LEAST:
            every = np.arange(manifest.first, manifest.first + manifest.count)
            chosen |= np.isin(ids, _part(every, manifest.seed, validation))
    elif validation >= manifest.count:
        raise InputError(f"validation is {validation}, but the data set has {manifest.count} images; take fewer")
    elif validation == 0:
        chosen = np.zeros(len(ids), bool)
    else:
        keys = _keys(np.arange(manifest.first, manifest.first + manifest.count), manifest.seed)
        chosen = _keys(ids, manifest.seed) <= np.partition(keys, validation - 1)[validation - 1]
    return chosen if split == "validation" else ~chosen


def _part(ids: NDArray[np.int64], seed: int, part: float) -> NDArray[np.int64]:
    """The ids whose keys lie in the lowest part; where there is none, the id with the lowest key."""
    keys = _keys(ids, seed)
    chosen = ids[keys < np.uint64(int(part * 2**64))]
    return chosen if len(chosen) else ids[[int(np.argmin(keys))]]


def fixed_validation(manifest: Manifest, old: Manifest | None) -> tuple[int, ...] | None:
    """The ids for validation of a data set that is begun, or extended from ``old``.

    An image that was chosen stays chosen unless fewer are asked for, and of the others only new ones join, unless another part
    or a larger number is asked for. None where there are fewer images than asked for, or too many to list.
    """
    m, wanted = manifest, manifest.validation
    if m.count > MOST_FIXED or (type(wanted) is int and wanted >= m.count):
        return None
    ids = np.arange(m.first, m.first + m.count)
    chosen = np.zeros(m.count, bool)
    if old is not None and not (type(old.validation) is int and old.validation >= old.count):
        chosen[: old.count] = split_mask(ids[: old.count], "validation", old, None)
    keys = _keys(ids, m.seed)
    if type(wanted) is int:
        chosen[np.lexsort((keys, ~chosen))[wanted:]] = False
        chosen[np.lexsort((keys, ~chosen))[:wanted]] = True
    elif wanted > 0:
        same = old is not None and old.validation == wanted
        begin = old.count if old is not None and same else 0
        chosen[begin:] = keys[begin:] < np.uint64(int(wanted * 2**64))
        if not chosen.any() and m.count >= LEAST:
            begin = begin if begin < m.count else 0
            chosen[begin + int(np.argmin(keys[begin:]))] = True
    else:
        chosen[:] = False
    return tuple(ids[chosen].tolist())


def _keys(ids: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """64 mixed bits per id: two rounds of the SplitMix64 finaliser, which is one-to-one, so no two ids of a seed tie."""
    x = ids.astype(np.uint64) + np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64)
    for _ in range(2):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return x


def _summary(entry: Mapping[str, Any]) -> ShardSummary:
    values = {f.name: entry[f.name] for f in dataclasses.fields(ShardSummary)}
    for name in ("index", "images", "crystals", "bytes"):
        if type(values[name]) is not int or values[name] < 0:
            raise ValueError(f"{name} of a shard is {values[name]!r}")
    return ShardSummary(**{**values, "missing": tuple(map(int, values["missing"])), "sha256": str(values["sha256"])})


def _garbled(path: Path, reason: object) -> str:
    return (
        f"{path} is damaged ({reason}); delete it and run the same render command again: "
        "finished shards are checked and taken over"
    )
