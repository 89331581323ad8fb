import json
import math

import numpy as np
import pytest
from PIL import Image

from pcs_detect.errors import DataError
from pcs_detect.training.engine import curves


def log(folder, name, entries, end=""):
    file = folder / name / "vis_data" / "scalars.json"
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(e) + "\n" for e in entries) + end)


def test_curves_read_all_runs_and_pass_over_half_a_line(tmp_path):
    first = [{"loss": 2.0, "epoch": 1, "step": 1}, {"loss": 1.0, "epoch": 1, "step": 2}, {"crystal/AP": 0.1, "step": 1}]
    log(tmp_path, "20260101_000000", [*first, {"loss": 99.0, "epoch": 2, "step": 3}], end='{"loss": 0.')
    log(
        tmp_path,
        "20260102_000000",
        [{"loss": 0.5, "epoch": 2, "step": 3}, {"crystal/AP": 0.2, "crystal/APs": math.nan, "step": 2}],
    )
    losses, metrics = curves.scalars(tmp_path)
    assert losses == {1: (1, 2.0), 2: (1, 1.0), 3: (2, 0.5)}
    assert metrics[1] == {"AP": 0.1}
    assert metrics[2]["AP"] == 0.2
    path = curves.curves(tmp_path, tmp_path / "new" / "curves.png")
    with Image.open(path) as image:
        assert image.width > 500
        assert len(set(np.asarray(image.convert("L")).flatten())) > 20
    assert [p.name for p in path.parent.iterdir()] == ["curves.png"]


def test_no_log_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no log of a training"):
        curves.curves(tmp_path)
