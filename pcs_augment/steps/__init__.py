"""The steps and filters, one file per row of the published table (paper, Table S1)."""

import torch

from .camera import JPEG, Saturate, Sharpen
from .crop import RandomCrop
from .debris import Debris
from .displace import Displace
from .drop import DropEdge
from .filters import KeepDetectable, MinEdge
from .geometry import Flip, Rotate90
from .grain import Grain
from .highlight import Highlight
from .illumination import Invert, Vignette
from .layers import InterferenceLayer, PerlinLayer
from .marks import Marks
from .overlay import Overlay
from .pixel_noise import GaussianNoise, ImpulseNoise
from .polarisers import CrossedPolarisers
from .scratches import Scratches
from .smooth import Blur
from .splines import Splines
from .tone import Brightness, Contrast
from .wall import WellWall

__all__ = [
    "JPEG",
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
]

# torch.load makes steps that were saved: a step is its arguments, making one runs no code of a file's
torch.serialization.add_safe_globals([globals()[name] for name in __all__])
