"""Per-object highlights (row 1): single crystals a little brighter or darker, wholly, in part, or along their outline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import gaussian, raster, rooms
from ..base import Step
from ..checks import Shape, check_chance, check_integers, check_kernels
from ..dispatch import operator
from ..plan import Table, Tables
from ..raster import BORDER, FILL, FILL_TWICE, OUTLINE
from ..rng import LANE_OBJECT, LANE_PAINT, Stream, scale_integer
from ..targets import Instances
from ..transfer import host_tensors, to_device
from ..turns import in_turn

_CANDIDATES = 2**22


class Highlight(Step):
    """Paint grey offsets on single objects, blur them, add them to the image and clip to [0, 1].

    Each object: with chance ``fill`` its outline is filled with g / 255 - 0.5, g ~ U{grey}; of these, ``second`` get another,
    independent offset where the object overlaps a copy of itself displaced by half the box height along the short axis, either
    way; of the others, ``outline`` get their outline drawn, a whole number of px from ``width`` wide. Later objects replace
    earlier ones. Objects without polygons use their box. Without targets nothing happens.

    Paper, Table S1, row 1.

    Args:
        p: chance for an image, 0 .. 1.
        fill: chance of an object of a chosen image to be filled.
        second: chance of a filled object to get a second offset.
        outline: chance of an object that is not filled to get its outline drawn.
        grey: lowest and highest g, whole numbers in 0 .. 255.
        width: of a drawn outline, lowest and highest, whole px in 1 .. 99.
        kernels: odd sizes of the Gaussian in 1 .. 99 px, equally likely per image.
        sigma: of the Gaussian in px; None takes it from the kernel size (see ``Blur``), the published code always uses 2.
        mirrored: displace the copy along the mirrored direction, as the published code does.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> painted, targets = pa.Highlight(fill=0.5)(images, targets)
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

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
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
        width, height = mine.boxes[:, 2], mine.boxes[:, 3]
        theta = (mine.boxes[:, 4] + (width < height) * (np.pi / 2)) * (-1 if self.mirrored else 1)
        way = np.minimum(width, height) / 2 * (1 - 2 * scale_integer(words[:, 2], 0, 1))
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

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table, objects, outlines = tables["images"], tables["objects"], tables["outlines"]
        used = np.isin(table["sample"], objects["sample"])
        if not rooms.to_do(int(used.sum())):
            return images
        columns = (
            table["sample"][used],
            gaussian.weights(table["kernel"], self.sigma)[used],
            objects["sample"],
            objects["corners"],
            objects["kind"],
            np.stack((objects["offset"], objects["other"]), -1),
            np.stack((objects["dx"], objects["dy"]), -1),
            objects["width"],
            np.stack((outlines["x"], outlines["y"]), -1),
        )
        paint_objects(images, *host_tensors(*columns))
        return images


@operator(
    "paint_objects(Tensor(a!) images, Tensor sample, Tensor taps, Tensor owner, Tensor corners, Tensor kind, Tensor offset, "
    "Tensor shift, Tensor width, Tensor points) -> ()"
)
def paint_objects(
    images: Tensor, sample: Tensor, taps: Tensor, owner: Tensor, corners: Tensor, kind: Tensor, offset: Tensor,
    shift: Tensor, width: Tensor, points: Tensor,
) -> None:  # fmt: skip
    """Paint objects on images ``sample`` (A,), blurred with taps (A, 1 + r).

    owner (N,): an object's image, one of ``sample``, ascending; corners (N,): how many of the points (V, 2) are its; offset,
    shift (N, 2): of first and second coat, and where the copy lies.
    """
    samples, weights, outlines = sample.numpy(), taps.numpy(), points.numpy()
    columns = (owner, corners, kind, offset, shift, width)
    objects = dict(zip(("sample", "corners", "kind", "offset", "shift", "width"), (c.numpy() for c in columns)))
    corner_owner = np.repeat(objects["sample"], objects["corners"])
    for group in _by_area(samples, objects, outlines, images):
        a = int(np.searchsorted(samples, group[0]))
        rows, mine = (_rows(o, group) for o in (objects["sample"], corner_owner))
        some = {k: v[rows] for k, v in objects.items()}
        offsets = _paint(some, outlines[mine], np.searchsorted(group, some["sample"]), len(group), images)
        index = to_device(group, images.device)
        offsets = gaussian.blur(offsets, to_device(weights[a : a + len(group)], images.device))
        images.index_copy_(0, index, images.index_select(0, index).add_(offsets).clamp_(0, 1))


def _by_area(
    samples: NDArray[np.int64], objects: Table, points: NDArray[np.float64], images: Tensor
) -> list[NDArray[np.int64]]:
    """Touched samples in groups whose objects' rectangles hold up to _CANDIDATES pixels, which bounds the memory."""
    rectangle = raster.bounds(points, objects["corners"], *images.shape[2:])
    area = np.prod(rectangle[:, 2:] - rectangle[:, :2], 1) + images.shape[2] * images.shape[3] // 8
    total = np.bincount(np.searchsorted(samples, objects["sample"]), area, len(samples)).cumsum()
    part = (total // _CANDIDATES).astype(np.int64)
    return np.split(samples, np.flatnonzero(np.diff(part)) + 1)


def _rows(sample: NDArray[np.int64], group: NDArray[np.int64]) -> slice:
    """Where the rows of consecutive touched samples lie."""
    return slice(int(np.searchsorted(sample, group[0])), int(np.searchsorted(sample, group[-1], side="right")))


class _Coat(NamedTuple):
    """Pixels to paint: candidate i belongs to object ``owner[instance[i]]`` of the table and counts where ``hit[i]``."""

    owner: NDArray[np.int64]
    instance: Tensor
    x: Tensor
    y: Tensor
    hit: Tensor
    second: bool


def _coats(objects: Table, points: NDArray[np.float64], height: int, width: int, device: torch.device) -> Iterator[_Coat]:
    """Borders of filled objects and outlines of others, then fills, then second fills."""
    kind, corners = objects["kind"], objects["corners"]
    filled = kind != OUTLINE
    for which, reach in ((filled, np.full(len(kind), BORDER)), (~filled, objects["width"] / 2)):
        if which.any():
            edge, of = raster.edges(points[np.repeat(which, corners)], corners[which])
            owner = np.flatnonzero(which)[of]
            segment, x, y, _, valid = raster.strokes(edge, reach[owner], height, width, device)
            yield _Coat(owner, segment, x, y, valid, False)
    for which, second in ((filled, False), (kind == FILL_TWICE, True)):
        if which.any():
            shift = objects["shift"][which] if second else None
            at, flag = raster.filled(points[np.repeat(which, corners)], corners[which], shift, height, width, device)
            yield _Coat(np.flatnonzero(which), at.instance, at.x, at.y, flag, second)


def _offsets(objects: Table) -> NDArray[np.float64]:
    """What a painted number stands for: 0 nothing, 2 n + 1 the first coat of object n, 2 n + 2 its second."""
    return np.concatenate(([0.0], objects["offset"].reshape(-1)))


def _paint(objects: Table, points: NDArray[np.float64], slot: NDArray[np.int64], images: int, like: Tensor) -> Tensor:
    """(images, 1, H, W) offsets. Coats paint ascending numbers, the highest wins, and numbers become offsets."""
    height, width, device = *like.shape[2:], like.device
    pixels = height * width
    owner = torch.zeros(images * pixels, dtype=torch.int64, device=device)
    for coat in _coats(objects, points, height, width, device):
        number = to_device(2 * coat.owner + 1 + coat.second, device)[coat.instance] * coat.hit
        place = to_device(slot[coat.owner] * pixels, device)[coat.instance] + coat.y * width + coat.x
        owner.scatter_reduce_(0, place.flatten(), number.flatten(), "amax")
    return to_device(_offsets(objects), device)[owner].view(images, 1, height, width)
