"""Photographs: found, read as grey values, with the scale and the time that files give."""

from .finding import find_photographs, search
from .frames import Frame, Projection, Scale
from .fringes import without_fringes
from .grey import Grey, Matching, grey_values, matched
from .reading import Levels, frames_of, read_levels, read_photograph

__all__ = [
    "Frame",
    "Grey",
    "Levels",
    "Matching",
    "Projection",
    "Scale",
    "find_photographs",
    "frames_of",
    "grey_values",
    "matched",
    "read_levels",
    "read_photograph",
    "search",
    "without_fringes",
]
