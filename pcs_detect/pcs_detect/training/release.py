"""A checkpoint as the files that ship: the ONNX file, the weights to train on from, the card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import DataError, InputError
from ..files import written
from ..inference.look import Look
from ..results import check_apart
from .engine.checkpoints import read_checkpoint, write_checkpoint
from .engine.loading import load_detector
from .export import write
from .half import halved_state


def release(
    checkpoint: str | Path,
    out: str | Path,
    look: Look | None = None,
    about: Mapping[str, str] | None = None,
    config: str | None = None,
) -> list[Path]:
    """Write ``out`` (NAME.onnx), NAME.pth and NAME.md; put into ``pcs_detect/models`` they are the detector that ships.

    The weights of both files are the same numbers, convolutions in half precision, so both find the same crystals. NAME.pth
    holds the settings of the model and nothing else of the training; ``pcs-detect train --start`` takes it.

    Args:
        checkpoint: of ``pcs-detect train``.
        out: the ONNX file.
        look: how it looks at photographs; by default as the checkpoint's settings say.
        about: trained_on, licence, note: what files and card say.
        config: name of the configuration, where it is another than the checkpoint says.

    Returns:
        The three files.

    Raises:
        InputError: ``out`` has another ending, or a file of that name, with whatever of the three endings, is the checkpoint or
            one of another training. Nothing has been written then.
    """
    path = Path(out)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: name the .onnx file; the others are named like it")
    weights, card = path.with_suffix(".pth"), path.with_suffix(".md")
    check_apart((path, weights, card), [checkpoint])
    if weights.exists() and not _is_release(weights):
        raise InputError(f"{weights} is there and of no release: its weights would be replaced; name another file")
    about = dict(about or {})
    loaded = load_detector(checkpoint, config)
    trained = read_checkpoint(Path(checkpoint)).get("meta", {})
    look = look or loaded.look
    loaded.model.load_state_dict(halved_state(loaded.model.state_dict()))
    write(loaded, path, half=True, look=look, about=about)
    meta: dict[str, Any] = {
        "pcs_detect": __version__,
        "config": loaded.source["config"],
        "epoch": loaded.source["epoch"],
        "settings": {"model": loaded.settings["model"], "look": look.plain()},
        **about,
    }
    write_checkpoint({"meta": meta, "state_dict": halved_state(loaded.model.state_dict(), store=True)}, weights)
    numbers = sum(v.numel() for v in loaded.model.state_dict().values() if isinstance(v, torch.Tensor))
    with written(card) as temporary:
        temporary.write_text(_card(path.stem, loaded.source, look, about, trained, numbers), encoding="utf-8")
    return [path, weights, card]


def _is_release(file: Path) -> bool:
    """Whether ``release`` wrote these weights: no training keeps so little of its settings."""
    try:
        content = read_checkpoint(file)
        return set(content) == {"meta", "state_dict"} and set(content["meta"]["settings"]) == {"model", "look"}
    except (DataError, KeyError, TypeError):
        return False


def _card(
    name: str, source: Mapping[str, Any], look: Look, about: Mapping[str, str], trained: Mapping[str, Any], numbers: int
) -> str:
    metrics = {k.rpartition("/")[2]: v for k, v in (trained.get("metrics") or {}).items()}
    measured = ", ".join(f"{k} {100 * float(v):.1f}" for k, v in metrics.items() if float(v) == float(v))
    limit = "any"
    if look.most < float("inf"):
        limit = f"{look.least:g} to {look.most:g}; at the finest shorter too, at the coarsest longer"
    lines = [
        f"# {name}",
        "",
        *([about["note"], ""] if about.get("note") else []),
        "| | |",
        "|---|---|",
        f"| configuration | `{source['config']}`, epoch {source['epoch']}, {numbers / 1e6:.1f} million numbers |",
        f"| trained on | {about.get('trained_on', 'not said')} |",
        f"| validation, % | {measured or 'not said'} |",
        f"| licence | {about.get('licence', 'not said')} |",
        f"| looks at photographs at | {', '.join(f'{s:g}' for s in look.scales)} times their size |",
        f"| sizes that count at each, px as the network sees them | {limit} |",
        f"| orientations in which it looks | {look.views} |",
        f"| least score | {look.score:g} |",
        f"| SHA-256 of the checkpoint from which both files were written | {source['sha256']} |",
        "",
        f"`{name}.onnx` is what `Detector()` loads; `{name}.pth` holds the same weights, for `pcs-detect train "
        f"{source['config']} --start shipped`.",
        "",
    ]
    return "\n".join(lines)
