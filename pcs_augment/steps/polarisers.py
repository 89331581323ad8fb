"""Crossed polarisers: bright crystals on a dark ground, each as bright as its axes are turned against the filters."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import gaussian, placing, stamps
from ..base import Step
from ..checks import Shape, check_interval
from ..plan import Table, Tables
from ..rng import LANE_OBJECT, Stream, scale_uniform
from ..targets import Instances
from ..transfer import host_tensors, to_device
from .update import per_image, update

_NUMBERS = ("grey", "wedge_x", "wedge_y", "face", "face_x", "face_y", "face_at", "fringe", "fringe_x", "fringe_y", "fringe_at")
_KERNELS = (3, 5, 7, 9, 11)


class CrossedPolarisers(Step):
    """Replace the picture by what is seen between crossed polarisers, made from outlines.

    The ground is dark: a level U(ground) with U(trace) of the picture's own contrast, turned around with chance 0.5. Inside
    each outline light is added: sin^2 (2 (theta - a)) times U(bright), where theta is the angle of the object's box, off by
    up to 0.2 rad, and ``a`` is the image's angle of the filters; along it a wedge of up to 60 % of it, with chance 0.5 another
    face beyond a line through the object with 20 to 150 % of its light, and with chance 0.4 interference fringes. A bevelled
    edge stays dark: U(0, 4) px all around, at most 12 % of the shorter side, belong to the object and are not lit. All of it
    is blurred by an odd kernel of 3 to 11 px, so crystals out of focus glow. Objects with less than ``faint`` of light are
    dropped: they are dark in that position.

    Args:
        ground: grey level of the ground.
        bright: grey level of a crystal in its brightest position.
        trace: share of the picture's own contrast that stays.
        faint: least grey level of an object that is kept.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images, targets = pa.CrossedPolarisers(p=0.1)(images, targets)
    """

    words = 8
    looks_at_objects = True

    def __init__(
        self,
        p: float = 1.0,
        ground: tuple[float, float] = (0.02, 0.25),
        bright: tuple[float, float] = (0.2, 1.0),
        trace: tuple[float, float] = (0.02, 0.2),
        faint: float = 0.06,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.ground = check_interval("ground", ground, 0, 1)
        self.bright = check_interval("bright", bright, 0, 10)
        self.trace = check_interval("trace", trace, 0, 1)
        self.faint = check_interval("faint", (faint, faint), 0, 1)[0]

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        images = {
            "sample": sample,
            "ground": m.uniform(1, *self.ground),
            "trace": m.uniform(2, *self.trace) * (1 - 2 * m.integer(3, 0, 1)),
            "kernel": np.array(_KERNELS)[m.integer(4, 0, len(_KERNELS) - 1)],
        }
        if instances is None:
            none = np.zeros(0, np.int64)
            instances = Instances(shape[0], none, none, np.zeros((0, 5)), np.zeros((0, 2)), none)
        row = np.full(shape[0], -1)
        row[sample] = np.arange(len(sample))
        lit = row[instances.sample] >= 0
        mine = instances.picked(lit)
        u = scale_uniform(stream.item_words(mine.sample, mine.object, 16, LANE_OBJECT)).T
        axis = m.uniform(5, 0, np.pi)[row[mine.sample]]
        theta, short = mine.boxes[:, 4], mine.boxes[:, 2:4].min(1, initial=np.inf)
        turned = np.sin(2 * (theta + (u[0] - 0.5) * 0.4 - axis)) ** 2
        grey = turned * (self.bright[0] + (self.bright[1] - self.bright[0]) * u[1])
        wedge, line = 2 * np.pi * u[2], theta + (u[3] - 0.5) * np.pi
        steep = 0.6 * u[4] / np.maximum(mine.boxes[:, 2], 1)
        fringe = theta + np.round(u[5]) * (np.pi / 2) + (u[6] - 0.5) * 0.2
        every = 2 * np.pi / np.maximum(short * (0.15 + 0.5 * u[7]), 3)
        columns = {
            "grey": grey,
            "wedge_x": np.cos(wedge) * steep,
            "wedge_y": np.sin(wedge) * steep,
            "face": np.where(u[8] < 0.5, 0.2 + 1.3 * u[9], 1.0) - 1,
            "face_x": -np.sin(line),
            "face_y": np.cos(line),
            "face_at": (u[10] - 0.5) * 0.5 * short,
            "fringe": np.where(u[11] < 0.4, 0.2 + 0.6 * u[12], 0.0),
            "fringe_x": -np.sin(fringe) * every,
            "fringe_y": np.cos(fringe) * every,
            "fringe_at": 2 * np.pi * u[13],
        }
        # slanted facets at the edge send the light elsewhere; they are equally wide on all sides
        dark = np.minimum(4 * u[14], 0.12 * short)
        lit_part = 1 - 2 * dark[:, None] / np.maximum(mine.boxes[:, 2:4], 1e-6)
        centre, part, angle = (np.repeat(v, mine.corners, 0) for v in (mine.boxes[:, :2], lit_part, theta))
        face = centre + _stretched(mine.points - centre, part, angle)
        keep = np.ones(len(lit), bool)
        keep[lit] = grey >= self.faint
        made = placing.tables(instances, np.zeros(len(lit), bool), keep)
        owner = np.repeat(mine.sample, mine.corners)
        objects = {"sample": mine.sample, "corners": mine.corners, "cx": mine.boxes[:, 0], "cy": mine.boxes[:, 1], **columns}
        return {
            "images": images,
            "objects": objects,
            "masks": {"sample": owner, "x": face[:, 0], "y": face[:, 1]},
            **made,
        }

    def remaining(self, instances: Instances, tables: Tables) -> Instances:
        return placing.remaining(instances, tables)

    def drop(self, images: Tensor, tables: Tables, keep: Tensor, first: NDArray[np.int64]) -> None:
        placing.drop(tables["dropped"], keep, first)

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table, objects, masks = tables["images"], tables["objects"], tables["masks"]
        if not len(table["sample"]):
            return images
        sample, ground, trace = host_tensors(table["sample"], table["ground"], table["trace"])
        update(images, sample, _darkened, ground, trace)
        ends = np.append(0, np.cumsum(objects["corners"]))
        for part in stamps.parts(objects["sample"], images.device):
            points = np.stack([masks[c][ends[part.start] : ends[part.stop]] for c in ("x", "y")], -1)
            mine = {name: column[part] for name, column in objects.items()}
            _drawn(images, mine, points, table["kernel"][np.isin(table["sample"], mine["sample"])])
        return images


def _stretched(points: NDArray, factor: NDArray, angle: NDArray) -> NDArray:
    """(P, 2) points, each stretched by its two factors along axes that are turned by its angle."""
    axes = np.stack((np.stack((np.cos(angle), np.sin(angle)), -1), np.stack((-np.sin(angle), np.cos(angle)), -1)), -2)
    along = np.einsum("pij,pj->pi", axes, points) * factor
    return np.einsum("pij,pi->pj", axes, along)


def _drawn(images: Tensor, table: Table, points: NDArray, kernel: NDArray[np.int64]) -> None:
    height, width = images.shape[2:]
    device = images.device
    at, inside = stamps.filled(points, table["corners"], height, width, device)
    numbers = to_device(np.stack([table[n] for n in ("cx", "cy", *_NUMBERS)]), device).index_select(1, at.instance)
    value = _lit(numbers, at.x.float() + 0.5, at.y.float() + 0.5).mul_(inside)
    sample, slot = np.unique(table["sample"], return_inverse=True)
    place = to_device(slot, device)[at.instance]
    light = stamps.summed(len(sample), height, width, place, at.x, at.y, value)
    taps = torch.from_numpy(gaussian.weights(kernel))
    for mine, reach in gaussian.by_reach(taps):
        update(light, mine, gaussian.blur, taps[mine, : 1 + reach])
    stamps.add(images, sample, light)


def _darkened(images: Tensor, ground: Tensor, trace: Tensor) -> Tensor:
    return images.sub_(0.5).mul_(per_image(trace)).add_(per_image(ground)).clamp_(0, 1)


def _lit(numbers: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(P,) light at pixel centres."""
    n = dict(zip(("cx", "cy", *_NUMBERS), numbers))
    dx, dy = x - n["cx"], y - n["cy"]
    value = (n["wedge_x"] * dx + n["wedge_y"] * dy).add_(1).clamp_(min=0.2)
    face = (n["face_x"] * dx + n["face_y"] * dy - n["face_at"]).clamp_(0, 1)
    value *= face.mul_(n["face"]).add_(1)
    wave = (n["fringe_x"] * dx + n["fringe_y"] * dy + n["fringe_at"]).sin_()
    return value.mul_(wave.mul_(n["fringe"]).add_(1)).mul_(n["grey"])
