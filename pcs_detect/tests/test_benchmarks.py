"""What the benchmarks of detectors on photographs measure."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fixed_network import FixedNetwork
from PIL import Image
from test_folders import put

from pcs_detect.inference.detector import Detector

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a part of the repository")


class Moved(Detector):
    """Finds crystals elsewhere when it is asked for doubtful ones too, as detectors do whose scales vouch for each other."""

    def __init__(self, model, score=None, fringes="remove"):
        super().__init__(FixedNetwork(), score=score, fringes=fringes)

    def detect(self, grey):
        found = super().detect(grey)
        return found if self.score == self.look.score else found._replace(boxes=found.boxes + np.array([70, 0, 0, 0, 0]))


@pytest.fixture
def run(monkeypatch):
    """Runs a benchmark of that name with arguments."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name, *words):
        module = __import__(name)
        monkeypatch.setattr(module, "Detector", Moved)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        module.main()

    yield run
    for name in ("photographs", "compare_detectors"):
        sys.modules.pop(name, None)


def labelled(folder, names):
    """Photographs with Labelme files beside them."""
    for name in names:
        put(folder / name)
        rows = [(20 + 30 * k, 34 + 30 * k) for k in range(3)]
        outlines = [[[40, low], [70, low], [70, high], [40, high]] for low, high in rows]
        shapes = [{"label": "crystal", "points": p, "shape_type": "polygon"} for p in outlines]
        document = {"shapes": shapes, "imagePath": name, "imageData": None, "imageHeight": 120, "imageWidth": 160}
        (folder / name).with_suffix(".json").write_text(json.dumps(document))
    return folder


def test_figures_at_the_default_score_are_those_of_predict(tmp_path, run, capsys):
    photographs = labelled(tmp_path / "ph", ["a.png", "b.png"])
    run("photographs", "--photographs", photographs, "--labels", photographs, "--out", tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    (every,) = (line.split() for line in lines if line.startswith("all"))
    assert every[1:4] == ["6", "6", "0.000"]  # labelled, found, AP50
    assert any(line.startswith("at the default score 0.2: precision 1.000, recall 1.000") for line in lines)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"crystals.csv", "a.png.png", "b.png.png"}
    shown = np.asarray(Image.open(tmp_path / "out" / "a.png.png").convert("RGB")).astype(int)
    coloured = np.ptp(shown, axis=-1) > 60
    assert coloured[:, 30:80].any()
    assert not coloured[:, 85:].any()


def test_labels_beside_photographs_are_no_photographs(tmp_path, run, capsys):
    photographs = labelled(tmp_path / "ph", ["a.png", "b.png"])
    place = tmp_path / "compared.png"
    run("compare_detectors", "mine=any.onnx", "--photographs", photographs, "--labels", photographs, "--out", place)
    head, _, row = capsys.readouterr().out.splitlines()
    assert head == "|  | AP50 | mean | a | b | precision | recall |"
    assert row.startswith("| mine | 0.00 | 0.00 |")
    assert Image.open(place).size[0] > 400
