"""The command ``export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive, prepare


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "export",
        help="write a detector as TorchScript, torch.export or ONNX file",
        description="Write S2A-Net's network, with the decoding of its boxes, to a file that runs without the detection "
        "toolbox: FILE.ts (TorchScript), FILE.pt2 (torch.export) or FILE.onnx. It takes one image of --size, (1, 1, H, W) "
        "float32 of grey values 0 .. 255, and gives every box with its score; pcs_detect.export.suppressed makes crystals of "
        "them. Other detectors cannot be exported.",
    )
    p.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    p.add_argument("out", type=Path, metavar="FILE", help="ending in .ts, .pt2 or .onnx")
    p.add_argument(
        "--size",
        nargs=2,
        type=positive,
        default=(384, 384),
        metavar=("HEIGHT", "WIDTH"),
        help="of the image, multiples of 32 px (default: 384 384)",
    )
    p.add_argument("--config", help="name or file of the configuration, for a checkpoint that does not say it")
    p.set_defaults(run=_export)


def _export(args: argparse.Namespace, _: list[str]) -> None:
    prepare("cpu")
    from ..training.export import export

    export(args.checkpoint, args.out, tuple(args.size), args.config)
    print(args.out)
