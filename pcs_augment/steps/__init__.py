"""The steps and filters, one file per row of the published table (paper, Table S1)."""

from .displace import Displace
from .filters import KeepDetectable, MinEdge
from .geometry import Flip, Rotate90
from .highlight import Highlight
from .layers import InterferenceLayer, PerlinLayer
from .overlay import Overlay
from .pixel_noise import GaussianNoise, ImpulseNoise
from .smooth import Blur
from .splines import Splines
from .tone import Brightness, Contrast

__all__ = [
    "Blur",
    "Brightness",
    "Contrast",
    "Displace",
    "Flip",
    "GaussianNoise",
    "Highlight",
    "ImpulseNoise",
    "InterferenceLayer",
    "KeepDetectable",
    "MinEdge",
    "Overlay",
    "PerlinLayer",
    "Rotate90",
    "Splines",
]
