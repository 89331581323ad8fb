"""Objects that a step outlines anew: their tables in a plan, and the targets with them.

A step that cuts objects (a crop, the edge of a drop) puts three tables into its plan: ``placed``, the objects with new boxes;
``outlines``, the corners of their new outlines, object after object; ``dropped``, the objects that are no longer visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .keys import in_kind, tensor
from .plan import Table, Tables
from .ragged import AnyTarget, AnyTargets, Outlines
from .targets import Instances
from .transfer import send

_BOX = ("cx", "cy", "w", "h", "theta")


def tables(instances: Instances | None, changed: NDArray[np.bool_], keep: NDArray[np.bool_]) -> Tables:
    """The three tables for N objects: those ``changed`` (N,) with their boxes and outlines, and those not to ``keep`` (N,)."""
    if instances is None:
        none, empty = np.zeros(0, np.int64), np.zeros((0, 2))
        instances, changed, keep = Instances(0, none, none, np.zeros((0, 5)), empty, none), none.astype(bool), none.astype(bool)
    mine = instances.picked(changed)
    placed = {"sample": mine.sample, "object": mine.object, "corners": mine.corners}
    return {
        "placed": placed | {name: mine.boxes[:, i] for i, name in enumerate(_BOX)},
        "outlines": {"sample": np.repeat(mine.sample, mine.corners), "x": mine.points[:, 0], "y": mine.points[:, 1]},
        "dropped": {"sample": instances.sample[~keep], "object": instances.object[~keep]},
    }


def remaining(instances: Instances, made: Tables) -> Instances:
    """The objects after a step with these tables: outlined anew, without those that were dropped."""
    placed, outlines, dropped = made["placed"], made["outlines"], made["dropped"]
    if len(placed["sample"]):
        rows = _rows(instances, placed)
        boxes, corners = instances.boxes.copy(), instances.corners.copy()
        boxes[rows] = np.stack([placed[name] for name in _BOX], -1)
        corners[rows] = placed["corners"]
        changed = np.zeros(len(corners), bool)
        changed[rows] = True
        points = np.empty((int(corners.sum()), 2))
        points[np.repeat(changed, corners)] = np.stack((outlines["x"], outlines["y"]), -1)
        points[np.repeat(~changed, corners)] = instances.points[np.repeat(~changed, instances.corners)]
        instances = Instances(instances.images, instances.sample, instances.object, boxes, points, corners)
    if len(dropped["sample"]):
        stay = np.ones(len(instances.sample), bool)
        stay[_rows(instances, dropped)] = False
        instances = instances.picked(stay)
    return instances


def _rows(instances: Instances, table: Table) -> NDArray[np.int64]:
    """Where the objects of a table stand among the instances; both are in image order, objects ascending."""
    return np.searchsorted(instances.sample << 32 | instances.object, table["sample"] << 32 | table["object"])


def drop(dropped: Table, keep: Tensor, first: NDArray[np.int64]) -> None:
    """Clear the flags of dropped objects; an image's objects start at ``first[sample]``."""
    if len(dropped["sample"]):
        rows = torch.from_numpy(first[dropped["sample"]] + dropped["object"])
        keep.index_fill_(0, send(rows, keep.device), False)


def placed(targets: Sequence[AnyTarget], objects: Table, outlines: Table) -> AnyTargets:
    """The targets with new boxes, and where they have polygons new outlines, for the objects of the tables."""
    out = [dict(t) for t in targets]
    boxes = np.stack([objects[name] for name in _BOX], -1)
    points = np.stack((outlines["x"], outlines["y"]), -1)
    samples, start = np.unique(objects["sample"], return_index=True)
    stop = np.append(start[1:], len(boxes))
    corner = np.append(0, np.cumsum(objects["corners"]))
    for i, a, b in zip(samples.tolist(), start.tolist(), stop.tolist()):
        rows, target = objects["object"][a:b], out[i]
        target["boxes"] = _with_rows(target["boxes"], rows, boxes[a:b])
        polygons = target.get("polygons")
        if polygons is not None:
            mine = points[corner[a] : corner[b]]
            target["polygons"] = _with_outlines(polygons, rows, mine, objects["corners"][a:b])
    return out


def _with_rows(values: Any, rows: NDArray[np.int64], new: NDArray[np.float64]) -> Any:
    if isinstance(values, Tensor):
        kind = values.dtype if values.is_floating_point() else torch.float32
        index = send(torch.from_numpy(rows), values.device)
        return values.to(kind).index_copy(0, index, send(torch.from_numpy(new).to(kind), values.device))
    copy = np.array(values, dtype=np.result_type(np.asarray(values).dtype, np.float32))
    copy[rows] = new
    return in_kind(torch.from_numpy(copy), values)


def _with_outlines(polygons: Any, rows: NDArray[np.int64], points: NDArray, corners: NDArray[np.int64]) -> Outlines:
    model = next((p for p in polygons if isinstance(p, Tensor)), torch.zeros(0))
    kind = model.dtype if model.is_floating_point() else torch.float32
    new = Outlines.split(send(torch.from_numpy(points).to(kind), model.device), corners)
    if len(rows) == len(polygons):
        return new
    out = [tensor(p) for p in polygons]
    for row, outline in zip(rows.tolist(), new):
        out[row] = outline
    return Outlines(p.to(kind) for p in out)
