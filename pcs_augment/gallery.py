"""Pictures of what the pipeline does: base images above augmented ones, or every step alone, with the outlines on top."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .base import Augmentation, Step
from .coco_json import SUFFIXES
from .data import PcsDataset, read_grey
from .errors import DataError, InputError
from .extras import install
from .files import made_folder, written
from .microscope import microscope_pipeline
from .pipeline import Pipeline, default_pipeline
from .steps import KeepDetectable, MinEdge

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
COLOURS = ((255, 145, 0), (0, 200, 255), (120, 255, 60), (255, 80, 200), (255, 240, 60), (160, 130, 255))  # by class
_PAPER, _INK, _FAINT = (22, 24, 28), (236, 238, 242), (150, 156, 166)
_GAP = 12
PIPELINES: dict[str, Callable[..., Pipeline]] = {"default": default_pipeline, "microscope": microscope_pipeline}
_SMALLEST_TILE = 240  # smaller images are enlarged by a whole factor, or captions would not fit
_WIDEST, _MOST_COLUMNS = 2400, 6  # captions of more columns would be cut short
_PAGE, _READABLE = 900, 13  # px: the width in which pages show a picture, and the least size of type that is read there


@dataclass(frozen=True)
class Sample:
    """A grey image (1, H, W) uint8 with its labels, if any, and its place in the data set."""

    name: str
    image: Tensor
    target: Mapping[str, Any] | None
    index: int


@dataclass(frozen=True)
class Tile:
    """One captioned picture: (H, W) uint8 with the outlines of its objects and their classes."""

    caption: str
    grey: Tensor
    outlines: list[Tensor]
    labels: list[int]


def preview(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    epoch: int = 0,
    count: int | None = None,
    columns: int | None = None,
    versions: int | None = None,
    size: int = 768,
    each_step: bool = False,
    outlines: bool = True,
    images: str | os.PathLike[str] | None = None,
    published_labels: bool = False,
    device: torch.device | str = "cpu",
    pipeline: str = "default",
) -> Path:
    """Draw base and augmented images of ``sources`` (image files, folders of them, PCS or COCO JSON) into one picture.

    count: how many base images (default 6, with each_step 2); versions: augmented ones of each, of successive epochs (default
    1, or 4 of a single image); columns: tiles in a row (default: as many as fit 2400 px, at most 6); size: larger images are
    scaled down until their longer side has so many px; pipeline: "default" or "microscope";
    each_step: instead of the pipeline, every step alone and certain to act.
    Raises PcsError.
    """
    path = check_output(out)
    if pipeline not in PIPELINES:
        raise InputError(f"pipeline must be one of {', '.join(PIPELINES)}, got {pipeline!r}")
    samples = load(sources, count or (2 if each_step else 6), size, images, published_labels)
    blocks: list[list[list[Tile]]]  # rows that belong together
    if each_step:
        blocks = [[each_step_tiles(s, seed, epoch, device, pipeline)] for s in samples]
        head = f"every step alone, seed {seed}"
    else:
        whole = PIPELINES[pipeline](seed)
        epochs = range(epoch, epoch + (versions or (4 if len(samples) == 1 else 1)))
        base = [_tile(s.name, s.image, s.target) for s in samples]
        rows = [base] + [[augmented(s, whole, e, f"epoch {e}", device)[0] for s in samples] for e in epochs]
        blocks = [[base, [row[0] for row in rows[1:]]]] if len(samples) == 1 else [rows]
        head = f"{pipeline} pipeline, seed {seed}: base images above, augmented below"
    picture = sheet(head, blocks, columns, outlines)
    from PIL import Image

    with written(path) as temporary:
        picture.save(temporary, Image.registered_extensions()[path.suffix.lower()])
    return path


def check_output(out: str | os.PathLike[str]) -> Path:
    """The picture's path, its folder made; found out before the work, not after it. Raises PcsError."""
    path = Path(out)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{path}: the picture's name must end in one of {', '.join(IMAGE_SUFFIXES)}")
    made_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    return path


# --- images -------------------------------------------------------------------------------------------------------------


def load(
    sources: Sequence[str | os.PathLike[str]],
    count: int,
    size: int,
    images: str | os.PathLike[str] | None = None,
    published_labels: bool = False,
) -> list[Sample]:
    """The first ``count`` images of the sources, at most ``size`` px long."""
    samples: list[Sample] = []
    for path in map(Path, sources):
        left = count - len(samples)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
            if not files:
                raise DataError(f"{path}: no images in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
        elif path.name.endswith(SUFFIXES):
            data = PcsDataset(path, images, published_labels)
            if not len(data):
                raise DataError(f"{path}: lists no images")
            for i in range(min(left, len(data))):
                image, target, index = data[i]
                samples.append(_scaled(Sample(Path(data.file_names[i]).name, image, target, index), size))
            continue
        else:
            files = [path]
        samples += [_scaled(Sample(f.name, read_grey(f), None, len(samples) + k), size) for k, f in enumerate(files[:left])]
    return samples


def _scaled(sample: Sample, size: int) -> Sample:
    from PIL import Image

    height, width = sample.image.shape[1:]
    scale = size / max(height, width)
    if scale >= 1:
        return sample
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(sample.image[0].numpy()).resize(new, Image.Resampling.LANCZOS, reducing_gap=3.0)
    image = torch.from_numpy(np.array(small))[None]
    target = sample.target
    if target is not None:
        factors = torch.tensor([scale, scale, scale, scale, 1.0])
        target = {**target, "boxes": target["boxes"] * factors, "polygons": [p * scale for p in target["polygons"]]}
    return Sample(sample.name, image, target, sample.index)


def augmented(
    sample: Sample, transform: Augmentation, epoch: int, caption: str, device: torch.device | str = "cpu"
) -> tuple[Tile, bool]:
    """The sample under a pipeline or step, and whether that changed a pixel."""
    base = sample.image[None].to(device)
    out, targets = transform(base, None if sample.target is None else [sample.target], index=[sample.index], epoch=epoch)
    grey = (out * 255).round().to(torch.uint8)
    return _tile(caption, grey[0].cpu(), targets[0] if targets else None), not torch.equal(grey, base)


def each_step_tiles(
    sample: Sample, seed: int, epoch: int, device: torch.device | str = "cpu", pipeline: str = "default"
) -> list[Tile]:
    """The base image, every step alone, and the whole pipeline. A step that happens to do nothing draws again."""
    tiles = [_tile(sample.name, sample.image, sample.target)]
    steps: dict[str, Step] = {}
    for step in PIPELINES[pipeline](seed).sequence():
        if not isinstance(step, (MinEdge, KeepDetectable)):  # filters change no pixels
            steps.setdefault(type(step).__name__, step)
    for name, step in steps.items():
        step.p, step.seed = 1.0, seed
        for tried in range(epoch, epoch + 8):
            tile, changed = augmented(sample, step, tried, name, device)
            if changed:
                break
        tiles.append(tile if changed else replace(tile, caption=f"{name} (changes nothing here)"))
    return [*tiles, augmented(sample, PIPELINES[pipeline](seed), epoch, "all steps", device)[0]]


def _tile(caption: str, image: Tensor, target: Mapping[str, Any] | None) -> Tile:
    polygons = [] if target is None else list(target["polygons"])
    labels = [] if target is None else target["labels"].tolist()
    return Tile(caption, image[0], polygons, labels)


# --- drawing ------------------------------------------------------------------------------------------------------------


def sheet(head: str, blocks: list[list[list[Tile]]], columns: int | None = None, outlines: bool = True) -> Any:
    """A Pillow image: blocks of rows that belong together; rows longer than ``columns`` continue below, together."""
    from PIL import Image, ImageDraw

    tiles = [t for rows in blocks for row in rows for t in row]
    height, width = (max(t.grey.shape[d] for t in tiles) for d in (0, 1))
    zoom = max(1, -(-_SMALLEST_TILE // max(height, width)))
    height, width = height * zoom, max(width * zoom, 120)
    longest = max(len(row) for rows in blocks for row in rows)
    across = columns or min(max(1, (_WIDEST - _GAP) // (width + _GAP)), _MOST_COLUMNS)
    across = -(-longest // -(-longest // across))  # as few rows as that allows, evenly filled
    bands = []
    for rows in blocks:
        for first in range(0, max(map(len, rows)), across):
            bands.append([row[first : first + across] for row in rows if row[first : first + across]])
    wide = max(across * (width + _GAP) + _GAP, 480)
    type_size = max(16, -(-wide * _READABLE // _PAGE))
    small, large, above = _font(type_size), _font(type_size * 5 // 4), type_size * 13 // 8  # and the height of a caption
    top = 2 * type_size + _GAP
    depth = top + sum(len(band) * (height + above) + 2 * _GAP for band in bands)
    picture = Image.new("RGB", (wide, depth), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_GAP, top // 2), _fitted(head, large, wide - 2 * _GAP), _INK, font=large, anchor="lm")
    y = top
    for band in bands:
        for row in band:
            for c, tile in enumerate(row):
                x = _GAP + c * (width + _GAP)
                draw.text((x, y + above // 2), _fitted(tile.caption, small, width), _FAINT, font=small, anchor="lm")
                drawn = _drawn(tile, zoom, outlines)
                corner = (x + (width - drawn.width) // 2, y + above + (height - drawn.height) // 2)
                picture.paste(drawn, corner)
            y += height + above
        y += 2 * _GAP
    return picture


def _drawn(tile: Tile, zoom: int, outlines: bool) -> Any:
    """The tile in colour; lines are drawn at thrice the size and scaled down, which smooths them."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(tile.grey.numpy()).convert("RGB")
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    fine = 3
    for label in sorted(set(tile.labels)) if outlines else ():
        mask = Image.new("L", (picture.width * fine, picture.height * fine))
        draw = ImageDraw.Draw(mask)
        for polygon, mine in zip(tile.outlines, tile.labels):
            if mine == label:
                points = [(float(x), float(y)) for x, y in polygon.double() * (zoom * fine)]
                draw.line([*points, *points[:2]], fill=255, width=fine + 1, joint="curve")
        mask = mask.resize(picture.size, Image.Resampling.BOX)
        picture.paste(COLOURS[label % len(COLOURS)], (0, 0), mask)
    return picture


def _font(size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError) as e:  # before Pillow 10.1 it takes no size; without FreeType there is no outline font
        raise InputError(f"drawing needs Pillow 10.1 or newer, with FreeType; {install('cli')}") from e


def _fitted(text: str, font: Any, width: int) -> str:
    """The text, its middle left out where it is wider than ``width`` px."""
    keep = len(text)
    short = text
    while font.getlength(short) > width and keep > 2:
        keep -= 1
        short = f"{text[: keep // 2]}…{text[len(text) - (keep - keep // 2) :]}"
    return short
