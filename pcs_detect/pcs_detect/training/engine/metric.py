"""COCO average precision of oriented boxes as a metric of OpenMMLab's test loop."""

from __future__ import annotations

import csv
import json
import logging
import math
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.structures.bbox import get_box_tensor
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmrotate.registry import METRICS

from ...boxes import published
from ...errors import DataError, InputError
from ...evaluation.average_precision import RANGES, RECALLS, THRESHOLDS, Curves, Evaluator, Matches, match
from ...files import made_folder, written

Boxes = NDArray[np.float32]


class Result(NamedTuple):
    """What is kept of an image; detections (M, 5), (M,) only where they will be written."""

    image_id: int
    matches: Matches
    labels: int  # checksum of the true boxes
    boxes: Boxes | None
    scores: NDArray[np.float32] | None


@METRICS.register_module()
class CrystalMetric(BaseMetric):
    """COCO AP with rotated IoU and the paper's size classes, detections per image not capped.

    Reports ``Curves.summary`` (crystal/AP, crystal/AP50 and so on, from 0 to 1; nan where a size class has no true box) and
    logs a table in percent. Each image is matched where it was predicted; ranks then exchange 20 bytes per detection. Images
    that a sampler gives out twice to fill up a batch or a rank count once.

    cap: use only so many detections per image, the highest scores; None: all, as is right for images of many crystals.
    out: a .json file for the detections: COCO's list of results, category 1, ``bbox`` [cx, cy, w, h, a], a in degrees
    counter-clockwise (docs/method.md). Beside it, named NAME_curves, come precision over recall as .csv and .png. Each
    evaluation replaces them. prefix: see BaseMetric. Raises InputError; in use DataError, OutputError.
    """

    default_prefix = "crystal"

    def __init__(
        self,
        cap: int | None = None,
        out: str | None = None,
        prefix: str | None = None,
    ) -> None:
        # "gpu" is the base class's word for the process group, on CPUs too; "cpu" would mean files in the working folder
        super().__init__(collect_device="gpu", prefix=prefix)
        if out is not None and Path(out).suffix != ".json":
            raise InputError(f"out {out!r}: name a file that ends in .json")
        self.cap = Evaluator(cap).cap
        self.out = Path(out) if out is not None else None
        self._images = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any] | BaseDataElement]) -> None:
        """Match the ``pred_instances`` of each sample with its ``gt_instances``; both hold ``bboxes`` (N, 5)."""
        for data_sample in data_samples:
            sample = data_sample.to_dict() if isinstance(data_sample, BaseDataElement) else data_sample
            image_id = int(sample["img_id"])
            if "bboxes" not in sample.get("gt_instances", {}):
                raise DataError(f"image {image_id} has no labels to compare with; evaluate on labelled images")
            found, true = sample["pred_instances"], _array(sample["gt_instances"]["bboxes"])
            boxes, scores = _array(found["bboxes"]), _array(found["scores"])
            try:
                matches = match(boxes, scores, true, self.cap)
            except InputError as e:
                raise DataError(f"image {image_id} cannot be evaluated: {e}") from e
            keep = self.out is not None
            label = zlib.crc32(true.tobytes())
            self.results.append(Result(image_id, matches, label, boxes if keep else None, scores if keep else None))

    def evaluate(self, size: int) -> dict[str, float]:
        """As BaseMetric's, for a data set of ``size`` images."""
        self._images = size
        # The base class would cut the collected list at ``size``; repeated images are sorted out by their ids instead, which is
        # right in whatever order the sampler gave them.
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list[Sequence[Any]]) -> dict[str, float]:
        """Metrics over the images of all ranks; each element has the fields of ``Result``."""
        images: dict[int, Result] = {}
        for fields in results:
            result = Result(*fields)
            if images.setdefault(result.image_id, result).labels != result.labels:
                raise DataError(f"image id {result.image_id} belongs to two images with different labels; make ids unique")
        if len(images) != self._images:
            print_log(
                f"{len(images)} different image ids were evaluated, the data set has {self._images} images; "
                "if it is made of several, their ids may coincide",
                logger="current",
                level=logging.WARNING,
            )
        evaluator = Evaluator(self.cap)
        evaluator.images = {i: result.matches for i, result in images.items()}
        curves = evaluator.curves()
        print_log("AP and AR in %\n" + table(curves), logger="current")
        if self.out is not None:
            made_folder(self.out.parent)
            write_detections(self.out, (images[i] for i in sorted(images)))
            write_curves(self.out.with_name(f"{self.out.stem}_curves.csv"), curves)
            draw_curves(self.out.with_name(f"{self.out.stem}_curves.png"), curves)
        return curves.summary()


def table(curves: Curves) -> str:
    """AP, AP50, AP75, AR in percent and the number of crystals, for each size class."""
    lines = [f"{'size':<8}{'AP':>8}{'AP50':>8}{'AP75':>8}{'AR':>8}{'crystals':>10}"]
    at75 = THRESHOLDS.tolist().index(0.75)
    for name, precision, recall, truths in zip(RANGES, curves.precision, curves.recall, curves.truths):
        values = (precision.mean(), precision[0].mean(), precision[at75].mean(), recall.mean())
        numbers = "".join("       -" if math.isnan(v) else f"{100 * v:8.2f}" for v in values)
        lines.append(f"{name:<8}{numbers}{truths:>10}")
    return "\n".join(lines)


def write_detections(path: Path, results: Iterable[Result]) -> None:
    """COCO's list of results with five-number boxes, a detection to a line. Raises OutputError."""
    with written(path) as temporary, open(temporary, "w") as file:
        separator = "[\n"
        for result in results:
            if result.boxes is None or result.scores is None:
                raise InputError(
                    f"image {result.image_id} kept no detections to write; give the metric out=FILE from the start"
                )
            for bbox, score in zip(published(result.boxes), result.scores.tolist()):
                detection = {"image_id": result.image_id, "category_id": 1, "bbox": bbox, "score": score}
                file.write(separator + json.dumps(detection))
                separator = ",\n"
        file.write("[]\n" if separator == "[\n" else "\n]\n")


def write_curves(path: Path, curves: Curves) -> None:
    """CSV with a row per size class, IoU threshold and recall: precision, and the score that reaches it. Raises OutputError."""
    with written(path) as temporary, open(temporary, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("size", "iou", "recall", "precision", "score"))
        for r, name in enumerate(RANGES):
            for t, threshold in enumerate(THRESHOLDS):
                for recall, precision, score in zip(RECALLS, curves.precision[r, t], curves.score[r, t]):
                    numbers = ["" if math.isnan(v) else f"{v:.6g}" for v in (precision, score)]
                    rows.writerow((name, f"{threshold:.2f}", f"{recall:.2f}", *numbers))


def draw_curves(path: Path, curves: Curves) -> None:
    """PNG with precision over recall, a panel per size class, a line per IoU threshold. Raises OutputError."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    colours = colormaps["viridis"](np.linspace(0, 0.95, len(THRESHOLDS)))
    for panel, name, precision, truths in zip(panels.flat, RANGES, curves.precision, curves.truths):
        for threshold, line, colour in zip(THRESHOLDS, precision, colours):
            panel.plot(RECALLS, line, color=colour, label=f"{threshold:.2f}")
        value = precision.mean()
        panel.set_title(f"{name}: {truths} crystals" + ("" if math.isnan(value) else f", AP {100 * value:.2f} %"))
        panel.set(xlim=(0, 1), ylim=(0, 1.02))
    figure.supxlabel("recall")
    figure.supylabel("precision")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), title="IoU", loc="outside right upper")
    with written(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _array(values: Any) -> NDArray[np.float32]:
    return get_box_tensor(values).detach().float().cpu().numpy()
