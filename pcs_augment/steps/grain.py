"""Fine directed grain: the skin of a drop, and precipitate."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import fields
from ..base import Step
from ..checks import Shape, check_interval
from ..plan import Tables
from ..rng import LANE_LATTICE, LANE_PIXEL, Stream, keys_in
from ..targets import Instances
from ..transfer import host_tensors
from .update import keys_of, per_image, update

_TABLE = 128  # grains along a side before the texture repeats, turned against the picture
_COLUMNS = ("ux", "uy", "vx", "vy", "shift_x", "shift_y", "sigma", "bare", "sharp", *(f"k{i}" for i in range(9)))


class Grain(Step):
    """Add a fine relief: white noise stretched along one direction and lit from the side.

    Grains are U(width) px wide and 1 to ``stretch`` times as long, all along one random direction. The texture is the
    difference of two copies of the noise, displaced by about half a grain along another random direction (relief), or with
    chance 0.2 the noise itself. Its standard deviation is U(sigma) grey levels where it is strongest; a smooth random field
    of 20 to 200 px makes it come in patches.

    Args:
        sigma: grey levels of 255.
        width: px.
        stretch: longest length of a grain over its width.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Grain(p=0.8, sigma=(2, 12))(images)
    """

    words = 13

    def __init__(
        self,
        p: float = 1.0,
        sigma: tuple[float, float] = (2.0, 12.0),
        width: tuple[float, float] = (1.2, 4.0),
        stretch: float = 5.0,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.sigma = check_interval("sigma", sigma, 0, 255)
        self.width = check_interval("width", width, 0.5, 100)
        self.stretch = check_interval("stretch", (1, stretch), 1, 100)[1]

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        across = m.uniform(1, *self.width)
        along = across * m.uniform(2, 1, self.stretch)
        angle, lit = m.uniform(3, 0, 2 * np.pi), m.uniform(4, 0, 2 * np.pi)
        u, v = (np.cos(angle) / along, np.sin(angle) / along), (-np.sin(angle) / across, np.cos(angle) / across)
        reach = across * m.uniform(5, 0.4, 0.8)
        step = np.cos(lit) * reach, np.sin(lit) * reach
        relief = m.uniform(6) < 0.8
        kernel = _kernel([d[0] * step[0] + d[1] * step[1] for d in (u, v)])
        kernel[~relief] = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
        columns = {
            "sample": sample,
            **keys_of(stream.keys, sample),
            **{"ux": u[0], "uy": u[1], "vx": v[0], "vy": v[1]},
            "shift_x": m.uniform(7, 0, _TABLE),
            "shift_y": m.uniform(8, 0, _TABLE),
            **{f"k{i}": kernel[:, i // 3, i % 3] for i in range(9)},
            "sigma": m.uniform(9, *self.sigma) / 255 / _deviation(kernel),
            "bare": m.uniform(10, -1.5, 1.0),
            "sharp": m.uniform(11, 0.3, 1.5),
            "patch": 20 * 10 ** m.uniform(12),
        }
        return {"images": columns}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        numbers = np.stack([table[c] for c in _COLUMNS], -1)
        sample, *columns = host_tensors(table["sample"], keys_in(table), table["patch"], numbers)
        update(images, sample, _grained, *columns)
        return images


def _kernel(light: list[NDArray]) -> NDArray:
    """(A, 3, 3) weights (y, x) of a grain and its neighbours: itself less what lies ``light`` (x, y) grains away, within 1."""
    at = np.arange(-1, 2)
    x, y = (np.maximum(0, 1 - np.abs(at - d[:, None])) for d in light)
    weights = -y[:, :, None] * x[:, None, :]
    weights[:, 1, 1] += 1
    return weights


def _deviation(kernel: NDArray) -> NDArray:
    """(A,) standard deviation of white noise under these weights, at places between the grains, interpolated linearly."""
    d = np.abs(np.arange(3)[:, None] - np.arange(3))
    overlap = np.where(d == 0, 2 / 3, np.where(d == 1, 1 / 6, 0))
    return np.sqrt(np.einsum("aij,ik,jl,akl->a", kernel, overlap, overlap, kernel))


def _grained(images: Tensor, keys: Tensor, patch: Tensor, numbers: Tensor) -> Tensor:
    height, width = images.shape[2:]
    s = {name: per_image(numbers[:, i]) for i, name in enumerate(_COLUMNS)}
    x = torch.arange(width, device=images.device, dtype=torch.float32).view(1, 1, 1, -1)
    y = torch.arange(height, device=images.device, dtype=torch.float32).view(1, 1, -1, 1)
    white = fields.lattice(keys, LANE_PIXEL, _TABLE * _TABLE).view(-1, _TABLE, _TABLE)
    points = torch.zeros_like(white)
    for i in range(9):
        points += white.roll((1 - i // 3, 1 - i % 3), (1, 2)) * s[f"k{i}"][:, 0]
    noise = _interpolated(
        points.flatten(1), s["ux"] * x + (s["uy"] * y + s["shift_x"]), s["vx"] * x + (s["vy"] * y + s["shift_y"])
    )
    where = fields.smooth(keys, LANE_LATTICE, patch, height, width).sub_(s["bare"]).mul_(s["sharp"]).add_(0.5)
    return images.add_(noise.mul_(fields.smoothstep(where)).mul_(s["sigma"])).clamp_(0, 1)


def _interpolated(points: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values of (A, 128 * 128) points, which repeat without end, at (A, 1, H, W) places: linear between neighbours."""
    left, top = x.floor(), y.floor()
    s, t = x - left, y - top
    column, row = left.int(), top.int()
    near, far = column & (_TABLE - 1), (column + 1) & (_TABLE - 1)
    above, below = (row & (_TABLE - 1)) * _TABLE, ((row + 1) & (_TABLE - 1)) * _TABLE
    a, b, c, d = (_taken(points, place) for place in (above + near, above + far, below + near, below + far))
    upper, lower = a.add_(b.sub_(a).mul_(s)), c.add_(d.sub_(c).mul_(s))
    return upper.add_(lower.sub_(upper).mul_(t))


def _taken(points: Tensor, place: Tensor) -> Tensor:
    if len(points) == 1:
        return points[0].index_select(0, place.flatten()).view(place.shape)
    return points.gather(1, place.flatten(1).long()).view(place.shape)
