"""Records made up from their ids alone, for tests of what stores them."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
from PIL import Image

from pcs_render.shards import Reader, Record, Writer, verify

WIDTH, HEIGHT = 64, 48
IDENTITY = {"seed": 3, "settings": {"width": WIDTH}, "profile": {"samples": 16}, "versions": {"blender": "0"}}


def record(image_id: int, crystals: int | None = None) -> Record:
    """Noise with kites (convex polygons that touch all sides of their oriented boxes) as labels."""
    rng = np.random.default_rng(image_id)
    n = int(rng.integers(0, 6)) if crystals is None else crystals
    boxes, polygons = [], []
    for _ in range(n):
        w = rng.uniform(4, 14)
        h, theta = rng.uniform(1, w), rng.uniform(-np.pi / 2, np.pi / 2)
        centre = rng.uniform(8, [WIDTH - 8, HEIGHT - 8])
        c, s = np.cos(theta), np.sin(theta)
        kite = np.array([[-w / 2, 0], [rng.uniform(-w, w) / 3, -h / 2], [w / 2, 0], [rng.uniform(-w, w) / 3, h / 2]])
        boxes.append([*centre, w, h, theta])
        polygons.append((kite @ np.array([[c, s], [-s, c]]) + centre).astype(np.float32))
    return Record(
        image_id=image_id,
        png=picture(rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)),
        width=WIDTH,
        height=HEIGHT,
        boxes=np.array(boxes, np.float32).reshape(-1, 5),
        polygons=polygons,
        depth=rng.uniform(15, 30, n).astype(np.float32),
        model=rng.integers(0, 1851, n).astype(np.int32),
        refractive_index=rng.uniform(1.1, 1.8, n).astype(np.float32),
        targets=rng.uniform(1, 90, (n, 4)).astype(np.float32),
        scene=json.dumps({"image": image_id, "crystals": list(range(n))}),
        seconds=float(rng.uniform(1, 9)),
    )


def picture(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def assert_same(a: Record, b: Record) -> None:
    for field in dataclasses.fields(Record):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name == "polygons":
            assert len(x) == len(y)
            assert all(np.array_equal(p, q) for p, q in zip(x, y))
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, field.name
            assert np.array_equal(x, y), field.name
        else:
            assert x == y, field.name


def data_set(folder, count: int, shard_size: int = 10, give_up=(), crystals: int | None = None, **changes):
    """A complete data set of such records; returns its folder."""
    with Writer.create_or_resume(folder, count=count, shard_size=shard_size, **{**IDENTITY, **changes}) as writer:
        for image_id in give_up:
            writer.give_up(image_id, "for the test")
        for todo in writer.missing():
            writer.write_shard(todo.index, [record(i, crystals) for i in todo.ids])
    return folder


def opened(folder, count, shard_size=10, **changes):
    return Writer.create_or_resume(folder, count=count, shard_size=shard_size, **{**IDENTITY, **changes})


def to_make(writer):
    return [i for todo in writer.missing() for i in todo.ids]


def assert_holds(folder, ids):
    """The folder holds exactly the records of these ids, passes verification, and nothing is left over."""
    report = verify(folder)
    assert report.ok, str(report)
    reader = Reader(folder)
    assert reader.ids.tolist() == list(ids)
    for made, read in zip(map(record, ids), reader.records()):
        assert_same(made, read)
    assert report.crystals == sum(len(record(i).boxes) for i in ids) == reader.manifest.crystals
    assert not [p for p in folder.rglob("*") if p.name.endswith((".tmp", ".partial"))]
