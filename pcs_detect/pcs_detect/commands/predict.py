"""``pcs-detect predict``: crystals in photographs, as tables, labels and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import above_zero, natural, nonempty, path, positive, prepare, up_to_one


def add(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "predict",
        help="find crystals in photographs",
        description="Find crystals in photographs of any size. The folder --out gets crystals.csv (a row per crystal), "
        "images.csv (a row per photograph), groups_template.csv to fill in for sizes, detections.json (PCS layout), coco.json, "
        "settings.json and overlays/*.png. Pages of a TIFF and frames of a microscope's file are photographs of their own, "
        "named stack.tif#0003.",
        epilog="A photograph that cannot be read is named on stderr and in images.csv; the others are done, and the exit "
        "status is 1. The same command resumes after a stop of any kind, and does only what is new when photographs are added.",
    )
    p.add_argument(
        "images",
        nargs="+",
        type=nonempty,
        metavar="IMAGES",
        help="image files, folders of them, or patterns such as 'day*/*.tif' in quotes",
    )
    p.add_argument(
        "--model",
        "--checkpoint",
        type=path,
        metavar="FILE",
        help="detector: an .onnx file of pcs-detect export or, with the training half, a checkpoint of pcs-detect train "
        "(default: the detector that comes with pcs-detect)",
    )
    p.add_argument("--config", type=nonempty, metavar="CONFIG", help="configuration of a checkpoint that does not hold its own")
    p.add_argument("--out", type=path, default=Path("crystals"), help="folder to write (default: %(default)s)")
    p.add_argument("--recursive", action="store_true", help="images in folders inside folders too")
    p.add_argument("--um-per-px", type=above_zero, metavar="UM", help="scale of all photographs (default: what each file says)")
    p.add_argument(
        "--z", choices=("max", "min", "focus"), help="make one photograph of the planes of every Z stack (default: each is one)"
    )
    p.add_argument("--score", type=up_to_one, help="crystals from this score on (default: what suits the detector)")
    p.add_argument(
        "--iou",
        type=up_to_one,
        help="of boxes that overlap by more, the one with the highest score stays (default: what suits the detector)",
    )
    p.add_argument(
        "--grey",
        choices=("shift", "scale", "none"),
        help="how grey values are brought to those of training: shift to the mean, scale to mean and deviation "
        "(default: what suits the detector)",
    )
    p.add_argument(
        "--white",
        type=above_zero,
        metavar="LEVEL",
        help="level that is white, such as 4095 of a 12-bit camera (default: the smallest full scale that holds all pixels)",
    )
    p.add_argument(
        "--keep-fringes",
        action="store_true",
        help="leave periodic patterns as they are, which are otherwise taken out of photographs that have any",
    )
    p.add_argument(
        "--scale",
        type=above_zero,
        nargs="+",
        metavar="S",
        help="sizes at which the detector sees photographs, the largest first: with 0.5 they are halved, and crystals twice as "
        "large look right (default: what suits the detector and the photograph)",
    )
    p.add_argument(
        "--tile",
        type=natural,
        metavar="PX",
        help="larger photographs are cut into tiles of at most so many px, rounded down to a multiple of the network's step "
        "(32, mostly); 0: never (default: 1536; Mask R-CNN: never)",
    )
    p.add_argument(
        "--overlap",
        type=natural,
        metavar="PX",
        help="of tiles; crystals that span more may be missed (default: enough for the crystals of a scale, at most 256)",
    )
    p.add_argument(
        "--views",
        type=positive,
        choices=(1, 2, 4, 8),
        help="orientations in which the detector looks at every photograph: more take as many times longer and make crystals "
        "surer and their sides nearer to the truth (default: what suits the detector)",
    )
    p.add_argument("--batch-size", type=positive, default=1, metavar="N", help="tiles at once (default: %(default)s)")
    p.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU")
    p.add_argument("--amp", action="store_true", help="mixed precision on the GPU")
    p.add_argument("--no-overlays", action="store_true", help="write no pictures")
    p.add_argument("--parquet", action="store_true", help="write crystals.parquet as well")
    p.add_argument("--excel", action="store_true", help="write crystals.xlsx as well")
    p.add_argument(
        "--labelme",
        type=path,
        metavar="FOLDER",
        help="write what was found as shapes that Labelme and X-AnyLabeling edit; edited files are never replaced, and "
        "pcs-detect convert reads them back",
    )
    p.add_argument(
        "--labelme-shape",
        choices=("polygon", "oriented_rectangle", "rotation"),
        default="polygon",
        help="polygon: every Labelme; oriented_rectangle: Labelme's newer rectangles; rotation: X-AnyLabeling's rotated boxes "
        "(default: %(default)s)",
    )
    p.add_argument(
        "--overwrite", action="store_true", help="remove the results that predict wrote to --out with other settings"
    )
    p.add_argument("--progress", action="store_true", default=None, help="show a bar where stderr is no terminal too")
    p.set_defaults(run=_predict)


def _predict(args: argparse.Namespace, arguments: list[str]) -> None:
    prepare(args.device)
    from ..inference.batch import predict_folder
    from ..inference.detector import Detector
    from ..photographs.finding import find_photographs

    find_photographs(args.images, args.recursive, args.out)  # a wrong path is said before a detector is built
    detector = Detector(
        args.model,
        args.device,
        config=args.config,
        score=args.score,
        iou=args.iou,
        grey=args.grey,
        white=args.white,
        fringes="keep" if args.keep_fringes else "remove",
        scale="auto" if args.scale is None else args.scale,
        tile="auto" if args.tile is None else args.tile or None,
        overlap="auto" if args.overlap is None else args.overlap,
        views=args.views,
        batch_size=args.batch_size,
        amp=args.amp,
    )
    table = predict_folder(
        detector,
        args.images,
        args.out,
        um_per_px=args.um_per_px,
        recursive=args.recursive,
        overlays=not args.no_overlays,
        z=args.z,
        parquet=args.parquet,
        excel=args.excel,
        labelme=args.labelme,
        shape=args.labelme_shape,
        overwrite=args.overwrite,
        progress=args.progress,
        command=["pcs-detect", *arguments],
    )
    border = int(table["at_border"].sum())
    print(f"{args.out}: {len(table)} crystals, {border} of them at the border")
