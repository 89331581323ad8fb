"""All Triton twins under one name; importing this needs Triton 3.4, which comes with torch 2.8 on."""

import triton

if tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 4):
    raise ImportError(f"they need Triton 3.4, the oldest that they have been compiled with, found {triton.__version__}")

from .equalization import equalize_rows
from .layers import add_layers
from .outlines import draw_curves, object_spread, paint_objects
from .pixels import add_impulses, add_noise, blur, mask, scale, stretch, turn
from .random import halves

__all__ = [
    "add_impulses",
    "add_layers",
    "add_noise",
    "blur",
    "draw_curves",
    "equalize_rows",
    "halves",
    "mask",
    "object_spread",
    "paint_objects",
    "scale",
    "stretch",
    "turn",
]
