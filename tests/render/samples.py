"""Samples whose crystals follow the model or are made to differ from it, and a small data set of real scenes."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from PIL import Image

from pcs_render import distributions as S
from pcs_render import generate
from pcs_render.labels import labels
from pcs_render.report import Sample
from pcs_render.settings import Settings
from pcs_render.shards import Record, Writer

UNBIASED = Settings(rule="unbiased")
PUBLISHED = Settings()


def boxes_of(areas, ratios, angles, settings=PUBLISHED):
    """Boxes (N, 5) of areas px^2, aspect ratios, angles in degrees counter-clockwise, in the middle of the image."""
    w = np.sqrt(areas * ratios)
    middle = np.full((len(w), 2), (settings.width / 2, settings.height / 2))
    theta = (-np.radians(angles) + np.pi / 2) % np.pi - np.pi / 2
    return np.column_stack([middle, w, w / ratios, theta])


def drawn(settings, n, seed=0):
    """Targets (N, 4) from the model: area, ratio, angle, cap."""
    random = np.random.default_rng(seed)
    caps = np.full(n, settings.area[1])
    if settings.rule == "published":
        caps = random.permutation(S.simulate(settings, 500, seed).caps)[:n]
    low = settings.area[0]
    areas = low * (caps / low) ** random.random(n)
    limit = np.minimum(settings.aspect_ratio[1], settings.long_side**2 / areas)
    return np.column_stack([areas, 1 + (limit - 1) * random.random(n), random.uniform(-90, 90, n), caps])


def sample_of(targets, settings, known=True, **changes):
    """One image whose boxes meet the targets exactly; known: the targets are told with it."""
    boxes = boxes_of(*targets[:, :3].T, settings)
    values = {"targets": targets, "unmet": np.zeros((0, 4)), "covered": np.array([[0.2, 0.19]])} if known else {}
    return Sample(
        **{"name": "made up", "settings": settings, "boxes": boxes, "counts": np.array([len(boxes)]), **values, **changes}
    )


SMALL = Settings(rule="unbiased", width=128, height=128, area=(4, 2000), long_side=128, covered=(0.05, 0.2))


def scenes(shapes, count=12):
    return [generate.scene(SMALL, 3, image, shapes) for image in range(count)]


def data_set(folder, made):
    """A folder of shards with these scenes over noise, the last image without crystals."""
    random = np.random.default_rng(0)
    records = []
    for scene in [*made[:-1], dataclasses.replace(made[-1], crystals=(), models={})]:
        found = labels(scene)
        picture = io.BytesIO()
        Image.fromarray(random.integers(90, 160, (128, 128), dtype=np.uint8)).save(picture, "PNG")
        polygons = [p.astype(np.float32) for p in found.polygons]
        parts = (found.boxes, polygons, found.depth, found.model, found.refractive_index, found.targets)
        records.append(Record(scene.image, picture.getvalue(), 128, 128, *parts, scene.to_json(), 2.5))
    identity = {"seed": 3, "settings": SMALL.to_dict(), "profile": {"name": "test"}, "versions": {"blender": "none"}}
    with Writer.create_or_resume(folder, count=len(made), shard_size=5, **identity) as writer:
        for todo in writer.missing():
            writer.write_shard(todo.index, [records[i] for i in todo.ids])
    return folder
