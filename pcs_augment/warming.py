"""Compiling kernels before they are needed: a training would otherwise wait for one when a rare step first acts."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from .base import Augmentation, Step
from .checks import check_shape
from .errors import InputError
from .pipeline import default_pipeline
from .plan import Plan
from .targets import AnyTargets, Outlines

_IMAGES, _OBJECTS, _EPOCHS = 4, 12, 3


def warm_up(shape: Sequence[int], device: torch.device | str | None = None, pipeline: Augmentation | None = None) -> None:
    """Compile and run every kernel that a pipeline may use for images of a size.

    Kernels are compiled once for a size of images and kept on disk: the first time takes a minute or so, later ones seconds.

    Args:
        shape: (B, C, H, W) of the batches to come; at most four images are made.
        device: Where they will be; default "cuda" where there is one, else "cpu".
        pipeline: What they will be augmented with; default ``pa.default_pipeline()``.

    Raises:
        InputError: The shape is none, or the pipeline is no augmentation of this library.

    Examples:
        >>> pa.warm_up((2, 1, 32, 32), "cpu", pa.Pipeline([pa.Blur(), pa.Flip()]))  # before training: the sizes of training
    """
    where = torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
    size = check_shape(shape)
    whole = default_pipeline() if pipeline is None else pipeline
    if not isinstance(whole, Augmentation):
        raise InputError(f"pipeline must be a pa.Pipeline or a step, got {type(whole).__name__}")
    for step, targets, plan in _work(whole, (min(size[0], _IMAGES), *size[1:])):
        step.apply(torch.full(plan.shape, 0.5, device=where), targets, plan)
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def _work(pipeline: Augmentation, shape: tuple[int, int, int, int]) -> Iterator[tuple[Step, AnyTargets, Plan]]:
    """Every step, certain to act, on batches that take its branches."""
    for step in pipeline.sequence():
        certain = copy.copy(step)
        certain.p = 1.0
        targets = _objects(shape)
        for epoch in range(_EPOCHS):
            yield certain, targets, certain.draw(shape, targets, epoch=epoch)
        shape = (shape[0], *step.output_size(shape)[1:])


def _objects(shape: tuple[int, int, int, int]) -> AnyTargets:
    """Boxes all over the images, their outlines hexagons, some with a dent."""
    rng, (height, width) = np.random.default_rng(0), shape[2:]
    turns = np.arange(6) * (np.pi / 3)
    targets: AnyTargets = []
    for _ in range(shape[0]):
        sides = rng.uniform(0.05, 0.3, (_OBJECTS, 2)) * min(height, width) + 0.5
        centres = rng.uniform(0, 1, (_OBJECTS, 2)) * (width, height)
        boxes = np.concatenate((centres, np.sort(sides)[:, ::-1], rng.uniform(-1.5, 1.5, (_OBJECTS, 1))), 1)
        corners = np.stack((np.cos(turns), np.sin(turns)), -1)
        dent = corners * np.where(np.arange(6) == 1, 0.2, 1.0)[:, None]
        forms = [corners if n % 3 else dent for n in range(_OBJECTS)]
        outlines = Outlines(torch.from_numpy(c + f * s / 2).float() for c, f, s in zip(centres, forms, sides))
        targets.append({"boxes": torch.from_numpy(boxes).float(), "polygons": outlines})
    return targets
