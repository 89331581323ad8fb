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
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors, which do not run ``__getattr__``; a test compares
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

# where the names live, in the order in which they are looked for: what loads little comes first
_HOMES = ("errors", "plan", "keys", "data", "base", "noise", "steps", "pipeline", "microscope", "loader", "warming")


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are first used (PEP 562), so that the files, errors and commands cost no torch."""
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                return globals().setdefault(name, getattr(module, name))
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
