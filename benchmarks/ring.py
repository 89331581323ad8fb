"""A batch's work on a GPU as one launch: CUDA graphs over a ring of three slots.

Batches that were packed in one room (``pcs_augment.rooms``) make the same calls on the same places, and only their blocks of
bytes differ. So each slot of the ring has its own images, block and flags at addresses that stay, and the calls are captured
once per slot: for a batch the training process copies images and block and replays. A batch whose calls are others, since the
room has grown, is captured anew.

While one slot is computed and one is read by the training step, the third one is being filled: what came out of a slot holds
until the ring comes around to it. On a CPU the calls are made one by one instead, which tests and ``host_times.py`` use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pcs_augment import packing, targets
from pcs_augment.checks import check_values, in_range
from pcs_augment.packing import Packed

SLOTS = 3
KEPT = 2  # programs of a slot: a room that grows leaves the earlier ones behind


class Captured(NamedTuple):
    """The calls of a program on a slot: where the block goes, what starts them, and what they leave."""

    block: Tensor
    replay: Callable[[], Any]
    images: Tensor
    flags: Tensor  # on the host: whether values were in range, then which objects to keep


class Slot:
    """Memory of one batch."""

    def __init__(self, like: tuple[Any, ...], device: torch.device) -> None:
        shape, dtype = like
        cuda = device.type == "cuda"
        self.images = torch.empty(shape, dtype=dtype, device=device)
        self.captured: dict[bytes, Captured] = {}
        self.done, self.read = (torch.cuda.Event() if cuda else None for _ in range(2))
        self.packed: Packed | None = None

    def calls(self, packed: Packed) -> Captured:
        """Those of its program, captured where they are new."""
        found = self.captured.get(packed.program)
        if found is None:
            while len(self.captured) >= KEPT:
                del self.captured[next(iter(self.captured))]
            found = self.captured[packed.program] = _captured(packed, self.images)
        return found


def _captured(packed: Packed, images: Tensor) -> Captured:
    device = images.device
    cuda = device.type == "cuda"
    block = torch.empty_like(packed.block, device=device).copy_(packed.block)

    def once() -> tuple[Tensor, Tensor]:
        out, keep = packed.calls(images, block)
        return out, torch.cat([in_range(images).reshape(1), keep])

    if not cuda:
        out, flags = once()

        def again() -> None:
            new, kept = once()
            out.copy_(new)
            flags.copy_(kept)

        return Captured(block, again, out, flags)
    once()  # kernels are compiled and tables made before: neither can be captured
    torch.cuda.current_stream(device).synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream(device)):
        out, flags = once()
        on_host = torch.empty(flags.shape, dtype=torch.bool, pin_memory=True).copy_(flags, non_blocking=True)
    return Captured(block, graph.replay, out, on_host)


class Ring:
    """Augments batches that were packed in one room, one batch ahead.

    like: shape and type of the images; pin the blocks and images, or copies wait for the device.
    """

    def __init__(self, like: tuple[Any, ...], device: torch.device | str, slots: int = SLOTS) -> None:
        self.device = torch.device(device)
        self.slots = [Slot(like, self.device) for _ in range(slots)]
        self.number = 0
        self.stream = torch.cuda.Stream(self.device, priority=-1) if self.device.type == "cuda" else None

    def start(self, images: Tensor, packed: Packed) -> Slot:
        """Begin with a batch: two copies and a launch."""
        slot = self.slots[self.number % len(self.slots)]
        self.number += 1
        slot.packed = packed
        if self.stream is None:
            self._go(slot, images, packed)
            return slot
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(slot.read)  # what is there is still being read
            self._go(slot, images, packed)
            slot.done.record(self.stream)
        return slot

    def _go(self, slot: Slot, images: Tensor, packed: Packed) -> None:
        slot.images.copy_(images, non_blocking=True)
        mine = slot.calls(packed)
        mine.block.copy_(packed.block, non_blocking=True)
        mine.replay()

    def finish(self, slot: Slot) -> tuple[Tensor, targets.AnyTargets | None]:
        """Its images, which the ring overwrites when it comes around, and its targets."""
        packed = slot.packed
        assert packed is not None
        mine = slot.captured[packed.program]
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_event(slot.done)
            slot.done.synchronize()
        flags = mine.flags.numpy()
        check_values(bool(flags[0]), slot.images)
        if packed.targets is None:
            return mine.images, None
        return mine.images, targets.landed(packed.targets, flags[1 : 1 + packed.objects].copy(), self.device)

    def over(self, batches: Iterable[tuple[Tensor, packing.Packed]]) -> Iterator[tuple[Tensor, targets.AnyTargets | None]]:
        """Every batch (images, packed), augmented while the one before is read."""
        waiting: Slot | None = None
        for images, packed in batches:
            started = self.start(images, packed)
            if waiting is not None:
                yield from self._read(waiting)
            waiting = started
        if waiting is not None:
            yield from self._read(waiting)

    def _read(self, slot: Slot) -> Iterator[tuple[Tensor, targets.AnyTargets | None]]:
        yield self.finish(slot)
        if self.stream is not None:
            slot.read.record(torch.cuda.current_stream(self.device))
