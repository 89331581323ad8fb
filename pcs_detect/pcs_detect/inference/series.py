"""One white level for photographs of one series: cameras of 10, 12 and 14 bits leave the upper bits of 16 empty, and what is
guessed of each photograph alone would change the contrast from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..photographs.frames import Frame
from ..photographs.grey import plain_levels, scale_for
from ..photographs.reading import Levels

Series = tuple[Path, str, tuple[int, int]]


class Doubt(NamedTuple):
    """Why a series has no white. name: of the photograph whose levels say so; why: what they say."""

    name: str
    why: str

    def about(self, name: str) -> str:
        """What to say of a photograph of the series."""
        if name == self.name:
            return self.why
        return f"photographs of one folder, kind and size share one level of white, which {self.name} leaves open: {self.why}"


def series_of(frame: Frame) -> Series:
    """Photographs of one folder with pixels of one kind and of one size are a series."""
    return frame.path.parent, frame.depth, frame.size


def largest_level(levels: Levels) -> float:
    """The largest level of a photograph. Raises DataError for what is no image."""
    return float(plain_levels(levels.pixels).max())


def whites_of(largest: Mapping[Series, Mapping[str, float]]) -> tuple[dict[Series, float], dict[Series, Doubt]]:
    """({series: its white}, {series: why there is none}) from the largest level of each photograph, by name, of each series."""
    whites, doubts = {}, {}
    for series, levels in largest.items():
        name = max(levels, key=lambda n: levels[n])
        try:
            whites[series] = scale_for(np.dtype(series[1]).kind, levels[name])
        except DataError as e:
            doubts[series] = Doubt(name, str(e))
    return whites, doubts


def described(whites: Mapping[Series, float], count: Mapping[Series, int]) -> list[str]:
    """What the user should know of guessed whites."""
    notes: dict[tuple[str, float], int] = {}
    for series, white in whites.items():
        key: Any = (series[1], white)
        notes[key] = notes.get(key, 0) + count[series]
    return [
        f"{n} photograph{'s' if n > 1 else ''} of {depth}: white is taken to be {white:g}, the smallest full scale that holds "
        "all of a series; --white says it otherwise"
        for (depth, white), n in notes.items()
    ]
