"""What a data set shows, from wherever it is: scenes, a folder of shards, or a PCS or COCO JSON file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcs_augment.coco_json import folder_beside
from pcs_augment.console import OnProgress

from ..errors import DataError, InputError
from ..labels import SceneLabels, labels
from ..scene import FORMAT, Scene
from ..settings import Settings, load_settings, settings_from
from . import coco

SETTINGS = "settings.yaml"  # beside scenes
KEPT = 24  # pictures that scenes are kept for


@dataclass(frozen=True, eq=False)
class Picture:
    """One labelled image, to be looked at.

    Attributes:
        pixels: (H, W) uint8.
        boxes: (N, 5) cx, cy, w, h px, theta rad clockwise on screen.
        polygons: (K, 2) px each.
        known: False where there are labels only and the pixels are all alike.

    Examples:
        >>> (picture,) = report.load("data").pictures(1)
        >>> picture.pixels.shape, picture.known
        ((48, 64), True)
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[Any]
    polygons: list[NDArray[Any]]
    known: bool = True


def _none(count: int) -> list[Picture]:
    return []


@dataclass(frozen=True, eq=False)
class Sample:
    """The N crystals of M images, and the U targets that were skipped where that is known.

    Attributes:
        name: of the sample.
        settings: the model to compare with.
        boxes: (N, 5) cx, cy, w, h px, theta rad clockwise on screen.
        counts: (M,) crystals per image.
        targets: (N, 4) area px^2, ratio, angle in degrees counter-clockwise, largest area allowed.
        unmet: (U, 4) alike.
        covered: (M, 2) part of each image asked for, and reached.
        facts: what the report says of it, title to text.
        pictures: gives up to so many, spread over the data set.

    Examples:
        >>> sample = report.load("data")
        >>> sum(sample.counts.tolist()) == len(sample.boxes) == len(sample.targets)
        True
    """

    name: str
    settings: Settings
    boxes: NDArray[Any]
    counts: NDArray[np.int64]
    targets: NDArray[Any] | None = None
    unmet: NDArray[Any] | None = None
    covered: NDArray[Any] | None = None
    facts: dict[str, str] = field(default_factory=dict)
    pictures: Callable[[int], list[Picture]] = _none


def load(path: str | os.PathLike[str], settings: Settings | None = None, progress: OnProgress | None = None) -> Sample:
    """Read the sample of a folder that ``pcs-render render`` or ``scenes`` wrote, or of a PCS or COCO JSON file.

    Args:
        path: of the folder or file.
        settings: the model to compare with. If none is given, it is a rendered data set's own, that of the ``settings.yaml``
            beside scenes, or the published one.
        progress: called with (done, all) images.

    Returns:
        Its crystals and what is known besides.

    Raises:
        DataError: it is something else, or damaged.

    Examples:
        >>> len(report.load("data").counts)
        3
    """
    path = Path(path)
    if not path.is_dir():
        return from_json(path, settings=settings)
    if (path / "manifest.json").exists():
        return from_data_set(path, settings, progress)
    files = sorted(p for p in path.glob("*.json") if p.stem.isdigit())
    if not files:
        raise DataError(
            f"{path} holds neither a manifest.json nor scenes; name what pcs-render render or scenes wrote, or a JSON file"
        )
    if settings is None and (path / SETTINGS).exists():
        settings = load_settings(path / SETTINGS)
    return from_scenes(_told(map(Scene.load, files), len(files), progress), settings, path.name)


def _told(items: Iterable[Any], total: int, progress: OnProgress | None) -> Iterator[Any]:
    for done, item in enumerate(items):
        if progress is not None:
            progress(done, total)
        yield item
    if progress is not None:
        progress(total, total)


def _targets(targets: Iterable[Any]) -> NDArray[np.float64]:
    return np.array([(t.area, t.ratio, t.angle, t.largest) for t in targets], dtype=np.float64).reshape(-1, 4)


def from_scenes(scenes: Iterable[Scene], settings: Settings | None = None, name: str = "scenes") -> Sample:
    """Make the sample of scenes, rendered or not; its pictures show labels only.

    Args:
        scenes: of one data set.
        settings: the model to compare with. Scenes name theirs by a hash only; where none are given, the published ones are
            taken, for the scenes' image size, with the rule that the targets followed.
        name: of the sample.

    Returns:
        Their crystals and what is known besides.

    Examples:
        >>> report.from_scenes(scenes, model).counts.shape
        (3,)
    """
    found: list[tuple[SceneLabels, Scene]] = []  # a few, for pictures
    boxes, counts, targets, unmet, covered = [np.zeros((0, 5))], [], [np.zeros((0, 4))], [np.zeros((0, 4))], []
    sizes: Counter[tuple[int, int]] = Counter()
    hashes: set[str] = set()
    seeds: set[int] = set()
    for scene in scenes:
        label = labels(scene)
        boxes.append(label.boxes)
        counts.append(len(label.boxes))
        targets.append(label.targets)
        unmet.append(_targets(scene.unmet))
        covered.append(scene.covered)
        sizes[scene.camera.width, scene.camera.height] += 1
        hashes.add(scene.settings)
        seeds.add(scene.seed)
        if len(found) < KEPT:
            found.append((label, scene))
    drawn = np.concatenate([*targets, *unmet])
    facts = {"Seed": _several(seeds), "Settings": _several(hashes)}
    if settings is None:
        capped = len(np.unique(drawn[:, 3])) != 1
        settings = _for_size(dataclasses.replace(Settings(), rule="published" if capped else "unbiased"), sizes)
        facts["Model"] = "the published numbers, since scenes name their settings by a hash only"

    def pictures(count: int) -> list[Picture]:
        return [Picture(blank(s.camera.height, s.camera.width), a.boxes, a.polygons, known=False) for a, s in found[:count]]

    return Sample(
        name,
        settings,
        np.concatenate(boxes),
        np.array(counts, np.int64),
        np.concatenate(targets),
        np.concatenate(unmet),
        np.array(covered, np.float64).reshape(-1, 2),
        {**_sizes(sizes), **facts},
        pictures,
    )


def from_data_set(
    folder: str | os.PathLike[str], settings: Settings | None = None, progress: OnProgress | None = None
) -> Sample:
    """Read the sample of a data set's finished shards.

    Args:
        folder: of the data set.
        settings: the model to compare with; its own unless given.
        progress: called with (done, all) images.

    Returns:
        Its crystals and what is known besides.

    Raises:
        DataError: it is damaged.

    Examples:
        >>> report.from_data_set("data").facts["Seed"]
        '7'
    """
    from ..shards import Reader
    from ..shards.record import decoded

    reader = Reader(folder)
    manifest = reader.manifest
    boxes, counts, targets = [np.zeros((0, 5), np.float32)], [], [np.zeros((0, 4), np.float32)]
    unmet, covered = [np.zeros((0, 4))], []
    sizes: Counter[tuple[int, int]] = Counter()
    seconds = 0.0
    for record in _told(reader.records(), len(reader), progress):
        boxes.append(record.boxes)
        counts.append(len(record.boxes))
        targets.append(record.targets)
        sizes[record.width, record.height] += 1
        seconds += record.seconds
        try:
            content = json.loads(record.scene)
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            missed = [[t["area"], t["ratio"], t["angle"], t["largest"]] for t in content["unmet"]]
            asked, reached = content["covered"]
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{folder}: the scene of image {record.image_id} is damaged ({e!r}); verify the data set") from e
        unmet.append(np.array(missed, np.float64).reshape(-1, 4))
        covered.append((asked, reached))

    def pictures(count: int) -> list[Picture]:
        chosen = map(reader.record, spread(len(reader), count))
        return [Picture(decoded(r.png), r.boxes, r.polygons) for r in chosen]

    given_up = sum(len(s.missing) for s in manifest.shards.values())
    facts = {
        **_sizes(sizes),
        "Seed": str(manifest.seed),
        "Settings": manifest.settings_hash,
        "Profile": f"{manifest.profile.get('name', '')} {manifest.profile_hash}".strip(),
        "Made with": ", ".join(f"{k} {v}" for k, v in manifest.versions.items()),
        "Begun": manifest.created,
        "Images skipped": str(given_up),
        "Finished": "yes" if manifest.complete else f"no, {len(manifest.shards)} of {manifest.shard_count} shards",
    }
    if counts:
        facts["Render time"] = f"{seconds / len(counts):.1f} s per image on average"
    return Sample(
        Path(folder).resolve().name,
        settings or settings_from(manifest.settings),
        np.concatenate(boxes),
        np.array(counts, np.int64),
        np.concatenate(targets),
        np.concatenate(unmet),
        np.array(covered, np.float64).reshape(-1, 2),
        facts,
        pictures,
    )


def from_json(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    published_labels: bool = False,
) -> Sample:
    """Read the sample of a PCS or COCO JSON file, plain or compressed; as a whole in memory.

    Args:
        path: of the file.
        images: their folder, by default the one beside the file that is named like it.
        settings: the model to compare with; the published one, for the images' size, unless given.
        published_labels: the released files lie 1 px high; move the drawn labels down. Files that say where their labels lie
            (``info.label_offset_y``) are corrected without it.

    Returns:
        Its crystals; targets are not known.

    Raises:
        DataError: the file cannot be read.

    Examples:
        >>> train, _ = export.pcs_json("data", "json", validation=0)
        >>> report.from_json(train.path).targets is None
        True
    """
    document = coco.Document(Path(path), published_labels)
    folder = Path(images) if images is not None else folder_beside(Path(path))
    facts = _sizes(document.sizes)
    if settings is None:
        settings = _for_size(Settings(), document.sizes)
        facts["Model"] = "the published numbers; the file names none"

    def pictures(count: int) -> list[Picture]:
        found = []
        for i in spread(len(document.counts), count):
            pixels = document.pixels(i, folder)
            shown = blank(*document.shape(i)) if pixels is None else pixels
            found.append(Picture(shown, *document.labels(i), known=pixels is not None))
        return found

    return Sample(Path(path).name, settings, document.boxes, document.counts, facts=facts, pictures=pictures)


def blank(height: int, width: int) -> NDArray[np.uint8]:
    """A grey image, for labels whose image is not there."""
    return np.full((height, width), 110, np.uint8)


def spread(total: int, count: int) -> list[int]:
    """Up to ``count`` different places, evenly over 0 .. total - 1."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist() if total else []


def _for_size(settings: Settings, sizes: Counter[tuple[int, int]]) -> Settings:
    """The settings for the most frequent image size, where they are possible for it."""
    for (width, height), _ in itertools.islice(sizes.most_common(), 1):
        try:
            return dataclasses.replace(settings, width=width, height=height)
        except InputError:
            break
    return settings


def _sizes(sizes: Counter[tuple[int, int]]) -> dict[str, str]:
    common = [f"{w} x {h} px ({n:,})" if len(sizes) > 1 else f"{w} x {h} px" for (w, h), n in sizes.most_common(3)]
    return {"Image size": ", ".join(common) + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else "")} if sizes else {}


def _several(values: Iterable[Any]) -> str:
    listed = sorted(values)
    return ", ".join(map(str, listed[:3])) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
