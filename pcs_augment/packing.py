"""A batch's work on a GPU as one block of bytes and a list of calls, made where there is no GPU: in a loader's worker.

The worker runs the pipeline on tensors that have shapes but no memory. What would be copied to the device is laid end to end in
the block; what would be launched there, kernels of Triton and operations of torch, becomes a list. The training process copies
the block once and makes the calls: the same calls as ``apply`` makes, so the same bits.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from . import dispatch, rng, transfer
from . import targets as tg
from .plan import Plan
from .targets import AnyTarget, AnyTargets

_META = torch.device("meta")
_ALIGNED = 16  # bytes


class _Slot(NamedTuple):
    """A tensor of the device, by number."""

    number: int


class _Part(NamedTuple):
    """A tensor within the block: where it starts, in its own elements."""

    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    kind: torch.dtype


class _Device(NamedTuple):
    """Where the batch is."""


class Packed:
    """What ``apply`` does to a batch, up to the device. Travels between processes; ``pin_memory`` is the data loader's.

    like: shape and type of the images; block: the bytes that go to the device; targets: moved with the images, all objects.
    """

    def __init__(self, like: tuple[Any, ...], block: Tensor, program: bytes, targets: AnyTargets | None) -> None:
        self.like, self.block, self.program, self.targets = like, block, program, targets

    def pin_memory(self) -> Packed:
        return Packed(self.like, self.block.pin_memory(), self.program, self.targets)

    def fits(self, images: Tensor) -> bool:
        """Whether it was made for such images and their device runs every kernel."""
        return self.like == (tuple(images.shape), images.dtype) and dispatch.runs_triton(images.device)

    def run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """New images and which objects to keep, as ``Augmentation.apply`` has them; no synchronisation."""
        device = images.device
        parts, calls, used, results = pickle.loads(self.program)
        block = transfer.send(self.block, device)
        views = {kind: block.view(kind) for kind in {p.kind for _, p in parts}}
        slots: dict[int, Any] = {0: images}
        for number, p in parts:
            slots[number] = views[p.kind].as_strided(p.shape, p.stride, p.start)
        with torch.no_grad():
            for (name, given, named, made, places), dead in zip(calls, used):
                if places is None:
                    given = [_found(a, slots, device) for a in given]
                    named = {k: _found(v, slots, device) for k, v in named.items()}
                else:
                    for place, number in places:
                        given[place] = slots[number]
                if name[0] == "launch":
                    _kernel(*name[1:])(*given, **named)
                else:
                    out = _operation(*name[1:])(*given, **named)
                    slots.update(zip(made, out if isinstance(out, (tuple, list)) else (out,)))
                for number in dead:
                    del slots[number]
        image, keep = (slots[r] for r in results)
        return image, keep


@dataclass(frozen=True)
class PackedPlan(Plan):
    """A plan and its work on a GPU. What is sliced or concatenated of it has other shapes, which ``fits`` finds out."""

    packed: Packed | None = None

    def pin_memory(self) -> PackedPlan:
        return self if self.packed is None else replace(self, packed=self.packed.pin_memory())


def packed_plan(pipeline: Any, images: Tensor, targets: Sequence[AnyTarget] | None, plan: Plan) -> PackedPlan:
    """The plan with its work on a GPU beside it."""
    packed = pack(pipeline, images.shape, images.dtype, targets, plan)
    return PackedPlan(**{f.name: getattr(plan, f.name) for f in fields(plan)}, packed=packed)


def pack(
    pipeline: Any, shape: Sequence[int], dtype: torch.dtype, targets: Sequence[AnyTarget] | None, plan: Plan
) -> Packed | None:
    """The work of ``pipeline.apply`` for a plan; None where it cannot be known without pixels, or Triton is missing."""
    if dispatch.module("triton", "launch") is None:
        return None
    images = torch.empty(tuple(shape), dtype=dtype, device=_META)
    record = _Recording(images)
    try:
        with record.active(), record:
            out, keep, placed, matrix = pipeline._run(images, targets, plan)
        program = record.program((out, keep))
    except (NotImplementedError, RuntimeError, TypeError):  # a step of the user's that looks at pixels on the host
        return None
    moved = None if placed is None else tg.follow(placed, matrix)
    return Packed((tuple(shape), dtype), record.block(), program, moved)


class _Recording(TorchDispatchMode):
    """Writes down what happens to tensors without memory."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.kept: list[Tensor] = []  # so that no number of a tensor is used again
        self.numbers: dict[int, int] = {}
        self.chunks: list[NDArray] = []
        self.size = 0
        self.parts: list[tuple[int, _Part]] = []
        self.calls: list[tuple[Any, list[Any], dict[str, Any], list[int]]] = []
        self._number(images)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Copies and launches come here meanwhile."""
        transfer.recording = self
        try:
            yield
        finally:
            transfer.recording = None

    def copied(self, values: Tensor) -> Tensor:
        """A host tensor that goes to the device."""
        with _disable_current_modes():
            return self._copied(values.detach().contiguous())

    def _copied(self, plain: Tensor) -> Tensor:
        size = plain.element_size()
        part = _Part(self.size // size, tuple(plain.shape), plain.stride(), plain.dtype)
        self.chunks.append(plain.flatten().view(torch.uint8).numpy() if plain.numel() else np.zeros(0, np.uint8))
        self.size += -(-plain.numel() * size // _ALIGNED) * _ALIGNED
        made = torch.empty_like(plain, device=_META)
        self.parts.append((self._number(made), part))
        return made

    def shared(self, name: str) -> Tensor:
        """A table that is on the device already."""
        with _disable_current_modes():
            made = torch.empty_like(rng.device_table(name, torch.device("cpu")), device=_META)
        self._note(("table", name), (_META,), {}, [made])
        return made

    def launched(self, kernel: Any, programs: int, *args: Any, **options: Any) -> None:
        home = kernel.fn.__module__.rpartition(".")[2]
        self._note(("launch", home, kernel.fn.__name__), (programs, *args), options, [])

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        given = list(_tensors((args, kwargs)))
        away = torch.device(kwargs.get("device") or "cpu").type == "meta"
        if func.namespace == "pcs_augment":
            with self:
                return dispatch.for_gpu(func._schema.name.partition("::")[2])(*args, **kwargs)
        if not away and not any(t.is_meta for t in given):
            return func(*args, **kwargs)
        if func._schema.name == "aten::_to_copy" and away and not given[0].is_meta:
            return self.copied(given[0].to(kwargs.get("dtype") or given[0].dtype))
        out = func(*args, **kwargs)
        if func._schema.name == "aten::detach":  # of what a call has made; without gradients it is the same tensor
            self.numbers[id(out)] = self.numbers[id(given[0])]
            self.kept.append(out)
            return out
        self._note(("torch", func._schema.name, func._overloadname), args, kwargs, list(_tensors(out)))
        return out

    def _note(self, name: tuple[str, ...], args: Sequence[Any], options: dict[str, Any], made: list[Tensor]) -> None:
        written = [self._written(a) for a in args]
        self.calls.append((name, written, {k: self._written(v) for k, v in options.items()}, [self._number(t) for t in made]))

    def _written(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return _Slot(self.numbers[id(value)]) if value.is_meta else value.clone()
        if isinstance(value, (tuple, list)):
            return [self._written(v) for v in value]
        return _Device() if isinstance(value, torch.device) and value.type == "meta" else value

    def _number(self, tensor: Tensor) -> int:
        if id(tensor) not in self.numbers:
            self.kept.append(tensor)
            self.numbers[id(tensor)] = len(self.kept) - 1
        return self.numbers[id(tensor)]

    def program(self, results: Sequence[Tensor]) -> bytes:
        """Parts, calls, what is last used by each call, and the numbers of the results."""
        ends = [self.numbers[id(r)] for r in results]
        used, calls, dead = set(ends), [], []
        for name, args, options, made in reversed(self.calls):
            if name[0] == "torch" and not used.intersection(made) and not _changes(*name[1:]):
                continue  # whose result nobody needs
            mine = {*_slots([args, list(options.values())]), *made}
            calls.append((name, args, options, made, _places(args, options)))
            dead.append(sorted(mine - used))
            used |= mine
        return pickle.dumps((self.parts, calls[::-1], dead[::-1], ends), pickle.HIGHEST_PROTOCOL)

    def block(self) -> Tensor:
        out = torch.zeros(self.size, dtype=torch.uint8)
        whole, at = out.numpy(), 0
        for chunk in self.chunks:
            whole[at : at + len(chunk)] = chunk
            at += -(-len(chunk) // _ALIGNED) * _ALIGNED
        return out


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (tuple, list)):
        for v in values:
            yield from _tensors(v)


def _places(args: list[Any], options: dict[str, Any]) -> list[tuple[int, int]] | None:
    """Which arguments are tensors, and their numbers; None where some are within lists or named, or the device is."""
    inner = [*options.values(), *(v for a in args if type(a) is list for v in a)]
    if any(type(v) in (_Slot, _Device, list) for v in inner) or any(type(a) is _Device for a in args):
        return None
    return [(i, a.number) for i, a in enumerate(args) if type(a) is _Slot]


def _slots(values: list[Any]) -> Iterator[int]:
    for v in values:
        if type(v) is _Slot:
            yield v.number
        elif type(v) is list:
            yield from _slots(v)


def _found(value: Any, slots: dict[int, Any], device: torch.device) -> Any:
    kind = type(value)
    if kind is _Slot:
        return slots[value.number]
    if kind is list:
        return [_found(v, slots, device) for v in value]
    return device if kind is _Device else value


@functools.cache
def _kernel(home: str, name: str) -> Any:
    launching = import_module(f"{dispatch.KERNELS}.triton.launch")
    kernel = getattr(import_module(f"{dispatch.KERNELS}.triton.{home}"), name)
    return lambda *args, **options: launching.launch(kernel, *args, **options)


@functools.cache
def _changes(name: str, overload: str) -> bool:
    """Whether an operation writes to what it is given."""
    return any(a.alias_info is not None and a.alias_info.is_write for a in _operation(name, overload)._schema.arguments)


@functools.cache
def _operation(name: str, overload: str = "") -> Any:
    space, _, short = name.partition("::")
    if not short:
        return functools.partial(rng.device_table, name)
    return getattr(getattr(getattr(torch.ops, space), short), overload)
