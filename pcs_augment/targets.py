"""The user's list of dicts <-> one flat, ragged set of instances.

One dict per image: ``boxes (N, 5)``, ``labels (N,)``, optional ``polygons`` (list of N ``(K, 2)`` outlines); any other tensor,
array, list or tuple of length N follows its objects; everything else is passed through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import boxes as bx
from .errors import InputError
from .kernels import cpu_kernels

Target = dict[str, Any]
Targets = list[Target]


class Outlines(list[Tensor]):
    """A list of (K, 2) tensors that travels between processes as one tensor instead of one shared-memory segment each."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, ((torch.cat(self) if self else None), [len(p) for p in self])


def _unpack(points: Tensor | None, corners: list[int]) -> Outlines:
    return Outlines(() if points is None else points.split(corners))


@dataclass(frozen=True)
class Instances:
    """All objects of a batch on the host, as drawing needs them: float64, in image order.

    sample, object: (N,) which image, and which object of it; boxes: (N, 5); points: (V, 2) all outline corners, object after
    object; corners: (N,) how many belong to each. An object without a polygon has its box corners as outline. images: how
    many images there are.
    """

    images: int
    sample: NDArray[np.int64]
    object: NDArray[np.int64]
    boxes: NDArray[np.float64]
    points: NDArray[np.float64]
    corners: NDArray[np.int64]

    def counts(self) -> NDArray[np.int64]:
        return np.bincount(self.sample, minlength=self.images)

    def moved(self, matrix: NDArray[np.float64]) -> Instances:
        """Under the (B, 2, 3) symmetries of their images."""
        mine = matrix[self.sample]
        boxes = bx.move_boxes(self.boxes, mine)
        per_image = np.bincount(self.sample, self.corners, self.images).astype(np.int64)
        fast = cpu_kernels(torch.device("cpu"))
        if fast is not None:
            return replace(self, boxes=boxes, points=fast.move(self.points, matrix, per_image))
        entries = [[np.repeat(matrix[:, i, j], per_image) for j in range(3)] for i in range(2)]
        x, y = self.points.T
        return replace(self, boxes=boxes, points=np.stack([a * x + b * y + c for a, b, c in entries], -1))

    def picked(self, rows: NDArray[Any]) -> Instances:
        """The objects at ``rows`` (ascending indices or a mask)."""
        chosen = np.zeros(len(self.sample), bool)
        chosen[rows] = True
        if chosen.all():
            return self
        return Instances(
            self.images,
            self.sample[chosen],
            self.object[chosen],
            self.boxes[chosen],
            self.points[np.repeat(chosen, self.corners)],
            self.corners[chosen],
        )


def flatten(targets: Sequence[Target], images: int) -> Instances:
    """Check the targets of a batch and gather them on the host. Raises InputError naming image, object and value."""
    check_list(targets, images)
    counts = [len(t["boxes"]) for t in targets]
    number = np.array(counts, dtype=np.int64)
    sample = np.repeat(np.arange(images), number)
    ordinal = np.arange(len(sample)) - np.repeat(np.cumsum(number) - number, number)
    boxes = _host_rows([t["boxes"] for t in targets], 5)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:4] > 0).all()):
        bad = int(np.argmin(np.isfinite(boxes).all(1) & (boxes[:, 2:4] > 0).all(1)))
        raise InputError(
            f"targets[{sample[bad]}]['boxes'][{ordinal[bad]}] = {boxes[bad].tolist()}: "
            "cx, cy, w, h, theta must be finite and w, h > 0; correct or remove the object"
        )
    if not any(t.get("polygons") is not None for t in targets):
        points = bx.box_corners(boxes).reshape(-1, 2)
        return Instances(images, sample, ordinal, boxes, points, np.full(len(boxes), 4))

    outlines: list[Any] = []
    for i, t in enumerate(targets):
        polygons = t.get("polygons")
        outlines += list(bx.box_corners(boxes[sample == i])) if polygons is None else list(polygons)
    try:  # thousands of small tensors: one concatenation, and the quickest way to learn their lengths
        points = torch.cat(outlines).detach().cpu().double().numpy()
        corners = np.fromiter(map(Tensor.numel, outlines), np.int64, len(outlines)) // 2
        odd = points.ndim != 2 or points.shape[1] != 2
    except (TypeError, ValueError, RuntimeError):
        odd = True
    if odd:
        for j, p in enumerate(outlines):
            if np.ndim(p) != 2 or np.shape(p)[1] != 2:
                raise InputError(
                    f"targets[{sample[j]}]['polygons'][{ordinal[j]}] has shape {tuple(np.shape(p))}; expected (K, 2)"
                )
        points = _host_rows(outlines, 2)
        corners = np.array([len(p) for p in outlines], dtype=np.int64)
    if len(corners) and corners.min() < 3:
        bad = int(np.argmin(corners))
        raise InputError(
            f"targets[{sample[bad]}]['polygons'][{ordinal[bad]}] has {corners[bad]} points; an outline needs at least 3"
        )
    if not np.isfinite(points).all():
        bad = int(np.repeat(np.arange(len(corners)), corners)[np.argmin(np.isfinite(points).all(1))])
        raise InputError(f"targets[{sample[bad]}]['polygons'][{ordinal[bad]}] has non-finite points; correct or remove it")
    return Instances(images, sample, ordinal, boxes, points, corners)


def check_list(targets: object, images: int) -> None:
    """Form and lengths of the list of dicts, without looking at values."""
    if not isinstance(targets, (list, tuple)):
        raise InputError(f"targets must be a list with one dict per image, got {type(targets).__name__}")
    if len(targets) != images:
        raise InputError(f"targets has {len(targets)} entries for {images} images; give one dict per image (empty ones too)")
    for i, t in enumerate(targets):
        if not isinstance(t, dict) or "boxes" not in t:
            raise InputError(f"targets[{i}] must be a dict with 'boxes' (N, 5), got {_describe(t)}")
        shape = tuple(np.shape(t["boxes"])) if not isinstance(t["boxes"], Tensor) else tuple(t["boxes"].shape)
        if len(shape) != 2 or shape[1] != 5:
            raise InputError(
                f"targets[{i}]['boxes'] has shape {shape}; expected (N, 5) rows (cx, cy, w, h, theta), "
                "(0, 5) for an empty image"
            )
        for key in ("labels", "polygons"):
            if t.get(key) is not None and len(t[key]) != shape[0]:
                raise InputError(f"targets[{i}] has {shape[0]} boxes but {len(t[key])} {key}; give one per box")


def _describe(value: object) -> str:
    return f"a dict with keys {sorted(map(str, value))}" if isinstance(value, dict) else type(value).__name__


def _host_rows(parts: Sequence[Any], width: int) -> NDArray[np.float64]:
    """Concatenate (n, width) arrays or tensors as one float64 NumPy array."""
    if not len(parts):
        return np.zeros((0, width))
    try:
        if all(isinstance(p, Tensor) for p in parts):
            return torch.cat(list(parts)).detach().cpu().double().numpy().reshape(-1, width)
        rows = [np.asarray(p.detach().cpu() if isinstance(p, Tensor) else p, dtype=np.float64) for p in parts]
        return np.concatenate(rows).reshape(-1, width)
    except (RuntimeError, ValueError, TypeError) as e:
        raise InputError(f"boxes and polygons must be numeric arrays of one device, shaped (N, {width}): {e}") from e


def moved(targets: Sequence[Target], matrix: NDArray[np.float64]) -> Targets:
    """New dicts whose boxes and polygons follow the (B, 2, 3) symmetries of their images, on whatever device they are."""
    out = [dict(t) for t in targets]
    kinds = {(t["boxes"].dtype, t["boxes"].device) for t in out if isinstance(t["boxes"], Tensor)}
    if len(kinds) > 1:  # one at a time, or the widest type would spread over the batch
        return [moved([t], matrix[i : i + 1])[0] for i, t in enumerate(out)]
    _move_key(out, "boxes", matrix)
    if any(t.get("polygons") is not None for t in out):
        _move_key(out, "polygons", matrix)
    return out


def _move_key(out: Targets, key: str, matrix: NDArray[np.float64]) -> None:
    """One concatenation, one move and one split for the whole batch instead of one per object."""
    parts: list[Tensor] = []
    owner: list[int] = []
    for i, t in enumerate(out):
        if t.get(key) is not None:
            mine = [t[key]] if key == "boxes" else list(t[key])
            parts += [p if isinstance(p, Tensor) else torch.as_tensor(np.asarray(p)) for p in mine]
            owner += [i] * len(mine)
    if not parts:
        return
    sizes = [len(p) for p in parts]
    flat = torch.cat(parts)
    if not flat.is_floating_point():
        flat = flat.float()
    rows = torch.from_numpy(np.repeat(matrix[owner], sizes, 0)).to(flat.dtype).to(flat.device, non_blocking=True)
    pieces = iter((bx.move_boxes if key == "boxes" else bx.move_points)(flat, rows).split(sizes))
    for t in out:
        if t.get(key) is not None:
            t[key] = next(pieces) if key == "boxes" else Outlines(next(pieces) for _ in t[key])


def select(target: Target, keep: NDArray[np.bool_]) -> Target:
    """The target with only the objects where ``keep`` (N,) is true; every key of length N follows."""
    if keep.all():
        return dict(target)
    rows = np.flatnonzero(keep)

    def pick(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[torch.from_numpy(rows).to(value.device)] if value.ndim and len(value) == len(keep) else value
        if isinstance(value, np.ndarray):
            return value[rows] if value.ndim and len(value) == len(keep) else value
        if isinstance(value, (list, tuple)) and len(value) == len(keep):
            picked = [value[i] for i in rows]
            return tuple(picked) if isinstance(value, tuple) else picked
        return value

    return {k: pick(v) for k, v in target.items()}


def on_device(targets: Sequence[Target], device: torch.device) -> Targets:
    """The targets with all their tensors on a device, by one copy per key instead of one per object."""
    out = [dict(t) for t in targets]
    if device.type == "cpu" and all(v.device.type == "cpu" for t in out for v in t.values() if isinstance(v, Tensor)):
        return out
    for key in {k for t in out for k in t}:
        holders = [t for t in out if isinstance(t.get(key), Tensor)]
        lists = [t for t in out if isinstance(t.get(key), list) and all(isinstance(p, Tensor) for p in t[key])]
        parts = [t[key] for t in holders] + [p for t in lists for p in t[key]]
        same = len({(p.dtype, p.shape[1:], p.device) for p in parts}) == 1 and all(p.ndim for p in parts)
        if not same:  # scalars or mixed kinds: one by one
            for t in holders:
                t[key] = t[key].to(device, non_blocking=True)
            for t in lists:
                t[key] = [p.to(device, non_blocking=True) for p in t[key]]
            continue
        flat = torch.cat(parts)
        if device.type == "cuda" and not flat.is_cuda:
            flat = flat.pin_memory()
        pieces = iter(flat.to(device, non_blocking=True).split([len(p) for p in parts]))
        for t in holders:
            t[key] = next(pieces)
        for t in lists:
            t[key] = [next(pieces) for _ in t[key]]
    return out
