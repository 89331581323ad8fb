"""``pcs-detect convert``: hand-labelled images to the files that detectors are trained on."""

from __future__ import annotations

import argparse

from .arguments import complain, path


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "convert",
        help="turn a folder of Labelme files into a COCO or PCS JSON",
        description="Write one JSON for all Labelme files of a folder and of the folders in it, and beside it a folder of its "
        "name with the images. Polygons, rectangles (turned ones too), circles and masks are read; shapes with the same label "
        "and group_id are one crystal in several pieces; shapes labelled as holes are cut out of the crystal that they lie in. "
        "Shapes labelled ignore or region are for pcs-detect score.",
        epilog="Files and shapes that cannot be used are left out and named in the end, and the exit status is 1. Nothing "
        "that is there is replaced unless this command wrote it.",
    )
    p.add_argument("folder", type=path, metavar="LABELME_FOLDER")
    p.add_argument("--out", type=path, required=True, metavar="NAME.json", help="file to write; images go to the folder NAME")
    p.add_argument(
        "--format",
        choices=("coco", "pcs"),
        default="coco",
        help="coco: polygons with pieces and holes, a category for each label; pcs: oriented boxes and one outline each, one "
        "category (default: %(default)s)",
    )
    p.add_argument("--labels", nargs="+", metavar="LABEL", help="labels of crystals; other shapes are left out (default: all)")
    p.add_argument("--hole-label", default="hole", metavar="LABEL", help="label of holes (default: %(default)s)")
    p.set_defaults(run=_convert)


def _convert(args: argparse.Namespace, _: list[str]) -> None:
    from ..labels.conversion import convert

    done = convert(args.folder, args.out, args.format, args.labels, args.hole_label)
    print(f"{done.path}: {done.images} images, {done.crystals} crystals")
    complain(done.left)
