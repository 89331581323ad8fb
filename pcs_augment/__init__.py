"""GPU image augmentation that models the noise of real microscopes: see README.md and ``default_pipeline``."""

from .base import Augmentation, Step
from .data import PCSDataset, collate
from .errors import DataError, InputError, OutputError, PcsError
from .loader import AugmentedLoader, DrawingCollate
from .noise import blend, equalize, equalize_8bit, interference, noise_layer, perlin
from .pipeline import Pipeline, default_pipeline
from .plan import Plan
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

__version__ = "0.3.0"

__all__ = [
    "Augmentation",
    "AugmentedLoader",
    "Blur",
    "Brightness",
    "Contrast",
    "DataError",
    "Displace",
    "DrawingCollate",
    "Flip",
    "GaussianNoise",
    "Highlight",
    "ImpulseNoise",
    "InputError",
    "InterferenceLayer",
    "KeepDetectable",
    "MinEdge",
    "OutputError",
    "Overlay",
    "PCSDataset",
    "PcsError",
    "PerlinLayer",
    "Pipeline",
    "Plan",
    "Rotate90",
    "Splines",
    "Step",
    "blend",
    "collate",
    "default_pipeline",
    "equalize",
    "equalize_8bit",
    "interference",
    "noise_layer",
    "perlin",
]
