"""Training and evaluation as functions; the command line calls them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pcs_render.shards.manifest import NAME as MANIFEST
from pcs_render.shards.manifest import Manifest

from ...files import locked, made_folder, written

from .. import openmmlab  # isort: skip  # first: it makes mmrotate importable

import mmengine.device.utils as mm_device
from mmengine.config import Config

from ...errors import InputError
from ...processes import first_process, launched
from ...results import check_apart, check_outside_results
from .. import configs
from ..data.datasets import CrystalDataset
from . import weights
from .checkpoints import resumable
from .runner import CrystalRunner
from .write_detections import WriteDetectionsHook

Data = str | Path | Sequence[str | Path]
TESTED = ("metrics.json", "detections.json", "results.json", "results_curves.csv", "results_curves.png")  # what a test writes


def train(
    config: str | Path,
    data: Data | None = None,
    *,
    val: Data | None = None,
    validation: int | float | None = None,
    out: str | Path = "pcs_training",
    resume: bool = False,
    device: str | None = None,
    **options: Any,
) -> Path:
    """Train a detector. Started by torchrun, the process joins the others.

    Args:
        config: name of ``configs.available()`` or a file.
        data: PCS or COCO JSON, pcs_render folder, DOTA folder or export, or several of them, instead of what the config names.
        val: the same for validation, all of its images. Without it, data that are split themselves (pcs_render, DOTA export)
            are used so.
        validation: a number or part of the images: splits such data otherwise, and of other data takes the last ones; without
            it these are not validated.
        out: folder for checkpoints, logs, pictures.
        resume: resume the training in ``out``; an empty folder starts one.
        device: "cuda" or "cpu", by default the GPU where there is one.
        options: further arguments of ``configured``: epochs, batch_size, workers, seed, amp, augment, ...

    Returns:
        The best checkpoint by AP, or the last one where nothing was validated.

    Raises:
        InputError: an argument is wrong, or ``out`` holds a training that is not to be resumed.
        DataError: data are missing or damaged.

    Examples:
        >>> best = train("s2anet_tiny", sample, validation=4, epochs=1, out="training", random_init=True, device="cpu")
        >>> best.suffix
        '.pth'
    """
    chosen = chosen_device(device)
    cfg = configured(config, data, val=val, validation=validation, device=chosen, **options)
    folder = made_folder(out)
    cfg.work_dir, cfg.resume = str(folder.resolve()), resume
    with contextlib.ExitStack() as stack:
        if first_process():  # or two trainings would write the same files
            stack.enter_context(locked(folder))
        if not resume and resumable(folder):
            raise InputError(f"{folder} holds a training already; resume it (--resume) or name another folder (--out)")
        runner = stack.enter_context(running(cfg, chosen))
        _check_warm_up(runner)
        _check_labels(runner)
        runner.train()
        best = folder / runner.message_hub.get_info("best_checkpoint", "none")
        return best if best.is_file() else folder / f"epoch_{runner.epoch}.pth"


def evaluate(
    config: str | Path,
    checkpoint: str | Path,
    data: Data | None = None,
    *,
    split: str | None = "validation",
    validation: int | float | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    **options: Any,
) -> dict[str, float]:
    """Measure how good a checkpoint is.

    Args:
        config: as in ``train``.
        checkpoint: of ``train``.
        data: as in ``train``; what the config names unless given.
        split: "train", "validation" or None for all images; data that are not split count as a whole.
        validation: as in ``train``.
        out: folder for metrics.json, detections.json (PCS layout with scores), results.json (COCO's list of results),
            results_curves.* (precision over recall) and sample pictures; None writes none of them.
        device: "cuda" or "cpu", by default the GPU where there is one.
        options: batch_size, workers, published_labels, images, options of ``configured``.

    Returns:
        "AP", "AP50", "APs" ... from 0 to 1; nan where there are no such crystals.

    Raises:
        InputError: an argument is wrong, or ``out`` holds what is read under the names of these files, or results of others.
        DataError: data or checkpoint are missing or damaged.

    Examples:
        >>> metrics = evaluate("s2anet_tiny", trained, sample, validation=4, device="cpu")
        >>> 0 <= metrics["AP50"] <= 1
        True
    """
    chosen, found_weights = chosen_device(device), weights.find(str(checkpoint))
    cfg = configured(config, None, for_test=True, device=chosen, **options)
    cfg.test_dataloader.dataset.update(_source(data, split, validation) if data is not None else {})
    if out is not None:
        given = cfg.test_dataloader.dataset.get("data") or ()
        _check_test_folder(Path(out), [found_weights, *([given] if isinstance(given, str | Path) else given)])
    folder = made_folder(out) if out is not None else None
    with contextlib.ExitStack() as stack:
        work = folder or Path(stack.enter_context(_temporary_folder()))
        cfg.work_dir, cfg.load_from, cfg.resume = str(work.resolve()), str(found_weights), False
        for hook in ("checkpoint", "visualization") if folder is None else ("checkpoint",):
            cfg.default_hooks.pop(hook, None)
        cfg.visualizer.vis_backends = []
        if folder is not None:
            cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {"type": WriteDetectionsHook.__name__}]
            for evaluator in _list(cfg.test_evaluator):
                evaluator["out"] = str(folder / "results.json")
        for part in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "val_dataloader", "val_cfg"):
            cfg[part] = None
        cfg.val_evaluator = None
        with running(cfg, chosen) as runner:
            found = runner.test()
    metrics = {k.rpartition("/")[2]: float(v) for k, v in found.items()}
    if folder is not None and first_process():
        with written(folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps({k: v if v == v else None for k, v in metrics.items()}, indent=1) + "\n")
    return metrics


def _check_test_folder(folder: Path, read: Sequence[str | Path]) -> None:
    """Raises InputError where what a test writes would replace what it reads, or results of ``predict`` or ``sizes``."""
    written_files = [folder / name for name in TESTED]
    check_apart(written_files, read)
    check_outside_results(written_files[0])


def configured(
    config: str | Path,
    data: Data | None = None,
    *,
    val: Data | None = None,
    validation: int | float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    seed: int | None = None,
    amp: bool = False,
    augment: bool = True,
    random_init: bool = False,
    weights_folder: str | Path | None = None,
    start: str | Path | None = None,
    published_labels: bool = False,
    images: str | Path | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    for_test: bool = False,
) -> Config:
    """A config with everything put in that the user asked for, ready to run. Raises InputError.

    epochs: the milestones of the learning rate move along in proportion. batch_size: images per step and process; the
    learning rate follows the total. workers: loader processes of each. seed: of weights, order and noise. amp: mixed
    precision. augment=False: no noise. random_init: no pretrained weights; weights_folder: where to find them. start: a
    checkpoint of this configuration whose weights it starts from, "shipped" for those of the detector that ships.
    published_labels, images: of a PCS JSON, see CrystalDataset. options: {"dotted.key": value}, which go first.
    """
    cfg = configs.load(config, options)
    if epochs is not None:
        _set_epochs(cfg, epochs)
    if data is not None:
        _set_data(cfg, data, val, validation)
    elif val is not None:
        cfg.val_dataloader.dataset.update(_source(val, None, None))
    loaders = [cfg[k] for k in ("train_dataloader", "val_dataloader", "test_dataloader") if cfg.get(k)]
    for loader in loaders:
        if batch_size is not None:
            loader.batch_size = batch_size
        loader.num_workers = workers if workers is not None else min(loader.get("num_workers", 0), _cores())
        loader.persistent_workers = loader.num_workers > 0 and loader.get("persistent_workers", False)
        loader.pin_memory = device == "cuda" and loader.get("pin_memory", False)
        if published_labels:
            loader.dataset.published_labels = True
        if images is not None:
            loader.dataset.images = str(images)
    seed = cfg.get("randomness", {}).get("seed") if seed is None else seed
    cfg.randomness = {**cfg.get("randomness", {}), "seed": seed or 0}
    if not for_test:
        noise = cfg.model.get("data_preprocessor", {})
        if "augment" in noise:
            noise.seed = seed or 0
            if not augment:
                noise.augment = None
        elif not augment:
            raise InputError(f"{config}: its data_preprocessor has no noise that --no-augment could leave out")
        if amp:
            _set_amp(cfg, device)
        if start is not None:
            weights.start_from(cfg, start, random_init)
        elif random_init:
            weights.random_initialisation(cfg)
        else:
            if weights_folder is not None and not Path(weights_folder).is_dir():
                raise InputError(f"there is no folder {str(weights_folder)!r} of pretrained weights (--weights)")
            weights.resolve(cfg, weights_folder)
    cfg.launcher = "pytorch" if launched() else "none"
    if "ProgressHook" not in [h.get("type") for h in _list(cfg.get("custom_hooks"))]:
        cfg.custom_hooks = [*_list(cfg.get("custom_hooks")), {"type": "ProgressHook"}]
    return cfg


def chosen_device(name: str | None) -> str:
    """ "cuda" or "cpu". Raises InputError."""
    if name not in (None, "cpu", "cuda"):
        raise InputError(f"device {name!r}: it is 'cpu' or 'cuda'; CUDA_VISIBLE_DEVICES chooses among several GPUs")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda': torch finds no usable GPU here; use --device cpu")
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def running(cfg: Config, device: str) -> Iterator[CrystalRunner]:
    """A runner of the config on that device; its process group, if it made one, is gone afterwards."""
    openmmlab.check_operations(device, two_stages="roi_head" in cfg.get("model", {}))
    cfg.experiment_name = f"run_{secrets.token_hex(4)}"  # mmengine keeps loggers and the like by this name, process-wide
    if cfg.get("visualizer"):
        cfg.visualizer.name = cfg.experiment_name
    before, joined = mm_device.DEVICE, torch.distributed.is_initialized()
    mm_device.DEVICE = device
    try:
        yield CrystalRunner.from_cfg(cfg)
    finally:
        mm_device.DEVICE = before
        if torch.distributed.is_initialized() and not joined:
            torch.distributed.destroy_process_group()


def _set_epochs(cfg: Config, epochs: int) -> None:
    factor = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    for scheduler in _list(cfg.get("param_scheduler")):
        if not scheduler.get("by_epoch", True):
            continue
        for key in ("begin", "end", "T_max", "milestones"):
            if key in scheduler:
                value = scheduler[key]
                moved = [max(round(m * factor), 1) for m in value] if isinstance(value, list | tuple) else round(value * factor)
                scheduler[key] = moved if key in ("begin", "milestones") else max(moved, 1)


def _set_data(cfg: Config, data: Data, val: Data | None, validation: int | float | None) -> None:
    dataset = cfg.train_dataloader.dataset
    if val is not None:
        if validation is not None:
            raise InputError("give either validation data (--val) or how much of the training data to take (--validation)")
        dataset.update(_source(data, None, None))
        cfg.val_dataloader.dataset.update(_source(val, None, None))
    elif validation is not None or all(_is_split(d) for d in _paths(data)):
        dataset.update(_source(data, "train", validation))
        cfg.val_dataloader.dataset.update(_source(data, "validation", validation))
    else:
        if any(_is_split(d) for d in _paths(data)):
            raise InputError(
                "some of the data are split into training and validation images and some are not; name validation data "
                "(--val) or say how many images of each are for validation (--validation)"
            )
        _note("no validation: name data for it (--val) or take some of these (--validation)")
        dataset.update(_source(data, None, None))
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None


def _source(data: Data, split: str | None, validation: int | float | None) -> dict[str, Any]:
    paths = _paths(data)
    if split is not None and validation is None:
        whole = [p for p in paths if not _is_split(p)]
        if whole and len(whole) < len(paths):  # all images of one and some of another would be no validation set
            raise InputError(
                f"{whole[0]} is not split by itself and others of the data are; take them one at a time, say how many images "
                "of each are for validation (--validation), or take all images (--split all)"
            )
        split = None if whole else split
    return {"data": paths[0] if len(paths) == 1 else paths, "split": split, "validation": validation}


def _paths(data: Data) -> list[str]:
    given = [data] if isinstance(data, str | Path) else list(data)
    for path in given:
        if not Path(path).exists():
            raise InputError(f"there is no data set {str(path)!r}; name a PCS or COCO JSON, or a folder of pcs-render or DOTA")
    return [str(Path(p).absolute()) for p in given]


def _is_split(path: str) -> bool:
    """Whether a data set says itself which of its images are for validation."""
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        return Manifest.load(folder).validation != 0
    return (folder / "train").is_dir() and (folder / "val").is_dir()


def _set_amp(cfg: Config, device: str) -> None:
    if device != "cuda":
        cfg.custom_hooks = [*_list(cfg.get("custom_hooks")), {"type": "Bfloat16Hook"}]
        return
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.setdefault("loss_scale", "dynamic")


def _check_warm_up(runner: CrystalRunner) -> None:
    for scheduler in _list(runner.cfg.get("param_scheduler")):
        end = scheduler.get("end")
        if not scheduler.get("by_epoch", True) and end is not None and end > runner.max_iters / 2:
            _note(
                f"the learning rate rises for {end} steps, the training has {runner.max_iters}; for so few images shorten "
                f"that, for instance --cfg-options param_scheduler.0.end={max(runner.max_iters // 10, 1)}"
            )


def _check_labels(runner: CrystalRunner) -> None:
    """Say where training or validation has no crystal to learn or to measure, or labels that lie off their images."""
    parts = (  # made by all processes, which agree on seeds meanwhile
        ("training", runner.train_loop, "the detector can only learn to find nothing"),
        ("validation", runner.val_loop, "AP cannot be measured, and no checkpoint is the best by it"),
    )
    for what, loop, so in parts:
        dataset = None if loop is None else loop.dataloader.dataset
        if not isinstance(dataset, CrystalDataset) or not first_process():
            continue
        labels, off = dataset.looked_at()
        if not labels:
            _note(f"none of the {len(dataset)} images for {what} has a crystal: {so}; are these the right labels?")
        elif off:
            _note(
                f"{off} of the first {labels} crystals for {what} are centred off their image; do labels and images belong "
                "together, in size and in order?"
            )


def _note(line: str) -> None:
    if first_process():
        print(line, file=sys.stderr)


def _list(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, Mapping) else list(value)


def _cores() -> int:
    return max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1, 0)


def _temporary_folder() -> contextlib.AbstractContextManager[str]:
    import tempfile

    return tempfile.TemporaryDirectory(prefix="pcs-detect-")
