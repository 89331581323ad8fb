"""The way of a batch into the detector: device, noise (in training only), normalisation, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import pcs_augment as pa
from pcs_augment.base import Step
from pcs_augment.rng import open_streams

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes

from ...errors import InputError
from ...photographs.fringes import Fringes, check_fringes, without_fringes

PIPELINES = ["default_pipeline", "microscope_pipeline"]
CHOICE = 0xFFFF  # tag of the stream that chooses among pipelines: no step has it
MATCHING = 0xFFFE  # and of the one that matches grey values
Augment = Sequence[Mapping[str, Any]] | Sequence[Sequence[Mapping[str, Any]]] | None


@MODELS.register_module()
class CrystalPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, in training augments it there, normalises and pads it.

    mean, std: of the grey values, 0..255 (the paper's 132.6 and 61.2). pad_size_divisor: images are padded at the right
    and the bottom to a multiple of this many px, with the mean. augment: the noise pipeline as a list of
    ``dict(type=NAME, **arguments)`` of the steps of pcs_augment, a list of such lists, of which each image draws one (one that
    stands twice is drawn twice as often), None for none, or ``dict(each=[...])``: one of these for pictures from the first data
    set, one for the second ..., the last also for any further ones. seed: of the noise, which depends on
    (seed, epoch, img_id) alone.
    min_edge, threshold: objects with a side below ``min_edge`` px before the noise, or whose
    grey values span at most ``threshold`` 8-bit levels after it, are no longer targets. matched: chance, in training, that the
    grey values of a picture are brought to ``mean`` and U(0.5, 1) times ``std`` at last, by a factor of 3 at most, as those of
    photographs are at prediction (``photographs.grey.matched``); U because the walls of wells make photographs richer in
    contrast than their crystals. fringes: "remove" takes periodic patterns out of pictures that have any, in training after the
    noise, as ``Detector`` does with photographs (``photographs.without_fringes``); on the CPU, 6 ms for 256 x 256 px.

    Takes what CrystalDataset gives: ``inputs`` a list of (1, H, W) uint8 and ``data_samples``. Gives inputs (B, 1, H', W')
    float32 and the samples with ``pad_shape`` and ``batch_input_shape`` set. Images of one batch may differ in size.
    """

    def __init__(
        self,
        mean: float = 132.6,
        std: float = 61.2,
        pad_size_divisor: int = 32,
        augment: Augment | Mapping[str, Sequence[Augment]] = None,
        seed: int = 0,
        min_edge: float = 0.0,
        threshold: int = 0,
        matched: float = 0.0,
        fringes: Fringes = "keep",
    ) -> None:
        super().__init__(non_blocking=True)
        if not std > 0:
            raise InputError(f"std of the grey values is {std}; it must be above 0")
        if pad_size_divisor < 1:
            raise InputError(f"pad_size_divisor is {pad_size_divisor}; it must be at least 1")
        if not 0 <= matched <= 1:
            raise InputError(f"matched is {matched}; the chance that grey values are matched lies between 0 and 1")
        check_fringes(fringes)
        self.matched, self.fringes = float(matched), fringes
        self.mean, self.std, self.divisor = float(mean), float(std), int(pad_size_divisor)
        self.seed = seed
        each = [alternatives(a) for a in of_each(augment)]
        self.counts = np.array([len(a) for a in each])  # of the alternatives of each data set
        self.pipelines = [build_pipeline(steps, seed, min_edge, threshold) for a in each for steps in a]

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        images: list[Tensor] = self.cast_data(list(data["inputs"]))
        samples: list[Any] = data.get("data_samples") or []
        epoch = current_epoch()
        # mixed precision is for the network: noise and normalisation stay in float32
        with torch.autocast(images[0].device.type, enabled=False):
            if training and self.pipelines:
                images, samples = self._augmented(images, samples, epoch)
            images = [i * 255 if i.is_floating_point() else i.float() for i in images]
            if self.fringes == "remove":
                images = [torch.from_numpy(without_fringes(i[0].cpu().numpy()))[None].to(i.device) for i in images]
            images = [i.sub(self.mean).div(self.std) for i in images]
            if training and self.matched:
                self._match(images, samples, epoch)
        samples = self.cast_data(samples)
        height, width = (-(-max(i.shape[d] for i in images) // self.divisor) * self.divisor for d in (-2, -1))
        inputs = torch.stack([F.pad(i, (0, width - i.shape[-1], 0, height - i.shape[-2])) for i in images])
        for sample in samples:
            sample.set_metainfo({"pad_shape": (height, width), "batch_input_shape": (height, width)})
        return {"inputs": inputs, "data_samples": samples}

    def _augmented(self, images: list[Tensor], samples: list[Any], epoch: int) -> tuple[list[Tensor], list[Any]]:
        """Images on the device, samples on the host still: numbers are drawn there."""
        out, kept = list(images), list(samples)
        chosen = self._chosen(samples, epoch)
        alike: dict[tuple[int, ...], list[int]] = {}
        for k, image in enumerate(images):
            if (pipeline := chosen[k]) is not None:
                alike.setdefault((pipeline, *image.shape), []).append(k)
        for (which, *_), members in alike.items():
            targets = [_target(samples[k]) for k in members]
            index = torch.tensor([samples[k].img_id for k in members])
            noisy, moved = self.pipelines[which](torch.stack([images[k] for k in members]), targets, index=index, epoch=epoch)
            for k, image, target in zip(members, noisy, moved):
                out[k] = image
                kept[k] = samples[k].clone()
                kept[k].gt_instances = _instances(target)
                kept[k].set_metainfo({"img_shape": tuple(image.shape[-2:])})  # a crop changes it
        return out, kept

    def _match(self, images: list[Tensor], samples: list[Any], epoch: int) -> None:
        """Of normalised images, in place: mean 0, deviation U(0.5, 1)."""
        (stream,) = open_streams(self.seed, epoch, np.array([s.img_id for s in samples]), [2], [MATCHING])
        chosen, deviation = stream.uniform(0, 0, 1) < self.matched, stream.uniform(1, 0.5, 1)
        for k in np.flatnonzero(chosen):
            own = images[k].std(correction=0).clamp_(min=1 / 3)
            images[k].sub_(images[k].mean()).mul_(float(deviation[k]) / own)

    def _chosen(self, samples: list[Any], epoch: int) -> list[int | None]:
        """Which of all pipelines each image goes through; None for none."""
        last = len(self.counts) - 1
        of = np.array([min(int(s.metainfo.get("source", 0)), last) for s in samples])
        (stream,) = open_streams(self.seed, epoch, np.array([s.img_id for s in samples]), [1], [CHOICE])
        first, chosen = np.cumsum(self.counts) - self.counts, np.zeros(len(samples), np.int64)
        for source, count in enumerate(self.counts):
            mine = of == source
            chosen[mine] = first[source] + stream.integer(0, 0, max(count - 1, 0))[mine]
        return [int(k) if self.counts[source] else None for k, source in zip(chosen, of)]


def current_epoch() -> int:
    """Of the training that runs; 0 where none does."""
    return int(MessageHub.get_current_instance().get_info("epoch", 0))


def of_each(augment: Any) -> list[Any]:
    """What ``augment`` says of each data set; the last entry also of further ones. Raises InputError."""
    if not isinstance(augment, Mapping):
        return [augment]
    each = augment.get("each")
    if set(augment) != {"each"} or not isinstance(each, list | tuple) or not each:
        raise InputError(
            f"augment is a dict with {sorted(map(str, augment))}; it takes each, a list with one entry for each data set"
        )
    return list(each)


def alternatives(augment: Any) -> list[Sequence[Mapping[str, Any]]]:
    """The pipelines that ``augment`` names: none, one, or some of which each image draws one. Raises InputError."""
    if not augment:
        return []
    several = [not isinstance(entry, Mapping) for entry in augment]
    if any(several) and not all(several):
        raise InputError("augment mixes steps and lists of steps; give either one list of steps or a list of such lists")
    return list(augment) if any(several) else [augment]


def build_pipeline(steps: Sequence[Mapping[str, Any]], seed: int, min_edge: float = 0.0, threshold: int = 0) -> pa.Pipeline:
    """The pipeline that a config spells out; an entry may also be a whole pipeline of pcs_augment, whose steps take its place.

    Raises InputError naming a step or an argument that does not exist.
    """
    chosen: list[Step] = [pa.MinEdge(min_edge)]
    for step in steps:
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in step.items() if k != "type"}
        if step.get("type") in PIPELINES:
            chosen += _built(getattr(pa, str(step["type"])), step, arguments).steps
            continue
        kind = getattr(pa, str(step.get("type")), None)
        if not (isinstance(kind, type) and issubclass(kind, Step)):
            allowed = sorted(n for n in pa.__all__ if isinstance(getattr(pa, n), type) and issubclass(getattr(pa, n), Step))
            allowed += PIPELINES
            raise InputError(f"augment: there is no step {step.get('type')!r}; steps are {', '.join(allowed)}")
        chosen.append(_built(kind, step, arguments))
    return pa.Pipeline([*chosen, pa.KeepDetectable(threshold)], seed=seed)


def _built(kind: Callable[..., Any], step: Mapping[str, Any], arguments: dict[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except TypeError as e:
        raise InputError(f"augment: {step.get('type')}: {e}") from e


def _target(sample: Any) -> dict[str, Any]:
    instances = sample.gt_instances
    target = {"boxes": instances.bboxes.tensor, "labels": instances.labels}
    if "polygons" in instances:
        target["polygons"] = instances.polygons
    return target


def _instances(target: dict[str, Any]) -> InstanceData:
    instances = InstanceData(bboxes=RotatedBoxes(target["boxes"], clone=False), labels=target["labels"])
    if "polygons" in target:
        instances.polygons = target["polygons"]
    return instances
