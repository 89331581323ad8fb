"""A data set of the published size: ``python benchmarks/shards.py [--folder F] [--images N]``.

Builds 322,558 images with 52 crystals each (16.8 million; pictures of 8 x 8 px, labels of real size) and, smaller, images of
384 x 384 px; then measures opening and reading, each in a process of its own. Takes some minutes and 3 GB, deleted afterwards.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from pcs_render.shards import Record, Writer

CRYSTALS, CORNERS = 52, 9
SHARD = 256


def record(image_id: int, size: int, rng: np.random.Generator) -> Record:
    """Random boxes with as many polygon corners as rendered crystals have on average; noise that compresses as renders do."""
    n = CRYSTALS
    w = rng.uniform(0.05, 0.3, n) * size
    boxes = np.column_stack([rng.uniform(0.35, 0.65, (n, 2)) * size, w, w * rng.uniform(0.1, 1, n), rng.uniform(-1.5, 1.5, n)])
    angle = np.sort(rng.uniform(0, 2 * np.pi, (n, CORNERS)), 1)
    u, v = np.cos(angle) * boxes[:, 2:3] / 2, np.sin(angle) * boxes[:, 3:4] / 2
    c, s = np.cos(boxes[:, 4:]), np.sin(boxes[:, 4:])
    points = np.stack([boxes[:, :1] + c * u - s * v, boxes[:, 1:2] + s * u + c * v], -1)
    pixels = rng.normal(130, 6, (size, size)).clip(0, 255).astype(np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", compress_level=1)
    return Record(
        image_id,
        png.getvalue(),
        size,
        size,
        boxes,
        list(points),
        rng.uniform(15, 30, n),
        rng.integers(0, 1851, n),
        rng.uniform(1.1, 1.8, n),
        rng.uniform(1, 90, (n, 4)),
        json.dumps({"image": image_id}),
        1.0,
    )


def build(folder: Path, count: int, size: int) -> None:
    """One shard's worth of records, over and over under new ids: the labels are as large as distinct ones would be."""
    rng = np.random.default_rng(0)
    records = [record(i, size, rng) for i in range(SHARD)]
    identity = {"seed": 0, "settings": {}, "profile": {}, "versions": {}}
    with Writer.create_or_resume(folder, count=count, shard_size=SHARD, validation=0, **identity) as writer:
        for todo in writer.missing():
            writer.write_shard(todo.index, [dataclasses.replace(r, image_id=i) for r, i in zip(records, todo.ids)])


def measure(folder: Path) -> dict[str, float]:
    """In this process, which must not have opened anything before."""
    started = time.perf_counter()
    from torch.utils.data import DataLoader

    from pcs_augment import collate
    from pcs_render.shards import PcsShards, StreamingPcsShards

    out = {"imports (torch and both packages), s": time.perf_counter() - started, "resident after import, MiB": resident()}
    started = time.perf_counter()
    data = PcsShards(folder)
    out["open, s"] = time.perf_counter() - started
    out["images"] = len(data)
    out["labels"] = data.readers[0].manifest.crystals
    started = time.perf_counter()
    stream = StreamingPcsShards(folder)
    out["open as a stream, s"] = time.perf_counter() - started
    out["resident after opening, MiB"] = resident()
    order = np.random.default_rng(1).permutation(len(data))[:2000].tolist()
    out["random access, images/s"] = rate(len(order), lambda: exhaust(data[i] for i in order))
    sequence = range(min(4000, len(data)))
    out["in order, images/s"] = rate(len(sequence), lambda: exhaust(data[i] for i in sequence))
    out["streamed and shuffled, images/s"] = rate(4000, lambda: exhaust(zip(range(4000), stream)), len(stream))
    loader = DataLoader(stream, batch_size=64, num_workers=2, collate_fn=collate)
    batches = min(100, len(stream) // 64)
    out["streamed by 2 workers, their start included, images/s"] = rate(
        64 * batches, lambda: exhaust(zip(range(batches), loader))
    )
    labels = data.labels()
    out["labels alone, images/s"] = rate(4000, lambda: exhaust(zip(range(4000), labels)), len(data))
    out["resident at the end, MiB"] = resident()
    out["peak, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return out


def rate(images: int, call: Callable[[], None], most: int | None = None) -> float:
    started = time.perf_counter()
    call()
    return min(images, most or images) / (time.perf_counter() - started)


def exhaust(items: Iterable[object]) -> None:
    """Take all, keep none."""
    for _ in items:
        pass


def resident() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="where the data sets are built for a while (default: the system's temporary folder)")
    parser.add_argument("--images", type=int, default=322558)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure))))
        return
    columns = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        for size, count in ((8, arguments.images), (384, min(4096, arguments.images))):
            folder = Path(place) / str(size)
            started = time.perf_counter()
            build(folder, count, size)
            built = time.perf_counter() - started
            call = [sys.executable, __file__, "--measure", str(folder)]
            found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
            disk = sum(p.stat().st_size for p in folder.rglob("*.parquet")) / 2**20
            columns[f"{size} x {size} px"] = {"write, s": built, "on disk, MiB": disk, **found}
    print("| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{c[name]:,.{3 if c[name] < 10 else 0}f}" for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
