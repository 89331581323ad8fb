"""What a camera and its software do: over-exposure, sharpening, and the blocks of JPEG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .. import gaussian
from ..base import Step
from ..checks import Shape, check_interval, check_kernels
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from .update import per_image, update

# luminance quantisation of the JPEG standard (ITU-T T.81, table K.1)
_QUANTA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)


class Saturate(Step):
    """Stretch grey values so that the brightest or the darkest ones are lost: (x - low) / (high - low), clipped to [0, 1].

    Args:
        low: grey level that becomes 0.
        high: grey level that becomes 1.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Saturate(p=0.2)(images)
    """

    words = 3

    def __init__(
        self,
        p: float = 1.0,
        low: tuple[float, float] = (0.0, 0.2),
        high: tuple[float, float] = (0.55, 1.0),
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.low = check_interval("low", low, 0, 0.49)
        self.high = check_interval("high", high, 0.5, 2)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        low, high = m.uniform(1, *self.low), m.uniform(2, *self.high)
        return {"images": {"sample": sample, "low": low, "gain": 1 / (high - low)}}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        sample, low, gain = host_tensors(table["sample"], table["low"], table["gain"])
        update(images, sample, _stretched, low, gain)
        return images


def _stretched(images: Tensor, low: Tensor, gain: Tensor) -> Tensor:
    return images.sub_(per_image(low)).mul_(per_image(gain)).clamp_(0, 1)


class Sharpen(Step):
    """Unsharp masking: x + U(amount) (x - blurred x), which leaves halos at edges; clipped to [0, 1].

    Args:
        amount: factor of the difference.
        kernels: odd sizes of the Gaussian, equally likely, px.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Sharpen(p=0.2)(images)
    """

    words = 3

    def __init__(
        self, p: float = 1.0, amount: tuple[float, float] = (0.3, 2.0), kernels: Sequence[int] = (5, 7, 9), seed: int = 0
    ) -> None:
        super().__init__(p, seed)
        self.amount = check_interval("amount", amount, 0, 100)
        self.kernels = check_kernels("kernels", kernels)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        kernel = np.array(self.kernels)[m.integer(2, 0, len(self.kernels) - 1)]
        return {"images": {"sample": sample, "amount": m.uniform(1, *self.amount), "kernel": kernel}}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        if not len(table["sample"]):
            return images
        sample, amount, taps = host_tensors(table["sample"], table["amount"], gaussian.weights(table["kernel"]))
        for mine, reach in gaussian.by_reach(taps):
            update(images, sample[mine], _sharpened, amount[mine], taps[mine, : 1 + reach])
        return images


def _sharpened(images: Tensor, amount: Tensor, taps: Tensor) -> Tensor:
    halo = gaussian.blur(images, taps).sub_(images).mul_(per_image(amount))
    return images.sub_(halo).clamp_(0, 1)


class JPEG(Step):
    """Round the cosine coefficients of blocks of 8 x 8 px as JPEG does with a quality drawn from ``quality``.

    Quantisation follows the luminance table of the standard, scaled as the IJG's library scales it. Blocks begin at a random
    place, since a picture may have been cut out of a larger one; those at the border are filled up with its last pixels.

    Args:
        quality: 1 .. 100.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.JPEG(p=0.2, quality=(40, 95))(images)
    """

    words = 4

    def __init__(self, p: float = 1.0, quality: tuple[float, float] = (40, 95), seed: int = 0) -> None:
        super().__init__(p, seed)
        self.quality = check_interval("quality", quality, 1, 100)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        left, top = m.integer(2, 0, 7), m.integer(3, 0, 7)
        return {"images": {"sample": sample, "quality": m.uniform(1, *self.quality), "left": left, "top": top}}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        quality = table["quality"]
        percent = np.where(quality < 50, 5000 / np.maximum(quality, 1), 200 - 2 * quality)
        quanta = np.clip(np.floor((np.array(_QUANTA) * percent[:, None] + 50) / 100), 1, 255) / 255
        height, width = images.shape[2:]
        rows = np.clip(np.arange(-(-(height + 7) // 8) * 8) - table["top"][:, None], 0, height - 1)
        columns = np.clip(np.arange(-(-(width + 7) // 8) * 8) - table["left"][:, None], 0, width - 1)
        args = host_tensors(table["sample"], quanta, rows, columns, table["top"], table["left"])
        update(images, args[0], _blocked, *args[1:])
        return images


def _basis() -> torch.Tensor:
    k, n = np.arange(8)[:, None], np.arange(8)
    basis = np.cos((2 * n + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    return torch.from_numpy(basis.astype(np.float32))


_BASIS = _basis()


def _transformed(blocks: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """The matrix (8, 8) times one axis of length 8, term by term in a fixed order."""
    shape = [1] * blocks.ndim
    shape[axis] = 8
    out: Tensor | None = None
    for i in range(8):
        part = blocks.narrow(axis, i, 1) * matrix[:, i].reshape(shape)
        out = part if out is None else out.add_(part)
    assert out is not None
    return out


def _blocked(images: Tensor, quanta: Tensor, rows: Tensor, columns: Tensor, top: Tensor, left: Tensor) -> Tensor:
    batch, channels, height, width = images.shape
    basis = _BASIS.to(images.device)
    tall, wide = rows.shape[1], columns.shape[1]
    x = images.gather(2, rows.view(batch, 1, tall, 1).expand(-1, channels, -1, width))
    x = x.gather(3, columns.view(batch, 1, 1, wide).expand(-1, channels, tall, -1))
    x = x.sub_(128 / 255).view(batch, channels, tall // 8, 8, wide // 8, 8)
    x = _transformed(_transformed(x, basis, 3), basis, 5)
    quantum = quanta.view(batch, 1, 1, 8, 1, 8)
    x = x.div_(quantum).round_().mul_(quantum)
    x = _transformed(_transformed(x, basis.T, 3), basis.T, 5).add_(128 / 255).reshape(batch, channels, tall, wide)
    down = torch.arange(height, device=images.device) + top[:, None]
    across = torch.arange(width, device=images.device) + left[:, None]
    x = x.gather(2, down.view(batch, 1, height, 1).expand(-1, channels, -1, wide))
    return x.gather(3, across.view(batch, 1, 1, width).expand(-1, channels, height, -1)).clamp_(0, 1)
