"""Epochs that can be left and entered at any step, and the order of images that makes this possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop
from mmrotate.registry import DATA_SAMPLERS, LOOPS

from ...errors import InputError


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler[int]):
    """Indices of one process, such that step i of an epoch sees the same images for any number of processes.

    The order of an epoch depends on (seed, epoch) alone. It is cut into global batches of ``batch_size`` times the number of
    processes, and each of them into one piece per process; the last batch is filled up with images from the front
    of the order. ``start`` leaves out that many steps at the front of the next epoch.
    """

    def __init__(self, dataset: Sized, batch_size: int, shuffle: bool = True, seed: int | None = None) -> None:
        if not len(dataset):
            raise InputError("there are no images to train on")
        self.rank, self.world_size = get_dist_info()
        self.size, self.batch_size, self.shuffle = len(dataset), int(batch_size), shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = self.start = 0

    @property
    def steps(self) -> int:
        return -(-self.size // (self.batch_size * self.world_size))

    def __len__(self) -> int:
        """Images of this process in a whole epoch, whatever ``start`` is."""
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        shuffled = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        order = shuffled if self.shuffle else np.arange(self.size)
        batches = np.resize(order, self.steps * self.world_size * self.batch_size)  # repeats the order as often as needed
        mine = batches.reshape(self.steps, self.world_size, self.batch_size)[self.start :, self.rank]
        return iter(mine.flatten().tolist())

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's loop over epochs, entered where a checkpoint was written: between two steps, or before a validation.

    Its data loader needs the ResumableSampler.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not isinstance(self.dataloader.sampler, ResumableSampler):
            raise InputError("ResumableEpochLoop needs train_dataloader.sampler = dict(type='ResumableSampler')")
        self._validation_due = False

    def go_on(self, meta: Mapping[str, Any]) -> None:
        """Set the position from a checkpoint's ``epoch``, ``iter`` (finished ones) and ``validated``."""
        self._epoch, self._iter = int(meta["epoch"]), int(meta["iter"])
        between_epochs = self._epoch > 0 and self._iter == self._epoch * len(self.dataloader)
        self._validation_due = between_epochs and not meta.get("validated", True)

    def run(self) -> torch.nn.Module:
        self.runner.call_hook("before_train")
        self.runner.restore_random_state()
        if self._validation_due:
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        self.runner.call_hook("after_train")
        return self.runner.model

    @property
    def validates(self) -> bool:
        """Whether the epoch that has just ended is followed by a validation."""
        return (
            self.runner.val_loop is not None
            and self._epoch >= self.val_begin
            and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        )

    def _validate(self) -> None:
        self._decide_current_val_interval()
        if self.validates:
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        self.dataloader.sampler.start = done
        for step, batch in enumerate(self.dataloader, start=done):
            self.run_iter(step, batch)
        self.dataloader.sampler.start = 0
        self._shorten_history()
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _shorten_history(self) -> None:
        # every new value copies the whole history, which costs more than a training step after a million of them
        scalars = self.runner.message_hub.log_scalars
        for name, buffer in scalars.items():
            values, counts = buffer.data
            kept = max(len(self.dataloader), 1000)
            scalars[name] = HistoryBuffer(values[-kept:], counts[-kept:])
