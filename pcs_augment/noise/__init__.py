"""Noise textures, equalisation, layers and blending (paper: Data augmentation, Eqs. 9 to 12)."""

from .blend import blend
from .equalize import equalize, equalize_8bit
from .interference import interference
from .layer import noise_layer
from .perlin import perlin

__all__ = ["blend", "equalize", "equalize_8bit", "interference", "noise_layer", "perlin"]
