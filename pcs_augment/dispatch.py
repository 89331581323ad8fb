"""Which implementation of a function runs: the one in torch, or a faster one where a device and its compiler are at hand.

A function that has faster implementations is written in torch (or NumPy) beside its formula, and that one is the definition.
``operator`` makes it the operator ``pcs_augment::name`` of torch.library; its first argument may be on any device, the tables
that say what to do with it are on the host. ``on_host`` does the same for functions of NumPy arrays. A function ``name`` of a
module ``steps.tone`` is sped up by the function of that name and signature in ``kernels/numba/tone.py`` for tensors on a CPU
(``pip install ".[cpu]"``), and in ``kernels/triton/tone.py`` for tensors on a CUDA device (Triton comes with torch's
CUDA wheels for Linux). These files are imported when first needed, and only from here. They give the same bits as the
definition, which tests hold them to.

On a CUDA device the definition also does the work where Triton cannot run, and that of a single function whose kernels fail to
compile or launch when they are first used for an image size or a kind of work; either is warned of once.
``PCS_AUGMENT_FALLBACK=forbidden`` makes it an error instead: tests of the kernels would compare torch with torch otherwise.

``PCS_AUGMENT_KERNELS=torch`` leaves everything to the definitions; ``triton`` takes the Triton implementations for any tensor,
which on a CPU takes Triton's interpreter; ``numba`` is what happens anyway on a CPU.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import torch

from . import turns
from .errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

KERNELS = f"{__package__}.kernels"
WINGS = {"CPU": "numba", "CUDA": "triton"}  # by torch's dispatch key
FUNCTIONS: dict[str, Callable[..., Any]] = {}  # the definitions, by "module.name"
_off: dict[str, str] = {}  # why a function's Triton kernels are not used, by "module.name"
_proved: set[tuple[Any, ...]] = set()  # functions, image sizes and kinds of work that have run
# one library an operator, kept where they outlive this module: whoever imports or reloads it again replaces them one by one
_libraries: dict[str, torch.library.Library] = vars(torch.library).setdefault("_pcs_augment", {})


def operator(schema: str, fake: Callable[..., Any] | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Make a torch function the operator ``pcs_augment::schema``, with the implementations that the kernels have of it.

    Args:
        schema: name and arguments as torch.library takes them; the first argument says on which device.
        fake: what comes out, as empty tensors; None for operators that return nothing.
    """
    name = schema.partition("(")[0]

    def register(function: Callable[..., Any]) -> Any:
        FUNCTIONS[f"{_home(function)}.{name}"] = function
        if name in _libraries:
            _libraries.pop(name)._destroy()
        library = _libraries[name] = torch.library.Library("pcs_augment", "FRAGMENT")
        library.define(schema)
        library.impl(name, _chosen(function, name, "CompositeExplicitAutograd"), "CompositeExplicitAutograd")
        for key in WINGS:
            library.impl(name, _chosen(function, name, key, "!)" in schema), key)
        torch.library.register_fake(f"pcs_augment::{name}", fake or (lambda *args: None), lib=library)
        return getattr(torch.ops.pcs_augment, name).default

    return register


def on_host(function: Callable[P, R]) -> Callable[P, R]:
    """A function of NumPy arrays, with the implementation that the numba kernels have of it."""
    home, name = _home(function), function.__name__
    FUNCTIONS[f"{home}.{name}"] = function

    @functools.wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> R:
        fast = _implementation("numba", home, name) if _asked_for() in ("", "numba") else None
        return (function if fast is None else fast)(*args, **options)

    return run


def runs_triton(device: torch.device) -> bool:
    """Whether every Triton kernel that there is runs on this device."""
    asked = _asked_for()
    return asked == "triton" or (asked != "torch" and device.type == "cuda" and not _off and not _why_off(device))


def for_gpu(name: str) -> Callable[..., Any]:
    """What runs on a GPU for an operator, if nothing falls back."""
    home = next(key.partition(".")[0] for key in FUNCTIONS if key.endswith(f".{name}"))
    return _implementation("triton", home, name) or FUNCTIONS[f"{home}.{name}"]


def module(wing: str, name: str) -> ModuleType | None:
    """File ``name`` of the numba or Triton kernels; None where it or its compiler is missing."""
    found = f"{KERNELS}.{wing}.{name}"
    return importlib.import_module(found) if _usable(wing) and find_spec(found) is not None else None


def run_all() -> Callable[..., None] | None:
    """What shares images out over threads where numba does the work on a CPU, None elsewhere."""
    found = module("numba", "threads") if _asked_for() in ("", "numba") else None
    return None if found is None else found.run_all


def _home(function: Callable[..., Any]) -> str:
    return function.__module__.rpartition(".")[2]


def _chosen(function: Callable[..., Any], name: str, key: str, in_place: bool = False) -> Callable[..., Any]:
    """What runs for tensors of one dispatch key."""
    home = _home(function)

    def run(*args: Any) -> Any:
        asked = _asked_for()
        wing = "triton" if asked == "triton" else None if asked == "torch" else WINGS.get(key)
        if wing == "triton" and asked != "triton":
            return _with_fallback(function, home, name, in_place, args)
        fast = None if wing is None else _implementation(wing, home, name)
        if fast is None:
            turns.settle()
        return (function if fast is None else fast)(*args)

    return run


def _with_fallback(function: Callable[..., Any], home: str, name: str, in_place: bool, args: tuple[Any, ...]) -> Any:
    """The Triton implementation, and the definition where it cannot run."""
    images = args[0]
    off = _why_off(images.device) or _off.get(f"{home}.{name}")
    if off and fallback_forbidden():
        raise RuntimeError(f"torch would do the work of {home}.{name}, which PCS_AUGMENT_FALLBACK=forbidden forbids: {off}")
    fast = None if off else _implementation("triton", home, name)
    if fast is None:
        return function(*args)
    # kernels are compiled for each image size, and for each word that says what they do
    words = [a for a in args if isinstance(a, str | bool)]
    variant = (home, name, images.device, images.dtype, images.shape[1:], *words)
    if variant in _proved:
        return fast(*args)
    before = images.clone() if in_place else None  # some kernels of a function may have run when another fails
    try:
        out = fast(*args)
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as e:  # whatever goes wrong in a compiler, torch does the same without it
        if fallback_forbidden():
            raise
        _off[f"{home}.{name}"] = f"{type(e).__name__}: {e}"
        warnings.warn(f"the GPU kernels of {home}.{name} are off, torch does their work: {e}", stacklevel=2)
        if before is not None:
            images.copy_(before)
        return function(*args)
    _proved.add(variant)
    return out


@functools.cache
def _implementation(wing: str, home: str, name: str) -> Callable[..., Any] | None:
    return getattr(module(wing, home), name, None)


def _asked_for() -> str:
    value = os.environ.get("PCS_AUGMENT_KERNELS", "")
    if value not in ("", "numba", "torch", "triton"):
        raise InputError(f"PCS_AUGMENT_KERNELS must be numba, torch or triton, or not set, got {value!r}")
    return value


def fallback_forbidden() -> bool:
    value = os.environ.get("PCS_AUGMENT_FALLBACK", "")
    if value not in ("", "forbidden"):
        raise InputError(f"PCS_AUGMENT_FALLBACK must be forbidden, or not set, got {value!r}")
    return value == "forbidden"


@functools.cache
def _usable(wing: str) -> bool:
    """Whether the compiler of these kernels is installed and fit for them."""
    try:
        importlib.import_module(f"{KERNELS}.{wing}")
    except ModuleNotFoundError as e:
        if e.name != wing:
            raise
        return False
    except ImportError as e:
        warnings.warn(f"the {wing} kernels are off: {e}", stacklevel=2)
        return False
    except RuntimeError as e:  # numba finds no place for its cache
        warnings.warn(f"the {wing} kernels are off: {e}; set NUMBA_CACHE_DIR to a writable folder", stacklevel=2)
        return False
    return True


@functools.cache
def _why_off(device: torch.device) -> str:
    """Why no Triton kernel runs, empty where a small one does: Triton builds its launcher with the system's C compiler."""
    try:
        halves = _implementation("triton", "rng", "halves")
        if halves is None:
            return "Triton is not installed, or too old"
        halves(torch.zeros(1, 2, dtype=torch.int64, device=device), 0, 8)
    except torch.OutOfMemoryError:
        raise
    except Exception as e:  # whatever goes wrong in a compiler, torch does the same without it
        warnings.warn(f"the GPU kernels are off, Triton cannot run here (is there a C compiler?): {e}", stacklevel=2)
        return f"Triton cannot run here: {e}"
    return ""
