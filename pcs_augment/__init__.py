"""Batched image augmentation that models the noise of real microscopes, on any torch device: see ``default_pipeline``.

The examples of this package begin with four pictures of the bundled sample:

    >>> import numpy as np
    >>> import torch
    >>> import pcs_augment as pa
    >>> from pcs_augment.sample import sample_path
    >>> data = pa.PcsDataset(sample_path())
    >>> images, targets, index = pa.collate([data[i] for i in range(4)])
    >>> images.shape, images.dtype
    (torch.Size([4, 1, 384, 384]), torch.uint8)
    >>> targets[0]["boxes"].shape  # cx, cy, w, h in px, theta in radians
    torch.Size([37, 5])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Augmentation, Step
    from .data import PCSDataset, PcsDataset, collate
    from .errors import DataError, InputError, OutputError, PcsError
    from .keys import Target
    from .loader import AugmentedLoader, DrawingCollate
    from .microscope import microscope_pipeline
    from .noise.blend import blend as blend
    from .noise.equalize import equalize as equalize
    from .noise.equalize import equalize_8bit as equalize_8bit
    from .noise.interference import interference as interference
    from .noise.layer import noise_layer as noise_layer
    from .noise.perlin import perlin as perlin
    from .pipeline import Pipeline, default_pipeline
    from .plan import Plan
    from .steps import (
        JPEG,
        Blur,
        Brightness,
        Contrast,
        CrossedPolarisers,
        Debris,
        Displace,
        DropEdge,
        Flip,
        GaussianNoise,
        Grain,
        Highlight,
        ImpulseNoise,
        InterferenceLayer,
        Invert,
        KeepDetectable,
        Marks,
        MinEdge,
        Overlay,
        PerlinLayer,
        RandomCrop,
        Rotate90,
        Saturate,
        Scratches,
        Sharpen,
        Splines,
        Vignette,
        WellWall,
    )
    from .warming import warm_up

__version__ = "0.3.0"

__all__ = [
    "JPEG",
    "Augmentation",
    "AugmentedLoader",
    "Blur",
    "Brightness",
    "Contrast",
    "CrossedPolarisers",
    "DataError",
    "Debris",
    "Displace",
    "DrawingCollate",
    "DropEdge",
    "Flip",
    "GaussianNoise",
    "Grain",
    "Highlight",
    "ImpulseNoise",
    "InputError",
    "InterferenceLayer",
    "Invert",
    "KeepDetectable",
    "Marks",
    "MinEdge",
    "OutputError",
    "Overlay",
    "PCSDataset",
    "PcsDataset",
    "PcsError",
    "PerlinLayer",
    "Pipeline",
    "Plan",
    "RandomCrop",
    "Rotate90",
    "Saturate",
    "Scratches",
    "Sharpen",
    "Splines",
    "Step",
    "Target",
    "Vignette",
    "WellWall",
    "blend",
    "collate",
    "default_pipeline",
    "equalize",
    "equalize_8bit",
    "interference",
    "microscope_pipeline",
    "noise_layer",
    "perlin",
    "warm_up",
]

_HOMES = {  # where each public name lives
    "base": ("Augmentation", "Step"),
    "data": ("PCSDataset", "PcsDataset", "collate"),
    "errors": ("DataError", "InputError", "OutputError", "PcsError"),
    "keys": ("Target",),
    "loader": ("AugmentedLoader", "DrawingCollate"),
    "microscope": ("microscope_pipeline",),
    "noise": ("blend", "equalize", "equalize_8bit", "interference", "noise_layer", "perlin"),
    "pipeline": ("Pipeline", "default_pipeline"),
    "plan": ("Plan",),
    "steps": (
        "Blur",
        "Brightness",
        "Contrast",
        "CrossedPolarisers",
        "Debris",
        "Displace",
        "DropEdge",
        "Flip",
        "GaussianNoise",
        "Grain",
        "Highlight",
        "ImpulseNoise",
        "InterferenceLayer",
        "Invert",
        "JPEG",
        "KeepDetectable",
        "Marks",
        "MinEdge",
        "Overlay",
        "PerlinLayer",
        "RandomCrop",
        "Rotate90",
        "Saturate",
        "Scratches",
        "Sharpen",
        "Splines",
        "Vignette",
        "WellWall",
    ),
    "warming": ("warm_up",),
}
_MODULES = (
    "base",
    "boxes",
    "checks",
    "data",
    "dispatch",
    "errors",
    "freeze",
    "gallery",
    "images",
    "loader",
    "microscope",
    "noise",
    "pipeline",
    "plan",
    "published",
    "ragged",
    "raster",
    "reference",
    "rng",
    "steps",
    "targets",
    "warming",
)  # that were there once the package was imported


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are first used (PEP 562), so that the files, errors and commands cost no torch."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
