"""How a network looks at photographs: at which scales, for crystals of which sizes, from which score on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from ..errors import InputError
from ..photographs.grey import Matching, check_matching

FINEST = 2.0  # a picture is magnified by so much at most
SOUGHT = 0.2  # score of what is looked for, at most: places and scales together decide about what is reported
VIEWS = (1, 2, 4, 8)  # orientations of a photograph that can be looked at
SEEN = 800  # px of the longer side that the finest scale shows at least, if the photograph has them


def sought_for(score: float) -> float:
    """Score from which on a network looks for crystals, if these are reported from ``score`` on."""
    return min(score, SOUGHT)


@dataclass(frozen=True)
class Look:
    """What suits a network, unless the user says otherwise.

    Attributes:
        score: least score of crystals, 0 to 1.
        iou: of boxes that overlap by more, the one with the highest score stays.
        grey: how grey values are brought to those of training (``photographs.grey.matched``).
        scales: at which it looks at a photograph, falling; at 0.5 the photograph is halved.
        least, most: px as the network sees them, of a crystal's longer side. Shorter ones are left to the finer scales and
            longer ones to the coarser, as far as there are any.
        largest: px as the network sees them, of crystals in training.
        average: whether a crystal's box is the mean of what the places around it say (``decoding.averaged``).
        views: orientations in which it looks at a photograph: 1, 2, 4 or 8 (``views.Views``).
    """

    score: float = 0.2
    iou: float = 0.3
    grey: Matching = "shift"
    scales: tuple[float, ...] = (1.0,)
    least: float = 0.0
    most: float = math.inf
    largest: float = 384.0
    average: bool = False
    views: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(float(s) for s in self.scales))
        for name, value in (("score", self.score), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}; it takes a number from 0 to 1")
        check_matching(self.grey)
        check_scales(self.scales)
        check_views(self.views)
        if not 0 <= self.least < self.most:
            raise InputError(f"sizes from {self.least} to {self.most} px; give two numbers, the smaller one first")

    def plain(self) -> dict[str, Any]:
        """As data that JSON holds: an unlimited size is left out."""
        return {k: v for k, v in asdict(self).items() if v != math.inf}

    @property
    def sought(self) -> float:
        """Score from which on a network looks for crystals (``sought_for``)."""
        return sought_for(self.score)

    def sizes(self, scales: Sequence[float]) -> list[tuple[float, float]]:
        """The range of longer sides, in px as the network sees them, that counts at each of ``scales``, falling."""
        last = len(scales) - 1
        return [(0.0 if k == 0 else self.least, math.inf if k == last else self.most) for k in range(len(scales))]

    def needed(self, size: tuple[int, int]) -> tuple[float, ...]:
        """The scales that a photograph of ``size`` (H, W) px needs.

        Coarser ones only where crystals could be that large; and finer ones, up to twice as fine as the photograph, where it
        would have fewer than SEEN px: cameras of few px show crystals with few px.
        """
        finest = self.scales[0]
        finer: list[float] = []
        while len(self.scales) > 1 and finest * 2 <= FINEST and max(size) * finest < SEEN:
            finest *= 2
            finer.insert(0, finest)
        every = [*finer, *self.scales]
        kept = every[:1]
        for scale in every[1:]:
            if max(size) * kept[-1] <= self.most:
                break
            kept.append(scale)
        return tuple(kept)


def check_views(count: int) -> None:
    """Raises InputError for another number of orientations than those of VIEWS."""
    if count not in VIEWS:
        raise InputError(f"views is {count}; it takes {', '.join(map(str, VIEWS[:-1]))} or {VIEWS[-1]} orientations")


def check_scales(scales: Sequence[float]) -> None:
    """Raises InputError for what are no factors, falling."""
    falling = all(a > b for a, b in pairwise(scales))
    if not scales or not all(0 < s < math.inf for s in scales) or not falling:
        raise InputError(
            f"scale is {list(scales)}; it takes positive factors, the largest first, 1 for photographs as they are"
        )
