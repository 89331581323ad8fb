"""Opening labels of the published size: ``python benchmarks/detect_labels.py [--images N] [--folder F] [--plain]``.

Writes a gzip-compressed JSON in the layout of the published training set (322,558 images, 16.8 million crystals), opens it with
PcsDataset in a process of its own and fetches labels of random images. Needs 3 GB of disk, 6 GB with --plain (not compressed),
for some minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES, CRYSTALS = 322_558, 16_801_555
TEMPLATES = 256  # images whose crystals differ; more text than gzip looks back


def template(crystals: int, rng: np.random.Generator) -> bytes:
    """The annotations of one image, with %d where an id goes: first its own, then the image's."""
    rows = []
    for _ in range(crystals):
        cx, cy, w, h = (float(v) for v in (rng.uniform(20, 360, 4) * [1, 1, 0.3, 0.1]).round(2))
        corners = int(rng.integers(6, 13))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        hull = np.column_stack([cx + w / 2 * np.cos(angle), cy + h / 2 * np.sin(angle)]).round(2)
        text = json.dumps(
            {
                "category_id": 1,
                "iscrowd": 0,
                "area": round(w * h * 0.8, 2),
                "bbox": [cx, cy, w, h, round(rng.uniform(-90, 90), 2)],
                "segmentation": [hull.ravel().tolist()],
            }
        )
        rows.append(f'{{"id": %d, "image_id": %d, {text[1:]}')
    return ", ".join(rows).encode()


def write(path: Path, images: int, compress: bool) -> tuple[int, int]:
    """(bytes of text, crystals) written."""
    rng = np.random.default_rng(0)
    many = round(CRYSTALS / IMAGES * images) - 52 * images  # so many images have 53, the others 52
    templates = {n: [template(n, rng) for _ in range(TEMPLATES)] for n in (52, 53)}
    size = count = 0
    with gzip.open(path, "wb", 1) if compress else path.open("wb") as file:
        entries = [
            {"id": i + 1, "file_name": f"{i:010d}.png", "width": 384, "height": 384, "license": 1} for i in range(images)
        ]
        head = {"info": {}, "categories": [{"id": 1, "name": "Crystal"}], "images": entries}
        size += file.write((json.dumps(head)[:-1] + ', "annotations": [').encode())
        for i in range(images):
            n = 53 if i < many else 52
            ids = [i + 1] * (2 * n)
            ids[::2] = range(count + 1, count + n + 1)
            size += file.write((b", " if i else b"") + templates[n][i % TEMPLATES] % tuple(ids))
            count += n
        size += file.write(b"]}")
    return size, count


def measure(path: Path) -> dict[str, float]:
    """In this process, which must not have opened anything before."""
    from pcs_augment import PcsDataset

    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    data = PcsDataset(path)
    out = {"open, s": time.perf_counter() - started}
    after = resource.getrusage(resource.RUSAGE_SELF)
    out["of the processor, user, s"] = after.ru_utime - before.ru_utime
    out["of the processor, system, s"] = after.ru_stime - before.ru_stime
    with open("/proc/self/status") as status:  # ru_maxrss counts the memory of the parent
        out["peak resident, MiB"] = int(status.read().split("VmHWM:")[1].split()[0]) / 1024
    chosen = np.random.default_rng(1).integers(0, len(data), 1000).tolist()
    started = time.perf_counter()
    out["crystals in 1000 random images"] = sum(len(data.target(i)["boxes"]) for i in chosen)
    out["labels of 1000 random images, s"] = time.perf_counter() - started
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--folder", help="where the file is written for a while (default: the system's temporary folder)")
    parser.add_argument("--plain", action="store_true", help="do not compress")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        needed, free = arguments.images * (18_000 if arguments.plain else 7_000), shutil.disk_usage(place).free
        if free < needed:
            parser.error(f"{place} has {free / 2**30:.1f} GiB free, {needed / 2**30:.1f} are needed; name another --folder")
        path = Path(place) / ("train.json" if arguments.plain else "train.json.gz")
        path.with_name("train").mkdir()
        started = time.perf_counter()
        size, count = write(path, arguments.images, not arguments.plain)
        print(f"{arguments.images} images, {count} crystals, {size / 1e9:.2f} GB of text in {path.stat().st_size / 1e9:.2f} GB")
        print(f"written in {time.perf_counter() - started:.0f} s", flush=True)
        call = [sys.executable, __file__, "--measure", str(path)]
        found = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
        for name, value in found.items():
            print(f"{name}: {value:,.2f}")


if __name__ == "__main__":
    main()
