"""Checkpoints as detectors of photographs: what they find, and what is refused."""

import json
import os

import numpy as np
import pytest
import torch
from fixed_detector import SETTINGS, write_fixed
from fixed_network import FixedNetwork
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmrotate.registry import MODELS
from test_predict import boxes_of, photograph
from tiny_training import write_data

from pcs_augment.data import PcsDataset
from pcs_detect.errors import DataError, InputError
from pcs_detect.inference.detector import Detector
from pcs_detect.photographs.reading import read_photograph
from pcs_detect.training import configs
from pcs_detect.training.engine import train
from pcs_detect.training.engine.checkpoints import write_checkpoint
from pcs_detect.training.engine.loading import load_detector
from pcs_detect.training.engine.settings import settings_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_fixed(tmp_path_factory.mktemp("fixed") / "fixed.pth")


def test_a_checkpoint_finds_what_the_same_network_without_torch_finds(checkpoint):
    pixels, _ = photograph()
    same, plain = (Detector(n, "cpu", score=0.05, tile=200, overlap=100) for n in (checkpoint, FixedNetwork()))
    one, other = (d.predict(pixels).sort_values("x_px") for d in (same, plain))
    assert len(one) > 20
    np.testing.assert_allclose(boxes_of(one), boxes_of(other), atol=1e-3)
    np.testing.assert_allclose(one.score, other.score, atol=1e-4)


def test_mixed_precision_needs_a_gpu(checkpoint):
    with pytest.raises(InputError, match="amp"):
        Detector(checkpoint, "cpu", amp=True)


@pytest.fixture(scope="module")
def random_tiny(tmp_path_factory):
    """A real detector with random weights, which finds something everywhere."""
    cfg = configs.load("s2anet_tiny")
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmrotate"):
        model = MODELS.build(ConfigDict(cfg.model))
    path = tmp_path_factory.mktemp("tiny") / "tiny.pth"
    write_checkpoint({"meta": {"settings": settings_of(cfg)}, "state_dict": model.state_dict()}, path)
    return path


def test_a_real_detector_finds_what_its_test_finds(random_tiny, tmp_path):
    data = write_data(tmp_path / "data.json", count=2, size=96)
    train.evaluate("s2anet_tiny", random_tiny, data, out=tmp_path / "test", device="cpu")
    tested = PcsDataset(tmp_path / "test" / "detections.json", data.with_suffix(""))
    for score, options in ((0.05, {}), (0.05, {"config": "s2anet_tiny"})):
        same = Detector(random_tiny, "cpu", score=score, grey="none", **options)
        for i in range(2):
            grey = read_photograph(data.with_suffix("") / tested.file_names[i])
            ((boxes, scores),) = same.network.find([grey])  # without the frame that photographs get
            expected = tested.target(i)["boxes"].numpy()
            assert len(expected) > 20
            assert (scores >= score).all()
            # in any order: scores that differ in the last digit alone rank otherwise when threads share out the sums
            assert len(boxes) == len(expected)
            apart = np.abs(boxes[:, None, :4] - expected[None, :, :4]).max(-1)
            assert (apart.min(0) < 2e-3).all()
            assert (apart.min(1) < 2e-3).all()


@pytest.mark.parametrize(
    ("model", "look", "given", "expected"),
    [(0.3, None, None, 0.3), (0.45, None, None, 0.45), (0.45, 0.6, None, 0.6), (0.45, 0.6, 0.2, 0.2), (0.45, None, 0.2, 0.2)],
)
def test_boxes_may_overlap_alike_in_a_network_and_beyond_it(random_tiny, tmp_path, model, look, given, expected):
    """Of a tile, of tiles, views and scales: what its look says, or else its model."""
    content = torch.load(random_tiny, weights_only=True)
    settings = settings_of(configs.load("s2anet_tiny"))
    settings["model"]["test_cfg"]["nms"]["iou_threshold"] = model
    settings["look"] = {"average": True} | ({} if look is None else {"iou": look})
    write_checkpoint({"meta": {"settings": settings}, "state_dict": content["state_dict"]}, tmp_path / "overlapping.pth")
    detector = Detector(tmp_path / "overlapping.pth", "cpu", iou=given)
    assert detector.iou == detector.network.iou == expected
    plain = load_detector(tmp_path / "overlapping.pth", iou=given)
    assert plain.model.test_cfg.nms.iou_threshold == expected
    assert plain.look.iou == (look or model)


@pytest.mark.parametrize("name", [name for name, _ in configs.available()])
def test_every_configuration_passes_for_one_of_this_project(name, tmp_path):
    """The next obstacle is that the weights are of another model."""
    settings = settings_of(configs.load(name))
    write_checkpoint({"meta": {"settings": settings}, "state_dict": {"w": torch.ones(1)}}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="none of its weights belongs to this model"):
        load_detector(tmp_path / "a.pth")


def planted(tmp_path, **model):
    path = tmp_path / "planted.pth"
    write_checkpoint({"meta": {"settings": {"model": model}}, "state_dict": {"weight": torch.tensor(0.2)}}, path)
    return path


@pytest.mark.parametrize(
    "model",
    [
        {"type": "os.system", "command": "touch {sign}"},
        {"type": "mmdet.os.system", "command": "touch {sign}"},
        {"type": "pathlib.Path.touch", "self": "{sign}"},
        {"type": "FixedDetector", "data_preprocessor": {"type": "subprocess.run", "args": ["touch", "{sign}"]}},
        {"type": "FixedDetector", "test_cfg": {"nms": {"type": "open('{sign}', 'w')"}}},
        {"type": "KnowledgeDistillationSingleStageDetector", "teacher_config": "{sign}.py"},
        {"type": "FixedDetector", "open('{sign}', 'w')": 1},
        {"type": "NoSuchDetector"},
        {"type": "FixedDetector", "data_preprocessor": {"type": "CrystalPreprocessor", "_scope_": "planted"}},
    ],
)
def test_what_settings_would_execute_is_refused(tmp_path, model):
    sign = tmp_path / "sign"
    text = json.dumps(model).replace("{sign}", str(sign))
    with pytest.raises(DataError, match="refused"):
        Detector(planted(tmp_path, **json.loads(text)), "cpu")
    assert not sign.exists()


class Planted:
    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return os.system, (f"touch {self.sign}",)


def test_a_checkpoint_that_would_run_a_program_is_refused(tmp_path):
    torch.save({"state_dict": {"weight": torch.tensor(0.2)}, "meta": Planted(tmp_path / "sign")}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="refused"):
        Detector(tmp_path / "a.pth", "cpu")
    assert not (tmp_path / "sign").exists()


def test_files_that_are_no_checkpoint_of_a_detector_are_refused_by_name(tmp_path, checkpoint, random_tiny):
    (tmp_path / "text.pth").write_text("weights")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"weight": torch.tensor(0.2)}, tmp_path / "bare.pth")
    (tmp_path / "half.pth").write_bytes(random_tiny.read_bytes()[:9000])
    fewer = torch.load(random_tiny, weights_only=True)
    fewer["state_dict"].popitem()
    torch.save(fewer, tmp_path / "fewer.pth")
    for name, reason in (
        ("text.pth", "not a checkpoint"),
        ("absent.pth", "no such checkpoint"),
        ("list.pth", "no weights"),
        ("bare.pth", "name its config"),
        ("half.pth", "not a readable checkpoint"),
        ("fewer.pth", "do not fit this model"),
        (".", "is a folder"),
    ):
        with pytest.raises(DataError, match=reason) as e:
            Detector(tmp_path / name, "cpu")
        assert str(tmp_path / name) in str(e.value)
    with pytest.raises(DataError, match="cannot be built"):
        Detector(planted(tmp_path, **SETTINGS, colour=3), "cpu")
    with pytest.raises(DataError, match="none of its weights"):
        Detector(checkpoint, "cpu", config="s2anet_tiny")


@pytest.mark.parametrize(("version", "named"), [("99.1.0", True), ("0.1.0", False), (None, False), ("9" * 5000, True)])
def test_checkpoints_of_newer_versions_are_called_that(tmp_path, version, named):
    path = tmp_path / "a.pth"
    for model in ({"type": "NewDetector"}, {**SETTINGS, "colour": 3}, SETTINGS):
        meta = {"settings": {"model": model}} | ({} if version is None else {"pcs_detect": version})
        write_checkpoint({"meta": meta, "state_dict": {"another": torch.ones(2)}}, path)
        with pytest.raises(DataError) as e:
            Detector(path, "cpu")
        assert ("this is 0." in str(e.value) and "update this one" in str(e.value)) == named
        assert version is None or not named or version[:20] in str(e.value)


@pytest.mark.parametrize("use", ["predict", "test", "train"])
def test_weights_that_are_no_numbers_are_refused(tmp_path, random_tiny, use):
    content = torch.load(random_tiny, weights_only=True)
    next(v for k, v in content["state_dict"].items() if k.endswith("weight")).flatten()[0] = torch.nan
    torch.save(content, tmp_path / "a.pth")
    data, options = write_data(tmp_path / "d.json", 2), {"device": "cpu", "workers": 0}
    calls = {
        "predict": lambda: Detector(tmp_path / "a.pth", "cpu"),
        "test": lambda: train.evaluate("s2anet_tiny", tmp_path / "a.pth", data, **options),
        "train": lambda: train.train("s2anet_tiny", data, start=tmp_path / "a.pth", out=tmp_path / "out", **options),
    }
    with pytest.raises(DataError, match=r"a\.pth: its training failed, .*weight holds NaN"):
        calls[use]()


def test_tiles_are_for_detectors_that_see_pixels_as_they_are(tmp_path, checkpoint):
    """Mask R-CNN fits what it is given into its own size."""
    assert Detector(checkpoint, "cpu").tile == 1536
    preprocessor = {"type": "MaskPreprocessor", "size": 64, "mean": 100.0, "std": 50.0}
    fitted = write_fixed(tmp_path / "fitted.pth", data_preprocessor=preprocessor)
    assert Detector(fitted, "cpu").tile is None
    assert Detector(fitted, "cpu", tile=512).tile == 512
    assert Detector(checkpoint, "cpu", tile=None).tile is None
