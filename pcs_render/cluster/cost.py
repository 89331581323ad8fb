"""What a data set will cost, from what its images have cost so far."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from ..errors import InputError
from ..shards import Manifest


@dataclass(frozen=True)
class Estimate:
    """What images cost that are shared among workers which render one at a time.

    Attributes:
        count: of images.
        seconds: per image, on one worker.
        workers: how many.
        threads: CPU cores of one worker.
        gpu: whether each worker has a GPU as well.
        price: of one worker for an hour; None where it is not known.

    Examples:
        >>> cost = cluster.estimate(3600, 2.0, workers=4, price=0.5)
        >>> cost.hours, cost.cpu_hours, cost.cost
        (0.5, 4.0, 1.0)
    """

    count: int
    seconds: float
    workers: int
    threads: int
    gpu: bool
    price: float | None

    @property
    def hours(self) -> float:
        """From start to end: no worker idles but at the very end."""
        return math.ceil(self.count / self.workers) * self.seconds / 3600

    @property
    def cpu_hours(self) -> float:
        return self.count * self.seconds / 3600 * self.threads

    @property
    def gpu_hours(self) -> float:
        return self.count * self.seconds / 3600 if self.gpu else 0.0

    @property
    def cost(self) -> float | None:
        """In the currency of the price; None without one."""
        return None if self.price is None else self.price * self.count * self.seconds / 3600

    def __str__(self) -> str:
        each = f"{_some(self.threads, 'core')}{' and a GPU' if self.gpu else ''}"
        spent = f"{self.gpu_hours:,.2f} GPU-hours" if self.gpu else f"{self.cpu_hours:,.2f} core-hours"
        paid = "" if self.cost is None else f", {self.cost:,.2f} to pay at {self.price:g} per worker and hour"
        time = f"{self.hours:,.1f} hours" if self.hours >= 1 else f"{60 * self.hours:.1f} minutes"
        return (
            f"{_some(self.count, 'image')} at {self.seconds:.2f} s each on {_some(self.workers, 'worker')} of {each}: "
            f"{time}, {spent}{paid}"
        )


def _some(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def estimate(
    count: int, seconds_per_image: float, workers: int, *, threads: int = 2, device: str = "CPU", price: float | None = None
) -> Estimate:
    """Estimate time and cost of rendering.

    Args:
        count: of images.
        seconds_per_image: of one worker with ``threads`` cores, and with a GPU unless ``device`` is CPU; see ``measured``.
        workers: how many.
        threads: CPU cores of one worker.
        device: "CPU", or that of ``blender.DEVICES`` which renders.
        price: of one worker for an hour, in any currency.

    Returns:
        The estimate; as text, a sentence.

    Raises:
        InputError: a number is not positive.

    Examples:
        >>> print(cluster.estimate(1000, 1.8, workers=10))
        1,000 images at 1.80 s each on 10 workers of 2 cores: 3.0 minutes, 1.00 core-hours
    """
    numbers = {"count": count, "seconds_per_image": seconds_per_image, "workers": workers, "threads": threads}
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; it must be positive")
    if price is not None and not 0 <= price < math.inf:
        raise InputError(f"price is {price}; it takes the price of an hour, 0 or more")
    return Estimate(count, float(seconds_per_image), workers, threads, device != "CPU", price)


def measured(folder: str | os.PathLike[str]) -> tuple[int, float]:
    """Measure what the images of a data set have cost so far.

    What else an image takes (its scene, labels, writing) is not in it.

    Args:
        folder: of the data set.

    Returns:
        Images in finished shards, and the seconds that Blender took for one on average.

    Raises:
        DataError: a folder without a manifest.
        InputError: no shard is finished.

    Examples:
        >>> cluster.measured("data")
        (3, 2.0)
    """
    shards = Manifest.load(folder).shards.values()
    images, seconds = sum(s.images for s in shards), sum(s.seconds for s in shards)
    if not images or not seconds:
        raise InputError(f"{folder} has no finished shard to measure; render some images first, with a small --shard-size")
    return images, seconds / images
