"""What the commands of ``pcs-render`` do with their arguments; each imports what it needs when it is called.

A command returns its exit status, or None for 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from pcs_augment.console import Progress

from .errors import InputError


def _job(args: argparse.Namespace, profile: str, recorded: int | None) -> Any:
    """recorded: the seed of what is in the folder already; where there is nothing and none is asked for, one is drawn."""
    from .production import Job
    from .profile import load_profile
    from .settings import Settings, load_settings

    settings = load_settings(args.settings) if args.settings else Settings()
    seed = args.seed if args.seed is not None else recorded
    if seed is None:
        seed = secrets.randbelow(2**32)
    elif seed >= 2**63:
        raise InputError(f"--seed is {seed}; it takes a whole number from 0 to 2^63 - 1")
    return Job.of(settings, load_profile(profile), seed)


def scenes(args: argparse.Namespace) -> None:
    from pcs_augment.files import locked, written

    if args.count > 10**10:
        raise InputError(f"--count is {args.count}; ids have at most ten digits, so it takes at most {10**10}")
    present = _present_scenes(args.out)
    job = _job(args, "default", next((p.seed for p in present.values()), None))
    _same_scenes(args.out, present, job, args.count)
    empty = []
    with locked(args.out):
        with written(args.out / "settings.yaml") as temporary:  # a scene names them by their hash only
            temporary.write_text(_yaml(job.settings))
        with Progress("scenes", quiet=args.quiet, hourly=True) as progress:
            for image in range(args.count):
                progress(image, args.count)
                crystals = present[image].crystals if image in present else _scene(job, image, args.out)
                if not crystals:
                    empty.append(image)
            progress(args.count, args.count)
    print(f"{args.out}: {_some(args.count, 'scene')}, seed {job.seed}")
    if empty:
        warnings.warn(
            f"{len(empty)} of them show no crystal (the first is {empty[0]}): within the tolerances of the settings no pose "
            f"met the targets, or the image has no room; 'pcs-render report {args.out}' says more",
            stacklevel=2,
        )


def _scene(job: Any, image: int, folder: Path) -> int:
    """Write the scene of an image; returns how many crystals it has."""
    from pcs_augment.files import written

    scene = job.scene(image)
    with written(folder / f"{image:010d}.json") as temporary:
        temporary.write_text(scene.to_json())
    return len(scene.crystals)


class _Present(NamedTuple):
    seed: int
    settings: str  # hash
    crystals: int


def _present_scenes(folder: Path) -> dict[int, _Present]:
    """What is known of the scenes of an earlier run, by id. Raises DataError for one that is damaged."""
    from .scene import Scene

    found = {}
    for path in sorted(folder.glob("*.json")):
        if re.fullmatch(r"\d{10}\.json", path.name):
            scene = Scene.load(path)
            found[int(path.stem)] = _Present(scene.seed, scene.settings, len(scene.crystals))
    return found


def _same_scenes(folder: Path, present: dict[int, _Present], job: Any, count: int) -> None:
    """Raises InputError where the folder holds scenes that this run would not write."""
    for image, theirs in present.items():
        for what, mine, other in (("seed", job.seed, theirs.seed), ("settings", job.settings.hash, theirs.settings)):
            if mine != other:
                raise InputError(
                    f"{folder} holds other scenes: the {what} of scene {image} is {other}, here it is {mine}; name another "
                    "folder, or give the same values"
                )
        if image >= count:
            raise InputError(f"{folder} holds scene {image}, beyond a --count of {count}; name another folder or more scenes")


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def render(args: argparse.Namespace) -> int:
    from . import production
    from .blender import Renderer, find_blender

    old = production.recorded(args.out)
    job = production.resumed(_job(args, args.profile, old.seed if old else None), old)
    if args.ray:
        return _render_on_ray(args, job)
    workers = args.workers or 1
    threads = args.threads or max(1, (os.cpu_count() or 1) // workers)
    blender = find_blender(args.blender)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(_writer(args, job, blender.version))
        renderers = [
            stack.enter_context(Renderer(job.profile, blender, threads=threads, device=args.device, **_limits(args)))
            for _ in range(workers)
        ]
        progress = stack.enter_context(Progress("rendering", quiet=args.quiet, hourly=True))
        manifest = production.produce(writer, job, renderers, progress)
    return _reported(args.out, manifest)


def _writer(args: argparse.Namespace, job: Any, version: str) -> Any:
    from . import production

    return production.create_or_resume(
        args.out,
        job,
        args.count,
        blender=version,
        shard_size=args.shard_size,
        validation=args.validation,
        allow_mixed=args.allow_mixed,
        retry_quarantined=args.retry_quarantined,
    )


def _limits(args: argparse.Namespace) -> dict[str, Any]:
    return {"patience": args.time_limit, "memory_limit": args.memory_limit}


def _reported(folder: Path, manifest: Any) -> int:
    images = sum(s.images for s in manifest.shards.values())
    crystals = sum(s.crystals for s in manifest.shards.values())
    print(f"{folder}: {_some(images, 'image')}, {_some(crystals, 'crystal')}, seed {manifest.seed}")
    if images and not crystals:
        warnings.warn(
            f"no image shows a crystal: within the tolerances of the settings no pose met the targets; 'pcs-render report "
            f"{folder}' says more",
            stacklevel=2,
        )
    missing = [i for s in manifest.shards.values() for i in s.missing]
    if missing:
        print(f"{_some(len(missing), 'image')} skipped ({folder / 'quarantine'}); --retry-quarantined tries them again")
    return 1 if missing else 0


def _render_on_ray(args: argparse.Namespace, job: Any) -> int:
    from . import cluster

    where: dict[str, Any] = {"blender": args.blender, "threads": args.threads or 2, "device": args.device}
    where["limits"] = _limits(args)
    with cluster.connected(args.ray):
        version = cluster.blender_version(job, args.ray, **where)
        with _writer(args, job, version) as writer, Progress("rendering", quiet=args.quiet, hourly=True) as progress:
            manifest = cluster.produce(
                writer, job, args.ray, workers=args.workers, progress=progress, say=progress.write, **where
            )
    return _reported(args.out, manifest)


def verify(args: argparse.Namespace) -> int:
    from .shards import verify

    with Progress("checking", quiet=args.quiet, hourly=True) as progress:
        report = verify(args.data, workers=args.workers, progress=progress)
    print(report)
    return 0 if report.ok else 1


def export(args: argparse.Namespace) -> None:
    from .export import coco, dota, pcs_json, webdataset, yolo_obb

    options: dict[str, Any] = {"validation": args.validation, "incomplete": args.incomplete}
    if args.per_tar is not None:
        if args.format != "webdataset":
            raise InputError(f"--per-tar is for --format webdataset, not {args.format}")
        options["per_tar"] = args.per_tar
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
    with Progress("exporting", quiet=args.quiet, hourly=True) as progress:
        written = formats[args.format](args.data, args.out, progress=progress, **options)
    for split in written:
        print(f"{split.path}: {_some(split.images, 'image')}, {_some(split.crystals, 'crystal')}")
        if not split.images:
            warnings.warn(
                f"the part {split.split} has no image, on which some tools stop; --validation sets how many are for validation",
                stacklevel=2,
            )


def report(args: argparse.Namespace) -> None:
    from .report import load, write
    from .settings import load_settings

    with Progress("reading", quiet=args.quiet, hourly=True) as progress:
        sample = load(args.data, load_settings(args.settings) if args.settings else None, progress)
    with Progress("drawing", "figures", quiet=args.quiet, hourly=True) as progress:
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
        print(f"{args.obj}: {_some(len(shapes), 'shape')}")


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
