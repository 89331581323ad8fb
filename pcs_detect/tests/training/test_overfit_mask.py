"""A small Mask R-CNN overfits two images, as they are and after CLAHE: from the file to the metric of masks."""

import json

import numpy as np
import pytest

from pcs_augment.demo import sample_path
from pcs_detect.inference.detector import Detector
from pcs_detect.training.engine.train import evaluate, train

TWO = {"first": 2, "min_area": 256.0}  # crystals of which 64 px^2 are left in images of half the size
STEPS = 120


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("clahe", [None, {"clip_limit": 2.0, "tiles": (8, 8)}], ids=["plain", "clahe"])
def test_two_images_by_heart(tmp_path, clahe):
    """From random weights, one step an epoch on both, without noise; what it finds then are oriented boxes like any other's."""
    options = {f"{loader}_dataloader.dataset.{k}": v for loader in ("train", "test") for k, v in TWO.items()}
    options |= {"model.data_preprocessor.size": 192} | ({"model.data_preprocessor.clahe": clahe} if clahe else {})
    best = train(
        "mask_rcnn_tiny",
        sample_path(),
        epochs=STEPS,
        batch_size=2,
        out=tmp_path / "training",
        augment=False,
        device="cpu",
        options=options | {"default_hooks.checkpoint.interval": STEPS},
    )
    metrics = evaluate("mask_rcnn_tiny", best, sample_path(), device="cpu", options=options, out=tmp_path / "test")
    print(metrics)
    assert metrics["AP50"] >= 0.9, metrics
    assert metrics["AP65"] >= 0.8, metrics
    assert metrics["box_AP50"] >= 0.8, metrics

    document = json.loads((tmp_path / "test" / "detections.json").read_text())
    image = document["images"][0]
    tested = [a for a in document["annotations"] if a["image_id"] == image["id"] and a["score"] >= 0.5]
    detector = Detector(best, score=0.5, grey="none", device="cpu")
    crystals = detector.predict(sample_path().with_suffix("") / image["file_name"])
    before = np.array([[*a["bbox"][:2], a["bbox"][2] * a["bbox"][3]] for a in tested])
    after = crystals[["x_px", "y_px", "area_px"]].to_numpy()
    nearest = np.abs(after[:, None] / before - 1).max(-1).min(1)
    assert nearest.max() < 0.01  # the same ones, but for oriented boxes that overlap, of which the best stays
    assert len(tested) / 2 < len(after) <= len(tested)
