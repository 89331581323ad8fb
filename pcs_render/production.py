"""Making a data set: scenes, pictures, labels and shards, on this machine. ``cluster`` does the same on many."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import queue
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcs_augment.console import OnProgress

from . import generate, habits
from .blender import Renderer, SceneFailed
from .errors import InputError
from .geometry import Floats
from .labels import labels
from .profile import RECIPE, Profile
from .scene import Scene
from .settings import Settings, settings_from
from .shards import DataSetPlan, Manifest, Record, Writer
from .shards.manifest import NAME as MANIFEST


@dataclass(frozen=True)
class Job:
    """All that an image is a function of, besides its id. Picklable."""

    settings: Settings
    profile: Profile
    seed: int
    shapes: tuple[Floats, ...]  # (V, 3) vertices each

    @staticmethod
    def of(settings: Settings, profile: Profile, seed: int = 0) -> Job:
        """Load the shapes that the settings name and note their digest in the settings.

        Raises InputError where the settings demand other shapes than are found, DataError for a broken shape file.
        """
        shapes = tuple(shape.vertices for shape in habits.shapes(settings))
        digest = hashlib.sha256(b"".join(np.round(v, 6).astype("<f8").tobytes() for v in shapes)).hexdigest()[:16]
        if settings.shapes_digest not in ("", digest):
            raise InputError(
                f"the settings were made with shapes of digest {settings.shapes_digest}, but {settings.shapes!r} now gives "
                f"{digest}; bring those shapes back, or leave shapes_digest out for a data set with the new ones"
            )
        return Job(dataclasses.replace(settings, shapes_digest=digest), profile, seed, shapes)

    def scene(self, image: int) -> Scene:
        return generate.scene(self.settings, self.seed, image, self.shapes)


def record(scene: Scene, png: bytes, seconds: float) -> Record:
    """A picture with its labels, as it goes into a shard."""
    found = labels(scene)
    return Record(
        image_id=scene.image,
        png=png,
        width=scene.camera.width,
        height=scene.camera.height,
        boxes=found.boxes.astype(np.float32),
        polygons=[p.astype(np.float32) for p in found.polygons],
        depth=found.depth.astype(np.float32),
        model=found.model.astype(np.int32),
        refractive_index=found.refractive_index.astype(np.float32),
        targets=found.targets.astype(np.float32),
        scene=scene.to_json(),
        seconds=seconds,
    )


def make(plan: DataSetPlan, job: Job, renderer: Renderer, image: int) -> None:
    """Render one image and keep it, or put it into quarantine when Blender fails on it again and again."""
    scene = job.scene(image)
    try:
        rendered = renderer.render(scene)
    except SceneFailed as e:
        plan.give_up(image, str(e), scene=scene.to_dict())
    else:
        plan.keep(record(scene, rendered.png, rendered.seconds))


def create_or_resume(
    folder: str | Path,
    job: Job,
    count: int,
    *,
    blender: str,
    shard_size: int = 256,
    validation: int | float | None = None,
    allow_mixed: bool = False,
    retry_quarantined: bool = False,
) -> Writer:
    """Take hold of a data set's folder for this job; see ``Writer.create_or_resume``. ``blender`` is its version."""
    old = recorded(folder)
    settings = job.settings.recorded()
    if old is not None and same_settings(old, job.settings):
        settings = old.settings
    return Writer.create_or_resume(
        folder,
        seed=job.seed,
        count=count,
        settings=settings,
        profile=job.profile.to_dict(),
        versions={"blender": blender, "scenes": str(generate.RECIPE), "recipe": str(RECIPE)},
        shard_size=shard_size,
        validation=validation,
        allow_mixed=allow_mixed,
        retry_quarantined=retry_quarantined,
    )


def recorded(folder: str | Path) -> Manifest | None:
    """The manifest of a data set, None for a folder that has none. Raises DataError."""
    return Manifest.load(folder) if (Path(folder) / MANIFEST).exists() else None


def same_settings(old: Manifest, settings: Settings) -> bool:
    """Does a data set have these settings, the place of its shapes aside (their corners are the same)?"""
    try:
        theirs = settings_from(old.settings)
    except InputError:  # of another version; the comparison name by name says what differs
        return False
    return bool(theirs.shapes_digest) and dataclasses.replace(theirs, shapes=settings.shapes) == settings


def resumed(job: Job, old: Manifest | None) -> Job:
    """The job with the name under which the data set knows its shapes: scenes carry a hash of all settings."""
    if old is None or not same_settings(old, job.settings):
        return job
    return dataclasses.replace(job, settings=settings_from(old.settings))


def produce(writer: Writer, job: Job, renderers: list[Renderer], progress: OnProgress | None = None) -> Manifest:
    """Render what is missing, one image at a time on each of the (opened) renderers, and finish shard after shard.

    It can be stopped at any moment, even by kill -9: at most the images being rendered are lost. Raises BlenderError when
    Blender cannot be started, OutputError when the disk is full.
    """
    todo = writer.missing()
    left = {shard.index: len(shard.ids) for shard in todo}
    total = writer.manifest.count
    done = total - sum(left.values())
    if progress is not None:
        progress(done, total)
    idle: queue.SimpleQueue[Renderer] = queue.SimpleQueue()
    for renderer in renderers:
        idle.put(renderer)

    def one(image: int) -> None:
        renderer = idle.get()
        try:
            make(writer.plan, job, renderer, image)
        finally:
            idle.put(renderer)

    for shard in todo:
        if not shard.ids:  # its images were all made before
            writer.finish(shard.index)
    waiting = ((shard.index, image) for shard in todo for image in shard.ids)
    flying: dict[Future[None], int] = {}
    with ThreadPoolExecutor(len(renderers)) as pool:
        try:
            while True:
                for index, image in itertools.islice(waiting, 2 * len(renderers) - len(flying)):
                    flying[pool.submit(one, image)] = index
                if not flying:
                    break
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    index = flying.pop(future)
                    future.result()
                    left[index] -= 1
                    done += 1
                    if left[index] == 0:
                        writer.finish(index)
                    if progress is not None:
                        progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for renderer in renderers:  # or the pool would wait for pictures that are not wanted any more
                with contextlib.suppress(Exception):
                    renderer.close()
            raise
    return writer.manifest
