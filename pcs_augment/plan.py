"""The Plan: every number drawn for a batch, as plain tables on the host.

A step's share is a few named tables; a table is a dict of equally long NumPy columns, one of them ``sample`` (which image of
the batch a row belongs to, ascending). That one rule is all that slicing, concatenating and saving need. Pixel noise and
lattice gradients are not in it: their 64-bit stream keys are.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, InputError
from .files import written

Table = dict[str, NDArray]
Tables = dict[str, Table]

_FORMAT = 1
_CORRUPT = (OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Plan:
    """What a pipeline will do to one batch; ``draw`` makes it, ``apply`` takes it.

    Its length is the number of samples; iterating gives the plan of each. ``save`` makes small files that are equal for equal
    plans; ``torch.save`` and ``torch.load`` work too.

    Attributes:
        shape: (B, C, H, W) it was drawn for.
        seed: of the pipeline.
        epoch: it was drawn for.
        index: (B,) keys of the samples.
        objects: (B,) number of objects per image, -1 where it was drawn without targets.
        settings: the steps it is for, each with its arguments.
        steps: named tables of each step; a table is a dict of equally long columns, one of them ``sample``.
        chances: the chance ``p`` of every step when it was drawn; not kept in files.

    Examples:
        >>> plan = pa.Pipeline([pa.GaussianNoise(), pa.Blur()]).draw(images.shape, targets)
        >>> plan.names, len(plan), plan.objects
        (('GaussianNoise', 'Blur'), 4, array([ 37,  34, 100,  25]))
        >>> sorted(plan.steps[1]["images"])
        ['kernel', 'sample']
    """

    shape: tuple[int, int, int, int]
    seed: int
    epoch: int
    index: NDArray[np.int64]
    objects: NDArray[np.int64]
    settings: tuple[str, ...]
    steps: tuple[Tables, ...]
    chances: tuple[float, ...] = ()

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        # arrays as bytes, which torch.load takes without trusting NumPy's functions too
        steps = [{name: {c: _raw(v) for c, v in t.items()} for name, t in tables.items()} for tables in self.steps]
        arrays = {"index": _raw(self.index), "objects": _raw(self.objects)}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*arrays, "steps")}
        return _unpickled, (type(self), rest, arrays, steps)

    def __iter__(self) -> Iterator[Plan]:
        return (self.slice(i, i + 1) for i in range(len(self)))

    def slice(self, start: int, stop: int) -> Plan:
        """Cut out the plan of some samples.

        Args:
            start: the first sample.
            stop: the one past the last.

        Returns:
            Their plan, which numbers them from 0.

        Raises:
            InputError: they are not inside this batch.

        Examples:
            >>> len(pa.Flip().draw(images.shape).slice(1, 3))
            2
        """
        if not 0 <= start < stop <= len(self):
            raise InputError(f"slice [{start}, {stop}) is not inside this plan of {len(self)} samples")

        def cut(table: Table) -> Table:
            a, b = np.searchsorted(table["sample"], (start, stop))
            return {k: v[a:b] - start if k == "sample" else v[a:b] for k, v in table.items()}

        steps = tuple({name: cut(t) for name, t in tables.items()} for tables in self.steps)
        return replace(
            self,
            shape=(stop - start, *self.shape[1:]),
            index=self.index[start:stop],
            objects=self.objects[start:stop],
            steps=steps,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of the steps."""
        return tuple(s.partition("(")[0] for s in self.settings)

    @staticmethod
    def concatenate(plans: Sequence[Plan]) -> Plan:
        """Join plans to one for the samples of all.

        Args:
            plans: at least one; of one pipeline, epoch and image size.

        Returns:
            The plan of their samples, one after the other.

        Raises:
            InputError: none is given, or they do not belong together.

        Examples:
            >>> plan = pa.Flip().draw(images.shape)
            >>> len(pa.Plan.concatenate(list(plan)))
            4
        """
        if not plans:
            raise InputError("concatenate needs at least one plan, got none")
        first = plans[0]
        for p in plans[1:]:
            if (p.shape[1:], p.settings, p.seed, p.epoch) != (first.shape[1:], first.settings, first.seed, first.epoch):
                raise InputError(
                    "plans to concatenate must agree in image size, steps, seed and epoch; got "
                    f"{first.shape[1:]}, {first.settings}, {first.seed}, {first.epoch} and "
                    f"{p.shape[1:]}, {p.settings}, {p.seed}, {p.epoch}"
                )
        starts = np.cumsum([0] + [len(p) for p in plans])

        def join(step: int, name: str) -> Table:
            parts = [p.steps[step][name] for p in plans]
            return {
                column: np.concatenate([t[column] + s if column == "sample" else t[column] for t, s in zip(parts, starts)])
                for column in parts[0]
            }

        steps = tuple({name: join(s, name) for name in tables} for s, tables in enumerate(first.steps))
        return replace(
            first,
            shape=(int(starts[-1]), *first.shape[1:]),
            index=np.concatenate([p.index for p in plans]),
            objects=np.concatenate([p.objects for p in plans]),
            steps=steps,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one ``.npz``; it appears whole or not at all, and equal plans are equal files.

        Args:
            path: of the file.

        Raises:
            OutputError: it cannot be written.

        Examples:
            >>> pa.Flip().draw(images.shape).save("plan.npz")
        """
        arrays: dict[str, NDArray] = {"index": self.index, "objects": self.objects}
        for s, tables in enumerate(self.steps):
            for name, table in tables.items():
                for column, values in table.items():
                    arrays[f"{s}/{name}/{column}"] = values
        head = {"format": _FORMAT, "shape": self.shape, "seed": self.seed, "epoch": self.epoch, "settings": self.settings}
        arrays["head"] = np.array(json.dumps(head))
        with written(path) as temporary, open(temporary, "wb") as file:
            _savez_reproducibly(file, arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Plan:
        """Read what ``save`` wrote.

        Args:
            path: of the file.

        Returns:
            The plan, without ``chances``.

        Raises:
            DataError: the file is missing or no plan.

        Examples:
            >>> pa.Flip().draw(images.shape, epoch=7).save("plan.npz")
            >>> pa.Plan.load("plan.npz").epoch
            7
        """
        try:
            with np.load(Path(path), allow_pickle=False) as data:
                head = json.loads(str(data["head"]))
                if head["format"] != _FORMAT:
                    raise DataError(f"{path}: plan format {head['format']} is not {_FORMAT}; draw the plan again")
                steps: list[Tables] = [{} for _ in head["settings"]]
                for key in data.files:
                    if key.count("/") == 2:
                        s, name, column = key.split("/")
                        steps[int(s)].setdefault(name, {})[column] = data[key]
                b, c, h, w = head["shape"]
                return Plan(
                    (b, c, h, w),
                    head["seed"],
                    head["epoch"],
                    data["index"],
                    data["objects"],
                    tuple(head["settings"]),
                    tuple(steps),
                )
        except DataError:
            raise
        except FileNotFoundError as e:
            raise DataError(f"{path}: no such plan file") from e
        except _CORRUPT as e:
            raise DataError(f"{path}: not a plan written by Plan.save ({e})") from e


def _raw(values: NDArray) -> tuple[str, tuple[int, ...], bytes | None]:
    return values.dtype.str, values.shape, values.tobytes() or None  # torch.load knows no empty bytes


def _array(kind: str, shape: tuple[int, ...], content: bytes | None) -> NDArray:
    return np.frombuffer(content or b"", kind).reshape(shape).copy()


def _unpickled(kind: type[Plan], rest: dict[str, Any], arrays: dict[str, Any], steps: Sequence[Any]) -> Plan:
    """The inverse of ``Plan.__reduce__``."""
    tables = tuple({name: {c: _array(*v) for c, v in t.items()} for name, t in step.items()} for step in steps)
    return kind(**rest, index=_array(*arrays["index"]), objects=_array(*arrays["objects"]), steps=tables)


LOADABLE = (Plan, _unpickled)  # what torch.load may call to make a plan


def _savez_reproducibly(file, arrays: dict[str, NDArray]) -> None:
    """Like np.savez_compressed, but with a fixed time stamp, so that equal plans are equal files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)
