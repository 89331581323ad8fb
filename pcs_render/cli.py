"""The command ``pcs-render``: scenes, data sets, checks, exports and reports.

Exit status: 0 done, 1 something the user can mend (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InputError, RenderError


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        args = parser.parse_args(argv)
        status = args.run(args)
        sys.stdout.flush()  # a full disk or closed pipe shows here
        return int(status or 0)
    except SystemExit as e:  # argparse: help asked for, or wrong usage
        return e.code if isinstance(e.code, int) else 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except ModuleNotFoundError as e:
        message = f"{e.name} is not installed: pip install 'pcs-augment[render]'"
    except MemoryError:
        message = "out of memory; use fewer --workers or smaller images"
    except RenderError as e:
        message = str(e)
    except OSError as e:
        message = f"{e.filename or 'output'}: {e.strerror or e}"
        with contextlib.suppress(OSError, ValueError):  # or the interpreter would try once more, and complain, on its way out
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"{parser.prog}: error: {message}", file=sys.stderr)
    return 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Bar:
    """A progress bar on stderr with images per hour; call it with (done, all)."""

    def __init__(self, what: str, quiet: bool = False, unit: str = "images") -> None:
        self.what, self.quiet, self.unit = what, quiet, unit
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.quiet:
            return
        if self._bar is None:  # what was there before must not count as speed
            from tqdm import tqdm

            unit = self.unit

            class PerHour(tqdm):
                @property
                def format_dict(self) -> dict[str, Any]:
                    values = super().format_dict
                    elapsed, made = values["elapsed"], values["n"] - values["initial"]
                    return {**values, "per_hour": f"{made / elapsed * 3600:,.0f} {unit}/h" if elapsed and made else "?"}

            self._bar = PerHour(
                total=total,
                initial=done,
                desc=self.what,
                mininterval=0.5,
                dynamic_ncols=True,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {per_hour} "
                + self.unit
                + "/h]",
            )
        else:
            self._bar.update(done - self._bar.n)

    def write(self, text: str) -> None:
        """A line beside the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif not self.quiet:
            print(text, file=sys.stderr)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcs-render",
        description="Render photorealistic images of protein crystals in suspension, with exact labels.",
        epilog="Exit status: 0 done, 1 error, 2 wrong usage, 130 interrupted. 'pcs-render COMMAND --help' tells more.",
    )
    parser.add_argument("--version", action="version", version=f"pcs-render {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_render, _add_scenes, _add_verify, _add_export, _add_report, _add_shapes, _add_estimate, _add_settings):
        add(commands)
    p = commands.add_parser(
        "install-blender",
        help="install Blender as a Python module in an environment of its own",
        description="Blender's module needs NumPy 1; this keeps it away from everything else. PCS_RENDER_BLENDER overrides it.",
    )
    p.set_defaults(run=_install_blender)
    return parser


def _add_scene_options(p: argparse.ArgumentParser, out: str) -> None:
    p.add_argument("--count", type=positive, default=10, help="images of the data set (default: %(default)s)")
    p.add_argument("--seed", type=natural, default=0, help="seed of the data set (default: %(default)s)")
    p.add_argument("--out", type=Path, default=Path(out), help="folder to write (default: %(default)s)")
    p.add_argument("--settings", type=Path, metavar="FILE", help="YAML or JSON; 'pcs-render settings' prints the defaults")
    p.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_render(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "render",
        help="render a data set, or go on with one",
        description="Render images with labels into Parquet shards. The same command again goes on after a stop of any kind; a "
        "larger --count extends a finished data set.",
        epilog="Example: pcs-render render --count 1000 --out train --workers 2",
    )
    _add_scene_options(p, "pcs_data")
    p.add_argument("--profile", default="default", help="quality by name, or a JSON file (default: %(default)s)")
    p.add_argument("--workers", type=positive, help="Blender processes side by side (default: 1; with --ray as many as fit)")
    p.add_argument("--threads", type=positive, help="threads of each (default: all cores, shared out; with --ray 2)")
    p.add_argument("--device", default="CPU", help="CPU, or for GPUs CUDA, OPTIX, HIP or METAL (default: %(default)s)")
    p.add_argument("--blender", help="interpreter with bpy, or blender executable (default: found, see install-blender)")
    p.add_argument("--shard-size", type=positive, default=256, help="images per shard (default: %(default)s)")
    p.add_argument("--validation", type=_share, help="part (0.03) or number (10000) of images for validation")
    p.add_argument("--retry-quarantined", action="store_true", help="try the images again that Blender failed on")
    p.add_argument(
        "--ray", metavar="ADDRESS", help="render on this Ray cluster, whose nodes all see --out ('local': start one)"
    )
    p.set_defaults(run=_render)


def _add_scenes(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "scenes",
        help="write scenes as JSON without rendering them",
        description="One JSON document per image; each is what render would show under the same seed.",
    )
    _add_scene_options(p, "pcs_scenes")
    p.set_defaults(run=_scenes)


def _add_verify(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("verify", help="check a data set: checksums, pictures, labels, completeness")
    p.add_argument("data", type=Path, metavar="FOLDER")
    p.add_argument("--workers", type=positive, default=2, help="shards read side by side (default: %(default)s)")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(run=_verify)


def _add_export(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "export",
        help="write a data set in another format",
        description="pcs: the published layout; coco: plain COCO; dota, yolo, webdataset: what those tools read.",
    )
    p.add_argument("data", type=Path, metavar="FOLDER")
    p.add_argument("--format", choices=("pcs", "coco", "dota", "yolo", "webdataset"), default="pcs", help="default: pcs")
    p.add_argument("--out", type=Path, required=True, help="folder to write")
    p.add_argument("--validation", type=_share, help="part or number of images for validation (default: as rendered)")
    p.add_argument("--incomplete", action="store_true", help="export what there is of a data set that is not finished")
    p.add_argument("--gzip", action="store_true", help="compress the JSON (pcs, coco)")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(run=_export)


def _add_report(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser(
        "report",
        help="draw what a data set shows: distributions against the model, counts, pictures with labels",
        description="One PNG for each figure, and one HTML page with all of them.",
    )
    p.add_argument("data", type=Path, metavar="DATA", help="folder of render, folder of scenes, or PCS or COCO JSON")
    p.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: %(default)s)")
    p.add_argument("--settings", type=Path, metavar="FILE", help="the model to compare with, where the data do not name it")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.set_defaults(run=_report)


def _add_shapes(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("shapes", help="draw the crystal shapes, and write them as OBJ")
    p.add_argument("--settings", type=Path, metavar="FILE", help="YAML or JSON that names the shapes")
    p.add_argument("--out", type=Path, default=Path("shapes.png"), help="contact sheet of 100 (default: %(default)s)")
    p.add_argument("--obj", type=Path, help="also write all of them to this OBJ file")
    p.set_defaults(run=_shapes)


def _add_estimate(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("estimate", help="time and cost of a larger data set, from the times of one already begun")
    p.add_argument("data", type=Path, metavar="FOLDER")
    p.add_argument("--count", type=positive, default=332_558, help="images (default: %(default)s, as published)")
    p.add_argument("--workers", type=positive, default=1, help="Blender processes like those measured (default: %(default)s)")
    p.add_argument("--threads", type=positive, default=2, help="threads that each of them had (default: %(default)s)")
    p.add_argument("--device", default="CPU", help="device that each of them had (default: %(default)s)")
    p.add_argument("--price", type=float, help="of one such process per hour, in any currency")
    p.set_defaults(run=_estimate)


def _add_settings(commands: argparse._SubParsersAction) -> None:
    p = commands.add_parser("settings", help="print all settings as YAML, to edit and give to --settings")
    p.add_argument("--settings", type=Path, metavar="FILE", help="start from these, the published file included")
    p.set_defaults(run=_settings)


def positive(text: str) -> int:
    value = natural(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _share(text: str) -> int | float:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"must be a part like 0.03 or a number like 10000, got {text!r}") from e


def _job(args: argparse.Namespace, profile: str) -> Any:
    from .production import Job
    from .profile import load_profile
    from .settings import Settings, load_settings

    settings = load_settings(args.settings) if args.settings else Settings()
    return Job.of(settings, load_profile(profile), args.seed)


def _scenes(args: argparse.Namespace) -> None:
    from .files import made_folder, written

    job = _job(args, "default")
    folder = made_folder(args.out)
    with written(folder / "settings.yaml") as temporary:  # a scene names them by their hash only
        temporary.write_text(_yaml(job.settings))
    with Bar("scenes", args.quiet) as progress:
        for image in range(args.count):
            progress(image, args.count)
            with written(folder / f"{image:010d}.json") as temporary:
                temporary.write_text(job.scene(image).to_json())
        progress(args.count, args.count)
    print(f"{folder}: {args.count} scenes")


def _render(args: argparse.Namespace) -> int:
    from . import production
    from .blender import Renderer, find_blender

    job = _job(args, args.profile)
    if args.ray:
        return _render_on_ray(args, job)
    workers = args.workers or 1
    threads = args.threads or max(1, (os.cpu_count() or 1) // workers)
    blender = find_blender(args.blender)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(_writer(args, job, blender.version))
        renderers = [
            stack.enter_context(Renderer(job.profile, blender, threads=threads, device=args.device)) for _ in range(workers)
        ]
        progress = stack.enter_context(Bar("rendering", args.quiet))
        manifest = production.produce(writer, job, renderers, progress)
    return _told(args.out, manifest)


def _writer(args: argparse.Namespace, job: Any, version: str) -> Any:
    from . import production

    if args.retry_quarantined:
        for path in sorted((args.out / "quarantine").glob("*.json")):
            path.unlink()
    return production.create_or_resume(
        args.out, job, args.count, blender=version, shard_size=args.shard_size, validation=args.validation
    )


def _told(folder: Path, manifest: Any) -> int:
    images = sum(s.images for s in manifest.shards.values())
    crystals = sum(s.crystals for s in manifest.shards.values())
    print(f"{folder}: {images} images, {crystals} crystals")
    missing = [i for s in manifest.shards.values() for i in s.missing]
    if missing:
        print(f"{len(missing)} images were given up ({folder / 'quarantine'}); --retry-quarantined tries them again")
    return 1 if missing else 0


def _render_on_ray(args: argparse.Namespace, job: Any) -> int:
    from . import cluster

    where: dict[str, Any] = {"blender": args.blender, "threads": args.threads or 2, "device": args.device}
    with cluster.connected(args.ray):
        version = cluster.blender_version(job, args.ray, **where)
        with _writer(args, job, version) as writer, Bar("rendering", args.quiet) as progress:
            manifest = cluster.produce(
                writer, job, args.ray, workers=args.workers, progress=progress, say=progress.write, **where
            )
    return _told(args.out, manifest)


def _verify(args: argparse.Namespace) -> int:
    from .shards import verify

    with Bar("checking", args.quiet) as progress:
        report = verify(args.data, workers=args.workers, progress=progress)
    print(report)
    return 0 if report.ok else 1


def _export(args: argparse.Namespace) -> None:
    from . import export

    options: dict[str, Any] = {"validation": args.validation, "incomplete": args.incomplete}
    if args.gzip:
        if args.format not in ("pcs", "coco"):
            raise InputError(f"--gzip is for --format pcs and coco, not {args.format}")
        options["compress"] = True
    formats = {
        "pcs": export.pcs_json,
        "coco": export.coco,
        "dota": export.dota,
        "yolo": export.yolo_obb,
        "webdataset": export.webdataset,
    }
    with Bar("exporting", args.quiet) as progress:
        written = formats[args.format](args.data, args.out, progress=progress, **options)
    for split in written:
        print(f"{split.path}: {split.images} images, {split.crystals} crystals")


def _report(args: argparse.Namespace) -> None:
    from . import report
    from .settings import load_settings

    with Bar("reading", args.quiet) as progress:
        sample = report.load(args.data, load_settings(args.settings) if args.settings else None, progress)
    with Bar("drawing", args.quiet, unit="figures") as progress:
        page = report.write(sample, args.out, progress=progress)
    print(page)


def _shapes(args: argparse.Namespace) -> None:
    from . import habits
    from .habits import contact_sheet, obj
    from .settings import Settings, load_settings

    shapes = habits.shapes(load_settings(args.settings) if args.settings else Settings())
    contact_sheet.draw(shapes, args.out)
    print(args.out)
    if args.obj:
        obj.save(args.obj, shapes)
        print(f"{args.obj}: {len(shapes)} shapes")


def _estimate(args: argparse.Namespace) -> None:
    from .cost import estimate, measured

    images, seconds = measured(args.data)
    print(f"{args.data}: {seconds:.1f} s per image in Blender, over {images} images")
    print(estimate(args.count, seconds, args.workers, threads=args.threads, device=args.device, price=args.price))


def _settings(args: argparse.Namespace) -> None:
    from .settings import Settings, load_settings

    print(_yaml(load_settings(args.settings) if args.settings else Settings()), end="")


def _yaml(settings: Any) -> str:
    import yaml

    return str(yaml.safe_dump(settings.to_dict(), sort_keys=False, default_flow_style=None))


def _install_blender(args: argparse.Namespace) -> None:
    from .install import install_blender

    print(install_blender())


if __name__ == "__main__":
    raise SystemExit(main())
