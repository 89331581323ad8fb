"""All numba twins under one name; importing this needs numba."""

from .outlines import coat, filled, move, move_boxes, object_spread, strokes
from .pixels import (
    add_curves,
    add_impulses,
    add_noise,
    add_offsets,
    blend,
    blur,
    mask,
    scale,
    stretch,
)
from .streams import first_words, philox, words
from .textures import add_perlin, add_waves, equalize_row

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
    "equalize_row",
    "filled",
    "first_words",
    "mask",
    "move",
    "move_boxes",
    "object_spread",
    "philox",
    "scale",
    "stretch",
    "strokes",
    "words",
]
