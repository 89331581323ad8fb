"""The steps and filters, one file per row of the published table (paper, Table S1)."""

from .crop import RandomCrop
from .displace import Displace
from .drop import DropEdge
from .filters import KeepDetectable, MinEdge
from .geometry import Flip, Rotate90
from .grain import Grain
from .highlight import Highlight
from .illumination import Invert, Vignette
from .layers import InterferenceLayer, PerlinLayer
from .overlay import Overlay
from .pixel_noise import GaussianNoise, ImpulseNoise
from .smooth import Blur
from .splines import Splines
from .tone import Brightness, Contrast
from .wall import WellWall

__all__ = [
    "Blur",
    "Brightness",
    "Contrast",
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
    "MinEdge",
    "Overlay",
    "PerlinLayer",
    "RandomCrop",
    "Rotate90",
    "Splines",
    "Vignette",
    "WellWall",
]
