"""Objects as kornia parameters: padded tensors, so that ``params=`` replays what looks at them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import boxes as bx
from ... import targets as tg
from ...errors import InputError
from ...targets import Instances

Params = dict[str, Tensor]


def gathered(outlines: object) -> Instances:
    """Outlines in any form that ``set_outlines`` takes."""
    if not isinstance(outlines, (list, tuple)):
        raise InputError(f"outlines must be a list with one entry per image, got {type(outlines).__name__}")
    targets: list[dict[str, Any]] = []
    boxless: list[bool] = []
    for i, entry in enumerate(outlines):
        if not isinstance(entry, (dict, list, tuple)):
            raise InputError(f"outlines[{i}] must be a list of (K, 2) polygons or a target dict, got {type(entry).__name__}")
        target = dict(entry) if isinstance(entry, dict) else {"polygons": list(entry)}
        missing = target.get("boxes") is None and target.get("polygons") is not None
        if missing:
            target["boxes"] = np.tile([0.0, 0, 1, 1, 0], (len(target["polygons"]), 1))
        targets.append(target)
        boxless += [missing] * len(target.get("boxes", ()))
    instances = tg.flatten([{k: v for k, v in t.items() if k in ("boxes", "polygons")} for t in targets], len(targets))
    each = np.split(instances.points, np.cumsum(instances.corners)[:-1])
    boxes = [bx.min_area_box(p) if m else b for p, b, m in zip(each, instances.boxes, boxless)]
    return replace(instances, boxes=np.reshape(boxes, (-1, 5)))


def packed(instances: Instances) -> Params:
    """Objects as padded float64 tensors."""
    i, corners = instances, instances.corners
    size = (i.images, int(i.counts().max(initial=0)))
    boxes = np.full((*size, 5), np.nan)
    boxes[i.sample, i.object] = i.boxes
    outlines = np.full((*size, int(corners.max(initial=0)), 2), np.nan)
    within = np.arange(len(i.points)) - np.repeat(np.cumsum(corners) - corners, corners)
    outlines[np.repeat(i.sample, corners), np.repeat(i.object, corners), within] = i.points
    return {"boxes": torch.from_numpy(boxes), "outlines": torch.from_numpy(outlines)}


def unpacked(params: Params) -> Instances:
    """The inverse of ``packed``."""
    boxes, outlines = params["boxes"].double().cpu().numpy(), params["outlines"].double().cpu().numpy()
    present = ~np.isnan(boxes[..., 0])
    given = ~np.isnan(outlines[..., 0])
    sample, ordinal = np.nonzero(present)
    return Instances(len(boxes), sample, ordinal, boxes[present], outlines[given], given.sum(-1)[present])
