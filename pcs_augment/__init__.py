"""GPU image augmentation that models the noise of real microscopes: see README.md and ``default_pipeline``."""

from .base import Augmentation, Step
from .data import PCSDataset, collate
from .errors import DataError, InputError, OutputError, PcsError
from .loader import AugmentedLoader, DrawingCollate
from .microscope import microscope_pipeline
from .noise import blend, equalize, equalize_8bit, interference, noise_layer, perlin
from .pipeline import Pipeline, default_pipeline
from .plan import Plan
from .steps import (
    Blur,
    Brightness,
    Contrast,
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
    MinEdge,
    Overlay,
    PerlinLayer,
    RandomCrop,
    Rotate90,
    Splines,
    Vignette,
    WellWall,
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
    "MinEdge",
    "OutputError",
    "Overlay",
    "PCSDataset",
    "PcsError",
    "PerlinLayer",
    "Pipeline",
    "Plan",
    "RandomCrop",
    "Rotate90",
    "Splines",
    "Step",
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
]
