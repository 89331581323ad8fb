"""Exported detectors find what the detector finds."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from mmengine.registry import init_default_scope
from mmrotate.registry import MODELS

from pcs_detect import cli
from pcs_detect.errors import InputError
from pcs_detect.training import configs, export
from pcs_detect.training.engine import weights
from pcs_detect.training.engine.checkpoints import write_checkpoint
from pcs_detect.training.engine.settings import settings_of

SIZE = (96, 160)


def write_random_weights(name, path):
    torch.manual_seed(0)
    cfg = configs.load(name)
    weights.random_initialisation(cfg)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for parameter in model.parameters():  # scores and boxes that differ from place to place
        parameter.data += 0.03 * torch.randn_like(parameter)
    for head in getattr(model, "bbox_head_refine", []):
        head.retina_cls.bias.data += 4.0  # random weights are sure of nothing
    write_checkpoint({"state_dict": model.state_dict(), "meta": {"settings": settings_of(cfg)}}, path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    write_random_weights("s2anet_tiny_c3", path)
    return path


@pytest.fixture(scope="module")
def image():
    return torch.randint(0, 256, (1, 1, *SIZE), generator=torch.Generator().manual_seed(1)).float()


def torchscript(path, image):
    return torch.jit.load(str(path))(image)


def torch_export(path, image):
    return torch.export.load(path).module()(image)


def onnx(path, image):
    return map(torch.from_numpy, onnxruntime.InferenceSession(str(path)).run(None, {"image": image.numpy()}))


@pytest.mark.parametrize(("ending", "run"), [(".ts", torchscript), (".pt2", torch_export), (".onnx", onnx)])
def test_files_give_the_boxes_of_the_detector(checkpoint, image, tmp_path, ending, run):
    path = tmp_path / f"detector{ending}"
    export.export(checkpoint, path, SIZE)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with torch.no_grad():
        boxes, scores = run(path, image)
        expected, rates = export.DenseDetector(export.load_detector(checkpoint).model)(image)
    assert boxes.shape == (sum(math.ceil(SIZE[0] / s) * math.ceil(SIZE[1] / s) for s in (8, 16, 32, 64)), 5)
    assert rates.std() > 0.01
    torch.testing.assert_close(scores, rates, atol=1e-4, rtol=0)
    torch.testing.assert_close(boxes, expected, atol=1e-2, rtol=1e-4)


def test_suppressed_boxes_are_what_the_detector_predicts(checkpoint, image):
    """All the way: the toolbox's own prediction against the dense boxes and NumPy."""
    loaded = export.load_detector(checkpoint, score=0.3, iou=0.3)
    dense = export.DenseDetector(loaded.model)
    with torch.no_grad():
        boxes, scores = export.suppressed(*dense(image), score=0.3, iou=0.3)
        sample = prepared(loaded.model, image)
        found = loaded.model.predict(sample["inputs"], sample["data_samples"])[0].pred_instances
    assert len(scores) == len(found.scores) > 5
    np.testing.assert_allclose(scores, found.scores.numpy(), atol=1e-5)
    np.testing.assert_allclose(boxes[:, :2], getattr(found.bboxes, "tensor", found.bboxes)[:, :2].numpy(), atol=1e-2)


def prepared(model, image):
    from mmdet.structures import DetDataSample

    meta = {"img_id": 0, "ori_shape": SIZE, "img_shape": SIZE, "scale_factor": (1.0, 1.0)}
    return model.data_preprocessor({"inputs": [image[0].byte()], "data_samples": [DetDataSample(metainfo=meta)]}, False)


def test_what_cannot_be_exported_is_said(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"\.ts, \.pt2, \.onnx"):
        export.export(checkpoint, tmp_path / "detector.zip")
    with pytest.raises(InputError, match="multiples of 32"):
        export.export(checkpoint, tmp_path / "detector.ts", (100, 64))
    write_random_weights("rtmdet_r_tiny", tmp_path / "rtm.pth")
    with pytest.raises(InputError, match="RTMDet cannot be exported"):
        export.export(tmp_path / "rtm.pth", tmp_path / "detector.ts")
    assert not list(tmp_path.glob("detector*"))


def test_the_command_writes_a_file(checkpoint, image, tmp_path, capsys):
    path = tmp_path / "detector.ts"
    assert cli.main(["export", str(checkpoint), str(path), "--size", *map(str, SIZE)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    assert len(torchscript(path, image)) == 2
    assert cli.main(["export", str(checkpoint), str(tmp_path / "detector.tflite")]) == 1
