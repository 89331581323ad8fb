"""Row and column displacement (row 3): the edges of crystals look torn."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import Step
from ..checks import Shape, check_positive
from ..dispatch import operator
from ..errors import InputError
from ..plan import Tables
from ..rng import LANE_DISPLACE, Stream, halves, keys_in
from ..targets import Instances
from ..transfer import host_tensors
from ..turns import in_turn, settle
from .update import keys_of, update


class Displace(Step):
    """Roll every row, then every column by a whole number of px drawn from {-reach .. reach} (paper, Table S1, row 3).

    Args:
        p: chance for an image, 0 .. 1.
        reach: px, a whole number in 0 .. 1000.
        alternate: the published order: column 0, row 0, column 1, row 1, ...; it needs square images.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range, or with ``alternate`` an image is not square.

    Examples:
        >>> torn = pa.Displace(reach=1)(images)  # the same grey values elsewhere
        >>> bool((torn.sort(-1).values.sum() - images.sum() / 255).abs() < 1)
        True
    """

    words = 1

    def __init__(self, p: float = 1.0, reach: int = 1, alternate: bool = False, seed: int = 0) -> None:
        super().__init__(p, seed)
        if check_positive("reach", reach, zero=True) != int(reach) or reach > 1000:
            raise InputError(f"reach must be a whole number of px in 0 .. 1000, got {reach!r}")
        self.reach = int(reach)
        self.alternate = bool(alternate)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        if self.alternate and shape[2] != shape[3]:
            raise InputError(f"alternate=True needs square images, got {shape[2]} x {shape[3]}; use alternate=False")
        sample = self.chosen(stream)
        return {"images": {"sample": sample, **keys_of(stream.keys, sample)}}

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        sample, keys = host_tensors(table["sample"], keys_in(table))
        if self.alternate:
            settle()
            update(images, sample, self._roll, keys)
        else:
            roll(images, sample, keys, self.reach)
        return images

    def _roll(self, x: Tensor, key: Tensor) -> Tensor:
        return _gathered(x, _alternating(*_shifts(x, key, self.reach)))


def _shifts(x: Tensor, key: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """(B, H) and (B, W) px by which rows and columns go right and down."""
    height, width = x.shape[2:]
    draw = halves(key, LANE_DISPLACE, height + width)
    shift = ((draw * (2 * reach + 1)) >> 16) - reach
    return shift[:, :height], shift[:, height:]


def _gathered(x: Tensor, index: Tensor) -> Tensor:
    """(B, C, H, W) pixels from places (B, H, W) of their channel."""
    flat = index.view(len(x), 1, -1).expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, flat).view_as(x)


@operator("roll(Tensor(a!) images, Tensor sample, Tensor keys, int reach) -> ()")
def roll(images: Tensor, sample: Tensor, keys: Tensor, reach: int) -> None:
    """Roll the rows, then the columns of images ``sample`` (A,); keys (A, 2) of their streams."""
    update(images, sample, lambda x, key: _rolled(x, key, reach), keys)


def _rolled(x: Tensor, key: Tensor, reach: int) -> Tensor:
    height, width = x.shape[2:]
    rows, columns = _shifts(x, key, reach)
    from_y = (torch.arange(height, device=x.device).view(1, -1, 1) - columns[:, None, :]) % height  # (B, H, W)
    shifted = rows.gather(1, from_y.flatten(1)).view_as(from_y)
    return _gathered(x, from_y * width + (torch.arange(width, device=x.device) - shifted) % width)


def _alternating(rows: Tensor, columns: Tensor) -> Tensor:
    """(B, n, n) source indices after rolling column i and row i in turn, as the published loop does."""
    batch, n = rows.shape
    index = torch.arange(n * n, device=rows.device).view(1, n, n).repeat(batch, 1, 1)
    at = torch.arange(n, device=rows.device)
    for i in range(n):
        index[:, :, i] = index[:, :, i].gather(1, (at - columns[:, i : i + 1]) % n)
        index[:, i, :] = index[:, i, :].gather(1, (at - rows[:, i : i + 1]) % n)
    return index
