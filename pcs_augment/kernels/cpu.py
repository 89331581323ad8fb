"""All numba twins under one name; importing this needs numba."""

from .outlines import coat, filled, move, object_spread, strokes
from .pixels import (
    add_curves,
    add_impulses,
    add_noise,
    add_offsets,
    add_perlin,
    add_waves,
    blend,
    blur,
    mask,
    philox,
    scale,
    stretch,
)

__all__ = [
    "add_curves",
    "add_impulses",
    "add_noise",
    "add_offsets",
    "add_perlin",
    "add_waves",
    "blend",
    "blur",
    "coat",
    "filled",
    "mask",
    "move",
    "object_spread",
    "philox",
    "scale",
    "stretch",
    "strokes",
]
