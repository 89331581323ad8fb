"""The command ``export``."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import above_zero, natural, nonempty, path, positive, prepare, up_to_one

LOOK = ("score", "grey", "scales", "least", "most", "largest", "average", "views")


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "export",
        help="write a detector as an ONNX, TorchScript or torch.export file",
        description="Write a detector of one stage (S2A-Net, RTMDet-R) to a file that runs without OpenMMLab's packages. "
        "FILE.onnx takes images of any size and is what predict --model takes; FILE.ts (TorchScript) and FILE.pt2 "
        "(torch.export) take one image of --size. They give geometry and scores of every place of the grids; "
        "pcs_detect.inference.decoding makes crystals of them.",
        epilog="Needs the training half.",
    )
    p.add_argument("checkpoint", type=path, metavar="CHECKPOINT")
    p.add_argument("out", type=path, metavar="FILE", help="ending in .onnx, .ts or .pt2")
    p.add_argument(
        "--size",
        nargs=2,
        type=positive,
        default=(384, 384),
        metavar=("HEIGHT", "WIDTH"),
        help="of the image of .ts and .pt2, multiples of 32 px (default: 384 384)",
    )
    p.add_argument("--config", type=nonempty, help="name or file of the configuration, for a checkpoint that does not say it")
    p.add_argument("--half", action="store_true", help="weights in half precision: half the file, nearly the same boxes")
    p.add_argument(
        "--release",
        action="store_true",
        help="write what ships with the package: FILE.onnx in half precision, its weights FILE.pth to train on from, and a "
        "card FILE.md",
    )
    look = p.add_argument_group("what the ONNX file says about itself", "by default what the checkpoint's settings say")
    look.add_argument("--score", type=up_to_one, help="least score of crystals")
    look.add_argument("--grey", choices=("shift", "scale", "none"), help="how grey values are brought to those of training")
    look.add_argument("--scales", type=above_zero, nargs="+", metavar="S", help="at which it looks at photographs, falling")
    look.add_argument("--least", type=natural, metavar="PX", help="shorter crystals are left to finer scales")
    look.add_argument("--most", type=positive, metavar="PX", help="longer crystals are left to coarser scales")
    look.add_argument("--largest", type=positive, metavar="PX", help="longest crystals in training")
    look.add_argument(
        "--average",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="a crystal's box is the mean of those that the places around it say: sides are nearer to the truth",
    )
    look.add_argument("--views", type=positive, metavar="N", help="orientations in which it looks at photographs: 1, 2, 4 or 8")
    look.add_argument("--trained-on", metavar="TEXT", help="training data, in words")
    look.add_argument("--licence", metavar="TEXT")
    look.add_argument("--note", metavar="TEXT", help="a paragraph for the card")
    p.set_defaults(run=_export)


def _export(args: argparse.Namespace, _: list[str]) -> None:
    prepare("cpu")
    from dataclasses import replace

    from ..training.engine.loading import load_detector
    from ..training.export import export
    from ..training.release import release

    given: dict[str, Any] = {key: value for key in LOOK if (value := getattr(args, key)) is not None}
    look = replace(load_detector(args.checkpoint, args.config).look, **given) if given else None
    about = {key: value for key in ("trained_on", "licence", "note") if (value := getattr(args, key))}
    if args.release:
        for file in release(args.checkpoint, args.out, look, about, args.config):
            print(file)
        return
    export(args.checkpoint, args.out, tuple(args.size), args.config, half=args.half, look=look, about=about)
    print(args.out)
