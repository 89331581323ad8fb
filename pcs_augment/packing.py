"""A batch's work on a GPU as one block of bytes and a list of calls, made where there is no GPU: in a loader's worker.

The worker runs the pipeline on tensors that have shapes but no memory. What would be copied to the device is laid end to end in
the block; what would be launched there, kernels of Triton and operations of torch, becomes a list, and what they leave to each
other gets its place in one piece of scratch memory. The training process copies the block once and makes the calls: the same
calls as ``apply`` makes, so the same bits.
"""

from __future__ import annotations

import functools
import marshal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from . import dispatch, rng, rooms, transfer
from .plan import Plan
from .ragged import Joined
from .targets import AnyTarget, follow, without_flags

_META = torch.device("meta")
_ALIGNED = 16  # bytes, in the block
_SCRATCH_ALIGNED = 256
_IMAGES, _BLOCK, _SCRATCH, _MADE = range(4)  # where tensors lie; those that a call makes are numbered from there
_TENSOR, _KIND, _LAYOUT, _FORMAT, _DEVICE = "tdlmv"  # what a tuple among a call's arguments stands for


class Packed:
    """What ``apply`` does to a batch, up to the device. Travels between processes; ``pin_memory`` is the data loader's.

    like: shape and type of the images; block: the bytes that go to the device; program: what is done there; targets: joined
    per key, moved with the images, all objects; objects: how many there are.

    Batches of one room (see ``rooms``) have equal programs as long as it does not grow.
    """

    def __init__(self, like: tuple[Any, ...], block: Tensor, program: bytes, targets: Joined | None, objects: int) -> None:
        self.like, self.block, self.program, self.targets, self.objects = like, block, program, targets, objects

    def pin_memory(self) -> Packed:
        return Packed(self.like, self.block.pin_memory(), self.program, self.targets, self.objects)

    def fits(self, images: Tensor) -> bool:
        """Whether it was made for such images and their device runs every kernel."""
        same = self.like == (tuple(images.shape), images.dtype) and images.is_contiguous()
        return same and dispatch.runs_triton(images.device)

    def run(self, images: Tensor, block: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """New images and which objects to keep, as ``Augmentation.apply`` has them; no synchronisation.

        block: ``self.block`` on the images' device, where it is there already.
        """
        out, keep = self.calls(images, transfer.send(self.block, images.device) if block is None else block)
        return out, keep[: self.objects]

    def calls(self, images: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
        """The same without copying from the host, so that it can be captured in a CUDA graph; with the flags of absent objects.

        block: that of any batch with this program, on the images' device.
        """
        device = images.device
        kinds, tensors, calls, results, size = marshal.loads(self.program)
        homes: list[Any] = [images, block, torch.empty(size, dtype=torch.uint8, device=device)]
        flat: dict[tuple[int, int], Tensor] = {}
        seen: list[Any] = [None] * len(tensors)

        def tensor(number: int) -> Tensor:
            found = seen[number]
            if found is None:
                home, kind, start, shape, stride = tensors[number]
                whole = homes[home]
                if home in (_BLOCK, _SCRATCH):
                    if (home, kind) not in flat:
                        flat[home, kind] = whole.view(getattr(torch, kinds[kind]))
                    whole = flat[home, kind]
                found = seen[number] = whole if shape is None else whole.as_strided(shape, stride, start)
            return found

        with torch.no_grad():
            for name, args, places, options, made, dead, gone in calls:
                if places is None:
                    args = [_found(a, tensor, device) for a in args]
                    options = {k: _found(v, tensor, device) for k, v in options.items()}
                else:
                    for place, number in places:
                        args[place] = tensor(number)
                if name[0] == "launch":
                    _kernel(name)(*args, **options)
                else:
                    out = _operation(name)(*args, **options)
                    if made:
                        homes.extend(out if isinstance(out, (tuple, list)) else (out,))
                for number in dead:
                    seen[number] = None
                for home in gone:
                    homes[home] = None
            return tensor(results[0]), tensor(results[1])


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
    pipeline: Any,
    shape: Sequence[int],
    dtype: torch.dtype,
    targets: Sequence[AnyTarget] | None,
    plan: Plan,
    room: rooms.Room | None = None,
) -> Packed | None:
    """The work of ``pipeline.apply`` for a plan; None where it cannot be known without pixels, or Triton is missing.

    room: up to which the batch's lists are filled; a batch that needs more makes it larger.
    """
    if dispatch.module("triton", "launch") is None:
        return None
    images = torch.empty(tuple(shape), dtype=dtype, device=_META)
    record = _Recording(images)
    try:
        with nullcontext() if room is None else room.entered(), record.active(), record:
            out, keep, placed, matrix = pipeline._run(images, targets, plan)
        program = record.program((out, keep))
    except (NotImplementedError, RuntimeError, TypeError, ValueError):  # a step of the user's that looks at pixels on the host
        return None
    moved = None if placed is None else Joined.of(without_flags(follow(placed, matrix)))
    return Packed((tuple(shape), dtype), record.block(), program, moved, int(plan.objects.clip(0).sum()))


class _Call(NamedTuple):
    name: tuple[str, ...]
    args: list[Any]
    options: dict[str, Any]
    made: list[int]  # storages
    used: set[int]  # storages


class _Recording(TorchDispatchMode):
    """Writes down what happens to tensors without memory.

    What tensors share is their storage. Views are no calls: a tensor is written as a place in a storage, wherever that will be.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.kept: list[Tensor] = []  # one of each storage, so that no identity is used again
        self.storages: dict[int, int] = {}
        self.parts: dict[int, int] = {}  # storages in the block: the byte where they start
        self.scratch: set[int] = set()
        self.chunks: list[NDArray] = []
        self.size = 0
        self.tensors: dict[tuple[Any, ...], int] = {}
        self.calls: list[_Call] = []
        self._storage(images)

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
            plain = values.detach().contiguous()
            size = plain.numel() * plain.element_size()
            self.chunks.append(plain.flatten().view(torch.uint8).numpy() if size else np.zeros(0, np.uint8))
            made = torch.empty_like(plain, device=_META)
        self.parts[self._storage(made)] = self.size
        self.size += -(-size // _ALIGNED) * _ALIGNED
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
        name = func._schema.name
        if func.namespace == "pcs_augment":
            with self:
                return dispatch.for_gpu(name.partition("::")[2])(*args, **kwargs)
        if not away and not any(t.is_meta for t in given):
            return func(*args, **kwargs)
        if name == "aten::_to_copy" and away and not given[0].is_meta:
            return self.copied(given[0].to(kwargs.get("dtype") or given[0].dtype))
        if name in _CONSTANT and not given:
            return self.copied(func(*args, **{**kwargs, "device": "cpu"}))
        if name in _FILLED:
            return self._filled(func, args, kwargs)
        before = {t.untyped_storage()._cdata for t in given if t.is_meta}
        out = func(*args, **kwargs)
        made = [t for t in _tensors(out) if t.untyped_storage()._cdata not in before]
        if made and len(made) < len(list(_tensors(out))):
            raise NotImplementedError(f"{name} gives back what it was given beside what it makes")
        if name in _EMPTY:
            self.scratch.update(self._storage(t) for t in made)
        elif made or _changes(func):
            self._note(("torch", name, func._overloadname), args, kwargs, made)
        return out

    def _filled(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        """Memory with one value all over: scratch, filled when the call comes."""
        out = func(*args, **kwargs)
        value = _FILLED[func._schema.name]
        self.scratch.add(self._storage(out))
        self._note(("torch", "aten::fill_", "Scalar"), (out, args[1] if value is None else value), {}, [])
        return out

    def _note(self, name: tuple[str, ...], args: Sequence[Any], options: dict[str, Any], made: list[Tensor]) -> None:
        used: set[int] = set()
        written = [self._written(a, used) for a in args]
        named = {k: self._written(v, used) for k, v in options.items()}
        self.calls.append(_Call(name, written, named, [self._storage(t) for t in made], used))

    def _written(self, value: Any, used: set[int]) -> Any:
        """A form that marshal takes; tuples stand for what it does not."""
        if isinstance(value, Tensor):
            tensor = value if value.is_meta else self.copied(value) if value.ndim else None
            if tensor is None:
                return value.item()
            used.add(self._storage(tensor))
            return (_TENSOR, self._tensor(tensor))
        if isinstance(value, (tuple, list)):
            return [self._written(v, used) for v in value]
        if isinstance(value, torch.device):
            return (_DEVICE,) if value.type == "meta" else (_DEVICE, str(value))
        for letter, kind in ((_KIND, torch.dtype), (_LAYOUT, torch.layout), (_FORMAT, torch.memory_format)):
            if isinstance(value, kind):
                return (letter, str(value)[6:])
        return value.item() if isinstance(value, np.generic) else value

    def _storage(self, tensor: Tensor) -> int:
        identity = tensor.untyped_storage()._cdata
        if identity not in self.storages:
            self.kept.append(tensor)
            self.storages[identity] = len(self.kept) - 1
        return self.storages[identity]

    def _tensor(self, t: Tensor) -> int:
        described = (self._storage(t), t.dtype, t.storage_offset(), tuple(t.shape), tuple(t.stride()))
        return self.tensors.setdefault(described, len(self.tensors))

    def program(self, results: Sequence[Tensor]) -> bytes:
        """Types, tensors, calls, the numbers of the results, and the size of the scratch memory."""
        ends = [self._tensor(r) for r in results]
        by_number = list(self.tensors)
        used = {by_number[n][0] for n in ends}
        calls: list[_Call] = []
        for call in reversed(self.calls):
            if call.name[0] == "launch" or used.intersection(call.made) or (call.name[0] == "torch" and not call.made):
                calls.append(call)
                used |= call.used
        calls += [self._allocation(s) for s in {by_number[n][0] for n in ends} & self.scratch]  # which would keep all of it
        calls.reverse()
        starts, size = self._laid_out(calls)
        homes = {0: _IMAGES}
        for storage in (m for c in calls for m in c.made):
            homes[storage] = _MADE - 1 + len(homes)
        last: dict[int, int] = {}
        for i, call in enumerate(calls):
            last.update((n, i) for n in _numbers([call.args, list(call.options.values())]))
        kinds = list(dict.fromkeys(by_number[n][1] for n in (*last, *ends)))
        tensors: list[Any] = [None] * len(by_number)
        for n in (*last, *ends):
            tensors[n] = self._described(by_number[n], homes, starts, kinds)
        needed = {tensors[n][0] for n in ends}
        final = {tensors[n][0]: i for n, i in sorted(last.items(), key=lambda item: item[1])}
        dead = [[n for n, i in last.items() if i == j and n not in ends] for j in range(len(calls))]
        gone = [[h for h, i in final.items() if i == j and h >= _MADE and h not in needed] for j in range(len(calls))]
        written = [(c.name, *_placed(c), len(c.made), d, g) for c, d, g in zip(calls, dead, gone)]
        return marshal.dumps(([str(k)[6:] for k in kinds], tensors, written, ends, size))

    def _allocation(self, storage: int) -> _Call:
        t = self.kept[storage]
        self.scratch.discard(storage)
        options: dict[str, Any] = {"dtype": (_KIND, str(t.dtype)[6:]), "device": (_DEVICE,)}
        return _Call(("torch", "aten::empty_strided", ""), [list(t.shape), list(t.stride())], options, [storage], set())

    def _laid_out(self, calls: list[_Call]) -> tuple[dict[int, int], int]:
        """Where each storage of the scratch memory starts: in room that no other one needs meanwhile, largest first."""
        life: dict[int, tuple[int, int]] = {}
        for i, call in enumerate(calls):
            for storage in call.used & self.scratch:
                life[storage] = (life.get(storage, (i, i))[0], i)
        sizes = {s: -(-self.kept[s].untyped_storage().nbytes() // _SCRATCH_ALIGNED) * _SCRATCH_ALIGNED for s in life}
        starts: dict[int, int] = {}
        for storage in sorted(life, key=lambda s: (-sizes[s], s)):
            first, last = life[storage]
            beside = [s for s in starts if life[s][0] <= last and first <= life[s][1]]
            place = 0
            for other in sorted(beside, key=starts.__getitem__):
                if place + sizes[storage] <= starts[other]:
                    break
                place = max(place, starts[other] + sizes[other])
            starts[storage] = place
        return starts, max((starts[s] + sizes[s] for s in starts), default=0)

    def _described(
        self, tensor: tuple[Any, ...], homes: dict[int, int], starts: dict[int, int], kinds: list[torch.dtype]
    ) -> tuple[Any, ...]:
        """Home, type, first element, shape and stride; shape None where it is all that a call made."""
        storage, kind, offset, shape, stride = tensor
        if storage in self.parts or storage in starts:
            home, base = (_BLOCK, self.parts[storage]) if storage in self.parts else (_SCRATCH, starts[storage])
            return home, kinds.index(kind), base // kind.itemsize + offset, shape, stride
        whole = self.kept[storage]
        if whole.dtype != kind:
            raise TypeError(f"views of another type are not packed: {whole.dtype} as {kind}")
        if (offset, shape, stride) == (whole.storage_offset(), tuple(whole.shape), tuple(whole.stride())):
            shape = stride = None
        return homes.get(storage, _MADE), kinds.index(kind), offset, shape, stride

    def block(self) -> Tensor:
        out = torch.zeros(-(-self.size // _SCRATCH_ALIGNED) * _SCRATCH_ALIGNED, dtype=torch.uint8)
        whole, at = out.numpy(), 0
        for chunk in self.chunks:
            whole[at : at + len(chunk)] = chunk
            at += -(-len(chunk) // _ALIGNED) * _ALIGNED
        return out


# operations whose result does not depend on pixels: known here, or memory with or without a value
_CONSTANT = {"aten::arange"}
_EMPTY = {"aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::new_empty_strided"}
_FILLED = {
    **dict.fromkeys(("aten::zeros", "aten::zeros_like", "aten::new_zeros"), 0),
    **dict.fromkeys(("aten::ones", "aten::ones_like", "aten::new_ones"), 1),
    **dict.fromkeys(("aten::full", "aten::full_like"), None),
}


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (tuple, list)):
        for v in values:
            yield from _tensors(v)


def _numbers(values: list[Any]) -> Iterator[int]:
    """Of the tensors among written arguments."""
    for v in values:
        if type(v) is list:
            yield from _numbers(v)
        elif type(v) is tuple and v[0] == _TENSOR:
            yield v[1]


def _placed(call: _Call) -> tuple[list[Any], list[tuple[int, int]] | None, dict[str, Any]]:
    """Arguments, where tensors stand among them, and named arguments; None for places where other things are to be found."""
    inner = [*call.options.values(), *(v for a in call.args if type(a) is list for v in a)]
    places = [(i, a[1]) for i, a in enumerate(call.args) if type(a) is tuple and a[0] == _TENSOR]
    if any(type(v) in (tuple, list) for v in inner) or sum(type(a) is tuple for a in call.args) > len(places):
        return call.args, None, call.options
    return [None if type(a) is tuple else a for a in call.args], places, call.options


def _found(value: Any, tensor: Any, device: torch.device) -> Any:
    if type(value) is list:
        return [_found(v, tensor, device) for v in value]
    if type(value) is not tuple:
        return value
    if value[0] == _TENSOR:
        return tensor(value[1])
    if value[0] == _DEVICE:
        return device if len(value) == 1 else torch.device(value[1])
    return getattr(torch, value[1])


@functools.cache
def _kernel(name: tuple[str, str, str]) -> Any:
    launching = import_module(f"{dispatch.KERNELS}.triton.launch")
    kernel = getattr(import_module(f"{dispatch.KERNELS}.triton.{name[1]}"), name[2])
    return lambda *args, **options: launching.launch(kernel, *args, **options)


@functools.cache
def _changes(operation: Any) -> bool:
    """Whether an operation writes to what it is given."""
    return any(a.alias_info is not None and a.alias_info.is_write for a in operation._schema.arguments)


@functools.cache
def _operation(name: tuple[str, ...]) -> Any:
    if name[0] == "table":
        return functools.partial(rng.device_table, name[1])
    space, _, short = name[1].partition("::")
    return getattr(getattr(getattr(torch.ops, space), short), name[2] or "default")
