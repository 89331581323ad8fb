"""How long the detector's metric takes: ``python benchmarks/detect_metric.py [--images 10000] [--crystals 513337]``.

Simulates labels and noisy detections of 384 x 384 images, evaluates them, prints the time and the largest memory as a Markdown
table, and compares a part with pycocotools (rotated IoU put in, its cap on detections lifted).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import time

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from pcs_detect.evaluation.average_precision import Evaluator, rotated_iou

SIDE = 384
Image = tuple[np.ndarray, np.ndarray, np.ndarray]  # detections (M, 5), their scores (M,), crystals (N, 5), all float32


def simulated(image: int, crystals: int, detections: int) -> Image:
    """Log-normal areas (a third below 8^2 px^2, a fifth above 24^2), ratios to 11.4; four in five crystals are found.

    Some are found up to three times; what is left of ``detections`` are false positives with low scores.
    """
    rng = np.random.default_rng((5, image))
    area, ratio = np.minimum(np.exp(rng.normal(4.9, 1.7, crystals)), SIDE**2 / 12), rng.uniform(1, 11.4, crystals)
    places, theta = rng.uniform(0, SIDE, (crystals, 2)), rng.uniform(-np.pi / 2, np.pi / 2, crystals)
    true = np.column_stack([places, np.sqrt(area * ratio), np.sqrt(area / ratio), theta])
    source = np.flatnonzero(rng.random(crystals) < 0.8)
    source = np.repeat(source, rng.integers(1, 4, len(source)))[:detections]
    error = rng.choice([0.01, 0.03, 0.1], (len(source), 1)) * rng.normal(size=(len(source), 5))
    size = true[source][:, 2:4]
    found = true[source] + error * np.column_stack([size[:, ::-1], size, np.full(len(source), 0.5)])
    missing = detections - len(source)
    false = np.column_stack([rng.uniform(0, SIDE, (missing, 2)), np.exp(rng.normal(2.4, 0.8, (missing, 2))), np.zeros(missing)])
    scores = np.concatenate([rng.beta(4, 2, len(source)), rng.beta(1, 6, missing)])
    found = np.concatenate([found, false])
    found[:, 2:4] = np.maximum(found[:, 2:4], 0.5)
    return found.astype(np.float32), scores.astype(np.float32), true.astype(np.float32)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(counts: np.ndarray, detections: int) -> str:
    """A row of the table; making up the images is not counted."""
    evaluator, wall, cpu = Evaluator(), 0.0, 0.0
    for i in tqdm(range(len(counts)), desc=f"{detections} detections per image", leave=False):
        image = simulated(i, int(counts[i]), detections)
        begin, begin_cpu = time.perf_counter(), cpu_seconds()
        evaluator.add(i, *image)
        wall, cpu = wall + time.perf_counter() - begin, cpu + cpu_seconds() - begin_cpu
    begin, begin_cpu = time.perf_counter(), cpu_seconds()
    evaluator.summary()
    last, last_cpu = time.perf_counter() - begin, cpu_seconds() - begin_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row = f"| {len(counts)} | {counts.sum()} | {detections} | {wall + last:.1f} | {cpu + last_cpu:.1f} | {last:.1f} "
    return row + f"| {len(counts) / (wall + last):.0f} | {peak:.2f} |"


class RotatedCOCOeval(COCOeval):
    """pycocotools' evaluation with rotated overlaps."""

    def computeIoU(self, image, category):
        found, true = self._dts[image, category], self._gts[image, category]
        order = np.argsort([-d["score"] for d in found], kind="mergesort")
        return rotated_iou([found[k]["bbox"] for k in order], [g["bbox"] for g in true]) if found and true else []


def coco_summary(images: list[Image]) -> dict[str, float]:
    truth = COCO()
    annotations = [(i, b.astype(float).tolist()) for i, (_, _, true) in enumerate(images) for b in true]
    truth.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(images))],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": k, "image_id": i, "category_id": 1, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for k, (i, b) in enumerate(annotations, 1)
        ],
    }
    results = [
        {"image_id": i, "category_id": 1, "bbox": b, "score": s}
        for i, (found, scores, _) in enumerate(images)
        for b, s in zip(found.astype(float).tolist(), scores.tolist())
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        theirs = RotatedCOCOeval(truth, truth.loadRes(results), "bbox")
        theirs.params.maxDets = [10**6]
        theirs.params.areaRng = [[0, 1e10], [0, 8**2], [8**2, 24**2], [24**2, 1e10]]
        theirs.evaluate()
        theirs.accumulate()
    precision, recall = theirs.eval["precision"][:, :, 0, :, 0], theirs.eval["recall"][:, 0, :, 0]
    values = {"AP": precision[..., 0], "AP50": precision[0, :, 0], "AP75": precision[5, :, 0]}
    values |= {f"AP{letter}": precision[..., a] for a, letter in enumerate("sml", 1)}
    values |= {"AR": recall[:, 0], "AR50": recall[0, 0]}
    values |= {f"AR{letter}": recall[:, a] for a, letter in enumerate("sml", 1)}
    return {name: float(np.mean(v)) for name, v in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--crystals", type=int, default=513337, help="in all images together")
    parser.add_argument("--detections", type=int, nargs="+", default=[300], help="per image; several: one evaluation each")
    parser.add_argument(
        "--compared", type=int, default=500, help="images also given to pycocotools (with the first --detections)"
    )
    options = parser.parse_args()
    counts = np.random.default_rng(0).multinomial(options.crystals, np.full(options.images, 1 / options.images))
    print("| images | crystals | detections per image | s | of CPU time | of it the curves | images per s | peak memory, GiB |")
    print("|---|---|---|---|---|---|---|---|")
    for detections in options.detections:
        print(measured(counts, detections), flush=True)
    if options.compared:
        images = [simulated(i, int(n), options.detections[0]) for i, n in enumerate(counts[: options.compared])]
        evaluator = Evaluator()
        begin = cpu_seconds()
        for i, image in enumerate(images):
            evaluator.add(i, *image)
        ours, middle = evaluator.summary(), cpu_seconds()
        theirs, end = coco_summary(images), cpu_seconds()
        apart = max(abs(ours[name] - theirs[name]) for name in theirs)
        times = f"{middle - begin:.1f} s of CPU time, pycocotools {end - middle:.1f} s"
        print(f"\n{len(images)} images: {times}; figures apart by at most {apart:.1e}")
        print(", ".join(f"{name} {100 * value:.2f}" for name, value in ours.items()))


if __name__ == "__main__":
    main()
