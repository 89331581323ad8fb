"""The command ``pcs-detect``: train detectors of crystals, test them, list the configurations.

Exit status: 0 done, 1 something the user can mend (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import __version__
from .errors import PcsDetectError
from .launch import first_process


def main(argv: list[str] | None = None) -> int:
    parser = _parser()

    def work() -> None:
        arguments = sys.argv[1:] if argv is None else argv
        args = parser.parse_args(arguments)
        args.run(args, arguments)

    return guarded(parser.prog, work)


def guarded(program: str, work: Callable[[], None]) -> int:
    """Run a command and turn what stops it into an exit status and one line on stderr."""
    try:
        work()
        sys.stdout.flush()  # a full disk or closed pipe shows here
        return 0
    except SystemExit as e:  # argparse: help asked for, or wrong usage
        return e.code if isinstance(e.code, int) else 1
    except KeyboardInterrupt:
        if first_process():
            print(f"{program}: interrupted; the same command with --resume goes on with a training", file=sys.stderr)
        return 130
    except MemoryError:
        message = "out of memory; use a smaller --batch-size or fewer --workers"
    except OSError as e:
        if not _is_ours(e):
            # or the interpreter would try once more, and complain, on its way out
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message = str(e) if _is_ours(e) else f"{e.filename or 'output'}: {e.strerror or e}"
    except Exception as e:
        message = _told(e)
        if not message:
            raise
    if not first_process():  # the first process most likely says the same, whereupon this one is ended
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            return 130
    print(f"{program}: error: {message}", file=sys.stderr)
    return 1


def _is_ours(e: BaseException) -> bool:
    from pcs_augment.errors import PcsError
    from pcs_render.errors import RenderError

    return isinstance(e, PcsDetectError | PcsError | RenderError)


def _told(e: Exception) -> str:
    """The message for the user in an exception; empty where it is a fault of the program."""
    import torch

    if isinstance(e, torch.OutOfMemoryError):
        return "the GPU's memory is full; use a smaller --batch-size, more --gpus, or --amp"
    if isinstance(e, ModuleNotFoundError) and not _is_ours(e):
        return f"{e.name} is not installed; the README of pcs_detect says how to install everything"
    if not _is_ours(e):
        return ""
    text = str(e).strip()
    if text.startswith("Caught "):  # a loader process met it; the last line is what it said
        text = text.splitlines()[-1].partition(": ")[2]
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcs-detect",
        description="Train and test detectors of crystals as oriented boxes.",
        epilog="Exit status: 0 done, 1 error, 2 wrong usage, 130 interrupted. 'pcs-detect COMMAND --help' tells more.",
    )
    parser.add_argument("--version", action="version", version=f"pcs-detect {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_test(commands)
    p = commands.add_parser("configs", help="list the configurations")
    p.set_defaults(run=_configs)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "train",
        help="train a detector, or go on with a training",
        description="Train a detector on images that are augmented on the device. The folder --out gets checkpoints (the best "
        "by AP among them), logs, TensorBoard files, predictions drawn after every epoch and curves. --resume goes on after a "
        "stop of any kind, with the identical next batch.",
        epilog="Several machines: on each of them, torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint "
        "HOST:29500 -m pcs_detect.cli train CONFIG ..., with --out on a disk that all share.",
    )
    _add_common(p)
    p.add_argument("--val", nargs="+", type=Path, metavar="DATA", help="validation data, as --data; all of its images")
    p.add_argument(
        "--validation",
        type=_share,
        metavar="N",
        help="number or part of the images to take for validation (of a JSON the last)",
    )
    p.add_argument("--out", type=Path, default=Path("pcs_training"), help="folder to write (default: %(default)s)")
    p.add_argument("--epochs", type=positive, help="epochs; the steps of the learning rate move along (default: the config's)")
    p.add_argument(
        "--gpus",
        type=positive,
        default=1,
        metavar="N",
        help="processes on this machine, a GPU each; with --device cpu, processes on the CPU (default: %(default)s)",
    )
    p.add_argument("--resume", action="store_true", help="go on with the training in --out; start it if there is none")
    p.add_argument("--seed", type=natural, help="seed of weights, order and noise (default: the config's, 0)")
    p.add_argument("--amp", action="store_true", help="mixed precision on the GPU")
    p.add_argument("--no-augment", action="store_true", help="train without the noise pipeline")
    p.add_argument("--random-init", action="store_true", help="start from random weights instead of pretrained ones")
    p.add_argument("--weights", type=Path, metavar="FOLDER", help="folder with the files of pretrained weights")
    p.set_defaults(run=_train)


def _add_test(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "test",
        help="measure a detector on labelled data",
        description="Print AP and recall in %%. With --out also write metrics.json, detections.json (PCS layout with scores), "
        "precision-recall curves (results_curves.*) and sample pictures.",
    )
    _add_common(p)
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument(
        "--split",
        choices=("train", "validation", "all"),
        default="validation",
        help="images of a data set that is split; of others all (default: %(default)s)",
    )
    p.add_argument("--validation", type=_share, metavar="N", help="as in train: the data was split with it")
    p.add_argument("--out", type=Path, help="folder to write")
    p.set_defaults(run=_test)


def _add_common(p: argparse.ArgumentParser) -> None:
    p.add_argument("config", metavar="CONFIG", help="name ('pcs-detect configs' lists them) or file of a configuration")
    p.add_argument(
        "--data",
        nargs="+",
        type=Path,
        metavar="DATA",
        help="PCS or COCO JSON, or folder of pcs-render or DOTA",
    )
    p.add_argument("--images", type=Path, metavar="FOLDER", help="images of a JSON (default: the folder named like it)")
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
        type=_option,
        default=[],
        metavar="KEY=VALUE",
        help="change entries of the configuration, such as optim_wrapper.optimizer.lr=0.005",
    )


def natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return value


def positive(text: str) -> int:
    value = natural(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _share(text: str) -> int | float:
    with contextlib.suppress(ValueError):
        return positive(text) if text.isdigit() else _part(float(text))
    raise argparse.ArgumentTypeError(f"must be a number of images or a part between 0 and 1, got {text!r}")


def _part(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError
    return value


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, {"true": True, "false": False, "none": None}.get(value.lower(), value)


def _train(args: argparse.Namespace, arguments: list[str]) -> None:
    _prepare(args)
    from . import launch, train

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
        **_common(args),
    }
    if args.gpus > 1 and not launch.launched():
        launch.check_processes(args.gpus, device)
        train.configured(args.config, args.data, device=device, **options)  # what is wrong is said once, not by every process
        launch.run_processes(args.gpus, arguments)
        return
    best = train.train(args.config, args.data, out=args.out, resume=args.resume, device=device, **options)
    if first_process():
        print(best)


def _test(args: argparse.Namespace, _: list[str]) -> None:
    _prepare(args)
    from . import train

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
    from .configs import available

    rows = available()
    width = max((len(name) for name, _ in rows), default=0)
    for name, description in rows:
        print(f"{name:<{width}}  {description}")


def _prepare(args: argparse.Namespace) -> None:
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # libraries look for GPUs by themselves
    for text in ("torch.meshgrid: in an upcoming release", "DeprecationWarning: anchor_generator"):
        warnings.filterwarnings("ignore", text)  # of mmdet and mmrotate, about themselves
    if "RANK" in os.environ:
        signal.signal(signal.SIGTERM, _interrupt)  # torchrun ends its processes so
        os.environ.setdefault("MKL_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))  # mmengine would, with a warning


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _common(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "batch_size": args.batch_size,
        "workers": args.workers,
        "published_labels": args.published_labels,
        "images": args.images,
        "options": dict(args.cfg_options),
    }


if __name__ == "__main__":
    raise SystemExit(main())
