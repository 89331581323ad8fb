"""Pipeline: steps in order; and the published pipeline as the default one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from .base import Augmentation, Step
from .errors import InputError
from .rng import check_seed
from .steps import (
    Blur,
    Brightness,
    Contrast,
    Displace,
    Flip,
    GaussianNoise,
    Highlight,
    ImpulseNoise,
    InterferenceLayer,
    KeepDetectable,
    MinEdge,
    Overlay,
    PerlinLayer,
    Rotate90,
    Splines,
)


class Pipeline(Augmentation):
    """Steps applied in order, each keyed by its position; the steps' own seeds are not used.

    Args:
        steps: what to apply.
        seed: of all random numbers, 0 .. 2^64 - 1.
        per_object: names of further keys of targets that hold one entry per object, removed with their objects.
        per_image: names of further keys that belong to the image, whatever their length.

    Raises:
        InputError: something else than a step, or a key that cannot be named so.

    Examples:
        >>> pipeline = pa.Pipeline([pa.Blur(p=0.5), pa.Flip()], seed=1)
        >>> augmented, followed = pipeline(images, targets, index=index, epoch=0)
    """

    def __init__(
        self, steps: Iterable[Step], seed: int = 0, per_object: Sequence[str] = (), per_image: Sequence[str] = ()
    ) -> None:
        super().__init__()
        chosen = list(steps)
        for s in chosen:
            if not isinstance(s, Step):
                raise InputError(
                    f"a pipeline is made of steps such as pa.Blur(), got {type(s).__name__}; "
                    "splice another pipeline with *its.steps"
                )
        self.steps = nn.ModuleList(chosen)
        self.seed = check_seed(seed)
        self.per_object, self.per_image = per_object, per_image
        _ = self.keys  # refuses wrong names at once

    def sequence(self) -> Sequence[Step]:
        return list(self.steps)  # type: ignore[arg-type]


torch.serialization.add_safe_globals([Pipeline, nn.ModuleList])  # a saved pipeline is nothing else


def default_pipeline(
    seed: int = 0,
    min_edge: float = 0.0,
    threshold: int = 0,
    published: bool = False,
    per_object: Sequence[str] = (),
    per_image: Sequence[str] = (),
) -> Pipeline:
    """The published pipeline (paper: Data augmentation, Fig. 2, Table S1) with better defaults where the published code errs.

    Args:
        seed: of all random numbers, 0 .. 2^64 - 1.
        min_edge: objects with a side below this many px are dropped first.
        threshold: objects whose grey values span at most this many 8-bit levels, 0 .. 255, are dropped last.
        published: what the published code does instead: Gaussians of 2 px whatever the kernel, 8-bit equalisation, Perlin
            textures that start on a lattice point, alternating displacement, which needs square images, and mirrored
            highlights.
        per_object: names of further keys of targets that belong to objects, see ``Pipeline``.
        per_image: names of further keys that belong to images.

    Returns:
        The pipeline; what comes out has the size of what goes in.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> pipeline = pa.default_pipeline(seed=0)
        >>> augmented, visible = pipeline(images, targets, index=index, epoch=3)
        >>> augmented.shape, augmented.dtype
        (torch.Size([4, 1, 384, 384]), torch.float32)
        >>> len(pipeline.steps)
        16
    """
    sigma = 2.0 if published else None
    bins = 256 if published else None
    return Pipeline(
        [
            MinEdge(min_edge),
            Highlight(p=0.5, sigma=sigma, mirrored=published),
            Splines(p=0.2),
            Displace(p=0.05, alternate=published),
            GaussianNoise(p=0.4),
            ImpulseNoise(p=0.2),
            Brightness(),
            Contrast(),
            InterferenceLayer(p=0.4, bins=bins),
            PerlinLayer(p=0.4, bins=bins, offset=not published),
            Contrast(),
            Overlay(p=0.2, sigma=sigma),
            Blur(p=0.7, sigma=sigma),
            Rotate90(),
            Flip(),
            KeepDetectable(threshold),
        ],
        seed=seed,
        per_object=per_object,
        per_image=per_image,
    )
