"""The benchmark that users run."""

import pytest
import torch
from PIL import Image

import pcs_augment as pa
from pcs_augment import bench
from pcs_augment.cli import main
from pcs_augment.errors import InputError


@pytest.mark.parametrize(("size", "objects"), [(384, 50), (97, 3), (500, 0), (384, 300)])
def test_batches_are_as_large_as_asked_for(size, objects):
    images, targets, index = bench.labelled_batch(3, size, objects)
    assert images.shape == (3, 1, size, size)
    assert images.min() >= 0
    assert images.max() <= 1
    assert [len(t["boxes"]) for t in targets] == [len(t["polygons"]) for t in targets] == [objects] * 3
    assert index.tolist() == [0, 1, 2]


def test_in_the_worst_case_every_step_acts_with_ten_textures_in_every_layer():
    images, targets, index = bench.labelled_batch(3, 64, 2)
    pipeline = bench.worst_case()
    assert [type(s) for s in pipeline.steps] == [type(s) for s in pa.default_pipeline().steps]
    assert all(s.p == 1 for s in pipeline.steps)
    layers = [s for s in pipeline.steps if isinstance(s, pa.PerlinLayer | pa.InterferenceLayer)]
    assert [layer.textures for layer in layers] == [(10, 10)] * 2
    out, _ = pipeline(images, targets, index=index)
    assert out.shape == images.shape
    assert all((a != b).any() for a, b in zip(out, images))


def test_every_row_is_timed():
    rows = list(bench.rows(batch=2, size=48, objects=1, seconds=0.001))
    assert len(rows) == bench.ROWS
    assert len({r.name for r in rows}) == len(rows)
    assert all(r.ms > 0 and r.spread >= 0 for r in rows)


def test_the_command_prints_a_table_and_draws_bars(tmp_path, capsys):
    out = tmp_path / "bars.png"
    options = ["--batch-size", "2", "--size", "48", "--objects", "1", "--seconds", "0.001", "--device", "cpu"]
    assert main(["bench", *options, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert f"torch {torch.__version__}" in text
    assert all(name in text for name in ("default pipeline", "worst case", "10 PerlinLayer", str(out)))
    picture = Image.open(out).convert("L")
    assert picture.width > 600
    assert sorted(tmp_path.iterdir()) == [out]


def test_a_benchmark_of_nothing_is_refused():
    for wrong in ({"batch": 0}, {"size": 0}, {"objects": -1}, {"seconds": 0}):
        with pytest.raises(InputError, match="a benchmark takes"):
            next(bench.rows(**wrong))
