"""A detector from its checkpoint, built without executing anything that is written in the file."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.config import ConfigDict
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TASK_UTILS as ROOT_TASK_UTILS
from mmengine.registry import DefaultScope
from mmrotate.registry import MODELS

from ...errors import DataError, PcsDetectError
from ...inference.look import Look
from .. import (
    components,  # noqa: F401  # what the settings of a model name
    configs,
)
from .checkpoints import check_numbers, if_newer, read_checkpoint
from .settings import settings_of, tested_otherwise

ROTATED = ("nms_rotated", "nms_nearby")
OPERATIONS = ("nms", "soft_nms", *ROTATED, "RoIAlign", "RoIAlignRotated")  # what settings name without a registry
SCOPES = ("mmdet", "mmrotate", "mmcv", "mmengine")
WORD = re.compile(r"\w*")
OF_TRAINING = ("init_cfg", "augment")


class Loaded(NamedTuple):
    """A detector ready to predict, and which file it came from."""

    model: nn.Module
    source: dict[str, Any]  # file (its name), sha256, config (name, None if not known), epoch
    look: Look  # how it looks at photographs
    settings: Mapping[str, Any]  # what it was trained with


def load_detector(
    checkpoint: str | Path, config: str | Path | None = None, score: float | None = None, iou: float | None = None
) -> Loaded:
    """Build the detector of a checkpoint and give it its weights; on the CPU, in evaluation mode.

    The model is what the checkpoint says that it was trained as (``meta.settings``, which pcs-detect writes). A file is data of
    unknown origin: it is read as weights and plain values only, and a model in it may name parts that pcs_detect and the
    OpenMMLab registered, nothing else. config: name or file of a configuration that is to be used instead, for weights without
    settings or with parts of your own. score, iou: the least score and the overlap that rotated non-maximum suppression allows,
    instead of what the model was tested with.

    Raises DataError for a file that is missing, damaged, refused, without weights or of another model; InputError.
    """
    path = Path(checkpoint)
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a checkpoint in it, such as best_*.pth")
    content = read_checkpoint(path)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not any(hasattr(v, "shape") for v in state.values()):
        raise DataError(f"{path}: holds no weights ('state_dict')")
    meta = content.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    try:
        return _loaded(path, state, meta, config, score, iou)
    except DataError as e:
        raise DataError(f"{e}{if_newer(meta)}") from e


def _loaded(
    path: Path,
    state: Mapping[str, Any],
    meta: Mapping[str, Any],
    config: str | Path | None,
    score: float | None,
    iou: float | None,
) -> Loaded:
    trained = meta.get("settings")
    if config is not None:
        cfg = configs.load(config)
        if isinstance(trained, Mapping) and (changed := tested_otherwise(trained, {"model": settings_of(cfg.model)})):
            warnings.warn(f"{path} was trained with other settings: {'; '.join(changed[:6])}", stacklevel=2)
        model = cfg.model
    else:
        if not isinstance(trained, Mapping) or not isinstance(trained.get("model"), Mapping):
            raise DataError(f"{path}: does not say which model it belongs to, as checkpoints of pcs-detect do; name its config")
        model = _for_test(trained["model"])
        _check_parts(model, str(path))
    settings = trained if isinstance(trained, Mapping) else {}
    look = _look(settings if config is None else cfg, _allowed_overlap(model), str(path))
    _set_test(model := ConfigDict(model), score, look.iou if iou is None else iou)
    built = _built(model, str(path))
    _give_weights(built, state, str(path))
    name = Path(config).stem if config is not None else meta.get("config")
    source = {"file": path.name, "sha256": _sha256(path), "config": name, "epoch": meta.get("epoch")}
    return Loaded(built.eval(), source, look, settings)


def _look(settings: Mapping[str, Any], iou: float | None, name: str) -> Look:
    """How the detector looks at photographs, where its settings say that; iou: what its model allows, if they do not."""
    given: dict[str, Any] = ({} if iou is None else {"iou": iou}) | dict(settings.get("look") or {})
    try:
        return Look(**given)
    except (TypeError, ValueError) as e:
        raise DataError(f"{name}: its settings of 'look' are none: {e}") from e


def _check_parts(model: Any, name: str) -> None:
    """OpenMMLab would import any function that ``type`` names, evaluates the name of a suppression and opens files that
    arguments name. So all of a model's text has to be plain words, and types have to be known."""
    known = {*_registered(), *OPERATIONS}
    for key, text in _texts(model):
        scope, _, word = text.rpartition(".") if key == "type" else ("", "", text)
        unknown = (key == "type" and word not in known) or text == "_scope_"  # OpenMMLab would import what that names
        if not WORD.fullmatch(word) or scope not in ("", *SCOPES) or unknown:
            raise DataError(
                f"{name}: refused, its settings hold {f'{key}: {text}'[:80]!r}, which is no part that pcs-detect knows; if "
                "that is a model of yours, name its configuration (--config)"
            )


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in nested settings; keys count as texts themselves."""
    if isinstance(node, Mapping):
        for k, v in node.items():
            yield "", str(k)
            yield from _texts(v, str(k))
    elif isinstance(node, list | tuple):
        for v in node:
            yield from _texts(v, key)
    elif isinstance(node, str):
        yield key, node


def _registered() -> set[str]:
    names: set[str] = set()
    waiting = [ROOT_MODELS, ROOT_TASK_UTILS]
    while waiting:
        registry = waiting.pop()
        names |= registry.module_dict.keys()
        waiting.extend(registry.children.values())
    return names


def _for_test(node: Any) -> Any:
    """Settings of a model less those of its training."""
    if isinstance(node, Mapping):
        kept = {k: _for_test(v) for k, v in node.items() if k not in OF_TRAINING}
        return {**kept, "train_cfg": None} if "train_cfg" in kept else kept  # some detectors insist on that argument
    return [_for_test(v) for v in node] if isinstance(node, list | tuple) else node


def _allowed_overlap(node: Any) -> float | None:
    """IoU that rotated non-maximum suppression of a model allows; None of one without."""
    if isinstance(node, Mapping):
        if node.get("type") in ROTATED and "iou_threshold" in node:
            return node["iou_threshold"]
        node = list(node.values())
    within = (_allowed_overlap(v) for v in node) if isinstance(node, list | tuple) else ()
    return next((iou for iou in within if iou is not None), None)


def _set_test(node: Any, score: float | None, iou: float | None) -> None:
    """Wherever a model says what it predicts: the first stage of a detector with two has no threshold of its score."""
    if not isinstance(node, Mapping):
        return
    if "score_thr" in node:
        changes: dict[str, Any] = {} if score is None else {"score_thr": score}
        nms = node.get("nms")
        if iou is not None and isinstance(nms, Mapping) and nms.get("type") in ROTATED:  # upright boxes overlap more
            changes["nms"] = {**nms, "iou_threshold": iou}
        node.update(changes)  # type: ignore[attr-defined]
    for child in node.values():
        _set_test(child, score, iou)


def _built(model: ConfigDict, name: str) -> nn.Module:
    try:
        with DefaultScope.overwrite_default_scope("mmrotate"):
            return MODELS.build(model)
    except PcsDetectError:
        raise
    except Exception as e:  # arguments that parts do not take, from whatever depth of OpenMMLab
        raise DataError(f"{name}: the model in its settings cannot be built: {type(e).__name__}: {e}") from e


def _give_weights(model: nn.Module, state: Mapping[str, Any], name: str) -> None:
    weights = {k.removeprefix("module."): v for k, v in state.items()}
    check_numbers(weights, name)
    if not model.state_dict().keys() & weights.keys():
        raise DataError(f"{name}: none of its weights belongs to this model; is it a checkpoint of this configuration?")
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as e:
        lines = [line.strip() for line in str(e).splitlines()[1:] if line.strip()]  # the first one says that something is wrong
        raise DataError(f"{name}: its weights do not fit this model ({(lines or [str(e)])[0][:200]})") from e


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
