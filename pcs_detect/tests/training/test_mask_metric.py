"""The metric of masks equals pycocotools' and caps nothing."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from mmrotate.structures.bbox import RotatedBoxes
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pcs_detect.boxes import corners
from pcs_detect.errors import DataError
from pcs_detect.evaluation.average_precision import RANGES
from pcs_detect.training.data.masks import rle_of_outlines
from pcs_detect.training.engine.mask_metric import MaskMetric, MaskResult, mask_curves

SIZE = (64, 80)


def boxes(rng, count):
    w = rng.uniform(3, 40, count)
    centre = rng.uniform([10, 10], [70, 54], (count, 2))
    return np.column_stack([centre, w, w * rng.uniform(0.2, 1, count), rng.uniform(-1.5, 1.5, count)])


def rles(values):
    return [rle_of_outlines([c], SIZE) for c in corners(values)]


def results(seed, images=4, crystals=6, guesses=10):
    """Found crystals near the true ones, in any order, some with equal scores, besides chance ones."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(images):
        true = boxes(rng, rng.integers(0, crystals + 1))
        near = true + rng.normal(0, [1, 1, 2, 1, 0.1], true.shape) * rng.uniform(0, 1.5)
        near[:, 2:4] = near[:, 2:4].clip(1)
        found = np.concatenate([near, boxes(rng, rng.integers(0, guesses + 1))])
        scores = rng.integers(1, 8, len(found)) / 8
        order = np.argsort(-scores, kind="stable")
        out.append(MaskResult(7 * i, SIZE, rles(found[order]), scores[order].tolist(), rles(true), None))
    return out


def reference(images):
    """pycocotools' precision (4, 10, 101) and recall (4, 10)."""

    def annotated(many):
        rows = [{"image_id": i, "category_id": 1, "iscrowd": 0, "segmentation": r, **extra} for i, r, extra in many]
        for number, row in enumerate(rows, 1):
            row |= {"id": number, "area": float(coco_mask.area(row["segmentation"])), "bbox": [0, 0, 1, 1]}
        made = COCO()
        pictures = [{"id": m.image_id, "height": SIZE[0], "width": SIZE[1]} for m in images]
        made.dataset = {"images": pictures, "annotations": rows, "categories": [{"id": 1}]}
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        truth = annotated([(m.image_id, r, {}) for m in images for r in m.true])
        found = annotated([(m.image_id, r, {"score": s}) for m in images for r, s in zip(m.found, m.scores)])
        judge = COCOeval(truth, found, "segm")
        judge.params.maxDets = [10**6]
        judge.params.areaRng = [[low, min(high, 1e12)] for low, high in RANGES.values()]
        judge.params.areaRngLbl = list(RANGES)
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, :, 0].transpose(2, 0, 1)
    recall = judge.eval["recall"][:, 0, :, 0].T
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_pycocotools(seed):
    images = results(seed)
    curves = mask_curves(images)
    assert curves.truths[0] == sum(len(m.true) for m in images)
    if curves.truths[0]:
        precision, recall = reference(images)
        assert np.allclose(curves.precision, precision, equal_nan=True)
        assert np.allclose(curves.recall, recall, equal_nan=True)
        assert (np.isnan(curves.score) == ~(curves.precision > 0)).all()


def test_more_than_a_hundred_crystals_count():
    """150 crystals, found without fault: with COCO's own cap of 100 recall would end at 2/3."""
    places = np.array([[4 + 5 * (k % 15), 3 + 6 * (k // 15), 4, 3, 0] for k in range(150)], dtype=float)
    found = MaskResult(1, SIZE, rles(places), np.linspace(1, 0.1, 150).tolist(), rles(places), None)
    assert mask_curves([found]).summary()["AP"] == pytest.approx(1)


def prediction(image_id, true, found, scores, with_masks=True):
    instances = {"bboxes": torch.from_numpy(found).float(), "scores": torch.tensor(scores, dtype=torch.float32)}
    if with_masks:
        instances["masks"] = rles(found)
    outlines = [torch.from_numpy(c).float() for c in corners(true)]
    labels = InstanceData(bboxes=RotatedBoxes(torch.from_numpy(true).float()), polygons=outlines)
    return {"img_id": image_id, "ori_shape": SIZE, "gt_instances": labels, "pred_instances": InstanceData(**instances)}


def test_through_openmmlab(tmp_path):
    """Perfect crystals have AP 1; one shifted by a fifth of its width overlaps by 2/3 and counts at 0.50 and 0.65 only."""
    true = np.array([[20.0, 20, 20, 10, 0.0], [50, 40, 20, 20, 0.0]])
    moved = true + np.array([[4.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    metric = MaskMetric(out=str(tmp_path / "out" / "results.json"))
    metric.process(None, [prediction(3, true, true, [0.9, 0.8]), prediction(5, true, moved, [0.9, 0.8])])
    metric.process(None, [prediction(5, true, moved, [0.9, 0.8])])  # a sampler gave it out again
    values = metric.evaluate(2)
    assert {f"crystal/{n}" for n in ("AP", "AP50", "AP65", "AP75", "APs", "APm", "APl", "box_AP", "box_AP50")} <= set(values)
    assert values["crystal/AP50"] == values["crystal/AP65"] == values["crystal/box_AP50"] == 1
    assert values["crystal/AP75"] < 1
    assert values["crystal/AP"] == pytest.approx(values["crystal/box_AP"])
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [r["image_id"] for r in rows] == [3, 3, 5, 5]
    assert coco_mask.area({**rows[0]["segmentation"], "counts": rows[0]["segmentation"]["counts"].encode()}) == 200
    assert (tmp_path / "out" / "results_curves.csv").is_file()
    assert (tmp_path / "out" / "results_curves.png").is_file()


def test_nothing_found_and_nothing_there():
    true, none = np.array([[20.0, 20, 20, 10, 0.0]]), np.zeros((0, 5))
    metric = MaskMetric()
    metric.process(None, [prediction(1, true, none, [])])
    assert metric.evaluate(1)["crystal/AP"] == 0
    empty = MaskMetric()
    empty.process(None, [prediction(1, none, true, [0.5])])
    assert np.isnan(empty.evaluate(1)["crystal/AP65"])


def test_a_detector_of_boxes_is_told():
    true = np.array([[20.0, 20, 20, 10, 0.0]])
    with pytest.raises(DataError, match="no outlines or no masks"):
        MaskMetric().process(None, [prediction(1, true, true, [0.5], with_masks=False)])
