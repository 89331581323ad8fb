"""The commands ``train``, ``test`` and ``configs``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from ..processes import first_process, launched
from .arguments import natural, nonempty, option, path, positive, prepare, share


def add(commands: argparse._SubParsersAction) -> None:
    _add_train(commands)
    _add_test(commands)
    p = commands.add_parser("configs", help="list the configurations")
    p.set_defaults(run=_configs)


def _add_train(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "train",
        help="train a detector, or resume a training",
        description="Train a detector on images that are augmented on the device. The folder --out gets checkpoints (the best "
        "by AP among them), logs, TensorBoard files, predictions drawn after every validation and curves. --resume resumes "
        "after a stop of any kind, with the identical next batch.",
        epilog="Several machines: on each of them, torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint "
        "HOST:29500 -m pcs_detect.cli train CONFIG ..., with --out on a disk that all share.",
    )
    _add_common(p)
    p.add_argument("--val", nargs="+", type=path, metavar="DATA", help="validation data, as --data; all of its images")
    p.add_argument(
        "--validation",
        type=share,
        metavar="N",
        help="number or part of the images to take for validation (of a JSON the last)",
    )
    p.add_argument("--out", type=path, default=Path("pcs_training"), help="folder to write (default: %(default)s)")
    p.add_argument("--epochs", type=positive, help="epochs; the steps of the learning rate move along (default: the config's)")
    p.add_argument(
        "--gpus",
        type=positive,
        default=1,
        metavar="N",
        help="processes on this machine, a GPU each; with --device cpu, processes on the CPU (default: %(default)s)",
    )
    p.add_argument("--resume", action="store_true", help="resume the training in --out; start it if there is none")
    p.add_argument("--seed", type=natural, help="seed of weights, order and noise (default: the config's, 0)")
    p.add_argument("--amp", action="store_true", help="mixed precision: float16 on a GPU, bfloat16 on a CPU that has it")
    p.add_argument("--no-augment", action="store_true", help="train without the noise pipeline")
    p.add_argument("--random-init", action="store_true", help="start from random weights instead of pretrained ones")
    p.add_argument(
        "--start",
        type=nonempty,
        metavar="FILE",
        help="start from the weights of a checkpoint of this configuration; 'shipped': of the detector that pcs-detect "
        "comes with",
    )
    p.add_argument("--weights", type=path, metavar="FOLDER", help="folder with the files of pretrained weights")
    p.set_defaults(run=_train)


def _add_test(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "test",
        help="measure a detector on labelled data",
        description="Print AP and recall in %%. With --out also write metrics.json, detections.json (PCS layout with scores), "
        "precision-recall curves (results_curves.*) and sample pictures.",
    )
    _add_common(p)
    p.add_argument("checkpoint", type=path, metavar="CHECKPOINT")
    p.add_argument(
        "--split",
        choices=("train", "validation", "all"),
        default="validation",
        help="images of a data set that is split; of others all (default: %(default)s)",
    )
    p.add_argument("--validation", type=share, metavar="N", help="as in train: the data was split with it")
    p.add_argument("--out", type=path, help="folder to write")
    p.set_defaults(run=_test)


def _add_common(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "config", type=nonempty, metavar="CONFIG", help="name ('pcs-detect configs' lists them) or file of a configuration"
    )
    p.add_argument(
        "--data",
        nargs="+",
        type=path,
        metavar="DATA",
        help="PCS or COCO JSON, or folder of pcs-render or DOTA",
    )
    p.add_argument("--images", type=path, metavar="FOLDER", help="images of a JSON (default: the folder named like it)")
    p.add_argument("--published-labels", action="store_true", help="the JSON is a released PCS file: its labels lie 1 px high")
    p.add_argument("--batch-size", type=positive, metavar="N", help="images per step and GPU (default: the config's)")
    p.add_argument(
        "--workers", type=natural, metavar="N", help="loader processes per GPU (default: the config's, as cores allow)"
    )
    p.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU")
    p.add_argument(
        "--cfg-options",
        action="extend",
        nargs="+",
        type=option,
        default=[],
        metavar="KEY=VALUE",
        help="change entries of the configuration, such as optim_wrapper.optimizer.lr=0.005",
    )


def _train(args: argparse.Namespace, arguments: list[str]) -> None:
    prepare(args.device)
    from ..training.engine import launch, train

    device = train.chosen_device(args.device)
    options: dict[str, Any] = {
        "val": args.val,
        "validation": args.validation,
        "epochs": args.epochs,
        "seed": args.seed,
        "amp": args.amp,
        "augment": not args.no_augment,
        "random_init": args.random_init,
        "weights_folder": args.weights,
        "start": args.start,
        **_common(args),
    }
    if args.gpus > 1 and not launched():
        launch.check_processes(args.gpus, device)
        train.configured(args.config, args.data, device=device, **options)  # what is wrong is said once, not by every process
        launch.run_processes(args.gpus, arguments)
        return
    best = train.train(args.config, args.data, out=args.out, resume=args.resume, device=device, **options)
    if first_process():
        print(best)


def _test(args: argparse.Namespace, _: list[str]) -> None:
    prepare(args.device)
    from ..training.engine import train

    metrics = train.evaluate(
        args.config,
        args.checkpoint,
        args.data,
        split=None if args.split == "all" else args.split,
        validation=args.validation,
        out=args.out,
        device=args.device,
        **_common(args),
    )
    for name, value in metrics.items() if first_process() else ():
        print(f"{name:<6}{'-' if math.isnan(value) else f'{100 * value:.2f}':>8}")


def _configs(args: argparse.Namespace, _: list[str]) -> None:
    from ..training.configs import available

    rows = available()
    width = max((len(name) for name, _ in rows), default=0)
    for name, description in rows:
        print(f"{name:<{width}}  {description}")


def _common(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "batch_size": args.batch_size,
        "workers": args.workers,
        "published_labels": args.published_labels,
        "images": args.images,
        "options": dict(args.cfg_options),
    }
