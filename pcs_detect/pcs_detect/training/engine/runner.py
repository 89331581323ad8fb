"""The runner of a training: mmengine's, with checkpoints that are whole, plain and enough to resume exactly."""

from __future__ import annotations

import copy
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.device import get_device
from mmengine.dist import all_gather_object, barrier, broadcast_object_list, is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, is_model_wrapper, revert_sync_batchnorm
from mmengine.registry import OPTIM_WRAPPERS, Registry
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmrotate.registry import RUNNERS

from ... import __version__
from ...errors import DataError, InputError
from .checkpoints import (
    check_numbers,
    hub_objects,
    hub_state,
    if_newer,
    never_unpickle,
    newest,
    random_state,
    read_checkpoint,
    set_random_state,
    write_checkpoint,
)
from .settings import learnt_otherwise, settings_of, tested_otherwise

never_unpickle()

Registry("optim_wrapper", parent=OPTIM_WRAPPERS, scope="mmrotate")  # mmrotate has none, of which mmengine warns


@RUNNERS.register_module()
class CrystalRunner(Runner):
    """mmengine's Runner, except that

    - checkpoints are written whole or not at all, hold plain data and tensors only, and are read as such, always;
    - ``resume=True`` resumes from the newest one in ``work_dir`` with the identical next batch and the same random numbers;
      a config that would change what is learnt is refused (InputError); an empty folder starts a new training;
    - several processes on CPUs work (gloo), as on GPUs (NCCL);
    - the console shows warnings only, the log file everything.
    """

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        if self.distributed and not is_distributed():
            if get_device() == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            torch.distributed.init_process_group("nccl" if get_device() == "cuda" else "gloo")
        super().setup_env(env_cfg)
        self._resumed_random: list[dict[str, Any]] | None = None

    def build_logger(self, *args: Any, **options: Any) -> MMLogger:
        logger = super().build_logger(*args, **options)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:  # not the file, which is a kind of it
                handler.setStream(sys.stderr)
                handler.setLevel(max(handler.level, logging.WARNING))
        return logger

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # mmengine names it, and no other way
            if self.distributed and get_device() == "cpu" and model_wrapper_cfg is None and not is_model_wrapper(model):
                unused = bool(self.cfg.get("find_unused_parameters", False))
                model = revert_sync_batchnorm(model)  # only GPUs can share the statistics of a batch
                return MMDistributedDataParallel(module=model, broadcast_buffers=False, find_unused_parameters=unused)
            return super().wrap_model(model_wrapper_cfg, model)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict[str, Any], seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        if isinstance(dataloader, DataLoader):
            return dataloader
        settings = copy.deepcopy(dataloader)
        if not settings.get("num_workers"):
            settings["persistent_workers"] = False
            settings.pop("prefetch_factor", None)
        sampler = settings.get("sampler")
        if isinstance(sampler, Mapping) and sampler.get("type") == "ResumableSampler":
            settings["sampler"] = {**sampler, "batch_size": settings["batch_size"]}
        loader = Runner.build_dataloader(settings, seed, diff_rank_seed)
        # by itself it draws the seeds of its workers from the numbers that training uses, once per start
        loader.generator = torch.Generator().manual_seed(seed or 0)
        return loader

    @property
    def total_batch(self) -> int:
        """Images of one step, all processes together."""
        return int(self.train_dataloader.batch_size or 1) * self.world_size

    def save_checkpoint(self, out_dir: str, filename: str, meta: dict[str, Any], save_optimizer: bool = True, **_: Any) -> None:
        """Write one file; called by all processes. meta: must hold epoch and iter (finished ones)."""
        states = all_gather_object(random_state())
        if is_main_process():
            model = self.model.module if is_model_wrapper(self.model) else self.model
            dataset = self.train_dataloader.dataset
            checkpoint: dict[str, Any] = {
                "meta": {
                    **meta,
                    "pcs_detect": __version__,
                    "config": Path(self.cfg.filename).stem if self.cfg.filename else None,
                    "time": time.strftime("%Y-%m-%d %H:%M:%S"),
                    "cfg": self.message_hub.get_info("cfg"),  # formatting it anew takes a tenth of a second
                    "settings": settings_of(self.cfg),
                    "seed": self.seed,
                    "total_batch": self.total_batch,
                    "images": len(dataset),
                    "dataset_meta": dict(getattr(dataset, "metainfo", {})),
                },
                "state_dict": model.state_dict(),
                "message_hub": hub_state(self.message_hub),
                "random": states,
            }
            if save_optimizer:
                checkpoint["optimizer"] = self.optim_wrapper.state_dict()
                checkpoint["param_schedulers"] = _states(self.param_schedulers or [])
            self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
            write_checkpoint(checkpoint, Path(out_dir) / filename)
        barrier()

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = False, revise_keys: Any = ((r"^module\.", ""),)
    ) -> dict[str, Any]:
        """Weights from a file, read as plain data. Raises DataError."""
        return self._load(read_checkpoint(filename, map_location), str(filename), strict, list(revise_keys))

    def _load(self, checkpoint: Any, name: str, strict: bool, revise_keys: list[Any]) -> dict[str, Any]:
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict", checkpoint), Mapping):
            raise DataError(f"{name}: holds no weights ('state_dict')")
        newer = if_newer(checkpoint.get("meta") or {})
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        check_numbers(checkpoint.get("state_dict", checkpoint), name)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        wanted, given = set(model.state_dict()), {_renamed(k, revise_keys) for k in checkpoint.get("state_dict", checkpoint)}
        if not wanted & given:
            raise DataError(f"{name}: none of its weights belongs to this model; is it a checkpoint of this config?{newer}")
        try:
            _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=revise_keys)
        except RuntimeError as e:
            lines = [line.strip() for line in str(e).splitlines()[1:] if line.strip()]  # the first one says that something is
            first = (lines or [str(e)])[0][:200]
            raise DataError(
                f"{name}: its weights do not fit this model ({first}); is it a checkpoint of this config?{newer}"
            ) from e
        self._has_loaded = True
        self.logger.info(f"weights from {name}")
        return checkpoint

    def load_or_resume(self) -> None:
        if self._has_loaded:
            return
        if not self._resume:
            if self._load_from is not None:
                self._load_weights(self._load_from)
            return
        path: list[str | None] = [None]
        if is_main_process():
            found = newest(Path(self.work_dir))
            path = [str(found[0]) if found else None]
        broadcast_object_list(path)
        if path[0] is None:
            self._note(f"no checkpoint in {self.work_dir}: training starts anew")
            if self._load_from is not None:
                self._load_weights(self._load_from)
        else:
            self.resume(path[0])

    def _load_weights(self, filename: str) -> None:
        """A training may start from weights that fit in part; what is tested must be the whole detector, as it was trained."""
        if self._train_loop is not None:
            self.load_checkpoint(filename)
            return
        checkpoint = self.load_checkpoint(filename, strict=True)
        trained = checkpoint.get("meta", {}).get("settings")
        if trained and (changed := tested_otherwise(trained, settings_of(self.cfg))):
            self._note(f"{filename} was trained with other settings: {'; '.join(changed[:6])}")

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Go on from a checkpoint of this training. Raises InputError where it belongs to another one, DataError where it is
        none to resume from."""
        checkpoint = read_checkpoint(filename)
        meta = checkpoint.get("meta", {}) if isinstance(checkpoint, dict) else {}
        if "optimizer" not in checkpoint or "settings" not in meta:
            raise DataError(f"{filename}: no state of a training to resume from; use it as weights instead (load_from)")
        self._must_match(meta, filename)
        self._load(checkpoint, filename, strict=True, revise_keys=[])
        self.train_loop.go_on(meta)
        self.message_hub.load_state_dict(hub_objects(checkpoint["message_hub"]))
        self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        _load_states(self.param_schedulers or [], checkpoint["param_schedulers"])
        self._resumed_random = checkpoint["random"]
        self._note(f"resuming from {filename} with epoch {self.epoch + 1}, step {self.iter + 1}")

    def _note(self, line: str) -> None:
        self.logger.info(line)
        if is_main_process():
            print(line, file=sys.stderr)

    def _must_match(self, meta: Mapping[str, Any], filename: str) -> None:
        differences = learnt_otherwise(meta["settings"], settings_of(self.cfg))
        for key, after in (("total_batch", self.total_batch), ("images", len(self.train_dataloader.dataset))):
            if meta[key] != after:
                differences.append(f"{key.replace('_', ' ')}: {meta[key]} then, {after} now")
        before, now = ((s.get("train_cfg") or {}).get("max_epochs") for s in (meta["settings"], settings_of(self.cfg)))
        if differences and before != now and all(d.startswith("param_scheduler") for d in differences):
            raise InputError(
                f"{filename} is of a training of {before} epochs, not {now}, whose learning rate falls at other steps "
                f"({differences[0]}); resume with --epochs {before}, or start a new one from its weights: --start {filename} "
                "and another --out"
            )
        if differences:
            more = f" and {len(differences) - 6} more" if len(differences) > 6 else ""
            raise InputError(
                f"{filename} belongs to another training ({'; '.join(differences[:6])}{more}); resume with the same config, "
                f"options and data, or train into another folder{if_newer(meta)}"
            )

    def restore_random_state(self) -> None:
        """Put the random numbers where they were when the resumed checkpoint was written; without one, nothing."""
        if self._resumed_random is not None and self.rank < len(self._resumed_random):
            set_random_state(self._resumed_random[self.rank])
        self._resumed_random = None


def _renamed(key: str, rules: list[Any]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _states(schedulers: Any) -> Any:
    if isinstance(schedulers, Mapping):
        return {k: _states(v) for k, v in schedulers.items()}
    return [{k: v for k, v in s.state_dict().items() if not callable(v)} for s in schedulers]


def _load_states(schedulers: Any, states: Any) -> None:
    if isinstance(schedulers, Mapping):
        for name, group in schedulers.items():
            _load_states(group, states[name])
        return
    for scheduler, state in zip(schedulers, states, strict=True):
        scheduler.load_state_dict(state)
