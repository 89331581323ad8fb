"""Laws of the metric: what the test loop hands it, ranks and repeated images, and the files it writes."""

from __future__ import annotations

import csv
import json
import logging
import math
import os

import numpy as np
import pytest
import torch

from pcs_detect.training import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator as Loop
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmrotate.registry import METRICS
from mmrotate.structures.bbox import RotatedBoxes
from pycocotools.coco import COCO

from pcs_detect.errors import DataError, InputError
from pcs_detect.evaluation.average_precision import Evaluator
from pcs_detect.training.engine import metric as module
from pcs_detect.training.engine.metric import CrystalMetric

IMAGES = 9


def sample(image_id: int, moved: float = 0.04) -> DetDataSample:
    """Crystals and detections of an image, float32 as in use; image 4 is empty."""
    rng = np.random.default_rng(image_id)
    n = 0 if image_id == 4 else int(rng.integers(1, 9))
    side = np.exp(rng.normal(2.5, 0.7, (n, 2)))
    true = np.column_stack([rng.uniform(0, 384, (n, 2)), side.max(1), side.min(1), rng.uniform(-1.57, 1.57, n)])
    found = np.repeat(true, 2, 0) * (1 + moved * rng.normal(size=(2 * n, 5)) * [0.01, 0.01, 1, 1, 0.1])
    result = DetDataSample(metainfo={"img_id": image_id, "img_path": "", "ori_shape": (384, 384), "scale_factor": (1.0, 1.0)})
    result.gt_instances = InstanceData(
        bboxes=RotatedBoxes(torch.tensor(true).float().reshape(-1, 5)), labels=torch.zeros(n, dtype=torch.int64)
    )
    result.pred_instances = InstanceData(
        bboxes=RotatedBoxes(torch.tensor(found).float().reshape(-1, 5)),
        scores=torch.tensor(np.round(rng.uniform(0.05, 1, 2 * n), 1)).float(),
        labels=torch.zeros(2 * n, dtype=torch.int64),
    )
    return result


def expected(ids=range(IMAGES), cap=None) -> dict[str, float]:
    evaluator = Evaluator(cap)
    for i in ids:
        s = sample(i)
        evaluator.add(i, s.pred_instances.bboxes.tensor, s.pred_instances.scores, s.gt_instances.bboxes.tensor)
    return {f"crystal/{name}": value for name, value in evaluator.summary().items()}


def evaluated(metric: CrystalMetric, samples, size: int | None = None) -> dict[str, float]:
    for s in samples:
        metric.process({}, [s])
    return metric.evaluate(len(samples) if size is None else size)


def same(one: dict[str, float], other: dict[str, float]) -> None:
    assert one == pytest.approx(other, abs=0, rel=0, nan_ok=True)


@pytest.mark.parametrize("cap", [None, 3])
def test_the_loop_gets_the_evaluators_numbers(cap):
    with DefaultScope.overwrite_default_scope("mmrotate"):
        metric = METRICS.build({"type": "CrystalMetric", "cap": cap})
    loop = Loop(metric)
    for _ in range(2):  # the second evaluation begins afresh
        for i in range(0, IMAGES, 2):
            loop.process([sample(k) for k in range(i, min(i + 2, IMAGES))])
        got = loop.evaluate(IMAGES)
        same(got, expected(cap=cap))
        assert 0 < got["crystal/AP"] < got["crystal/AP50"] < 1
    assert expected() != expected(cap=3)


def test_samples_come_as_objects_or_dicts_with_boxes_or_tensors():
    plain = [sample(i).to_dict() for i in range(IMAGES)]
    for s in plain:
        for kind in ("gt_instances", "pred_instances"):
            s[kind]["bboxes"] = s[kind]["bboxes"].tensor
    same(evaluated(CrystalMetric(), plain), evaluated(CrystalMetric(), [sample(i) for i in range(IMAGES)]))


@pytest.mark.parametrize("parts", [([0, 2, 4, 6, 8], [1, 3, 5, 7, 0]), ([0, 0, 1, 2, 4, 3], [5, 6, 7, 8, 0, 1])])
def test_repeated_images_of_two_ranks_count_once(monkeypatch, parts):
    """As the sampler deals them, and with the repeated ones first, which must not crowd out others."""
    ranks = [CrystalMetric(), CrystalMetric()]
    for rank, ids in zip(ranks, parts):
        rank.process({}, [sample(i) for i in ids])

    def collect(results, size, *_, **__):
        interleaved = [r[k] for k in range(6) for r in (ranks[0].results, ranks[1].results) if k < len(r)]
        return interleaved[:size]

    monkeypatch.setattr("mmengine.evaluator.metric.collect_results", collect)
    same(ranks[0].evaluate(IMAGES), expected())


def _rank(rank: int, folder: str, ids: tuple[list[int], list[int]]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    os.chdir(folder)
    values = evaluated(CrystalMetric(out=f"{folder}/found.json"), map(sample, ids[rank]), IMAGES)
    torch.distributed.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(values, file)


def test_two_processes_agree_with_one(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(_rank, (str(tmp_path), ([0, 2, 4, 6, 8], [1, 3, 5, 7, 0])), nprocs=2)
    alone = evaluated(CrystalMetric(out=str(tmp_path / "alone.json")), [sample(i) for i in range(IMAGES)])
    for rank in (0, 1):
        same(json.loads((tmp_path / f"{rank}.json").read_text()), alone)
    assert (tmp_path / "found.json").read_text() == (tmp_path / "alone.json").read_text()
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]  # nothing goes through a folder that machines would have to share


def test_written_detections_are_the_published_form(tmp_path):
    out = tmp_path / "new" / "found.json"
    turned = [sample(i) for i in range(IMAGES)]
    for s in turned:  # the same boxes in another form
        b = s.pred_instances.bboxes.tensor
        s.pred_instances.bboxes = torch.stack([b[:, 0], b[:, 1], b[:, 3], b[:, 2], b[:, 4] + math.pi / 2], 1)
    values = evaluated(CrystalMetric(out=str(out)), turned)
    written = json.loads(out.read_text())
    assert sorted(p.name for p in out.parent.iterdir()) == ["found.json", "found_curves.csv", "found_curves.png"]
    boxes = np.array([d["bbox"] for d in written])
    assert (boxes[:, 2] >= boxes[:, 3]).all()
    assert (np.abs(boxes[:, 4]) <= 90).all()
    assert {d["category_id"] for d in written} == {1}
    image_ids = np.array([d["image_id"] for d in written])
    evaluator = Evaluator()
    for i in range(IMAGES):
        mine, s = image_ids == i, sample(i)
        found = boxes[mine]
        theta = np.radians(-found[:, 4])  # clockwise on screen
        original = s.pred_instances.bboxes.tensor.numpy()
        off = (theta - original[:, 4] + math.pi / 2) % math.pi - math.pi / 2
        assert np.abs(off[original[:, 2] > original[:, 3] * 1.01]).max(initial=0) < 1e-5
        scores = np.array([d["score"] for d in written if d["image_id"] == i], dtype=np.float32)
        assert scores.tolist() == s.pred_instances.scores.tolist()
        evaluator.add(i, np.column_stack([found[:, :4], theta]), scores, s.gt_instances.bboxes.tensor)
    again = {f"crystal/{name}": value for name, value in evaluator.summary().items()}
    assert again == pytest.approx(values, abs=1e-9, nan_ok=True)
    coco = COCO()
    coco.dataset = {"images": [{"id": i} for i in range(IMAGES)], "annotations": [], "categories": [{"id": 1}]}
    coco.createIndex()
    assert len(coco.loadRes(str(out)).getAnnIds()) == len(written) == sum(len(s.pred_instances) for s in turned)


def test_no_detection_at_all_is_an_empty_list(tmp_path):
    s = sample(4)
    evaluated(CrystalMetric(out=str(tmp_path / "found.json")), [s])
    assert json.loads((tmp_path / "found.json").read_text()) == []


def test_written_curves_average_to_the_ap(tmp_path):
    values = evaluated(CrystalMetric(out=str(tmp_path / "found.json")), [sample(i) for i in range(IMAGES)])
    with open(tmp_path / "found_curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 10 * 101
    for size, name in (("all", "AP"), ("small", "APs"), ("medium", "APm"), ("large", "APl")):
        precision = [float(r["precision"]) for r in rows if r["size"] == size]
        assert np.mean(precision) == pytest.approx(values[f"crystal/{name}"], abs=1e-6)
    at50 = [float(r["precision"]) for r in rows if r["size"] == "all" and r["iou"] == "0.50"]
    assert np.mean(at50) == pytest.approx(values["crystal/AP50"], abs=1e-6)
    assert (np.diff(at50) <= 0).all()
    assert (tmp_path / "found_curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_a_row_per_size(monkeypatch):
    lines = []
    monkeypatch.setattr(module, "print_log", lambda message, **_: lines.extend(message.splitlines()))
    values = evaluated(CrystalMetric(), [sample(i) for i in range(IMAGES)])
    head, *rows = [line.split() for line in lines[-5:]]
    assert head == ["size", "AP", "AP50", "AP75", "AR", "crystals"]
    names = ("AP", "AP50", "AP75", "AR")
    assert rows[0] == ["all", *(f"{100 * values[f'crystal/{n}']:.2f}" for n in names), str(sum(int(r[5]) for r in rows[1:]))]
    assert [r[0] for r in rows] == ["all", "small", "medium", "large"]


def test_what_cannot_be_evaluated_is_named(monkeypatch):
    bare = DetDataSample(metainfo={"img_id": 12})
    bare.pred_instances = sample(0).pred_instances
    with pytest.raises(DataError, match="image 12"):
        CrystalMetric().process({}, [bare])
    broken = sample(3)
    broken.pred_instances.bboxes.tensor[0, 2] = math.nan
    with pytest.raises(DataError, match="image 3"):
        CrystalMetric().process({}, [broken])
    other = sample(2)
    other.set_metainfo({"img_id": 1})
    with pytest.raises(DataError, match="image id 1 "):
        evaluated(CrystalMetric(), [sample(1), other])
    for arguments in ({"cap": 0}, {"out": "found.txt"}):
        with pytest.raises(InputError):
            CrystalMetric(**arguments)
    warned = []
    monkeypatch.setattr(module, "print_log", lambda message, level=logging.INFO, **_: warned.append((level, message)))
    evaluated(CrystalMetric(), [sample(1)], size=2)
    assert next(m for level, m in warned if level == logging.WARNING).startswith("1 different image ids")
