"""The command ``pcs-render``: scenes, data sets, checks, exports and reports.

Exit status: 0 done, 1 something the user can correct (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pcs_augment.console import guarded, natural, nonempty, path, positive

from . import __version__, commands


def main(argv: list[str] | None = None) -> int:
    parser = _parser()

    def work() -> int | None:
        args = parser.parse_args(argv)
        return args.run(args)

    return guarded(
        parser.prog,
        work,
        interrupted="interrupted; the same command resumes from here",
        memory="use fewer --workers or smaller images",
        extra="render",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcs-render",
        description="Render photorealistic images of protein crystals in suspension, with exact labels.",
        epilog="Exit status: 0 done, 1 error, 2 wrong usage, 130 interrupted. 'pcs-render COMMAND --help' says more.",
    )
    parser.add_argument("--version", action="version", version=f"pcs-render {__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_render, _add_scenes, _add_verify, _add_export, _add_report, _add_shapes, _add_estimate, _add_settings):
        add(group)
    p = group.add_parser(
        "install-blender",
        help="install Blender as a Python module in an environment of its own",
        description="Blender's module needs NumPy 1; this keeps it away from everything else. PCS_RENDER_BLENDER overrides it.",
    )
    p.add_argument("--python", type=nonempty, help="Python 3.11 to make it with (default: the one that runs this)")
    p.set_defaults(run=commands.install_blender)
    return parser


def _add_scene_options(p: argparse.ArgumentParser, out: str) -> None:
    p.add_argument("--count", type=positive, default=10, help="images of the data set (default: %(default)s)")
    p.add_argument("--seed", type=natural, help="seed of the data set (default: the folder's, or a new one, recorded there)")
    p.add_argument("--out", type=path, default=Path(out), help="folder to write (default: %(default)s)")
    p.add_argument("--settings", type=path, metavar="FILE", help="YAML or JSON; 'pcs-render settings' prints the defaults")
    p.add_argument("--quiet", action="store_true", help="no progress")


def _add_render(group: argparse._SubParsersAction) -> None:
    p = group.add_parser(
        "render",
        help="render a data set, or resume one",
        description="Render images with labels into Parquet shards. The same command again resumes after a stop of any kind; a "
        "larger --count extends a finished data set.",
        epilog="Example: pcs-render render --count 1000 --out train --workers 2",
    )
    _add_scene_options(p, "pcs_data")
    p.add_argument("--profile", type=nonempty, default="default", help="quality by name, or a JSON file (default: %(default)s)")
    p.add_argument("--workers", type=positive, help="Blender processes side by side (default: 1; with --ray as many as fit)")
    p.add_argument("--threads", type=positive, help="threads of each (default: all cores, shared out; with --ray 2)")
    p.add_argument("--device", default="CPU", help="CPU, or for GPUs CUDA, OPTIX, HIP or METAL (default: %(default)s)")
    p.add_argument("--blender", type=nonempty, help="interpreter with bpy, or blender executable (see install-blender)")
    p.add_argument("--shard-size", type=positive, default=256, help="images per shard (default: %(default)s)")
    p.add_argument("--validation", type=_share, help="part (0.03) or number (10000) of images for validation")
    p.add_argument("--time-limit", type=positive, metavar="SECONDS", help="of one picture (default: by size and samples)")
    p.add_argument("--memory-limit", type=positive, metavar="MIB", help="of one Blender process (default: by size)")
    p.add_argument("--allow-mixed", action="store_true", help="resume with versions that draw other pictures")
    p.add_argument("--retry-quarantined", action="store_true", help="try the images again that Blender failed on")
    p.add_argument(
        "--ray",
        type=nonempty,
        metavar="ADDRESS",
        help="render on this Ray cluster, whose nodes all see --out ('local': start one)",
    )
    p.set_defaults(run=commands.render)


def _add_scenes(group: argparse._SubParsersAction) -> None:
    p = group.add_parser(
        "scenes",
        help="write scenes as JSON without rendering them",
        description="One JSON document per image; each is what render would show under the same seed.",
    )
    _add_scene_options(p, "pcs_scenes")
    p.set_defaults(run=commands.scenes)


def _add_verify(group: argparse._SubParsersAction) -> None:
    p = group.add_parser("verify", help="check a data set: checksums, pictures, labels, completeness")
    p.add_argument("data", type=path, metavar="FOLDER")
    p.add_argument("--workers", type=positive, default=2, help="shards read side by side (default: %(default)s)")
    p.add_argument("--quiet", action="store_true", help="no progress")
    p.set_defaults(run=commands.verify)


def _add_export(group: argparse._SubParsersAction) -> None:
    p = group.add_parser(
        "export",
        help="write a data set in another format",
        description="pcs: the published layout; coco: plain COCO; dota, yolo, webdataset: what those tools read.",
    )
    p.add_argument("data", type=path, metavar="FOLDER")
    p.add_argument("--format", choices=("pcs", "coco", "dota", "yolo", "webdataset"), default="pcs", help="default: pcs")
    p.add_argument("--out", type=path, required=True, help="folder to write")
    p.add_argument("--validation", type=_share, help="part or number of images for validation (default: as rendered)")
    p.add_argument("--incomplete", action="store_true", help="export what there is of a data set that is not finished")
    p.add_argument("--gzip", action="store_true", help="compress the JSON (pcs, coco)")
    p.add_argument("--per-tar", type=positive, metavar="IMAGES", help="per tar file (webdataset; default: up to 1000)")
    p.add_argument("--quiet", action="store_true", help="no progress")
    p.set_defaults(run=commands.export)


def _add_report(group: argparse._SubParsersAction) -> None:
    p = group.add_parser(
        "report",
        help="draw what a data set shows: distributions against the model, counts, pictures with labels",
        description="One PNG for each figure, and one HTML page with all of them.",
    )
    p.add_argument("data", type=path, metavar="DATA", help="folder of render, folder of scenes, or PCS or COCO JSON")
    p.add_argument("--out", type=path, default=Path("report"), help="folder to write (default: %(default)s)")
    p.add_argument("--settings", type=path, metavar="FILE", help="the model to compare with, where the data do not name it")
    p.add_argument("--quiet", action="store_true", help="no progress")
    p.set_defaults(run=commands.report)


def _add_shapes(group: argparse._SubParsersAction) -> None:
    p = group.add_parser("shapes", help="draw the crystal shapes, and write them as OBJ")
    p.add_argument("--settings", type=path, metavar="FILE", help="YAML or JSON that names the shapes")
    p.add_argument("--out", type=path, default=Path("shapes.png"), help="contact sheet of 100 (default: %(default)s)")
    p.add_argument("--obj", type=path, help="also write all of them to this OBJ file")
    p.set_defaults(run=commands.shapes)


def _add_estimate(group: argparse._SubParsersAction) -> None:
    p = group.add_parser("estimate", help="time and cost of a larger data set, from the times of one already begun")
    p.add_argument("data", type=path, metavar="FOLDER")
    p.add_argument("--count", type=positive, default=332_558, help="images (default: %(default)s, as published)")
    p.add_argument("--workers", type=positive, default=1, help="Blender processes like those measured (default: %(default)s)")
    p.add_argument("--threads", type=positive, default=2, help="threads that each of them had (default: %(default)s)")
    p.add_argument("--device", default="CPU", help="device that each of them had (default: %(default)s)")
    p.add_argument("--price", type=float, help="of one such process per hour, in any currency")
    p.set_defaults(run=commands.estimate)


def _add_settings(group: argparse._SubParsersAction) -> None:
    p = group.add_parser("settings", help="print all settings as YAML, to edit and give to --settings")
    p.add_argument("--settings", type=path, metavar="FILE", help="start from these, the published file included")
    p.set_defaults(run=commands.settings)


def _share(text: str) -> int | float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"must be a part like 0.03 or a number like 10000, got {text!r}") from e


if __name__ == "__main__":
    raise SystemExit(main())
