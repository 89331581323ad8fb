"""The targets of a batch as one tensor per key, where there were one per image or even one per object.

Thousands of outlines are gathered, moved, sent to a device or to another process at the price of a few tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree

from .transfer import to_device

AnyTarget = dict[str, Any]  # labels of one image, with whatever keys: users see ``pcs_augment.Target``
AnyTargets = list[AnyTarget]


class Outlines(list[Tensor]):
    """A list of (K, 2) tensors that remembers, until it is changed, the one tensor that they are views of.

    So it travels between processes as one tensor, and a batch is drawn quickly. Outlines may be changed in place, replaced,
    added and removed as in any list; only another ``data`` or shape given to an outline in the list goes unnoticed.
    """

    whole: tuple[Tensor, NDArray[np.int64]] | None = None  # (V, 2) points, (N,) corners of each outline

    def __init__(self, outlines: Iterable[Tensor] = ()) -> None:
        super().__init__(outlines)
        self.whole = getattr(outlines, "whole", None)

    @staticmethod
    def split(points: Tensor, corners: NDArray[np.int64]) -> Outlines:
        """(V, 2) points as outlines with these (N,) numbers of corners."""
        out = Outlines(points.split(corners.tolist()))
        out.whole = points, corners
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        column = _column([0], [self])
        if column is None or column.corners is None:  # something else was put in: one by one
            return Outlines, (list(self),)
        return _split, (column.values, column.corners.tolist())


def _split(points: Tensor, corners: list[int]) -> Outlines:
    return Outlines.split(points, np.array(corners, dtype=np.int64))


def _forgetful(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @functools.wraps(method)
    def change(self: Outlines, *args: Any, **options: Any) -> Any:
        self.whole = None
        return method(self, *args, **options)

    return change


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"):
    setattr(Outlines, _name, _forgetful(_name))
for _name in ("__setitem__", "__delitem__", "__iadd__", "__imul__"):
    setattr(Outlines, _name, _forgetful(_name))


def joined_outlines(outlines: Sequence[Any]) -> tuple[Tensor, NDArray[np.int64]]:
    """The points of outlines and how many each has; TypeError or RuntimeError where they are no tensors of one form."""
    whole = getattr(outlines, "whole", None)
    if whole is not None:
        return whole
    if not len(outlines):
        return torch.zeros(0, 2), np.zeros(0, np.int64)
    # thousands of small tensors: this is the quickest way to learn their lengths
    sizes = np.fromiter(map(Tensor.numel, outlines), np.int64, len(outlines))
    points = torch.cat(tuple(outlines))
    return points, sizes // max(1, points[:1].numel())


class Column(NamedTuple):
    """What the targets of a batch have under one key: tensors, or lists of tensors, joined along their first axis."""

    holders: list[int]  # the targets that have the key
    values: Tensor
    sizes: list[int]  # rows, or outlines, of each holder
    corners: NDArray[np.int64] | None  # rows of each outline, for lists

    def __reduce__(self) -> tuple[Any, ...]:
        return _column_of, (self.holders, self.values, self.sizes, None if self.corners is None else self.corners.tolist())

    def rows(self) -> list[int]:
        """Rows of ``values`` of each holder."""
        if self.corners is None:
            return self.sizes
        return np.diff(np.append(0, np.cumsum(self.corners))[np.cumsum([0, *self.sizes])]).tolist()

    def picked(self, keep: NDArray[np.bool_]) -> Column:
        """What belongs to the entries of the mask."""
        sizes = np.diff(np.append(0, np.cumsum(keep))[np.cumsum([0, *self.sizes])]).tolist()
        corners = None if self.corners is None else self.corners[keep]
        rows = keep if self.corners is None else np.repeat(keep, self.corners)
        if self.values.device.type == "cpu" and self.values.dtype != torch.bfloat16:
            # NumPy, as waking torch's threads takes longer than the work
            values = torch.from_numpy(self.values.detach().numpy().compress(rows, 0))
        else:
            index = to_device(np.flatnonzero(rows), self.values.device)
            values = self.values.index_select(0, index)
        return self._replace(values=values, sizes=sizes, corners=corners)

    def split(self) -> list[Any]:
        """What each holder has."""
        parts = self.values.split(self.rows())
        if self.corners is None:
            return list(parts)
        outlines, out, first = self.values.split(self.corners.tolist()), [], 0
        for points, n in zip(parts, self.sizes):
            mine = Outlines(outlines[first : first + n])
            mine.whole = points, self.corners[first : first + n]
            out.append(mine)
            first += n
        return out


def _column_of(holders: list[int], values: Tensor, sizes: list[int], corners: list[int] | None) -> Column:
    return Column(holders, values, sizes, None if corners is None else np.array(corners, dtype=np.int64))


def join(targets: Sequence[AnyTarget], keys: Iterable[str] | None = None) -> tuple[AnyTargets, dict[str, Column]]:
    """Columns of what can be joined, and the targets with None in its place; keys: None for all."""
    rest = [dict(t) for t in targets]
    columns = {}
    for key in dict.fromkeys(k for t in targets for k in t) if keys is None else keys:
        holders = [i for i, t in enumerate(targets) if t.get(key) is not None]
        column = _column(holders, [targets[i][key] for i in holders])
        if column is not None:
            columns[key] = column
            for i in holders:
                rest[i][key] = None
    return rest, columns


def _column(holders: list[int], values: list[Any]) -> Column | None:
    """None where splitting would not give back what was joined: other things than tensors, or several types or shapes."""
    try:
        if all(isinstance(v, Tensor) for v in values):
            if len({v.dtype for v in values}) == 1 and len({v.shape[1:] for v in values}) == 1:
                return Column(holders, torch.cat(values), [v.shape[0] for v in values], None)
        elif all(isinstance(v, list) for v in values) and len({p.dtype for v in values for p in _tensors(v)}) == 1:
            points, corners = zip(*(joined_outlines(v) for v in values if _tensors(v)))
            return Column(holders, torch.cat(points), [len(v) for v in values], np.concatenate(corners))
    except (AttributeError, TypeError, RuntimeError):
        pass
    return None


def _tensors(outlines: list[Any]) -> Sequence[Any]:
    """Tensors that stand for all outlines of a list."""
    whole = getattr(outlines, "whole", None)
    return outlines if whole is None else whole[:1]


def gathered(target: AnyTarget) -> AnyTarget:
    """The target with its list of outlines as views of one tensor, where they can be."""
    outlines = target.get("polygons") if isinstance(target, dict) else None
    if not isinstance(outlines, list) or getattr(outlines, "whole", None) is not None:
        return target
    column = _column([0], [outlines])
    return target if column is None else {**target, "polygons": column.split()[0]}


class Joined(NamedTuple):
    """The targets of a batch by key: what could be joined, all else with None in its place, and how many objects each has."""

    rest: AnyTargets
    columns: dict[str, Column]
    counts: list[int]

    @staticmethod
    def of(targets: Sequence[AnyTarget]) -> Joined:
        return Joined(*join(targets), [len(t["boxes"]) for t in targets])


class Late:
    """What the targets of a batch have under one key, by their numbers, made when the first one is asked for."""

    def __init__(self, make: Callable[[], dict[int, Any]]) -> None:
        self.make = make

    @functools.cached_property
    def values(self) -> dict[int, Any]:
        return self.make()


class LateTarget(AnyTarget):
    """A dict whose values are made when somebody asks for them: those of a batch, thousands of views, take their time."""

    _waiting: dict[str, Late]
    _number: int  # of the target in its batch

    @staticmethod
    def of(target: AnyTarget, waiting: dict[str, Late], number: int) -> LateTarget:
        late = LateTarget(target)
        late._waiting, late._number = waiting, number
        return late

    def _settle(self, key: str) -> None:
        value = self._waiting.pop(key).values[self._number]
        super().__setitem__(key, Outlines.split(*value) if type(value) is tuple else value)

    def __getitem__(self, key: str) -> Any:
        if key in self._waiting:
            self._settle(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        if key in self._waiting:
            self._settle(key)
        return super().get(key, default)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _complete(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    @functools.wraps(method)
    def look(self: LateTarget, *args: Any, **options: Any) -> Any:
        for key in list(self._waiting):
            self._settle(key)
        return method(self, *args, **options)

    return look


_METHODS = "clear copy items pop popitem setdefault update values"
_OPERATORS = "delitem eq ior iter ne or repr reversed ror setitem"
for _name in (*_METHODS.split(), *(f"__{n}__" for n in _OPERATORS.split())):
    setattr(LateTarget, _name, _complete(_name))


def fill(rest: AnyTargets, columns: dict[str, Column]) -> AnyTargets:
    """The inverse of ``join``."""
    for key, column in columns.items():
        for i, value in zip(column.holders, column.split()):
            rest[i][key] = value
    return rest


class BatchTargets(list[AnyTarget]):
    """The targets of a batch: a list of dicts that travels between processes as one tensor per key."""

    def __reduce__(self) -> tuple[Any, ...]:
        if not all(isinstance(t, dict) for t in self):
            return BatchTargets, (list(self),)  # whoever reads it explains what is wrong
        return _received, join(self)

    def pin_memory(self) -> BatchTargets:
        """Itself: what goes to a GPU is pinned in one piece when it is sent."""
        return self


def _received(rest: AnyTargets, columns: dict[str, Column]) -> BatchTargets:
    return BatchTargets(fill(rest, columns))


# torch.load makes batches that were saved; nothing here runs code of a file's
torch.serialization.add_safe_globals([BatchTargets, Outlines, _column_of, _received, _split, dict])
# torch.utils._pytree.tree_map and what is built on it reach the tensors of a batch
_pytree.register_pytree_node(BatchTargets, lambda targets: (list(targets), None), lambda values, _: BatchTargets(values))
_pytree.register_pytree_node(Outlines, lambda outlines: (list(outlines), None), lambda values, _: Outlines(values))
_pytree.register_pytree_node(
    LateTarget, lambda target: (list(target.values()), list(target)), lambda values, keys: dict(zip(keys, values, strict=True))
)
