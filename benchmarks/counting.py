"""Operations on a CUDA device counted where there is none: what they launch, move and copy.

``Counting`` is a dispatch mode to be used inside a FakeTensorMode, whose tensors have shapes but no memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

aten = torch.ops.aten
# kernels of operations that launch more than one (a radix sort makes a pass for every 8 bits); of views and empty tensors none
LAUNCHES = {"aten::sort": 8, "aten::repeat_interleave": 2}
PICKING = {"aten::index_select", "aten::gather", "aten::take", "aten::index"}
SCATTERING = {"aten::scatter_add_", "aten::scatter_reduce_", "aten::index_add_"}


@dataclass
class Rates:
    """What is assumed of the device."""

    bandwidth: float  # bytes/s
    link: float  # bytes/s from the host
    atomics: float  # 1/s
    operations: float  # 1/s
    launch: float  # s of the host per launch or copy
    kernel: float  # s, the shortest kernel


@dataclass
class Cost:
    launches: float = 0
    copies: float = 0  # from the host to the device
    copied: float = 0  # bytes
    moved: float = 0  # bytes read and written on the device
    atomics: float = 0
    device: float = 0  # predicted s
    images: float = 0  # acted on
    floor: float = 0  # bytes
    operations: float = 0
    measured: float = 0  # s

    def add(self, other: Cost, share: float = 1.0) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + share * getattr(other, f.name))


class Counting(TorchDispatchMode):
    """Adds up what every operation on a CUDA tensor costs, under the name of the step that runs.

    Outside of steps the project's own operations count under their names, all else under ``rest``.
    """

    def __init__(self, rates: Rates, rest: str) -> None:
        super().__init__()
        self.rates, self.rest = rates, rest
        self.costs: dict[str, Cost] = defaultdict(Cost)
        self.running = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before, self.running = self.running, name
        yield
        self.running = before

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        made = [t for t in _tensors(out) if t.is_cuda]
        if made and not _is_view(func) and "empty" not in func._schema.name:
            own = str(func._schema.name) if func.namespace == "pcs_augment" else self.rest
            self.costs[self.running or own].add(self._cost(func, args, kwargs, made))
        return out

    def _cost(self, func: Any, args: tuple, kwargs: dict, made: list[Tensor]) -> Cost:
        name, rates = func._schema.name, self.rates
        given = list({id(t): t for t in _tensors((args, kwargs))}.values())
        host = sum(_bytes(t) for t in given if not t.is_cuda and t.ndim)
        if name in ("aten::_to_copy", "aten::copy_") and host:
            return Cost(copies=1, copied=host, device=max(host / rates.link, rates.kernel))
        if not any(t.numel() for t in made):
            return Cost()
        written = [t for a, t in zip(func._schema.arguments, args) if a.alias_info is not None and a.alias_info.is_write]
        new = sum(_bytes(t) for t in made if not any(t is g for g in given))
        atomics = 0
        if name in PICKING:
            rest = [t for t in given if t is not args[0]]
            moved = 2 * new + sum(map(_bytes, rest))
        elif name in SCATTERING or name == "aten::index_copy_":
            index, source = args[2], args[3]
            moved = _bytes(index) + (2 if name == "aten::index_copy_" else 3) * source.numel() * args[0].element_size()
            atomics = source.numel() if name in SCATTERING else 0
        else:
            moved = new + sum(map(_bytes, given)) + sum(map(_bytes, written))
            if name in ("aten::copy_", "aten::fill_", "aten::zero_"):
                moved -= _bytes(args[0])  # written only
        launches = LAUNCHES.get(name, 1)
        seconds = max(moved / rates.bandwidth, atomics / rates.atomics, launches * rates.kernel)
        return Cost(launches=launches, moved=moved, atomics=atomics, device=seconds)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for v in values:
            yield from _tensors(v)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _is_view(func: Any) -> bool:
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def _bytes(t: Tensor) -> int:
    """Of its distinct elements: an expanded axis costs nothing."""
    return int(np.prod([n for n, step in zip(t.shape, t.stride()) if step != 0])) * t.element_size() if t.numel() else 0


class Indexing(TorchFunctionMode):
    """Subscripts as plain operations; torch's own ask for the device of a fake tensor, which a build for CPUs lacks."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.__getitem__:
            return _subscript(*args)
        if func is Tensor.__setitem__:
            with torch._C._AutoDispatchBelowAutograd():
                view, value = _subscript(*args[:2]), args[2]
                return aten.copy_(view, value) if isinstance(value, Tensor) else aten.fill_(view, value)
        if func is Tensor.numpy:  # of a tensor on the host
            with _disable_current_modes():
                return func(*args)
        return func(*args, **(kwargs or {}))


def _subscript(x: Tensor, key: Any) -> Tensor:
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        named = sum(k is not None and k is not Ellipsis for k in keys)
        keys[at : at + 1] = [slice(None)] * (x.ndim - named)
    axis, indices = 0, []
    for k in keys:
        if k is None:
            x = x.unsqueeze(axis)
        elif isinstance(k, slice):
            if k != slice(None):
                x = aten.slice(x, axis, k.start, k.stop, k.step or 1)
        elif isinstance(k, Tensor):
            indices += [None] * (axis - len(indices)) + [k]
        else:
            x = x.select(axis, int(k))
            continue
        axis += 1
    return aten.index(x, indices) if indices else x
