"""Freeze an augmented data set: one fixed draw of the pipeline, written as images, PCS JSON and plans.

The unit of work is a block of 64 images by their place in the data set. A finished block has left its images, its plan and a
part-file with its labels, each written whole or not at all, the part-file last; so a run may be killed at any moment and
started again. What lands in the files depends on the settings alone, not on batch size, workers or interruptions.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from . import __version__
from .boxes import polygon_area
from .coco_json import oriented, read_json, stem, usable
from .console import OnProgress
from .data import PcsDataset
from .errors import DataError, InputError, OutputError, PcsError
from .files import left_over, made_folder, written
from .pipeline import Pipeline, default_pipeline
from .plan import Plan

BLOCK = 64
_DECIMALS = 4


class Frozen(NamedTuple):
    """path: the JSON; images, objects: how many it holds; dropped: objects left out; resumed: images there before."""

    path: Path
    images: int
    objects: int
    dropped: int
    resumed: int


def freeze(
    annotations: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    epoch: int = 0,
    images: str | os.PathLike[str] | None = None,
    min_edge: float = 0.0,
    threshold: int = 0,
    published_labels: bool = False,
    batch_size: int = 32,
    workers: int = 0,
    device: torch.device | str = "cpu",
    progress: OnProgress | None = None,
) -> Frozen:
    """Augment every image of a PCS or COCO JSON once by the default pipeline and write the result to the folder ``out``.

    Written are ``<stem>.json`` in the PCS layout (five-number boxes), ``<stem>/*.png`` named like the sources and
    ``plans/*.npz``. Ids and further keys of images and annotations are kept; crowd, too small and undetectable objects are left
    out. Labels lie where the pixels are, also with ``published_labels``, so read the result without that option. Running it
    again continues where it stopped. ``progress(done, all)`` is called with the images done. Raises PcsError; nothing
    half-written stays.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    pipeline = default_pipeline(seed, min_edge, threshold)
    pipeline.draw((1, 1, 1, 1), epoch=epoch)  # refuses a wrong epoch before anything is written
    seed, epoch, threshold = int(seed), int(epoch), int(threshold)
    job = _Freezing(PcsDataset(annotations, images, published_labels), Path(out), pipeline, epoch)
    settings = {
        "version": __version__,
        "data": job.fingerprint(),
        "seed": seed,
        "epoch": epoch,
        "min_edge": float(min_edge),
        "threshold": threshold,
        "published_labels": published_labels,
        "device": torch.device(device).type,
    }
    job.prepare(settings)
    whole = job.json.exists() and all(job.finished(b, whole=True) for b in range(job.blocks))
    todo = [] if whole else [b for b in range(job.blocks) if not job.finished(b)]
    done = [len(job.data) - sum(len(job.rows(b)) for b in todo)]

    def advance(count: int) -> None:
        done.append(done[-1] + count)
        if progress is not None:
            progress(done[-1], len(job.data))

    advance(0)
    _run(job, todo, batch_size, workers, torch.device(device), advance)
    if not whole:
        note = {"by": f"pcs_augment {__version__}", **{k: settings[k] for k in ("seed", "epoch", "min_edge", "threshold")}}
        job.publish({**note, "steps": [type(s).__name__ for s in job.pipeline.sequence()]})
    job.tidy()
    objects = len(read_json(job.json)["annotations"])
    return Frozen(job.json, len(job.data), objects, sum(map(len, job.annotations)) - objects, done[0])


class _Freezing:
    """What is frozen, how, and where it goes."""

    def __init__(self, data: PcsDataset, out: Path, pipeline: Pipeline, epoch: int) -> None:
        self.data, self.pipeline, self.epoch = data, pipeline, epoch
        self.document = read_json(data.path)
        position = {int(v): i for i, v in enumerate(data.image_ids)}
        self.annotations: list[list[dict[str, Any]]] = [[] for _ in position]  # in the order of the data set's objects
        for a in self.document["annotations"]:
            if usable(a, data.path):
                self.annotations[position[a["image_id"]]].append(a)
        name = stem(data.path)
        self.out, self.json, self.folder, self.plans = out, out / f"{name}.json", out / name, out / "plans"
        self.names = [os.path.splitext(name)[0] + ".png" for name in data.file_names]
        self.blocks = -(-len(data) // BLOCK)

    def rows(self, block: int) -> range:
        return range(block * BLOCK, min((block + 1) * BLOCK, len(self.data)))

    def label(self, block: int) -> str:
        rows = self.rows(block)
        return f"{rows.start:08d}-{rows.stop - 1:08d}"

    def part(self, block: int) -> Path:
        return self.plans / f"labels_{self.label(block)}.json"

    def fingerprint(self) -> str:
        """Of the labels and of the names and bytes of the image files. Raises DataError for a missing one."""
        digest = hashlib.sha256(json.dumps(self.document).encode())
        for i, name in enumerate(self.data.file_names):
            path = self.data.image_path(i)
            try:
                with open(path, "rb") as file:  # not the time of change, which a copy of the data set would not have
                    content = hashlib.file_digest(file, "blake2b").hexdigest()
            except (OSError, ValueError) as e:
                raise DataError(f"{path}: no such image file") from e
            digest.update(f"{name}\0{content}\0".encode())
        return digest.hexdigest()

    def prepare(self, settings: dict[str, Any]) -> None:
        """Make the folders, or check that those found were begun with the same settings; remove what a kill left."""
        for mine, theirs in ((self.json, self.data.path), (self.folder, self.data.folder)):
            if mine.resolve() == theirs.resolve():
                raise InputError(f"the result would overwrite {theirs}; name another folder")
        folder = self.folder.resolve()
        seen: dict[Path, str] = {}
        for name, source in zip(self.names, self.data.file_names):
            path = (folder / name).resolve()
            if not path.is_relative_to(folder):
                raise DataError(f"{self.data.path}: file_name {source!r} leads out of the folder of images")
            if path in seen:
                raise DataError(f"{self.data.path}: {seen[path]!r} and {source!r} would both become {name}; rename one")
            seen[path] = source
        record = self.plans / "settings.json"
        if record.exists():
            before = read_json(record)
            changed = [f"{k} {before.get(k)!r}, now {v!r}" for k, v in settings.items() if before.get(k) != v]
            if changed:
                raise InputError(
                    f"{self.out} was begun with other settings ({'; '.join(changed)}); name another folder or repeat those"
                )
        elif self.json.exists() or (self.folder.is_dir() and any(self.folder.iterdir())):
            raise InputError(f"{self.out} holds other files named {self.json.stem}; name another folder")
        made_folder(self.plans)
        for parent in sorted({path.parent for path in seen} | {folder}):
            made_folder(parent)
            _remove_temporaries(parent)
        _remove_temporaries(self.plans)
        _remove_temporaries(self.out)
        if not record.exists():
            write_json(record, settings)

    def finished(self, block: int, whole: bool = False) -> bool:
        """Whether the block's files are there; of a ``whole`` data set the part-files are gone."""
        plans = list(self.plans.glob(f"images_{self.label(block)}*.npz"))
        if not whole:
            try:
                plans = [self.plans / name for name in read_json(self.part(block))["plans"]]
            except DataError:
                return False
        files = plans + [self.folder / self.names[i] for i in self.rows(block)]
        return bool(plans) and all(f.exists() for f in files)

    def publish(self, note: dict[str, Any]) -> None:
        """Join the part-files to the final JSON."""
        images: list[Any] = []
        annotations: list[Any] = []
        for b in range(self.blocks):
            part = read_json(self.part(b))
            images += part["images"]
            annotations += part["annotations"]
        info = self.document.get("info")
        head = {k: v for k, v in self.document.items() if k not in ("info", "images", "annotations")}
        info = {**(info if isinstance(info, dict) else {}), "augmentation": note}
        write_json(self.json, {"info": info, **head, "images": images, "annotations": annotations})

    def tidy(self) -> None:
        for b in range(self.blocks):
            self.part(b).unlink(missing_ok=True)


@dataclass
class _Block:
    """What is known of a block whose images are being written."""

    number: int
    images: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    plans: dict[tuple[int, ...], list[Plan]] = field(default_factory=dict)  # by image size
    writing: list[Future[None]] = field(default_factory=list)

    def finish(self, job: _Freezing) -> None:
        for f in self.writing:
            f.result()
        names = []
        for size, plans in self.plans.items():
            suffix = f"_{size[-2]}x{size[-1]}" if len(self.plans) > 1 else ""
            names.append(f"images_{job.label(self.number)}{suffix}.npz")
            Plan.concatenate(plans).save(job.plans / names[-1])
        rows = job.rows(self.number)
        labels = {"images": [self.images[i] for i in rows], "annotations": [a for i in rows for a in self.annotations[i]]}
        write_json(job.part(self.number), {"plans": names, **labels})


class _Chunks(Dataset[Any]):
    """Images of some rows, stacked by size. Errors come back as values: a worker would wrap them in a traceback."""

    def __init__(self, data: PcsDataset, chunks: list[range]) -> None:
        self.data, self.chunks = data, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, c: int) -> list[tuple[Tensor, list[int]]] | PcsError:
        groups: dict[tuple[int, ...], list[tuple[Tensor, int]]] = {}
        try:
            for i in self.chunks[c]:
                image, _, _ = self.data[i]
                groups.setdefault(tuple(image.shape), []).append((image, i))
        except PcsError as e:
            return e
        return [(torch.stack([image for image, _ in g]), [i for _, i in g]) for g in groups.values()]


def _run(
    job: _Freezing, todo: list[int], batch_size: int, workers: int, device: torch.device, advance: Callable[[int], None]
) -> None:
    chunks = [(b, job.rows(b)[k : k + batch_size]) for b in todo for k in range(0, BLOCK, batch_size)]
    chunks = [(b, rows) for b, rows in chunks if rows]
    loader: DataLoader[Any] = DataLoader(_Chunks(job.data, [rows for _, rows in chunks]), None, num_workers=workers)
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    waiting: deque[_Block] = deque()
    try:
        for (number, _), batches in zip(chunks, loader):
            if isinstance(batches, PcsError):
                raise batches
            if not waiting or waiting[-1].number != number:
                waiting.append(_Block(number))
            for images, rows in batches:
                _augment(job, waiting[-1], images, rows, device, pool)
                advance(len(rows))
            if len(waiting) > 1:  # the images of the earlier block were written while this one was computed
                waiting.popleft().finish(job)
        while waiting:
            waiting.popleft().finish(job)
    finally:
        pool.shutdown(cancel_futures=True)


def _augment(
    job: _Freezing, block: _Block, images: Tensor, rows: list[int], device: torch.device, pool: ThreadPoolExecutor
) -> None:
    targets = [job.data.target(i) for i in rows]
    plan = job.pipeline.draw(images.shape, targets, rows, job.epoch)
    out, new = job.pipeline.apply(images.to(device), targets, plan)
    assert new is not None
    pixels = (out[:, 0] * 255).round_().to(torch.uint8).cpu().numpy()
    keep = torch.cat([t["keep"] for t in new]).cpu().split([len(t["boxes"]) for t in new])
    block.plans.setdefault(tuple(images.shape[1:]), []).append(plan)
    for i, target, mine, grey in zip(rows, new, keep, pixels):
        entry = {"file_name": job.names[i], "height": grey.shape[0], "width": grey.shape[1]}
        block.images[i] = {**job.document["images"][i], **entry}
        block.annotations[i] = _published(job.annotations[i], target, mine.tolist())
        block.writing.append(pool.submit(write_png, job.folder / job.names[i], grey))


def _published(annotations: list[dict[str, Any]], target: Mapping[str, Any], keep: list[bool]) -> list[dict[str, Any]]:
    """The kept annotations with box, outline and area as they are now, boxes with as many numbers as they had."""
    boxes = target["boxes"].double().numpy()
    out = []
    for a, box, polygon, kept in zip(annotations, boxes, target["polygons"], keep):
        if not kept:
            continue
        points = polygon.double().numpy()
        bbox = _oriented(box) if oriented(a) else _upright(points)
        area = polygon_area(points)
        outline = [round(float(v), _DECIMALS) for v in points.ravel()]
        out.append({**a, "area": round(area, _DECIMALS), "bbox": bbox, "segmentation": [outline]})
    return out


def _oriented(box: NDArray[np.float64]) -> list[float]:
    """cx, cy, w, h, degrees counter-clockwise in [-90, 90), as the published files have it."""
    cx, cy, w, h, degrees = (round(float(v), _DECIMALS) for v in (*box[:4], -np.degrees(box[4])))
    least = 10.0**-_DECIMALS  # a side that rounds to 0 could not be read back
    return [cx, cy, max(w, least), max(h, least), degrees - 180 if degrees >= 90 else degrees + 0.0]


def _upright(points: NDArray[np.float64]) -> list[float]:
    """COCO's left, top, width, height around an outline."""
    low, high = points.min(0), points.max(0)
    return [round(float(v), _DECIMALS) for v in (*low, *(high - low))]


def write_png(path: Path, grey: NDArray[np.uint8]) -> None:
    """(H, W) grey; always the same bytes for the same pixels."""
    from PIL import Image

    with written(path) as temporary:
        Image.fromarray(grey).save(temporary, "PNG", compress_level=3, optimize=False)


def write_json(path: Path, document: dict[str, Any]) -> None:
    with written(path) as temporary:
        temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")


def _remove_temporaries(folder: Path) -> None:
    try:
        for path in folder.iterdir():
            if left_over(path.name):
                path.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(f"cannot use {folder}: {e.strerror}; name a writable folder") from e
