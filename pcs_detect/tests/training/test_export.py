"""Exported detectors find what the detector finds."""

import json

import numpy as np
import onnx
import pytest
import torch
from mmengine.registry import init_default_scope
from mmrotate.registry import MODELS

from pcs_detect import Detector, cli
from pcs_detect.errors import InputError
from pcs_detect.inference.decoding import averaged, decoded, suppressed
from pcs_detect.inference.look import Look
from pcs_detect.inference.networks import shipped
from pcs_detect.inference.onnx_network import OnnxNetwork
from pcs_detect.overlaps import rotated_iou
from pcs_detect.training import configs, export
from pcs_detect.training.dense import dense_detector
from pcs_detect.training.engine import train, weights
from pcs_detect.training.engine.checkpoints import read_checkpoint, write_checkpoint
from pcs_detect.training.engine.loading import load_detector
from pcs_detect.training.engine.settings import settings_of
from pcs_detect.training.network import CheckpointNetwork

SIZE = (96, 160)
ANY_SIZE = [(64, 64), (96, 160), (256, 128)]


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
    return path


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    return write_random_weights("s2anet_tiny_c3", tmp_path_factory.mktemp("weights") / "tiny.pth")


@pytest.fixture(scope="module")
def image():
    return torch.randint(0, 256, (1, 1, *SIZE), generator=torch.Generator().manual_seed(1)).float()


def grey(size, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)


def same_at_every_place(file, checkpoint):
    network, dense = OnnxNetwork(file), dense_detector(load_detector(checkpoint).model)
    for size in ANY_SIZE:
        pixels = grey(size)
        geometry, scores = network.dense(pixels)
        with torch.no_grad():
            expected, rates = (v[0].numpy() for v in dense(torch.from_numpy(pixels)[None, None]))
        np.testing.assert_allclose(scores, rates, atol=1e-3)
        np.testing.assert_allclose(geometry, expected, atol=0.05, rtol=2**-11)  # px; weights of the file have half precision
        assert rates.std() > 1e-3


def test_the_detector_that_ships_is_its_weights_at_every_place():
    same_at_every_place(shipped(), shipped(".pth"))


@pytest.mark.parametrize("average", [False, True])
def test_the_detector_that_ships_finds_the_crystals_that_its_weights_find(average, tmp_path):
    rng = np.random.default_rng(0)  # few enough places that none is left out for their number
    pixels = np.kron(rng.integers(60, 220, (30, 40)), np.ones((8, 8))) + rng.normal(0, 4, (240, 320))
    weights_file = tmp_path / "weights.pth"
    content = read_checkpoint(shipped(".pth"))
    content["meta"]["settings"]["look"] = {**content["meta"]["settings"]["look"], "average": average}
    write_checkpoint(content, weights_file)
    scale = "auto" if average else 1  # several scales make means as well
    file, looks_alike = (Detector(f, "cpu", score=0.1, iou=0.3, scale=scale, views=1) for f in (shipped(), weights_file))
    file.network.look = looks_alike.look
    one, other = (d.detect(pixels.clip(0, 255).astype(np.float32)) for d in (file, looks_alike))
    assert len(one.boxes) > 100
    assert abs(len(one.boxes) - len(other.boxes)) <= 0.001 * len(one.boxes) + 1
    best = rotated_iou(one.boxes, other.boxes).max(1)
    # which boxes are averaged may change where an overlap or a score is just at the limit
    assert (best > 0.99).mean() >= (0.99 if average else 0.999)
    assert best.min() > 0.95 or not average
    np.testing.assert_allclose(np.sort(one.scores)[-50:], np.sort(other.scores)[-50:], atol=1e-3)


def test_an_onnx_file_of_a_detector_of_two_passes_takes_any_size(staged, tmp_path):
    export.export(staged, tmp_path / "staged.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["staged.onnx"]
    same_at_every_place(tmp_path / "staged.onnx", staged)


def test_a_release_is_three_files_that_agree(tmp_path, capsys):
    words = [
        "export",
        shipped(".pth"),
        tmp_path / "mine.onnx",
        "--release",
        "--scales",
        "1",
        "0.5",
        "--least",
        "10",
        "--most",
        "50",
    ]
    assert cli.main([*map(str, words), "--trained-on", "nothing", "--licence", "MIT"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.md", "mine.onnx", "mine.pth"]
    look = Look(**{**Detector().look.plain(), "scales": (1, 0.5), "least": 10, "most": 50})
    for ending in (".onnx", ".pth"):
        assert Detector(tmp_path / f"mine{ending}", "cpu").look == look
    about = json.loads({p.key: p.value for p in onnx.load(tmp_path / "mine.onnx").metadata_props}["pcs_detect"])
    assert (about["trained_on"], about["licence"], about["strides"]) == ("nothing", "MIT", [4, 8, 16, 32])
    assert onnx.load(tmp_path / "mine.onnx").ir_version <= 10
    stored = read_checkpoint(tmp_path / "mine.pth")["state_dict"]
    assert {v.dtype for v in stored.values() if v.ndim == 4 and v.numel() >= 1024} == {torch.float16}
    pixels = grey((96, 96))
    for ours, theirs in zip(OnnxNetwork(shipped()).dense(pixels), OnnxNetwork(tmp_path / "mine.onnx").dense(pixels)):
        np.testing.assert_array_equal(ours, theirs)


def test_neither_a_release_nor_an_export_replaces_a_checkpoint(staged, tmp_path, capsys):
    content = staged.read_bytes()
    for name in ("best.pth", "best.ts", "epoch_3.pth"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link.pth").symlink_to(tmp_path / "best.pth")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "x.md").write_bytes(content)
    for words, reason in (
        (["best.pth", "best.onnx", "--release"], "best.pth is read"),
        (["link.pth", "best.onnx", "--release"], "best.pth is read"),
        (["best.pth", "link.onnx", "--release"], "link.pth is read"),
        (["cards/x.md", "cards/x.onnx", "--release"], "x.md is read"),
        (["epoch_3.pth", "best.onnx", "--release"], "best.pth is there and of no release"),
        (["best.ts", "best.ts"], "best.ts is read"),
    ):
        assert cli.main(["export", *(str(tmp_path / w) if "." in w else w for w in words)]) == 1
        assert reason in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pth", "best.ts", "cards", "epoch_3.pth", "link.pth"]
    assert all((tmp_path / name).read_bytes() == content for name in ("best.pth", "best.ts", "epoch_3.pth", "cards/x.md"))


@pytest.mark.parametrize("ending", [".ts", ".pt2"])
def test_files_of_torch_give_the_same_at_every_place(staged, image, tmp_path, ending):
    path = tmp_path / f"detector{ending}"
    export.export(staged, path, SIZE)
    loaded = torch.jit.load(str(path)) if ending == ".ts" else torch.export.load(path).module()
    with torch.no_grad():
        geometry, scores = loaded(image)
        expected, rates = dense_detector(load_detector(staged).model)(image)
    torch.testing.assert_close(scores, rates, atol=1e-4, rtol=0)
    torch.testing.assert_close(geometry, expected, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("ships", [False, True])
def test_decoded_and_suppressed_it_is_what_the_detector_predicts(ships, staged, image, tmp_path):
    """All the way: OpenMMLab's own prediction against the dense network and NumPy."""
    loaded = load_detector(shipped(".pth") if ships else staged, score=0.05, iou=0.3)
    dense = dense_detector(loaded.model)
    with torch.no_grad():
        geometry, scores = (v[0].numpy() for v in dense(image))
        boxes, rates = suppressed(*decoded(geometry, scores, SIZE, dense.strides, dense.coding, 0.05), 0.3)
        sample = prepared(loaded.model, image)
        found = loaded.model.predict(sample["inputs"], sample["data_samples"])[0].pred_instances
    assert len(rates) == len(found.scores) > 5
    np.testing.assert_allclose(rates, found.scores.numpy(), atol=1e-5)
    np.testing.assert_allclose(boxes[:, :2], getattr(found.bboxes, "tensor", found.bboxes)[:, :2].numpy(), atol=1e-2)


@pytest.mark.parametrize("ships", [False, True])
def test_a_checkpoint_averages_as_a_file_does(ships, staged, image, tmp_path):
    """Its own suppression is left out then: every place counts, of detectors of one and of two passes."""
    content = read_checkpoint(shipped(".pth") if ships else staged)
    content["meta"]["settings"]["look"] = {"average": True}
    write_checkpoint(content, tmp_path / "averaging.pth")
    network = CheckpointNetwork(tmp_path / "averaging.pth", "cpu", score=0.02, iou=0.3)
    dense = dense_detector(load_detector(tmp_path / "averaging.pth").model)
    with torch.no_grad():
        geometry, scores = (v[0].numpy() for v in dense(image))
    expected, rates = averaged(*decoded(geometry, scores, SIZE, dense.strides, dense.coding, 0.01), 0.3, 0.02)
    ((boxes, found),) = network.find([image[0, 0].numpy()])
    assert len(found) == len(rates) > 5
    np.testing.assert_allclose(found, rates, atol=1e-5)
    np.testing.assert_allclose(boxes[:, :4], expected[:, :4], atol=1e-2)


def test_a_checkpoint_that_learnt_without_fringes_leaves_them_to_the_detector(staged, tmp_path):
    """So it gives what the file exported from it gives: grey values come matched, beyond white too, and in tiles."""
    content = read_checkpoint(staged)
    content["meta"]["settings"]["model"]["data_preprocessor"]["fringes"] = "remove"
    write_checkpoint(content, tmp_path / "removing.pth")
    fringed = grey((128, 160)) * 0.3 + 150 + 120 * np.sin(np.arange(160, dtype=np.float32))
    every = [CheckpointNetwork(p, "cpu", score=0.02, iou=0.3).find([fringed])[0] for p in (staged, tmp_path / "removing.pth")]
    assert len(every[0][1]) > 5
    for mine, other in zip(*every):
        np.testing.assert_array_equal(mine, other)


def prepared(model, image):
    from mmdet.structures import DetDataSample

    meta = {"img_id": 0, "ori_shape": SIZE, "img_shape": SIZE, "scale_factor": (1.0, 1.0)}
    return model.data_preprocessor({"inputs": [image[0].byte()], "data_samples": [DetDataSample(metainfo=meta)]}, False)


def test_what_cannot_be_exported_is_said(staged, tmp_path):
    with pytest.raises(InputError, match=r"\.onnx, \.ts, \.pt2"):
        export.export(staged, tmp_path / "detector.zip")
    with pytest.raises(InputError, match="multiples of 32"):
        export.export(staged, tmp_path / "detector.ts", (100, 64))
    with pytest.raises(InputError, match=r"for \.onnx files"):
        export.export(staged, tmp_path / "detector.ts", half=True)
    with pytest.raises(InputError, match="MaskRCNN cannot be exported"):
        export.export(write_random_weights("mask_rcnn_tiny", tmp_path / "two.pth"), tmp_path / "detector.onnx")
    assert not list(tmp_path.glob("detector*"))


def test_the_command_writes_a_file(staged, image, tmp_path, capsys):
    path = tmp_path / "detector.ts"
    assert cli.main(["export", str(staged), str(path), "--size", *map(str, SIZE)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    assert len(torch.jit.load(str(path))(image)) == 2
    assert cli.main(["export", str(staged), str(tmp_path / "detector.tflite")]) == 1


def test_a_training_starts_from_the_weights_that_ship():
    cfg = train.configured("rtmdet_r_narrow", start="shipped")
    assert cfg.load_from == str(shipped(".pth"))
    assert Look(**cfg.look) == Detector().look
    with pytest.raises(InputError, match=r"another configuration.*widen_factor"):
        train.configured("rtmdet_r_tiny", start="shipped")
    with pytest.raises(InputError, match="--random-init"):
        train.configured("rtmdet_r_narrow", start="shipped", random_init=True)
