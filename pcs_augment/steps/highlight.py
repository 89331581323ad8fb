"""Per-object highlights (row 1): single crystals a little brighter or darker, wholly, in part, or along their outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import gaussian, raster
from ..base import Shape, Step, check_chance, check_integers, check_kernels
from ..plan import Table, Tables
from ..rng import LANE_OBJECT, LANE_PAINT, Stream, scale_integer
from ..targets import Instances
from .update import column, update

FILL, FILL_TWICE, OUTLINE = range(3)
_BORDER = 0.5  # px; a fill covers the pixels its border passes through, so crystals thinner than a pixel show


class Highlight(Step):
    """Paint grey offsets on single objects, blur them, add them to the image and clip to [0, 1].

    Each object: with chance ``fill`` its outline is filled with g / 255 - 0.5, g ~ U{grey}; of these, ``second`` get another,
    independent offset where the object overlaps a copy of itself displaced by half the box height along the short axis, either
    way; of the others, ``outline`` get their outline drawn, a whole number of px from ``width`` wide. Later objects replace
    earlier ones. Objects without polygons use their box. Without targets nothing happens.

    kernels: odd sizes of the Gaussian, equally likely per image; sigma: None from the kernel size, 2 as published;
    mirrored: displace the copy along the mirrored direction, as the published code does.
    """

    words = 4
    looks_at_objects = True

    def __init__(
        self,
        p: float = 1.0,
        fill: float = 0.2,
        second: float = 0.5,
        outline: float = 0.2,
        grey: tuple[int, int] = (90, 165),
        width: tuple[int, int] = (1, 2),
        kernels: Sequence[int] = (3, 5),
        sigma: float | None = None,
        mirrored: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.fill = check_chance("fill", fill)
        self.second = check_chance("second", second)
        self.outline = check_chance("outline", outline)
        self.grey = check_integers("grey", grey, 0, 255)
        self.width = check_integers("width", width, 1, 99)
        self.kernels = check_kernels("kernels", kernels)
        self.sigma = gaussian.check_sigma(sigma)
        self.mirrored = bool(mirrored)

    def _draw(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if instances is None:
            none = np.zeros(0, np.int64)
            instances = Instances(shape[0], none, none, np.zeros((0, 5)), np.zeros((0, 2)), none)
        sample = self.chosen(stream)
        touched = np.zeros(shape[0], bool)
        touched[sample] = True
        here = np.flatnonzero(touched[instances.sample])
        chances = stream.item_words(instances.sample[here], instances.object[here], 3, LANE_OBJECT)
        fill, second, outline = (chances[:, i] < c * 2**32 for i, c in enumerate((self.fill, self.second, self.outline)))
        painted = fill | outline
        mine = instances.picked(here[painted])
        fill, second = fill[painted], second[painted]
        words = stream.item_words(mine.sample, mine.object, 4, LANE_PAINT)
        offset, other = (scale_integer(words[:, i], *self.grey) / 255 - 0.5 for i in (0, 1))
        theta = mine.boxes[:, 4] * (-1 if self.mirrored else 1)
        way = mine.boxes[:, 3] / 2 * (1 - 2 * scale_integer(words[:, 2], 0, 1))
        objects = {
            "sample": mine.sample,
            "object": mine.object,
            "corners": mine.corners,
            "kind": np.where(fill, np.where(second, FILL_TWICE, FILL), OUTLINE),
            "offset": offset,
            "other": other,
            "dx": -np.sin(theta) * way,
            "dy": np.cos(theta) * way,
            "width": scale_integer(words[:, 3], *self.width),
        }
        kernel = np.array(self.kernels)[stream.integer(1, 0, len(self.kernels) - 1)[sample]]
        owner = np.repeat(mine.sample, mine.corners)
        return {
            "images": {"sample": sample, "kernel": kernel},
            "objects": objects,
            "outlines": {"sample": owner, "x": mine.points[:, 0], "y": mine.points[:, 1]},
        }

    def _change(self, images: Tensor, tables: Tables) -> Tensor:
        table, objects, outlines = tables["images"], tables["objects"], tables["outlines"]
        used = np.isin(table["sample"], objects["sample"])
        samples, kernels = table["sample"][used], table["kernel"][used]
        at_once = 8 if images.device.type == "cpu" else max(1, len(samples))
        for a in range(0, len(samples), at_once):
            group = samples[a : a + at_once]
            mine = {k: v[np.isin(objects["sample"], group)] for k, v in objects.items()}
            corner = np.isin(outlines["sample"], group)
            points = np.stack((outlines["x"][corner], outlines["y"][corner]), -1)
            offsets = _paint(mine, points, np.searchsorted(group, mine["sample"]), len(group), images)
            taps = gaussian.weights(kernels[a : a + at_once], self.sigma)
            offsets = update(offsets, np.arange(len(group)), gaussian.blur, taps, twin="blur")
            index = column(group, images.device)
            changed = images.index_select(0, index).add_(offsets).clamp_(0, 1)
            images.index_copy_(0, index, changed)
        return images


def _paint(objects: Table, points: NDArray[np.float64], slot: NDArray[np.int64], images: int, like: Tensor) -> Tensor:
    """(images, 1, H, W) offsets. Objects paint their ascending numbers, the highest wins, and numbers become offsets."""
    height, width, device = *like.shape[2:], like.device
    pixels = height * width
    owner = torch.zeros(images * pixels, dtype=torch.int64, device=device)
    number = np.arange(len(slot)) * 2 + 1  # of the first coat; the second one is on top of it
    kind, corners = objects["kind"], objects["corners"]

    def coat(place: Tensor, value: Tensor) -> None:
        owner.scatter_reduce_(0, place.flatten(), value.flatten(), "amax")

    filled = kind != OUTLINE
    border = {"filled": (filled, np.full(len(slot), _BORDER)), "outline": (~filled, objects["width"] / 2)}
    for which, reach in border.values():
        if which.any():
            edge, of = raster.edges(points[np.repeat(which, corners)], corners[which])
            chosen = np.flatnonzero(which)[of]
            segment, x, y, _, valid = raster.strokes(edge, reach[chosen], height, width, device)
            ids, base = column(number[chosen], device)[segment], column(slot[chosen] * pixels, device)[segment]
            coat(base + y * width + x, ids * valid)
    for which, coats in ((filled, 1), (kind == FILL_TWICE, 2)):
        if which.any():
            shift = np.stack((objects["dx"][which], objects["dy"][which]), -1) if coats == 2 else None
            at, flag = raster.filled(points[np.repeat(which, corners)], corners[which], shift, height, width, device)
            ids = column(number[which] + coats - 1, device)[at.instance]
            base = column(slot[which] * pixels, device)[at.instance]
            coat(base + at.y * width + at.x, ids * flag)
    value = np.concatenate(([0.0], np.stack((objects["offset"], objects["other"]), -1).reshape(-1)))
    return column(value, device)[owner].view(images, 1, height, width)
