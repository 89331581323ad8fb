"""Operations on a CUDA device counted where there is none: what they launch, move and copy.

``Counting`` is a dispatch mode to be used inside a FakeTensorMode, whose tensors have shapes but no memory. Operators of the
project are run as on a GPU, in torch or in Triton, whichever PCS_AUGMENT_KERNELS asks for; what Triton would launch and copy is
counted instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from triton_costs import distinct_bytes, work

from pcs_augment import dispatch
from pcs_augment.kernels import triton as kernels
from pcs_augment.transfer import _plain

aten = torch.ops.aten
ON_GPU = torch._C.DispatchKey.CUDA  # where what an operator does there lies, below the fake one
# kernels of operations that launch more than one (a radix sort makes a pass for every 8 bits); of views and empty tensors none
LAUNCHES = {"aten::sort": 8, "aten::repeat_interleave": 2}
PICKING = {"aten::index_select", "aten::gather", "aten::take", "aten::index"}
SCATTERING = {"aten::scatter_add_", "aten::scatter_reduce_", "aten::index_add_"}
MODULES: list[ModuleType] = [import_module(f"{kernels.__name__}.{m.name}") for m in iter_modules(kernels.__path__)]


@dataclass
class Rates:
    """What is assumed of the device."""

    bandwidth: float  # bytes/s
    link: float  # bytes/s from the host
    atomics: float  # 1/s
    operations: float  # 1/s
    launch: float  # s of the host per launch of torch or copy
    triton: float  # s of the host per launch of Triton
    kernel: float  # s, the shortest kernel


@dataclass
class Cost:
    launches: float = 0
    triton: float = 0  # launches among them
    copies: float = 0  # from the host to the device
    copied: float = 0  # bytes
    moved: float = 0  # bytes read and written on the device
    atomics: float = 0
    operations: float = 0  # of Triton's kernels
    device: float = 0  # predicted s
    prepared: float = 0  # s of this machine's host between the launches
    images: float = 0  # acted on
    floor: float = 0  # bytes
    least: float = 0  # operations
    measured: float = 0  # s

    def add(self, other: Cost, share: float = 1.0) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + share * getattr(other, f.name))


class Counting(TorchDispatchMode):
    """Adds up what every operation on a CUDA tensor costs, by the step that runs (else ``rest``) and by kernel."""

    def __init__(self, rates: Rates, rest: str) -> None:
        super().__init__()
        self.rates, self.running = rates, rest
        self.costs: dict[str, Cost] = defaultdict(Cost)
        self.kernels: dict[str, Cost] = defaultdict(Cost)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before, self.running = self.running, name
        yield
        self.running = before

    def kernels_here(self) -> ExitStack:
        """Inside, what is in Triton launches and copies here."""
        stack = ExitStack()
        for module in MODULES:
            for name, mine in (("launch", self.launch), ("all_to_device", self.all_to_device)):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, mine))
        return stack

    def launch(self, kernel: Any, programs: int, *args: Any, num_warps: int = 4, **constants: Any) -> None:
        if programs <= 0:
            return
        name, rates = kernel.__name__, self.rates
        moved, atomics, operations = work(name, programs, dict(zip(kernel.arg_names, args)) | constants)
        times = (moved / rates.bandwidth, atomics / rates.atomics, operations / rates.operations, rates.kernel)
        cost = Cost(launches=1, triton=1, moved=moved, atomics=atomics, operations=operations, device=max(times))
        self._note(name, cost)

    def all_to_device(self, device: torch.device, *arrays: NDArray) -> list[Tensor]:
        moved = []
        for values in arrays:
            plain = _plain(values)
            tensor = torch.empty(plain.shape, dtype=torch.from_numpy(plain).dtype, device=device)
            tensor.host = plain  # type: ignore[attr-defined]
            moved.append(tensor)
        copied = sum(map(distinct_bytes, moved))
        self._note("copy", Cost(copies=1, copied=copied, device=max(copied / self.rates.link, self.rates.kernel)))
        return moved

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "pcs_augment":
            with self:
                return _defined(func, args, kwargs)
        if func.namespace == "aten":  # below autograd, as in an operator, composite functions come here whole
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        if func is aten._to_copy.default and not isinstance(args[0], FakeTensor):  # which would be tried, on no device
            out = torch.empty(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype, device=kwargs["device"])
        else:
            out = func(*args, **kwargs)
        made = [t for t in _tensors(out) if t.is_cuda]
        if made and not _is_view(func) and "empty" not in func._schema.name:
            cost = self._cost(func, args, kwargs, made)
            self._note("copy" if cost.copies else func._schema.name, cost)
        return out

    def _note(self, kernel: str, cost: Cost) -> None:
        self.costs[self.running].add(cost)
        self.kernels[kernel].add(cost)

    def _cost(self, func: Any, args: tuple, kwargs: dict, made: list[Tensor]) -> Cost:
        name, rates = func._schema.name, self.rates
        given = list({id(t): t for t in _tensors((args, kwargs))}.values())
        host = sum(distinct_bytes(t) for t in given if not t.is_cuda and t.ndim)
        if name in ("aten::_to_copy", "aten::copy_") and host:
            return Cost(copies=1, copied=host, device=max(host / rates.link, rates.kernel))
        if not any(t.numel() for t in made):
            return Cost()
        written = [t for a, t in zip(func._schema.arguments, args) if a.alias_info is not None and a.alias_info.is_write]
        new = sum(distinct_bytes(t) for t in made if not any(t is g for g in given))
        atomics = 0
        if name in PICKING:
            rest = [t for t in given if t is not args[0]]
            moved = 2 * new + sum(map(distinct_bytes, rest))
        elif name in SCATTERING or name == "aten::index_copy_":
            index, source = args[2], args[3]
            moved = distinct_bytes(index) + (2 if name == "aten::index_copy_" else 3) * source.numel() * args[0].element_size()
            atomics = source.numel() if name in SCATTERING else 0
        else:
            moved = new + sum(map(distinct_bytes, given)) + sum(map(distinct_bytes, written))
            if name in ("aten::copy_", "aten::fill_", "aten::zero_"):
                moved -= distinct_bytes(args[0])  # written only
        launches = LAUNCHES.get(name, 1)
        seconds = max(moved / rates.bandwidth, atomics / rates.atomics, launches * rates.kernel)
        return Cost(launches=launches, moved=moved, atomics=atomics, device=seconds)


def _defined(func: Any, args: tuple, kwargs: dict) -> Any:
    """The operator's own function, with ``Indexing`` from its first line on: before, that would catch the operator itself."""
    with ExitStack() as inside:

        def asked_for() -> str:
            inside.enter_context(Indexing())
            return asked()

        asked = dispatch._asked_for
        with patch.object(dispatch, "_asked_for", asked_for):
            return func._op_dk(ON_GPU, *args, **kwargs)


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


class Indexing(TorchFunctionMode):
    """Subscripts as plain operations; torch's own ask for the device of a fake tensor, which a build for CPUs lacks.

    Operations on the host's tensors alone are done, not counted.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.pin_memory:  # there is no GPU to pin for
            return args[0]
        given = list(_tensors((args, kwargs)))
        away = any(isinstance(a, torch.device) and a.type == "cuda" for a in (*args, *(kwargs or {}).values()))
        if given and not away and not any(isinstance(t, FakeTensor) for t in given):
            with _disable_current_modes():
                return func(*args, **(kwargs or {}))
        if func is Tensor.__getitem__:
            return _subscript(*args)
        if func is Tensor.__setitem__:
            with torch._C._AutoDispatchBelowAutograd():
                view, value = _subscript(*args[:2]), args[2]
                return aten.copy_(view, value) if isinstance(value, Tensor) else aten.fill_(view, value)
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
