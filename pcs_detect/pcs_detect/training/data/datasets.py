"""Labelled images in the form that OpenMMLab trains and tests on, whatever they are stored as."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pcs_augment import errors as theirs
from pcs_augment.coco_json import SUFFIXES
from pcs_augment.data import PcsDataset
from pcs_augment.targets import Outlines, select
from pcs_render.shards import PcsShards
from pcs_render.shards.manifest import NAME as MANIFEST
from pcs_render.shards.manifest import Split, check_validation

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmrotate.registry import DATASETS
from mmrotate.structures.bbox import RotatedBoxes

from ...errors import DataError, InputError
from .dota import DotaFolder, is_dota

AnyPath = str | os.PathLike[str]
Source = PcsDataset | PcsShards | DotaFolder
ACCEPTED = (
    f"a PCS or COCO JSON ({', '.join(SUFFIXES)}), a folder of pcs-render, or a DOTA folder (images and labelTxt or annfiles)"
)


@DATASETS.register_module()
class CrystalDataset(Dataset[dict[str, Any]]):
    """Images with crystals, all of one class, from one or several data sets that follow one another.

    data: PCS or COCO JSON, folder of pcs-render, DOTA folder or the folder that holds an export of such (train and val), or a
    list of those. split: "train", "validation" or None for all; validation: part (0.03) or number (10000) of the images of each
    data set for validation. Folders of pcs-render are split as they say themselves, or by ``validation`` likewise; in a DOTA
    export "train" and "val" are the splits; of other data the last images are for validation, and only if ``validation`` says
    how many. published_labels, images (their folder): of JSON, see pcs_augment.PcsDataset. categories: of DOTA, see DotaFolder.

    Of the images thus chosen, in this order: indices picks some, labelled_only drops those without crystals (DOTA and
    pcs-render: all labels are read for that), first takes so many. reduce makes images and labels so many times smaller, each
    pixel the mean of reduce x reduce. min_area drops crystals with w h below so many px^2 of the image as it is then.
    test_mode is taken because OpenMMLab sets it: items hold their labels in any case.

    Item i is a dict: ``inputs`` (1, H, W) uint8 grey; ``data_samples`` a DetDataSample with ``gt_instances``: ``bboxes``
    RotatedBoxes (N, 5) float32, (cx, cy, w, h, theta) in px and radians, w >= h, theta in [-pi/2, pi/2), positive clockwise on
    screen; ``labels`` (N,) int64 zeros; ``polygons`` N times (K, 2) float32. Its metainfo: ori_shape and img_shape (H, W),
    scale_factor (1.0, 1.0), source (which entry of ``data`` it is from, from 0 on), img_path ("" where the image is no file of
    its own) and img_id, unique in the data set: the id that
    the data give the image, or, where any two of all images share one, the number of the image among all that ``data`` and
    ``split`` name; the same whatever is picked of them. Workers may fork or spawn.

    Raises DataError for what is missing or damaged, InputError for wrong arguments.
    """

    metainfo = {"classes": ("Crystal",), "palette": [(220, 20, 60)]}  # noqa: RUF012  # OpenMMLab looks for a dict

    def __init__(
        self,
        data: AnyPath | Sequence[AnyPath],
        split: Split | None = None,
        validation: int | float | None = None,
        published_labels: bool = False,
        images: AnyPath | None = None,
        categories: Sequence[str] | None = None,
        labelled_only: bool = False,
        min_area: float = 0.0,
        reduce: int = 1,
        indices: Sequence[int] | None = None,
        first: int | None = None,
        test_mode: bool = False,
    ) -> None:
        if split is not None and split not in get_args(Split):
            raise InputError(f"split is {split!r}; allowed are {', '.join(get_args(Split))}, or None for all images")
        if first is not None and first < 1:
            raise InputError(f"first is {first}; it takes at least 1 image, or None for all")
        if not 0 <= min_area < math.inf:
            raise InputError(f"min_area is {min_area}; it takes an area in px^2 of at least 0")
        if not isinstance(reduce, int) or reduce < 1:
            raise InputError(f"reduce is {reduce!r}; it takes a whole number of at least 1, by which images become smaller")
        self.reduce = reduce
        self._least = float(min_area) * reduce**2  # px^2 of the image as it is stored
        self.sources: list[Source] = []
        owner, place = [], []
        self._of: list[int] = []  # which entry of ``data`` each source belongs to
        with _own_errors():
            if validation is not None:
                check_validation(validation)
            for number, path in enumerate(_paths(data)):
                for source, chosen in _opened(path, split, validation, published_labels, images, categories):
                    owner.append(np.full(len(chosen), len(self.sources), np.int32))
                    place.append(chosen)
                    self.sources.append(source)
                    self._of.append(number)
        self._owner, self._place = np.concatenate(owner), np.concatenate(place)
        ids = np.concatenate([_ids(s)[p] for s, p in zip(self.sources, place)])
        self._ids = ids if len(np.unique(ids)) == len(ids) else np.arange(len(ids))
        if indices is not None:
            self._keep(_checked_indices(indices, len(ids)))
        if labelled_only:
            self._keep(self._counts() > 0)
        if first is not None:
            self._keep(np.arange(min(first, len(self))))
        if not len(self):
            raise DataError(
                f"{data} has no images left with split={split!r}, validation={validation}, {labelled_only=}"
                + ("; say how many are for validation with --validation N" if split is not None else "")
            )

    def full_init(self) -> None:
        """Nothing: it is ready when made. mmengine calls this."""

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, i: int) -> dict[str, Any]:
        if not 0 <= i < len(self):  # also what ends iteration over a data set
            raise IndexError(f"image {i} of {len(self)}")
        source, place = self.sources[self._owner[i]], int(self._place[i])
        with _own_errors():
            image, target, _ = source[place]
        image, target = _reduced(image, self._of_min_area(target), self.reduce)
        boxes = target["boxes"].clone()  # that of pcs-render belongs to what the reader keeps
        boxes[boxes[:, 4] >= math.pi / 2, 4] -= math.pi  # where float32 rounds to the open end
        sample = DetDataSample(
            metainfo={
                "img_id": int(self._ids[i]),
                "img_path": _image_path(source, place),
                "ori_shape": tuple(image.shape[1:]),
                "img_shape": tuple(image.shape[1:]),
                "scale_factor": (1.0, 1.0),
                "source": self._of[self._owner[i]],
            }
        )
        sample.gt_instances = InstanceData(
            bboxes=RotatedBoxes(boxes, clone=False),
            labels=torch.zeros(len(boxes), dtype=torch.int64),
            polygons=Outlines(target["polygons"]),
        )
        return {"inputs": image, "data_samples": sample}

    def looked_at(self, images: int = 20) -> tuple[int, int]:
        """How many crystals the first images have that have any, and how many of these are centred off their image."""
        labels = off = 0
        for i in range(len(self)):
            if not images:
                break
            if not len(self._target(i)["boxes"]):
                continue
            item = self[i]["data_samples"]
            height, width = item.img_shape
            x, y = item.gt_instances.bboxes.tensor[:, :2].T
            labels, images = labels + len(x), images - 1
            off += int(((x < 0) | (y < 0) | (x > width) | (y > height)).sum())
        return labels, off

    def _target(self, i: int) -> Mapping[str, Any]:
        """The labels of an image as it is stored, which most data sets know without reading its pixels."""
        with _own_errors():
            return self._of_min_area(self.sources[self._owner[i]].target(int(self._place[i])))

    def _of_min_area(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        boxes = target["boxes"]
        return select(target, (boxes[:, 2] * boxes[:, 3] >= self._least).numpy()) if self._least else target

    def _keep(self, which: NDArray[Any]) -> None:
        self._owner, self._place, self._ids = self._owner[which], self._place[which], self._ids[which]

    def _counts(self) -> NDArray[np.int64]:
        """(N,) crystals of each image."""
        out = np.zeros(len(self), np.int64)
        for k, source in enumerate(self.sources):
            mine = np.flatnonzero(self._owner == k)
            with _own_errors():
                if isinstance(source, PcsDataset):
                    out[mine] = source.counts(self._least)[self._place[mine]]
                else:
                    for i in mine.tolist():
                        out[i] = len(self._target(i)["boxes"])
        return out


def _reduced(image: torch.Tensor, target: Mapping[str, Any], factor: int) -> tuple[torch.Tensor, Mapping[str, Any]]:
    """(C, H, W) uint8 image and target, both ``factor`` times smaller; what is left over at the far edges is averaged alone."""
    if factor == 1:
        return image, target
    smaller = F.avg_pool2d(image[None].float(), factor, ceil_mode=True, count_include_pad=False)[0]
    outlines = [outline / factor for outline in target["polygons"]]
    boxes = torch.cat([target["boxes"][:, :4] / factor, target["boxes"][:, 4:]], dim=1)
    return smaller.round().to(torch.uint8), {**target, "boxes": boxes, "polygons": outlines}


def _paths(data: AnyPath | Sequence[AnyPath]) -> list[Path]:
    several = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if not several:
        raise InputError(f"no data set was given; name {ACCEPTED}")
    return [Path(p) for p in several]


def _opened(
    path: Path,
    split: Split | None,
    validation: int | float | None,
    published_labels: bool,
    images: AnyPath | None,
    categories: Sequence[str] | None,
) -> list[tuple[Source, NDArray[np.int64]]]:
    """What a path names, with the positions of the images that belong to the split."""
    if (path / MANIFEST).is_file():
        shards = PcsShards(path, split, validation, torch.uint8)
        return [(shards, np.arange(len(shards)))]
    if path.is_file() and path.name.endswith(SUFFIXES):
        return [_split(PcsDataset(path, images, published_labels), path, split, validation)]
    if is_dota(path):
        return [_split(DotaFolder(path, categories), path, split, validation)]
    exported = {"train": path / "train", "validation": path / "val"}
    present = [p for s, p in exported.items() if is_dota(p) and (split in (None, s) or validation is not None)]
    if not present:
        raise DataError(f"{path} is {_described(path)}; name {ACCEPTED}")
    folders = [DotaFolder(p, categories) for p in present]
    if validation is None:
        return [(f, np.arange(len(f))) for f in folders]
    return [_split(f, p, split, validation) for f, p in zip(folders, present)]


def _split(
    source: PcsDataset | DotaFolder, path: Path, split: Split | None, validation: int | float | None
) -> tuple[Source, NDArray[np.int64]]:
    every = np.arange(len(source))
    if split is None:
        return source, every
    if validation is None:
        raise InputError(
            f"{path} is not split by itself: say with validation how many of its images or what part of them, or name the file "
            f"or folder of the {split} images and leave split away"
        )
    count = validation if isinstance(validation, int) else round(validation * len(every))
    if count > len(every):
        raise InputError(f"validation is {validation}, but {path} has {len(every)} images; take fewer")
    bound = len(every) - count
    return source, every[bound:] if split == "validation" else every[:bound]


def _described(path: Path) -> str:
    if not path.exists():
        return "not there"
    if not path.is_dir():
        return "a file of another kind"
    names = sorted(os.listdir(path))
    some = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"a folder of {some}" if names else "an empty folder"


def _ids(source: Source) -> NDArray[np.int64]:
    return np.concatenate([r.ids for r in source.readers]) if isinstance(source, PcsShards) else source.image_ids


def _image_path(source: Source, place: int) -> str:
    if isinstance(source, PcsShards):
        return ""
    return str(source.folder / source.file_names[place] if isinstance(source, PcsDataset) else source.path(place))


def _checked_indices(indices: Sequence[int], count: int) -> NDArray[np.int64]:
    chosen = np.asarray(indices)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise InputError(f"indices must be a list of whole numbers, got {str(indices)[:80]}")
    if len(np.unique(chosen)) < len(chosen):
        raise InputError("indices holds a number twice; an image belongs to a data set once")
    outside = chosen[(chosen < 0) | (chosen >= count)]
    if len(outside):
        raise InputError(f"indices holds {outside[0]}, but there are {count} images; allowed are 0 to {count - 1}")
    return chosen.astype(np.int64)


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    """What the libraries below raise, as errors of this one."""
    try:
        yield
    except theirs.DataError as e:
        raise DataError(str(e)) from e
    except theirs.InputError as e:
        raise InputError(str(e)) from e
