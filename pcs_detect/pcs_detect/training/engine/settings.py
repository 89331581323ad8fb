"""The settings of a run as plain data, and which of them matter when another run takes over what it learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .checkpoints import plain

# what may change between the parts of one training: where things lie, what is shown, how the same batches are loaded
HARMLESS = (
    "work_dir",
    "resume",
    "load_from",
    "look",
    "launcher",
    "log_level",
    "log_processor",
    "visualizer",
    "vis_backends",
    "experiment_name",
    "env_cfg",
    "default_hooks",
    "custom_hooks",
    "test_dataloader",
    "test_evaluator",
    "test_cfg",
    "model.test_cfg",
    "train_dataloader.num_workers",
    "train_dataloader.persistent_workers",
    "train_dataloader.prefetch_factor",
    "train_dataloader.pin_memory",
    "train_dataloader.batch_size",
    "train_dataloader.dataset.data",
    "train_dataloader.dataset.images",
    "val_dataloader",
    "val_evaluator",
    "val_cfg",
    "train_cfg.val_interval",
    "train_cfg.val_begin",
    "train_cfg.max_epochs",
    "model_wrapper_cfg",
    "find_unused_parameters",
    "custom_imports",
)
# what of a model may differ between its training and a test without a word
UNTESTED = (
    "model.test_cfg",
    "model.train_cfg",
    "model.use_syncbn",
    "model.init_cfg",
    "model.backbone.init_cfg",
    "model.backbone.frozen_stages",
    "model.backbone.norm_eval",
    *(f"model.data_preprocessor.{key}" for key in ("augment", "seed", "min_edge", "threshold", "matched", "fringes")),
)


def settings_of(cfg: Any) -> dict[str, Any]:
    """A config as plain data; objects and functions in it by their names."""

    def simple(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(k): simple(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [simple(v) for v in value]
        try:
            return plain(value)
        except TypeError:
            return str(getattr(value, "__qualname__", repr(value)))

    return simple(cfg.to_dict() if hasattr(cfg, "to_dict") else cfg)


def differing(before: Any, after: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, before, after) of every entry that two nested settings do not share; absent ones count as None.

    The entries of lists of one length have their numbers as keys, as in --cfg-options.
    """
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        before, after = ({str(k): v for k, v in enumerate(values)} for values in (before, after))
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = sorted({*before, *after})
        return [d for n in names for d in differing(before.get(n), after.get(n), f"{key}.{n}".lstrip("."))]
    return [] if before == after else [(key, before, after)]


def learnt_otherwise(before: Any, now: Any) -> list[str]:
    """Where settings differ so that a training could not be resumed as it began."""
    return [
        f"{key}: {' then, '.join(_shown(old, new))} now"
        for key, old, new in differing(before, now)
        if not _within(key, HARMLESS) and not key.endswith("init_cfg.checkpoint")
    ]


def tested_otherwise(before: Any, now: Any) -> list[str]:
    """Where settings differ so that the same weights are another detector."""
    return [
        f"{key} is {', it was '.join(_shown(new, old))}"
        for key, old, new in differing(before, now)
        if _within(key, ("model",)) and not _within(key, UNTESTED)
    ]


def _within(key: str, places: Iterable[str]) -> bool:
    return any(key == place or key.startswith(f"{place}.") for place in places)


def _shown(one: Any, other: Any) -> tuple[str, str]:
    """Two different values, cut to where they differ if they are long."""
    texts = repr(one), repr(other)
    alike = next((k for k, (a, b) in enumerate(zip(*texts)) if a != b), min(map(len, texts)))
    first = alike - 20 if max(map(len, texts)) > 60 and alike > 40 else 0
    before, after = (f"...{t[first:]}" if first else t for t in texts)
    return _cut(before), _cut(after)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
