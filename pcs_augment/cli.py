"""The command ``pcs-augment``: look at what the pipeline does, or freeze an augmented data set.

Exit status: 0 done, 1 something the user can correct (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .console import Progress, guarded, natural, path, positive
from .errors import InputError

if TYPE_CHECKING:
    import torch


def main(argv: list[str] | None = None) -> int:
    parser = _parser()

    def work() -> None:
        args = parser.parse_args(argv)
        args.run(args)

    return guarded(parser.prog, work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcs-augment",
        description="Augment images with the noise of real microscopes.",
        epilog="Exit status: 0 done, 1 error, 2 wrong usage, 130 interrupted. 'pcs-augment COMMAND --help' says more.",
    )
    parser.add_argument("--version", action="version", version=f"pcs-augment {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_preview(commands)
    _add_freeze(commands)
    _add_bench(commands)
    return parser


def _add_preview(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "preview",
        help="draw augmented images beside their originals",
        description="Draw base images above augmented ones, with the outlines of labelled objects.",
        epilog="Example: pcs-augment preview train.json --each-step --out steps.png",
    )
    p.add_argument("sources", nargs="+", type=path, metavar="SOURCE", help="image, folder of images, or PCS or COCO JSON")
    p.add_argument("--out", type=path, default=Path("gallery.png"), help="picture to write (default: %(default)s)")
    p.add_argument("--each-step", action="store_true", help="every step alone, certain to act, instead of the whole pipeline")
    p.add_argument(
        "--pipeline",
        choices=("default", "microscope"),
        default="default",
        help="the published pipeline, or the one that imitates photographs of drops (default: %(default)s)",
    )
    p.add_argument("--count", type=positive, help="base images to show (default: 6; 2 with --each-step)")
    p.add_argument(
        "--versions", type=positive, help="augmented versions of each, one per epoch (default: 1; 4 of a single image)"
    )
    p.add_argument("--columns", type=positive, help="tiles in a row (default: as many as fit 2400 px, at most 6)")
    p.add_argument(
        "--size", type=positive, default=768, help="scale larger images down to this long a side, px (default: %(default)s)"
    )
    p.add_argument("--no-outlines", action="store_true", help="do not draw the outlines of objects")
    _add_common(p)
    p.set_defaults(run=_preview)


def _add_freeze(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "freeze",
        help="write an augmented data set, such as a validation set",
        description="Augment every image of a data set once and write images, labels in the same layout, and the plans. "
        "The same command again continues an interrupted run; the result depends on neither batch size nor workers.",
        epilog="Example: pcs-augment freeze val.json --out val_augmented --seed 1",
    )
    p.add_argument("data", type=path, metavar="DATA.json", help="PCS or COCO JSON (.json, .json.gz, .gzip or .json.gzip)")
    p.add_argument("--out", type=path, required=True, help="folder to write: DATA.json, DATA/*.png, plans/*.npz")
    _add_common(p)
    p.add_argument("--min-edge", type=float, default=0.0, help="drop objects with a side below this, px (default: %(default)s)")
    p.add_argument(
        "--threshold",
        type=int,
        default=0,
        help="drop objects whose grey values span at most this, 0..255 (default: %(default)s)",
    )
    p.add_argument(
        "--batch-size", type=positive, default=32, help="images augmented together, at most 64 (default: %(default)s)"
    )
    p.add_argument(
        "--workers", type=natural, default=min(2, os.cpu_count() or 1), help="loader processes (default: %(default)s)"
    )
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(run=_freeze)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "bench",
        help="time the pipeline on this machine",
        description="Time the default pipeline, its worst case and each of its steps; print a table and draw bars.",
        epilog="Example: pcs-augment bench --device cuda --batch-size 64",
    )
    p.add_argument("--batch-size", type=positive, default=64, help="images augmented together (default: %(default)s)")
    p.add_argument("--size", type=positive, default=384, help="side of the images, px (default: %(default)s)")
    p.add_argument("--objects", type=natural, default=50, help="objects in each image (default: %(default)s)")
    p.add_argument("--seconds", type=float, default=2.0, help="time spent on each row of the table (default: %(default)s)")
    p.add_argument("--out", type=path, default=Path("bench.png"), help="picture to write (default: %(default)s)")
    add_device(p)
    p.set_defaults(run=_bench)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=natural, default=0, help="seed of the noise (default: %(default)s)")
    parser.add_argument("--epoch", type=natural, default=0, help="epoch of the noise (default: %(default)s)")
    parser.add_argument("--images", type=path, metavar="FOLDER", help="images of the JSON (default: the folder named like it)")
    parser.add_argument(
        "--published-labels", action="store_true", help="the JSON is a released PCS file: its labels lie 1 px high"
    )
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one, else cpu)")


def chosen_device(name: str | None) -> torch.device:
    """The device by its name, tried out. Raises InputError."""
    import torch  # here: help and version must not wait for it

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise InputError(f"--device {name}: not usable here ({reason}); try --device cpu") from e
    return device


def _preview(args: argparse.Namespace) -> None:
    from .gallery import preview

    path = preview(
        args.sources,
        args.out,
        seed=args.seed,
        epoch=args.epoch,
        count=args.count,
        columns=args.columns,
        versions=args.versions,
        size=args.size,
        each_step=args.each_step,
        outlines=not args.no_outlines,
        images=args.images,
        published_labels=args.published_labels,
        device=chosen_device(args.device),
        pipeline=args.pipeline,
    )
    print(path)


def _bench(args: argparse.Namespace) -> None:
    from . import bench

    bench.check_chart()
    device = chosen_device(args.device)
    measured = []
    with Progress("timing", "rows") as progress:
        for row in bench.rows(device, args.batch_size, args.size, args.objects, args.seconds):
            measured.append(row)
            progress(len(measured), bench.ROWS)
    title = f"{args.batch_size} images of {args.size} px, {args.objects} objects each: {bench.machine(device)}"
    bench.chart(measured, title, args.out)
    print(f"{title}\n{bench.table(measured)}\n{args.out}")


def _freeze(args: argparse.Namespace) -> None:
    from .freeze import freeze

    with Progress("freezing", quiet=args.quiet) as progress:
        result = freeze(
            args.data,
            args.out,
            seed=args.seed,
            epoch=args.epoch,
            images=args.images,
            min_edge=args.min_edge,
            threshold=args.threshold,
            published_labels=args.published_labels,
            batch_size=args.batch_size,
            workers=args.workers,
            device=chosen_device(args.device),
            progress=progress,
        )
    before = f", {result.resumed} of them were there before" if result.resumed else ""
    print(f"{result.path}: {result.images} images{before}; {result.objects} objects, {result.dropped} dropped")


if __name__ == "__main__":
    raise SystemExit(main())
