"""The user's list of dicts <-> one flat, ragged set of instances.

One dict per image: ``boxes (N, 5)``, ``labels (N,)``, optional ``polygons`` (list of N ``(K, 2)`` outlines) and whatever else
``pcs_augment.keys`` names.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import boxes as bx
from .dispatch import on_host
from .errors import InputError
from .keys import PLACED, STANDARD, Keys, Labelled, check_keys, check_places, copied, in_kind, moved_place, tensor
from .ragged import AnyTarget, AnyTargets, Column, Joined, Late, LateTarget, Outlines, fill, join, joined_outlines
from .transfer import send

__all__ = [
    "AnyTarget",
    "AnyTargets",
    "Instances",
    "Keys",
    "Outlines",
    "check_list",
    "check_places",
    "flatten",
    "follow",
    "on_device",
    "select",
]


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
        per_image = np.bincount(self.sample, self.corners, self.images).astype(np.int64)
        boxes, points = moved_boxes(self.boxes, matrix, self.sample), moved_points(self.points, matrix, per_image)
        return replace(self, boxes=boxes, points=points)

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
            self.boxes.compress(chosen, 0),  # several times as fast as indexing rows with a mask
            self.points.compress(np.repeat(chosen, self.corners), 0),
            self.corners[chosen],
        )


@on_host
def moved_points(points: NDArray, matrix: NDArray, counts: NDArray[np.int64]) -> NDArray:
    """(V, 2) points, ``counts`` of them for each (2, 3) symmetry in turn."""
    return bx.move_points(points, np.repeat(matrix, counts, 0))


@on_host
def moved_boxes(boxes: NDArray, matrix: NDArray, sample: NDArray[np.int64]) -> NDArray:
    """(N, 5) boxes under the (2, 3) symmetries of their samples."""
    return bx.move_boxes(boxes, matrix[sample])


def flatten(targets: Sequence[AnyTarget], images: int, keys: Keys = STANDARD, size: Sequence[int] | None = None) -> Instances:
    """Check the targets of a batch and gather them on the host. Raises InputError naming image, object and value."""
    check_list(targets, images, keys, size)
    counts = [length(t["boxes"]) for t in targets]
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

    outlines = [
        torch.from_numpy(bx.box_corners(boxes[sample == i])).unbind() if t.get("polygons") is None else t["polygons"]
        for i, t in enumerate(targets)
    ]
    try:
        parts = [joined_outlines(p) for p in outlines if len(p)]
        points = _as_float64(torch.cat([p for p, _ in parts])) if parts else np.zeros((0, 2))
        corners = np.concatenate([np.zeros(0, np.int64), *(c for _, c in parts)])
        odd = points.ndim != 2 or points.shape[1] != 2
    except (TypeError, ValueError, RuntimeError):
        odd = True
    if odd:
        single = [p for image in outlines for p in image]
        for j, p in enumerate(single):
            if np.ndim(p) != 2 or np.shape(p)[1] != 2:
                raise InputError(
                    f"targets[{sample[j]}]['polygons'][{ordinal[j]}] has shape {tuple(np.shape(p))}; expected (K, 2)"
                )
        points = _host_rows(single, 2)
        corners = np.array([len(p) for p in single], dtype=np.int64)
    if len(corners) and corners.min() < 3:
        bad = int(np.argmin(corners))
        raise InputError(
            f"targets[{sample[bad]}]['polygons'][{ordinal[bad]}] has {corners[bad]} points; an outline needs at least 3"
        )
    if not np.isfinite(points).all():
        bad = int(np.repeat(np.arange(len(corners)), corners)[np.argmin(np.isfinite(points).all(1))])
        raise InputError(f"targets[{sample[bad]}]['polygons'][{ordinal[bad]}] has non-finite points; correct or remove it")
    return Instances(images, sample, ordinal, boxes, points, corners)


def check_list(targets: object, images: int, keys: Keys = STANDARD, size: Sequence[int] | None = None) -> None:
    """Form and lengths of the list of dicts for images of a size (H, W), without looking at values."""
    if not isinstance(targets, (list, tuple)):
        raise InputError(f"targets must be a list with one dict per image, got {type(targets).__name__}")
    if len(targets) != images:
        raise InputError(f"targets has {len(targets)} entries for {images} images; give one dict per image (empty ones too)")
    for i, t in enumerate(targets):
        if not isinstance(t, dict) or "boxes" not in t:
            raise InputError(f"targets[{i}] must be a dict with 'boxes' (N, 5), got {_describe(t)}")
        shape = tuple(t["boxes"].shape if isinstance(t["boxes"], Tensor) else np.shape(t["boxes"]))
        if len(shape) != 2 or shape[1] != 5:
            raise InputError(
                f"targets[{i}]['boxes'] has shape {shape}; expected (N, 5) rows (cx, cy, w, h, theta), "
                "(0, 5) for an empty image"
            )
        check_keys(i, t, shape[0], keys, size)


def length(values: Any) -> int:
    """``len``, which takes five times as long for a tensor."""
    return values.shape[0] if isinstance(values, Tensor) and values.ndim else len(values)


def _describe(value: object) -> str:
    return f"a dict with keys {sorted(map(str, value))}" if isinstance(value, dict) else type(value).__name__


def _as_float64(values: Tensor) -> NDArray[np.float64]:
    host = values.detach().cpu()
    # NumPy converts: waking torch's threads takes longer than the work, and milliseconds where other work keeps them busy
    return (host.double() if host.dtype == torch.bfloat16 else host).numpy().astype(np.float64)


def _host_rows(parts: Sequence[Any], width: int) -> NDArray[np.float64]:
    """Concatenate (n, width) arrays or tensors as one float64 NumPy array."""
    if not len(parts):
        return np.zeros((0, width))
    try:
        if all(isinstance(p, Tensor) for p in parts):
            return _as_float64(torch.cat(list(parts))).reshape(-1, width)
        rows = [np.asarray(p.detach().cpu() if isinstance(p, Tensor) else p, dtype=np.float64) for p in parts]
        return np.concatenate(rows).reshape(-1, width)
    except (RuntimeError, ValueError, TypeError) as e:
        raise InputError(f"boxes and polygons must be numeric arrays of one device, shaped (N, {width}): {e}") from e


_MOVED = ("boxes", "polygons")


@torch.no_grad()
def follow(
    targets: Sequence[AnyTarget],
    matrix: NDArray[np.float64] | None = None,
    keep: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
    keys: Keys = STANDARD,
) -> AnyTargets:
    """New dicts in memory of their own that go with augmented images; what is None is left as it is.

    matrix: (B, 2, 3) symmetries of the images, which places follow; keep: of all objects of the batch, those that stay, with
    all that belongs to objects; device: where all tensors go. The work is done once per key, not per object.
    """
    if keep is not None and keep.all():
        keep = None
    at_home = not any(isinstance(v, Tensor) and v.device.type != "cpu" for t in targets for v in t.values())
    if at_home and device is not None and device.type == "cpu":
        device = None
    names: tuple[str, ...]
    if device is None and (keep is None or at_home):
        names = _MOVED if matrix is not None else ()  # the rest is copied, or picked from short lists in the host's memory
    else:
        names = tuple(dict.fromkeys(k for t in targets for k in t if k not in PLACED))
    counts = [length(t["boxes"]) for t in targets]
    ends = np.cumsum([0, *counts])
    out, columns = join(targets, names)
    for key, column in list(columns.items()):
        alone = keep is not None and key not in keys.objects
        if alone or (matrix is not None and key in _MOVED and (column.corners is None) != (key == "boxes")):
            fill(out, {key: columns.pop(key)})
    for i, target in enumerate(out):
        for key, value in target.items():
            if value is None:
                continue
            given = value
            if matrix is not None and key in _MOVED:
                value = _moved_one(key, value, matrix[i : i + 1])
            elif matrix is not None and key in PLACED:
                value = moved_place(key, value, matrix[i])
            if keep is not None and key in keys.objects:
                value = _picked(value, keep[ends[i] : ends[i + 1]])
            if device is not None:
                value = _sent_one(value, device)
            target[key] = copied(value) if value is given else value
    for key, column in columns.items():
        if keep is not None:
            column = column.picked(keep if len(column.holders) == len(targets) else _parts(keep, ends, column.holders))
        if matrix is not None and key in _MOVED:
            column = _moved(key, column, matrix)
        if device is not None:
            column = column._replace(values=send(column.values, device))
        fill(out, {key: column})
    return out


def landed(joined: Joined, keep: NDArray[np.bool_], device: torch.device, keys: Keys = STANDARD) -> AnyTargets:
    """Dicts of what was joined, without the objects that go, on a device; most of the work is done when they are read.

    keep: of all objects of the batch, those that stay.
    """
    every, ends = bool(keep.all()), np.cumsum([0, *joined.counts])
    out = [dict(target) for target in joined.rest]
    for i, target in enumerate(out):
        for key, value in target.items():
            if value is not None:  # it was not joined
                mine = value if every or key not in keys.objects else _picked(value, keep[ends[i] : ends[i + 1]])
                target[key] = _sent_one(mine, device)

    def parts(column: Column, objects: bool, points: bool) -> dict[int, Any]:
        """What the targets have of a column; of outlines, their points and numbers of corners."""
        if objects and not every:
            column = column.picked(keep if len(column.holders) == len(out) else _parts(keep, ends, column.holders))
        column = column._replace(values=send(column.values.detach(), device))
        if column.corners is None or not points:
            return dict(zip(column.holders, column.split()))
        start = np.cumsum([0, *column.sizes]).tolist()
        corners = (column.corners[a:b] for a, b in itertools.pairwise(start))
        return dict(zip(column.holders, zip(column.values.split(column.rows()), corners)))

    waiting: list[dict[str, Late]] = [{} for _ in out]
    for key, column in joined.columns.items():
        late = Late(functools.partial(parts, column, key in keys.objects, key == "polygons"))
        for i in column.holders:
            waiting[i][key] = late
    return [LateTarget.of(t, mine, i) for i, (t, mine) in enumerate(zip(out, waiting))]


def _parts(values: NDArray, ends: NDArray[np.int64], images: list[int]) -> NDArray:
    return np.concatenate([values[ends[i] : ends[i + 1]] for i in images])


def _moved(key: str, column: Column, matrix: NDArray[np.float64]) -> Column:
    values = column.values if column.values.is_floating_point() else column.values.float()
    own, rows = torch.from_numpy(matrix[column.holders]).to(values.dtype), column.rows()
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        if key == "polygons":
            points = moved_points(values.detach().numpy(), own.numpy(), np.array(rows, np.int64))
            return column._replace(values=torch.from_numpy(points))
        each = torch.from_numpy(np.repeat(own.numpy(), rows, 0))  # here, too, torch would wake its threads
    else:
        own, repeats = (send(v, values.device) for v in (own, torch.tensor(rows)))
        each = own.repeat_interleave(repeats, 0, output_size=len(values))
    return column._replace(values=(bx.move_boxes if key == "boxes" else bx.move_points)(values, each))


def _moved_one(key: str, value: Any, matrix: NDArray[np.float64]) -> Any:
    """What does not go into a column: arrays, nested lists, tensors of several types; each comes back in its own type."""
    parts = [value] if key == "boxes" else list(value)
    if not parts:
        return copied(value)
    tensors = [tensor(p) for p in parts]
    rows = np.array([len(p) for p in tensors])
    if key == "boxes":
        moved = _moved(key, Column([0], tensors[0].reshape(-1, 5), [int(rows[0])], None), matrix).values
        return in_kind(moved, value)
    if all(isinstance(p, Tensor) for p in parts):
        return _moved(key, Column([0], torch.cat(tensors), [len(rows)], rows), matrix).split()[0]
    new = [_moved(key, Column([0], t, [1], np.array([len(t)])), matrix).values for t in tensors]
    kinds = [in_kind(n, p) for n, p in zip(new, parts)]
    return np.stack(kinds) if isinstance(value, np.ndarray) else type(value)(kinds)


def _sent_one(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return send(value, device)
    if isinstance(value, list) and all(isinstance(p, Tensor) for p in value):
        return [send(p, device) for p in value]
    return value


def select(target: Labelled, keep: NDArray[np.bool_], keys: Keys = STANDARD) -> Labelled:
    """The target with only the objects where ``keep`` (N,) is true, and what belongs to them."""
    whole = bool(keep.all())
    return cast(Labelled, {k: v if whole or k not in keys.objects else _picked(v, keep) for k, v in target.items()})


def _picked(value: Any, keep: NDArray[np.bool_]) -> Any:
    rows = np.flatnonzero(keep)
    if isinstance(value, Tensor):
        return value[torch.from_numpy(rows).to(value.device)]
    if isinstance(value, np.ndarray):
        return value[rows]
    if isinstance(value, (list, tuple)):
        picked = [value[i] for i in rows]
        return tuple(picked) if isinstance(value, tuple) else picked
    return value  # None


def on_device(targets: Sequence[AnyTarget], device: torch.device) -> AnyTargets:
    """The targets with all their tensors on a device, by one copy per key instead of one per object."""
    return follow(targets, device=device)


def without_flags(targets: Sequence[AnyTarget]) -> AnyTargets:
    """The targets without the ``keep`` keys, whose work is done."""
    return [{k: v for k, v in t.items() if k != "keep"} for t in targets]
