"""The example of the house that renders and trains, on pictures that are rendered already."""

import runpy
from pathlib import Path

from pcs_augment.sample import sample_path

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_a_rendered_set_becomes_a_detector(tmp_path):
    main = runpy.run_path(str(EXAMPLES / "render_and_train.py"))["main"]
    assert main(sample_path(), tmp_path) > 0
    assert list((tmp_path / "training").glob("*.pth"))
