"""What the commands of ``pcs-render`` do with their arguments; each imports what it needs when it is called.

A command returns its exit status, or None for 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from .console import Bar
from .errors import InputError


def _job(args: argparse.Namespace, profile: str) -> Any:
    from .production import Job
    from .profile import load_profile
    from .settings import Settings, load_settings

    settings = load_settings(args.settings) if args.settings else Settings()
    return Job.of(settings, load_profile(profile), args.seed)


def scenes(args: argparse.Namespace) -> None:
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


def render(args: argparse.Namespace) -> int:
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
    from .files import locked

    if args.retry_quarantined:
        with locked(args.out):
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


def verify(args: argparse.Namespace) -> int:
    from .shards import verify

    with Bar("checking", args.quiet) as progress:
        report = verify(args.data, workers=args.workers, progress=progress)
    print(report)
    return 0 if report.ok else 1


def export(args: argparse.Namespace) -> None:
    from .export import coco, dota, pcs_json, webdataset, yolo_obb

    options: dict[str, Any] = {"validation": args.validation, "incomplete": args.incomplete}
    if args.gzip:
        if args.format not in ("pcs", "coco"):
            raise InputError(f"--gzip is for --format pcs and coco, not {args.format}")
        options["compress"] = True
    formats = {
        "pcs": pcs_json,
        "coco": coco,
        "dota": dota,
        "yolo": yolo_obb,
        "webdataset": webdataset,
    }
    with Bar("exporting", args.quiet) as progress:
        written = formats[args.format](args.data, args.out, progress=progress, **options)
    for split in written:
        print(f"{split.path}: {split.images} images, {split.crystals} crystals")


def report(args: argparse.Namespace) -> None:
    from .report import load, write
    from .settings import load_settings

    with Bar("reading", args.quiet) as progress:
        sample = load(args.data, load_settings(args.settings) if args.settings else None, progress)
    with Bar("drawing", args.quiet, unit="figures") as progress:
        page = write(sample, args.out, progress=progress)
    print(page)


def shapes(args: argparse.Namespace) -> None:
    from . import habits
    from .habits import contact_sheet, obj
    from .settings import Settings, load_settings

    shapes = habits.shapes(load_settings(args.settings) if args.settings else Settings())
    contact_sheet.draw(shapes, args.out)
    print(args.out)
    if args.obj:
        obj.save(args.obj, shapes)
        print(f"{args.obj}: {len(shapes)} shapes")


def estimate(args: argparse.Namespace) -> None:
    from .cluster import estimate, measured

    images, seconds = measured(args.data)
    print(f"{args.data}: {seconds:.1f} s per image in Blender, over {images} images")
    print(estimate(args.count, seconds, args.workers, threads=args.threads, device=args.device, price=args.price))


def settings(args: argparse.Namespace) -> None:
    from .settings import Settings, load_settings

    print(_yaml(load_settings(args.settings) if args.settings else Settings()), end="")


def _yaml(settings: Any) -> str:
    import yaml

    return str(yaml.safe_dump(settings.to_dict(), sort_keys=False, default_flow_style=None))


def install_blender(args: argparse.Namespace) -> None:
    from .install import install_blender

    print(install_blender(args.python))
