"""The shapes of crystals: a collection grown from point groups, known habits, OBJ files, and pictures of them."""

from .collect import SHARES, collection, shapes
from .shape import KINDS, Shape

__all__ = ["KINDS", "SHARES", "Shape", "collection", "shapes"]
