"""What lamp and camera do to the whole picture: uneven light, and contrast turned around."""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import Step
from ..checks import Shape, check_interval
from ..plan import Tables
from ..rng import Stream
from ..targets import Instances
from ..transfer import host_tensors
from .update import per_image, update


class Vignette(Step):
    """Multiply by a light that falls off with the square of the distance from a point, and changes evenly across.

    The gain is (1 - fall d^2) (1 + a x + b y): d is the distance from a point near the middle, 1 at half the diagonal; x and y
    run from -1/2 to 1/2.

    Args:
        fall: light lost at d = 1, a share.
        slope: largest size of a and b.
        offset: how far the point may lie from the middle, in image sizes.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Vignette(p=0.7)(images)
    """

    words = 6

    def __init__(
        self,
        p: float = 1.0,
        fall: tuple[float, float] = (0.0, 0.5),
        slope: float = 0.3,
        offset: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.fall = check_interval("fall", fall, 0, 1)
        self.slope = check_interval("slope", (0, slope), 0, 1)[1]
        self.offset = check_interval("offset", (0, offset), 0, 10)[1]

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        return {
            "images": {
                "sample": sample,
                "fall": m.uniform(1, *self.fall),
                "x": m.uniform(2, -self.offset, self.offset),
                "y": m.uniform(3, -self.offset, self.offset),
                "a": m.uniform(4, -self.slope, self.slope),
                "b": m.uniform(5, -self.slope, self.slope),
            }
        }

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        sample, *numbers = host_tensors(*(table[c] for c in ("sample", "fall", "x", "y", "a", "b")))
        update(images, sample, _vignetted, *numbers)
        return images


def _vignetted(images: Tensor, fall: Tensor, cx: Tensor, cy: Tensor, a: Tensor, b: Tensor) -> Tensor:
    height, width = images.shape[2:]
    x = ((torch.arange(width, device=images.device) + 0.5) / width - 0.5).view(1, 1, 1, -1)
    y = ((torch.arange(height, device=images.device) + 0.5) / height - 0.5).view(1, 1, -1, 1)
    diagonal = (height**2 + width**2) ** 0.5 / 2
    across, down = ((x - per_image(cx)) * (width / diagonal)).square_(), ((y - per_image(cy)) * (height / diagonal)).square_()
    gain = (across + down).mul_(-per_image(fall)).add_(1).clamp_(min=0)
    return images.mul_(gain.mul_((per_image(a) * x + 1) + per_image(b) * y)).clamp_(0, 1)


class Invert(Step):
    """Turn grey values around, as in a dark field: 1 - grey, less a level U(black), times a gain U(gain), clipped to [0, 1].

    Args:
        black: inverted grey level that becomes 0.
        gain: factor of the contrast.
        p: chance for an image.
        seed: used when the step works alone.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> images = pa.Invert(p=0.1)(images)
    """

    words = 3

    def __init__(
        self,
        p: float = 1.0,
        black: tuple[float, float] = (0.0, 0.3),
        gain: tuple[float, float] = (0.7, 1.5),
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.black = check_interval("black", black, -1, 1)
        self.gain = check_interval("gain", gain, 0, 100)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        m = stream.of(sample)
        return {"images": {"sample": sample, "black": m.uniform(1, *self.black), "gain": m.uniform(2, *self.gain)}}

    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["images"]
        sample, black, gain = host_tensors(table["sample"], table["black"], table["gain"])
        update(images, sample, _inverted, black, gain)
        return images


def _inverted(images: Tensor, black: Tensor, gain: Tensor) -> Tensor:
    return images.mul_(-1).add_(1 - per_image(black)).mul_(per_image(gain)).clamp_(0, 1)
