"""AugmentedLoader: any DataLoader, augmented on the device one batch ahead of the training step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import targets as tg
from .base import Augmentation, drop
from .checks import check_images, check_values, in_range
from .errors import InputError
from .targets import Targets


class _Started(NamedTuple):
    """A batch on its way."""

    images: Tensor
    targets: Targets | None
    keep: Tensor | None  # all objects, on the host once ``done``
    done: Any  # CUDA event, None on a CPU
    source: Any  # keeps pinned memory alive until the copies are over


class AugmentedLoader:
    """Iterate over a DataLoader; yields (images, targets) on the device, augmented, undetectable objects removed.

    Batches of ``loader`` are (images, targets, index), as ``pa.collate`` makes them, or a mapping with these keys; targets may
    be None. ``index`` (B,) names the samples in the data set, so results depend on (seed, epoch, index) alone: not on
    workers, order or batch size. On a GPU, copying, drawing and augmenting the next batch overlap with the training step on
    this one; the objects to remove are learnt one batch late, so that nothing waits. Tensors in the targets come
    back on the device too.

    device: default "cuda" where there is one, else "cpu". Call ``set_epoch`` before each epoch.
    """

    def __init__(self, loader: Iterable[Any], pipeline: Augmentation, device: torch.device | str | None = None) -> None:
        if not isinstance(pipeline, Augmentation):
            raise InputError(f"pipeline must be a pa.Pipeline or a step, got {type(pipeline).__name__}")
        self.loader = loader
        self.pipeline = pipeline
        self.device = torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device {str(self.device)!r} is not available here; use device='cpu'")
        self.epoch = 0
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Key the noise of the coming iteration; also told to the loader's sampler if it wants to know."""
        self.epoch = epoch
        for sampler in (getattr(self.loader, "sampler", None), getattr(self.loader, "batch_sampler", None)):
            tell = getattr(sampler, "set_epoch", None)
            if tell is not None:
                tell(epoch)

    def __iter__(self) -> Iterator[tuple[Tensor, Targets | None]]:
        epoch = self.epoch
        batches = iter(self.loader)
        waiting: _Started | None = None
        try:
            for batch in batches:
                started = self._start(*_unpack(batch), epoch)
                if self._stream is None:  # nothing overlaps on a CPU, so nothing is gained by running ahead
                    yield self._finish(started)
                    continue
                if waiting is not None:
                    yield self._finish(waiting)
                waiting = started
            if waiting is not None:
                yield self._finish(waiting)
        finally:
            # without this, worker processes outlive a loop that was left early until the garbage collector comes by
            stop = getattr(batches, "_shutdown_workers", None)
            if stop is not None and not getattr(self.loader, "persistent_workers", False):
                stop()

    def _start(self, images: Tensor, targets: Targets | None, index: Any, epoch: int) -> _Started:
        check_images(images)
        if images.device.type == "cpu":
            check_values(bool(in_range(images)), images)
        plan = self.pipeline.draw(images.shape, targets, index, epoch)
        if self._stream is None:
            out, new = self.pipeline.apply(images.to(self.device), targets, plan)
            return _Started(out, new, _all_keep(new), None, None)
        if images.is_cuda:  # what made the batch may still be running on the caller's stream
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            images.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            source = images if images.is_cuda or images.is_pinned() else images.pin_memory()
            moved = source.to(self.device, non_blocking=True)
            out, new = self.pipeline.apply(moved, targets, plan)
            keep = _all_keep(new)
            if keep is not None:
                keep = torch.empty(keep.shape, dtype=torch.bool, pin_memory=True).copy_(keep, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._stream)
        return _Started(out, new, keep, done, (source, moved))

    def _finish(self, batch: _Started) -> tuple[Tensor, Targets | None]:
        if batch.done is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(batch.done)
            batch.images.record_stream(current)
        if batch.targets is None or batch.keep is None:
            return batch.images, None
        if batch.done is not None:
            batch.done.synchronize()
        kept = drop(batch.targets, batch.keep.cpu().numpy())
        return batch.images, tg.on_device(kept, self.device)


def _all_keep(targets: Targets | None) -> Tensor | None:
    return None if targets is None else torch.cat([t["keep"] for t in targets])


def _unpack(batch: Any) -> tuple[Tensor, Targets | None, Any]:
    if isinstance(batch, Mapping) and {"images", "index"} <= batch.keys():
        return batch["images"], batch.get("targets"), batch["index"]
    if isinstance(batch, (tuple, list)) and len(batch) == 3:
        return batch[0], batch[1], batch[2]
    what = f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list, Mapping)) else type(batch).__name__
    raise InputError(
        f"a batch must be (images, targets, index) or a mapping with these keys, got {what}; let the data set return "
        "(image, target, index) and pass collate_fn=pcs_augment.collate"
    )
