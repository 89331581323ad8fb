"""Contests: the same work done by this library and by others, each checked against one law before it is timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from conftest import turns
from torch import Tensor

import pcs_augment as pa

OURS = "pcs_augment"
BATCHES = ("float32 batch on the device", "uint8 batch on the device")
LISTS = ("float32 images on the host", "uint8 images on the host")


class Entry(NamedTuple):
    """One library's way: ``make`` returns a function of at most ``most`` images in the form that ``data`` names."""

    contest: Contest
    library: str
    data: str
    make: Callable[..., Callable[[Any], Any]]
    most: int


class Contest:
    """``law(before, after, grey)`` asserts that the work was done; both (B, 1, H, W) float32 in [0, 1] on the host.

    ``grey`` is the rounding that the form of the data causes: 1 / 255 for 8-bit images, else 0. What the law returns, how exact
    the work was, stands beside the time.
    """

    def __init__(self, work: str, law: Callable[[Tensor, Tensor, float], str | None], unit: str = "image") -> None:
        self.work, self.law, self.unit = work, law, unit
        self.entries: list[Entry] = []

    def entry(self, library: str, data: str, most: int = 64) -> Callable[[Callable], Callable]:
        def add(make: Callable) -> Callable:
            self.entries.append(Entry(self, library, data, make, most))
            return make

        return add


def stepped(step: pa.Step) -> Callable[[Tensor], Tensor]:
    """Draw and apply a step of ours, with another epoch every time."""
    epoch = itertools.count()
    return lambda x: step.apply(x, None, step.draw(x.shape, epoch=next(epoch)))[0]


def each(change: Callable[[Any], Any]) -> Callable[[Sequence[Any]], list[Any]]:
    """For libraries that take one image at a time."""
    return lambda images: [change(image) for image in images]


def forms(images: Tensor, data: str) -> Any:
    """(B, 1, H, W) float32 in [0, 1] as a library takes them; arrays are (H, W)."""
    if data in LISTS:
        host = images[:, 0].cpu().numpy()
        return list(host if data == LISTS[0] else np.rint(host * 255).astype(np.uint8))
    return (images * 255).round().byte() if data == BATCHES[1] else images


def as_float(result: Any) -> Tensor:
    """Back to (B, 1, H, W) float32 on the host."""
    x = result if isinstance(result, Tensor) else torch.from_numpy(np.stack(result))
    x = x.cpu().float() / (255 if x.dtype == torch.uint8 else 1)
    return x.reshape(len(x), 1, *x.shape[-2:])


def run(entry: Entry, images: Tensor, clock: Callable, **options: Any) -> None:
    """Check an entry on the images, then time it."""
    work = entry.make(**options)
    images = images[: entry.most]
    given = forms(images, entry.data)
    before = as_float(given).clone()
    found = entry.contest.law(before, as_float(work(given)), 1 / 255 if "uint8" in entry.data else 0)
    inputs: Iterator[Any] = turns(given)
    contest = entry.contest
    about = {"work": contest.work, "library": entry.library, "data": entry.data, "found": found or ""}
    about["ours"] = entry.library.startswith(OURS)
    clock(lambda: work(next(inputs)), len(images), "peers", f"{contest.work}: {entry.library}", contest.unit, **about)
