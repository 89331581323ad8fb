"""AugmentedLoader: any DataLoader, augmented on the device one batch ahead of the training step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from . import dispatch
from . import targets as tg
from .base import Augmentation
from .checks import check_epoch, check_images, check_index, check_values, in_range
from .data import collate, number_parts
from .errors import InputError
from .keys import Target
from .packing import PackedPlan, packed_plan
from .plan import Plan
from .ragged import Joined
from .targets import AnyTarget, AnyTargets

if TYPE_CHECKING:
    from jaxtyping import Float

    Augmented = Float[Tensor, "B C H W"]


class DrawingCollate:
    """A collate function that also draws the plan, so that a DataLoader's workers do it instead of the training loop.

    In an ``AugmentedLoader`` with the same pipeline the batches are those of ``pa.collate``. Workers draw with the pipeline as
    it was when they started, in the epoch that ``set_epoch`` named last; ``AugmentedLoader`` calls it if this is its loader's
    ``collate_fn``. Called with a list of samples it gives (images, targets, index, plan), or the mapping with the key ``plan``.

    Args:
        pipeline: that of the ``AugmentedLoader``.
        collate: what makes (images, targets, index), or a mapping with these keys, of a list of samples.
        pack: also lay out what goes to the GPU and list what is launched there, so that the training process only copies and
            launches; None for where CUDA is available.

    Raises:
        InputError: the pipeline is none, or what ``collate`` gives is no batch.

    Examples:
        >>> pipeline = pa.default_pipeline(seed=0)
        >>> loader = torch.utils.data.DataLoader(data, batch_size=2, collate_fn=pa.DrawingCollate(pipeline))
        >>> for images, targets in pa.AugmentedLoader(loader, pipeline, device="cpu"):
        ...     break
    """

    def __init__(self, pipeline: Augmentation, collate: Callable[[Any], Any] = collate, pack: bool | None = None) -> None:
        self.pipeline = _check_pipeline(pipeline)
        self.pack = torch.cuda.is_available() if pack is None else bool(pack)
        self.collate = collate
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that are running see it change

    def set_epoch(self, epoch: int) -> None:
        """Key the noise of the batches that are drawn from now on, in all processes, by ``epoch``, 0 .. 2^32 - 1."""
        self._epoch.fill_(check_epoch(epoch))

    def __call__(self, samples: Any) -> Any:
        batch = self.collate(samples)
        images, targets, index, _ = _unpack(batch)
        check_images(images)
        plan = self.pipeline.draw(images.shape, targets, index, int(self._epoch))
        if self.pack:
            plan = packed_plan(self.pipeline, images, targets, plan)
        return {**batch, "plan": plan} if isinstance(batch, Mapping) else (images, targets, index, plan)


class _Started(NamedTuple):
    """A batch on its way."""

    images: Tensor
    targets: Sequence[AnyTarget] | Joined | None  # up to the last step that outlined objects anew
    matrix: NDArray[np.float64] | None  # what they are to follow
    flags: Tensor  # whether the values were in range, then which objects to keep; on the host once ``done``
    done: Any  # CUDA event, None on a CPU
    source: tuple[Tensor, ...]  # keeps memory alive until the copies are over; last the images as given, on the device


class AugmentedLoader:
    """Iterate over a DataLoader; yields (images, targets) on the device, augmented, undetectable objects removed.

    Results depend on (seed, epoch, index) alone: not on workers, order or batch size. Call ``set_epoch`` before each epoch. On
    a GPU, copying, drawing and augmenting the next batch overlap with the training step on this one; which objects to remove
    and whether the values were in range is learnt one batch late, so that nothing waits. Tensors in the targets come back on
    the device too.

    ``eval()`` of the pipeline makes no difference. Further keys of a mapping are left out, with a warning. ``dataset``,
    ``sampler``, ``batch_size`` and other attributes are those of ``loader``; it is ``loader`` that is prepared for several
    processes (``DistributedSampler``, ``accelerator.prepare(loader)``), before it is given here.

    Args:
        loader: gives batches (images, targets, index), as ``pa.collate`` makes them, or mappings with these keys. Images
            (B, C, H, W) and targets as in a call of a pipeline; targets may be None; ``index`` (B,) names the samples in the
            data set. A fourth part or key ``plan`` saves drawing: see ``DrawingCollate``.
        pipeline: a ``pa.Pipeline`` or a step.
        device: "cpu", "cuda" or "cuda:N"; default "cuda" where there is one, else "cpu".

    Raises:
        InputError: an argument or a batch is not of this form, or the device is not there.

    Examples:
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4, collate_fn=pa.collate)
        >>> batches = pa.AugmentedLoader(loader, pa.default_pipeline(seed=0), device="cpu")
        >>> batches.set_epoch(1)
        >>> images, targets = next(iter(batches))
        >>> images.shape, images.dtype
        (torch.Size([4, 1, 384, 384]), torch.float32)
    """

    def __init__(self, loader: Iterable[Any], pipeline: Augmentation, device: torch.device | str | None = None) -> None:
        self.loader = loader
        number_parts(getattr(loader, "dataset", None))  # or images of concatenated data sets would share their noise
        self.pipeline = _check_pipeline(pipeline)
        self.device = _check_device(device)
        self.epoch = 0
        cuda = self.device.type == "cuda"
        # its kernels are short, and the next training step waits for them: they go first
        self._stream = torch.cuda.Stream(self.device, priority=-1) if cuda else None
        self._copies = torch.cuda.Stream(self.device) if cuda else None  # of a batch, while the one before is augmented
        self._warned = False

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "loader" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.loader, name)

    def set_epoch(self, epoch: int) -> None:
        """Key the noise of the coming iteration; passed on to the loader and to samplers that have ``set_epoch`` too.

        Args:
            epoch: 0 .. 2^32 - 1.

        Raises:
            InputError: another number.
        """
        self.epoch = check_epoch(epoch)
        waiting: list[Any] = [self.loader]
        asked: list[Any] = []
        while waiting:  # a batch sampler has a sampler of its own, which may hold another one
            one = waiting.pop()
            if any(one is other for other in asked):
                continue
            asked.append(one)
            set_epoch = getattr(one, "set_epoch", None)
            if callable(set_epoch):
                set_epoch(self.epoch)
            held = (getattr(one, name, None) for name in ("sampler", "batch_sampler"))
            waiting += [sampler for sampler in held if sampler is not None]

    def __iter__(self) -> Iterator[tuple[Augmented, list[Target] | None]]:
        epoch = self.epoch
        _check_shared_out(self.loader)
        set_epoch = getattr(getattr(self.loader, "collate_fn", None), "set_epoch", None)
        if set_epoch is not None:  # not earlier: batches of an iteration under way may not have been drawn yet
            set_epoch(epoch)
        batches = iter(self.loader)
        waiting: _Started | None = None
        try:
            for batch in batches:
                self._warn_of_keys(batch)
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

    def _warn_of_keys(self, batch: Any) -> None:
        further = sorted(map(str, batch.keys() - _KEYS)) if isinstance(batch, Mapping) else []
        if further and not self._warned:
            self._warned = True
            warnings.warn(
                f"batches have the keys {further}, which AugmentedLoader leaves out: it gives (images, targets); put what is "
                "needed into each image's target",
                stacklevel=3,
            )

    def _start(self, images: Tensor, targets: AnyTargets | None, index: Any, plan: Plan | None, epoch: int) -> _Started:
        check_images(images)
        if plan is None:
            plan = self.pipeline.draw(images.shape, targets, index, epoch)
        else:
            self._check_plan(plan, index, epoch)
        if self._stream is None:
            given = images.to(self.device)
            if given.device.type != "cpu" or dispatch.runs_triton(given.device):  # numba and torch check them on the way
                check_values(bool(in_range(given)), given)
            out, keep, placed, matrix = self._augmented(given, targets, plan)
            flags = torch.cat([torch.ones(1, dtype=torch.bool, device=keep.device), keep])
            return _Started(out, placed, matrix, flags.cpu(), None, (given,))
        if images.is_cuda:  # what made the batch may still be running on the caller's stream
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            images.record_stream(self._stream)
        source = images if images.is_cuda or images.is_pinned() else images.pin_memory()
        with torch.cuda.stream(self._copies):
            given = source.to(self.device, non_blocking=True)
        assert self._copies is not None  # it comes with the other one
        self._stream.wait_stream(self._copies)
        given.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            out, keep, placed, matrix = self._augmented(given, targets, plan)
            flags = torch.cat([in_range(given).reshape(1), keep])
            flags = torch.empty(flags.shape, dtype=torch.bool, pin_memory=True).copy_(flags, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._stream)
        return _Started(out, placed, matrix, flags, done, (source, given))

    def _augmented(
        self, given: Tensor, targets: AnyTargets | None, plan: Plan
    ) -> tuple[Tensor, Tensor, Sequence[AnyTarget] | Joined | None, NDArray[np.float64] | None]:
        packed = plan.packed if isinstance(plan, PackedPlan) else None
        if packed is not None and packed.fits(given):
            self.pipeline._check_plan(given, None, plan)
            try:
                return *packed.run(given), packed.targets, None
            except torch.OutOfMemoryError:
                raise
            except Exception as e:  # a kernel that cannot be compiled here; below, torch does its work
                if dispatch.fallback_forbidden():
                    raise
                warnings.warn(f"a packed batch could not be launched, it is prepared again: {e}", stacklevel=2)
        return self.pipeline._run(given, targets, plan)

    def _check_plan(self, plan: Plan, index: Any, epoch: int) -> None:
        if not isinstance(plan, Plan):
            raise InputError(f"the plan of a batch must be a Plan, as pa.DrawingCollate draws it, got {type(plan).__name__}")
        if (plan.seed, plan.epoch) != (self.pipeline.seed, epoch):
            raise InputError(
                f"the plan of a batch was drawn with seed {plan.seed} in epoch {plan.epoch}, this loader has seed "
                f"{self.pipeline.seed} and epoch {epoch}; give pa.DrawingCollate the same pipeline and, unless it is the "
                "collate_fn of the loader given here, call its set_epoch before each epoch"
            )
        if plan.chances and plan.chances != self.pipeline.chances():
            raise InputError(
                f"the plan of a batch was drawn with chances p = {list(plan.chances)}, the pipeline now has "
                f"{list(self.pipeline.chances())}; a loader's workers keep those they started with, so make a new loader"
            )
        if not np.array_equal(plan.index, check_index(index, len(plan))):
            raise InputError(f"the plan of a batch was drawn for index {plan.index.tolist()}, the batch has {index!r}")

    def _finish(self, batch: _Started) -> tuple[Augmented, list[Target] | None]:
        if batch.done is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(batch.done)
            batch.images.record_stream(current)
            batch.done.synchronize()
            check_values(bool(batch.flags[0]), batch.source[-1])
        if batch.targets is None:
            return batch.images, None
        flags = batch.flags[1:].numpy()
        if isinstance(batch.targets, Joined):
            new = tg.landed(batch.targets, flags, self.device, self.pipeline.keys)
        else:
            new = tg.follow(tg.without_flags(batch.targets), batch.matrix, flags, self.device, self.pipeline.keys)
        return batch.images, cast(list[Target], new)


_KEYS = {"images", "targets", "index", "plan"}


def _check_device(device: Any) -> torch.device:
    """The device, tried out. Raises InputError."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as e:
        raise InputError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}") from e
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(
            f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}; augment on the CPU and move what comes out"
        )
    if chosen.type == "cuda" and not (chosen.index or 0) < torch.cuda.device_count():
        raise InputError(f"device {str(chosen)!r} is not available here; use device='cpu'")
    return chosen


def _check_shared_out(loader: Any) -> None:
    """Warn where every one of several processes would see every image."""
    world = torch.distributed.get_world_size() if torch.distributed.is_available() and torch.distributed.is_initialized() else 1
    plain = type(loader) is DataLoader and type(loader.batch_sampler) in (BatchSampler, type(None))
    if world > 1 and plain and type(loader.sampler) in (RandomSampler, SequentialSampler):
        warnings.warn(
            f"each of the {world} processes goes through the whole data set: give the inner DataLoader a DistributedSampler, "
            "or AugmentedLoader what accelerator.prepare made of the DataLoader",
            stacklevel=3,
        )


def _check_pipeline(pipeline: object) -> Augmentation:
    if not isinstance(pipeline, Augmentation):
        raise InputError(f"pipeline must be a pa.Pipeline or a step, got {type(pipeline).__name__}")
    return pipeline


def _unpack(batch: Any) -> tuple[Tensor, AnyTargets | None, Any, Plan | None]:
    if isinstance(batch, Mapping) and {"images", "index"} <= batch.keys():
        return batch["images"], batch.get("targets"), batch["index"], batch.get("plan")
    if isinstance(batch, (tuple, list)) and len(batch) in (3, 4):
        return batch[0], batch[1], batch[2], batch[3] if len(batch) == 4 else None
    what = f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list, Mapping)) else type(batch).__name__
    raise InputError(
        f"a batch must be (images, targets, index) or a mapping with these keys, got {what}; let the data set return "
        "(image, target, index) and pass collate_fn=pcs_augment.collate"
    )
