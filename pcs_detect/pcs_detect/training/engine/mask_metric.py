"""COCO average precision of masks as a metric of OpenMMLab's test loop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from faster_coco_eval import COCO, COCOeval_faster
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmrotate.registry import METRICS
from pycocotools import mask as coco_mask

from ...errors import DataError
from ...evaluation.average_precision import RANGES, RECALLS, THRESHOLDS, Curves, Evaluator
from ...files import made_folder, written
from ..data.masks import Rle, rle_of_outlines
from .metric import CrystalMetric, Result, draw_curves, table, write_curves

AT_65 = int(np.flatnonzero(np.isclose(THRESHOLDS, 0.65))[0])


class MaskResult(NamedTuple):
    """What is kept of an image of (H, W) px: found masks with scores, true ones, and how the oriented boxes match."""

    image_id: int
    size: tuple[int, int]
    found: list[Rle]
    scores: list[float]
    true: list[Rle]
    boxes: Result


@METRICS.register_module()
class MaskMetric(CrystalMetric):
    """COCO AP of masks, with the overlap of masks and the paper's size classes, detections per image not capped.

    Reports ``Curves.summary`` of the masks, crystal/AP65 (the 2021 paper's mAP at IoU 0.65; AP50 is its mAP at 0.50) and, of
    the oriented boxes around the masks, crystal/box_AP and crystal/box_AP50, with rotated overlap as CrystalMetric; all from
    0 to 1. Size classes go by the area of the mask, px^2. True masks are the outlines of the labels.

    cap, prefix: see CrystalMetric. out: a .json file for COCO's list of segmentation results; beside it NAME_curves.csv, .png.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any] | BaseDataElement]) -> None:
        """Take ``pred_instances`` (``bboxes`` (M, 5), ``scores``, ``masks`` a list of run lengths) and ``gt_instances``
        (``bboxes``, ``polygons``) of each sample."""
        samples = [s.to_dict() if isinstance(s, BaseDataElement) else s for s in data_samples]
        before = len(self.results)
        super().process(data_batch, samples)
        for place, sample in enumerate(samples, start=before):
            result: Result = self.results[place]
            found, labels, size = sample["pred_instances"], sample["gt_instances"], tuple(sample["ori_shape"][:2])
            if "polygons" not in labels or "masks" not in found:
                raise DataError(f"image {result.image_id} has no outlines or no masks; MaskMetric needs both")
            true = [rle_of_outlines([p.cpu()], size) for p in labels["polygons"]]
            order = np.argsort(-found["scores"].cpu().numpy(), kind="stable")[: self.cap]
            masks, scores = [found["masks"][i] for i in order], [float(found["scores"][i]) for i in order]
            self.results[place] = MaskResult(result.image_id, size, masks, scores, true, result)

    def compute_metrics(self, results: list[Sequence[Any]]) -> dict[str, float]:
        """Metrics over the images of all ranks; each element has the fields of ``MaskResult``."""
        images = {r.image_id: r for r in (MaskResult(*fields) for fields in results)}
        boxes = Evaluator(self.cap)
        boxes.images = {i: Result(*r.boxes).matches for i, r in images.items()}
        oriented = boxes.summary()
        curves = mask_curves(images[i] for i in sorted(images))
        print_log("AP and AR of masks in %\n" + table(curves), logger="current")
        if self.out is not None:
            made_folder(self.out.parent)
            write_masks(self.out, (images[i] for i in sorted(images)))
            write_curves(self.out.with_name(f"{self.out.stem}_curves.csv"), curves)
            draw_curves(self.out.with_name(f"{self.out.stem}_curves.png"), curves)
        summary = curves.summary()
        at_65 = {"AP65": float(curves.precision[0, AT_65].mean())}
        return summary | at_65 | {"box_AP": oriented["AP"], "box_AP50": oriented["AP50"]}


def mask_curves(images: Iterable[MaskResult]) -> Curves:
    """Precision and recall of masks over images whose ids differ, as COCO has them."""
    pictures: list[dict[str, Any]] = []
    true: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    most = 1
    for image in images:
        pictures.append({"id": image.image_id, "height": image.size[0], "width": image.size[1]})
        true += [_annotation(image.image_id, len(true) + k, rle) for k, rle in enumerate(image.true, 1)]
        scored = zip(image.found, image.scores)
        found += [_annotation(image.image_id, len(found) + k, r) | {"score": s} for k, (r, s) in enumerate(scored, 1)]
        most = max(most, len(image.found))
    areas = np.array([a["area"] for a in true])
    truths = np.array([np.count_nonzero((areas >= low) & (areas <= high)) for low, high in RANGES.values()], dtype=np.int64)
    shape = (len(RANGES), len(THRESHOLDS), len(RECALLS))
    precision, score, recall = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape[:2], np.nan)
    if true:
        evaluator = COCOeval_faster(_coco(pictures, true), _coco(pictures, found), "segm", print_function=lambda *_: None)
        evaluator.params.maxDets = [most]
        evaluator.params.iouThrs, evaluator.params.recThrs = THRESHOLDS, RECALLS
        evaluator.params.areaRng = [[low, min(high, 1e12)] for low, high in RANGES.values()]
        evaluator.params.areaRngLbl = list(RANGES)
        evaluator.evaluate()
        evaluator.accumulate()
        some = truths > 0  # of the others it says -1
        precision[some] = np.asarray(evaluator.eval["precision"])[:, :, 0, :, -1].transpose(2, 0, 1)[some]
        recall[some] = np.asarray(evaluator.eval["recall"])[:, 0, :, -1].T[some]
        scores = np.asarray(evaluator.eval["scores"])[:, :, 0, :, -1].transpose(2, 0, 1)
        score = np.where(precision > 0, scores, np.nan)
    return Curves(precision, score, recall, truths)


def _annotation(image_id: int, number: int, rle: Rle) -> dict[str, Any]:
    area, bbox = int(coco_mask.area(rle)), coco_mask.toBbox(rle).tolist()
    shared = {"image_id": image_id, "category_id": 1, "iscrowd": 0, "ignore": 0}
    return {"id": number, "segmentation": rle, "area": area, "bbox": bbox, **shared}


def _coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> COCO:
    return COCO({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Crystal"}]})


def write_masks(path: Path, images: Iterable[MaskResult]) -> None:
    """COCO's list of segmentation results. Raises OutputError."""
    rows = [
        {
            "image_id": image.image_id,
            "category_id": 1,
            "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
            "score": score,
        }
        for image in images
        for rle, score in zip(image.found, image.scores)
    ]
    with written(path) as temporary:
        temporary.write_text(json.dumps(rows) + "\n")
