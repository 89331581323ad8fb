"""What the evaluator is compared with: shapely, a plainly written evaluator in loops, and pycocotools."""

from __future__ import annotations

import contextlib
import functools
import io
from fractions import Fraction

import numpy as np
import shapely
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shapely import affinity

from pcs_detect.evaluation.average_precision import RANGES, THRESHOLDS, Curves
from pcs_detect.overlaps import rotated_iou

PLAIN_RANGES = {"": (0, 1e10), "s": (0, 64), "m": (64, 576), "l": (576, 1e10)}


def outline(b) -> shapely.Polygon:
    upright = shapely.box(-b[2] / 2, -b[3] / 2, b[2] / 2, b[3] / 2)
    return affinity.translate(affinity.rotate(upright, b[4], origin=(0, 0), use_radians=True), b[0], b[1])


def shapely_iou(a, b) -> float:
    first, second = outline(a), outline(b)
    shared = first.intersection(second).area
    return shared / (first.area + second.area - shared)


@functools.cache
def upright_iou(a, b) -> float:
    """Correctly rounded overlap of boxes with theta = 0."""
    sides = []
    for k in (0, 1):
        low = max(Fraction(a[k]) - Fraction(a[k + 2]) / 2, Fraction(b[k]) - Fraction(b[k + 2]) / 2)
        high = min(Fraction(a[k]) + Fraction(a[k + 2]) / 2, Fraction(b[k]) + Fraction(b[k + 2]) / 2)
        sides.append(max(high - low, Fraction(0)))
    shared = sides[0] * sides[1]
    return float(shared / (Fraction(a[2]) * Fraction(a[3]) + Fraction(b[2]) * Fraction(b[3]) - shared))


def plain_match(found, true, threshold, area_range, overlap):
    """[(score, is hit, counts)] of one image and the number of crystals that count."""

    def inside(b):
        return area_range[0] <= b[2] * b[3] <= area_range[1]

    taken, rows = set(), []
    for b, score in sorted(found, key=lambda item: -item[1]):
        best = None
        for wanted in (True, False):
            for k, g in enumerate(true):
                value = overlap(b, g)
                if k in taken or inside(g) != wanted or value < threshold:
                    continue
                if best is None or value >= best[1]:
                    best = (k, value)
            if best is not None:
                break
        if best is not None:
            taken.add(best[0])
            rows.append((score, True, inside(true[best[0]])))
        else:
            rows.append((score, False, inside(b)))
    return rows, sum(inside(g) for g in true)


def plain_summary(images, overlap, thresholds=THRESHOLDS):
    """images: image id -> ([(box, score)], [box])."""
    result = {}
    for letter, area_range in PLAIN_RANGES.items():
        precisions, recalls = [], []
        for threshold in thresholds:
            rows, crystals = [], 0
            for i in sorted(images):
                more, count = plain_match(*images[i], threshold, area_range, overlap)
                rows += more
                crystals += count
            if crystals == 0:
                continue
            points, hits, seen = [], 0, 0
            for _, hit, counts in sorted(rows, key=lambda row: -row[0]):
                if counts:
                    hits += hit
                    seen += 1
                    points.append((hits / crystals, hits / seen))
            recalls.append(hits / crystals)
            levels = np.linspace(0, 1, 101)  # whose rounding decides, as COCO's does: 7 of 10 do not reach the level of 0.7
            precisions.append([max((p for r, p in points if r >= level), default=0.0) for level in levels])
        result["AP" + letter] = np.mean(precisions) if precisions else np.nan
        result["AR" + letter] = np.mean(recalls) if recalls else np.nan
        if letter == "":
            result["AP50"] = np.mean(precisions[0]) if precisions else np.nan
            result["AP75"] = np.mean(precisions[5]) if precisions else np.nan
            result["AR50"] = recalls[0] if recalls else np.nan
    return result


class RotatedCOCOeval(COCOeval):
    def computeIoU(self, image, category):
        found, true = self._dts[image, category], self._gts[image, category]
        if not found and not true:
            return []
        order = np.argsort([-d["score"] for d in found], kind="mergesort")[: self.params.maxDets[-1]]
        return rotated_iou([found[k]["bbox"] for k in order], [g["bbox"] for g in true])


def coco_curves(images, cap=10**6) -> Curves:
    """What pycocotools makes of the images, arranged as ours."""
    truth, found = COCO(), COCO()
    listed = [{"id": i} for i in images]
    for coco, rows in (
        (truth, [(i, b, {}) for i, (_, true) in images.items() for b in true]),
        (found, [(i, b, {"score": s}) for i, (boxes, _) in images.items() for b, s in boxes]),
    ):
        annotations = [
            {"id": k, "image_id": i, "category_id": 1, "bbox": list(b), "area": b[2] * b[3], "iscrowd": 0, **more}
            for k, (i, b, more) in enumerate(rows, 1)
        ]
        coco.dataset = {"images": listed, "annotations": annotations, "categories": [{"id": 1, "name": "Crystal"}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        theirs = RotatedCOCOeval(truth, found, "bbox")
        theirs.params.maxDets = [cap]
        theirs.params.areaRng = [list(r) for r in PLAIN_RANGES.values()]
        theirs.params.areaRngLbl = list(RANGES)
        theirs.evaluate()
        theirs.accumulate()
    precision = theirs.eval["precision"][:, :, 0, :, 0].transpose(2, 0, 1)
    score = theirs.eval["scores"][:, :, 0, :, 0].transpose(2, 0, 1)
    recall = theirs.eval["recall"][:, 0, :, 0].T
    return Curves(precision, score, recall, np.zeros(4, np.int64))
