"""Checkpoint files: written whole or not at all, made of plain types only, read without executing anything."""

from __future__ import annotations

import os
import pickle
import random
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import __version__
from ...files import written

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

import mmengine.runner.checkpoint as mm_checkpoint
from mmengine.logging import HistoryBuffer, MessageHub
from torch import hub as torch_hub

from ...errors import DataError

POINTER = "last_checkpoint"
NUMBERS_AND_TEXT: tuple[Any, ...] = (int, float, complex, str)
HISTORY = 1000  # values kept of each logged quantity: they only smooth what is printed


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raises TypeError for an entry that ``torch.load(weights_only=True)`` would refuse, OutputError for a full disk."""
    content = {k: _weights(v) if k == "state_dict" else plain(v, k) for k, v in checkpoint.items()}
    with written(path) as temporary:
        torch.save(content, temporary)


def plain(value: Any, where: str = "") -> Any:
    """The value in types that every reader of weights accepts: tensors on the CPU, numbers, text, lists, tuples, dicts.

    Arrays become tensors and NumPy numbers Python's. Raises TypeError naming the entry for anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in NUMBERS_AND_TEXT:  # np.float64 is a float as well, and a subclass of str may be anything
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.array(value))
    if isinstance(value, Mapping):
        return {plain(k, where): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        parts = [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
        return parts if isinstance(value, list) else tuple(parts)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{where}: a {type(value).__name__} cannot be kept in a checkpoint; make it numbers, text or tensors")


def _weights(state: Mapping[str, Any]) -> OrderedDict[str, Any]:
    # contiguous and separate, so that a view does not carry the storage behind it along
    out = OrderedDict((k, v.detach().cpu().clone() if isinstance(v, Tensor) else plain(v, k)) for k, v in state.items())
    if hasattr(state, "_metadata"):
        out._metadata = state._metadata  # type: ignore[attr-defined]  # versions of modules, which their loading looks at
    return out


class _Left:
    """Takes the place of logging objects in checkpoints of OpenMMLab, which are not read."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _nothing(*_: Any) -> None:
    return None


def _foreign() -> list[Any]:
    """What released weights hold beside weights: NumPy's numbers and arrays, and logging objects that become ``_Left``."""
    multiarray = np.asarray([]).__reduce__()[0].__module__  # numpy._core.multiarray, or numpy.core.multiarray before NumPy 2
    found: list[Any] = [np.ndarray, np.dtype, *{type(np.dtype(t)) for t in "?bBhHiIlLqQefd"}]
    for module in {multiarray, "numpy.core.multiarray", "numpy._core.multiarray"}:
        found.append((np.asarray([]).__reduce__()[0], f"{module}._reconstruct"))
        found.append((np.float64(0).__reduce__()[0], f"{module}.scalar"))
    found.append((_Left, "mmengine.logging.history_buffer.HistoryBuffer"))
    found.append((_nothing, "builtins.getattr"))
    return found


def read_checkpoint(file: Any, map_location: Any = "cpu", weights_only: bool = True) -> Any:
    """A checkpoint, read without executing what may be hidden in it, whatever ``weights_only`` says.

    file: path or open binary file. Raises DataError for a file that holds more than tensors and plain data, and for one that
    is missing, incomplete or no checkpoint.
    """
    try:
        try:
            return torch.load(file, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError:
            if hasattr(file, "seek"):
                file.seek(0)
            with torch.serialization.safe_globals(_foreign()):
                return torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as e:
        reason = next((line.strip() for line in str(e).splitlines() if "nsupported" in line), str(e).splitlines()[-1])
        if "operand" in reason:  # no pickle at all
            raise DataError(f"{_name(file)}: not a checkpoint") from e
        raise DataError(
            f"{_name(file)}: refused, it holds more than weights and plain data and could run programs when it is read "
            f"({reason}); take checkpoints from pcs-detect, or save this one's 'state_dict' alone"
        ) from e
    except FileNotFoundError as e:
        raise DataError(f"{_name(file)}: no such checkpoint") from e
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
    ) as e:
        raise DataError(f"{_name(file)}: not a readable checkpoint ({_first_line(e)}); is it complete?") from e


def _name(file: Any) -> str:
    return str(file) if isinstance(file, str | os.PathLike) else str(getattr(file, "name", "checkpoint"))


def _first_line(e: BaseException) -> str:
    return (str(e).splitlines() or [type(e).__name__])[0]


def check_numbers(state: Mapping[str, Any], name: str) -> None:
    """Refuse weights that are no numbers: a detector with them finds nothing, without a word. Raises DataError."""
    for key, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and bool(value.isnan().any()):
            raise DataError(
                f"{name}: its training failed, or the file is damaged ({key} holds NaN); take an earlier checkpoint, or train "
                "with a lower learning rate"
            )


def if_newer(meta: Mapping[str, Any]) -> str:
    """What to add to the error of a checkpoint that a newer pcs-detect wrote; nothing for others.

    meta: what the checkpoint says about itself.
    """
    written_by = str(meta.get("pcs_detect", ""))[:20]
    theirs, ours = (tuple(map(int, re.findall(r"\d+", v)[:3])) for v in (written_by, __version__))
    return f"; it was written by pcs-detect {written_by}, this is {__version__}: update this one" if theirs > ours else ""


def never_unpickle() -> None:
    """Make every loader of mmengine read weights only: by itself it falls back to executing what a file says."""

    def from_address(url: str, *args: Any, **options: Any) -> Any:
        return torch_hub.load_state_dict_from_url(url, *args, **{**options, "weights_only": True})

    mm_checkpoint._safe_torch_load = read_checkpoint
    mm_checkpoint.load_url = from_address


def resumable(folder: Path) -> list[Path]:
    """The checkpoints of a training to resume from, newest first. What the pointer file names comes before all others."""
    found = [p for pattern in ("epoch_*.pth", "iter_*.pth") for p in folder.glob(pattern)]
    found.sort(key=lambda p: p.stat().st_mtime_ns, reverse=True)
    with suppress(OSError):
        named = folder / Path((folder / POINTER).read_text().strip()).name
        found.sort(key=lambda p: p != named)
    return found


def newest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a training that can be read, with its content; None where there is none.

    A damaged file is passed over for the one before it. Raises DataError where a file is refused, or all are damaged.
    """
    files = resumable(folder)
    problem: DataError | None = None
    for path in files:
        try:
            return path, read_checkpoint(path)
        except DataError as e:
            if "refused" in str(e):
                raise
            problem = problem or e
    if problem is not None:
        raise problem
    return None


def hub_state(hub: MessageHub) -> dict[str, Any]:
    """The message hub as plain data. What is no data is left out: it is only there for logging."""
    state = hub.state_dict()
    scalars = {}
    for name, buffer in state["log_scalars"].items():
        values, counts = (np.asarray(a, dtype=np.float64)[-HISTORY:] for a in buffer.data)
        scalars[name] = {"values": torch.from_numpy(values.copy()), "counts": torch.from_numpy(counts.copy())}
    info = {}
    for name, value in state["runtime_info"].items():
        if name in ("cfg", "experiment_name", "mmengine_version"):  # of the run, not of the training
            continue
        with suppress(TypeError):
            info[name] = plain(value, name)
    kept = {k: bool(v) for k, v in state["resumed_keys"].items() if k in scalars or k in info}
    return {"log_scalars": scalars, "runtime_info": info, "resumed_keys": kept}


def hub_objects(state: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of ``hub_state``, as MessageHub.load_state_dict takes it."""
    scalars = {
        name: HistoryBuffer(entry["values"].numpy(), entry["counts"].numpy()) for name, entry in state["log_scalars"].items()
    }
    return {**state, "log_scalars": scalars}


def random_state() -> dict[str, Any]:
    """The state of the random number generators of this process: Python's, NumPy's, torch's on the CPU and its GPU."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - the one that libraries use
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return plain(state, "random")


def set_random_state(state: Mapping[str, Any]) -> None:
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
