"""The detector that comes with the package, in ONNX Runtime alone."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from pcs_detect import Detector
from pcs_detect.boxes import corners
from pcs_detect.cli import main
from pcs_detect.errors import DataError, InputError
from pcs_detect.inference.networks import shipped
from pcs_detect.inference.onnx_network import OnnxNetwork
from pcs_detect.overlaps import rotated_iou


def drop(size=(300, 400), count=10, seed=0):
    """A photograph with plates of two lights, as rendered crystals look, and their boxes."""
    rng = np.random.default_rng(seed)
    picture = Image.fromarray((rng.normal(120, 3, size)).astype(np.uint8))
    pen, boxes = ImageDraw.Draw(picture), []
    cells = [(x, y) for y in range(50, size[0] - 40, 80) for x in range(50, size[1] - 40, 80)]
    for x, y in cells[:count]:
        w = rng.uniform(24, 40)
        box = (x, y, w, w * rng.uniform(0.4, 0.8), rng.uniform(-1.5, 1.5))
        outline = [tuple(p) for p in corners([box])[0]]
        pen.polygon(outline, fill=160, outline=60)
        pen.line([outline[0], outline[2]], fill=200, width=2)
        boxes.append(box)
    return np.asarray(picture), np.array(boxes)


@pytest.fixture(scope="module")
def detector():
    return Detector()


def test_it_finds_plain_crystals(detector):
    pixels, boxes = drop()
    table = detector.predict(pixels)
    found = np.stack([table.x_px, table.y_px, table.width_px, table.height_px, np.radians(table.angle_deg)], -1)
    best = rotated_iou(boxes, found).max(1)
    assert (best > 0.5).mean() >= 0.7
    pd.testing.assert_frame_equal(Detector().predict(pixels), table)


def test_any_size_will_do(detector):
    for size in ((1, 1), (5, 700), (33, 65)):
        table = detector.predict(np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8))
        assert table.x_px.between(0, size[1]).all()


def test_a_file_that_reports_doubtful_crystals_looks_for_them(detector, tmp_path):
    content = shipped().read_bytes()
    doubtful = content.replace(b'"score": 0.47', b'"score": 0.10')
    assert doubtful != content
    (tmp_path / "doubtful.onnx").write_bytes(doubtful)
    picture = drop()[0].astype(np.float32)
    own = Detector(tmp_path / "doubtful.onnx").detect(picture)
    asked = Detector(score=0.1).detect(picture)
    np.testing.assert_array_equal(own.boxes, asked.boxes)
    assert own.scores.min() < 0.2


def test_it_says_what_it_is(detector):
    about = detector.network.about
    assert about["licence"]
    assert about["trained_on"]
    assert detector.source["file"] == shipped().name
    assert detector.settings["scale"] == about["look"]["scales"]
    card = shipped(".md").read_text(encoding="utf-8")
    assert about["trained_on"] in card
    assert shipped(".pth").stat().st_size < 12e6
    assert shipped().stat().st_size < 12e6


def test_no_path_of_the_machine_that_wrote_it_is_in_it():
    content = shipped().read_bytes()
    for word in (b"site-packages", b"/home/", b"/root/", b"/work/", b".py"):
        assert word not in content


def test_other_files_are_refused_by_name(tmp_path):
    content = shipped().read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.onnx").write_text("weights")
    for name in ("half.onnx", "text.onnx", "absent.onnx"):
        with pytest.raises(DataError, match=name):
            Detector(tmp_path / name)
    newer = content.replace(b'{"format": 3,', b'{"format": 9,')
    assert newer != content
    (tmp_path / "newer.onnx").write_bytes(newer)
    with pytest.raises(DataError, match="newer version"):
        Detector(tmp_path / "newer.onnx")
    foreign = content.replace(b"pcs_detect", b"pcs_defect")
    (tmp_path / "foreign.onnx").write_bytes(foreign)
    with pytest.raises(DataError, match="no detector of pcs-detect"):
        Detector(tmp_path / "foreign.onnx")


def test_options_of_checkpoints_are_for_checkpoints():
    for wrong in ({"amp": True}, {"config": "rtmdet_r_tiny"}):
        with pytest.raises(InputError, match="for checkpoints"):
            Detector(**wrong)
    with pytest.raises(InputError, match="tpu"):
        Detector(device="tpu")


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is one")
def test_cuda_where_it_is_not_installed_is_said():
    with pytest.raises(InputError, match="onnxruntime-gpu"):
        Detector(device="cuda")


def test_a_network_that_gives_no_numbers_is_said(monkeypatch):
    network = OnnxNetwork(shipped())
    monkeypatch.setattr(network, "session", Broken(network.session))
    with pytest.raises(DataError, match="no finite numbers"):
        Detector(network).predict(np.zeros((40, 40), np.uint8))


class Broken:
    def __init__(self, session):
        self.real = session

    def run(self, *arguments):
        geometry, scores = self.real.run(*arguments)
        return geometry, scores * np.float32("nan")


def test_the_three_commands_run_and_load_nothing_of_the_training_half(tmp_path, capsys):
    (tmp_path / "photographs").mkdir()
    Image.fromarray(drop()[0]).save(tmp_path / "photographs" / "drop.png")
    code = (
        "import sys; from pcs_detect.cli import main\n"
        f"assert main(['predict', {str(tmp_path / 'photographs')!r}, '--out', {str(tmp_path / 'crystals')!r}]) == 0\n"
        f"assert main(['sizes', {str(tmp_path / 'crystals')!r}, '--out', {str(tmp_path / 'sizes')!r}]) == 0\n"
        f"assert main(['report', {str(tmp_path / 'crystals')!r}, '--out', {str(tmp_path / 'report.html')!r}]) == 0\n"
        "names = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmrotate', 'pcs_augment', 'pcs_render'}\n"
        "assert not names & set(sys.modules), names & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert len(pd.read_csv(tmp_path / "crystals" / "crystals.csv")) > 0


def test_help_names_every_command_and_loads_nothing_large():
    code = (
        "import sys; from pcs_detect.cli import main\n"
        "assert main(['--help']) == 0\n"
        "assert not {'numpy', 'pandas', 'matplotlib', 'onnxruntime', 'torch', 'cv2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("train", "test", "predict", "sizes", "report", "convert", "export", "configs"):
        assert command in done.stdout


def test_commands_of_the_training_half_say_what_to_install(tmp_path, capsys, monkeypatch):
    for name in [m for m in sys.modules if m == "torch" or m.startswith(("torch.", "pcs_detect.training"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    for words in (["train", "s2anet_tiny"], ["test", "s2anet_tiny", "a.pth"], ["export", "a.pth", "a.onnx"]):
        assert main(words) == 1
        message = capsys.readouterr().err
        assert "[train]" in message, message
    assert main(["predict", str(tmp_path), "--model", "a.pth"]) == 1
    capsys.readouterr()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "a.png")
    assert main(["predict", str(tmp_path), "--model", "a.pth", "--out", str(tmp_path / "out")]) == 1
    assert "training half" in capsys.readouterr().err
