import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_training import seen, write_config, write_data
from torch import nn

from pcs_detect.training.engine import runner
from pcs_detect.training.engine.checkpoints import read_checkpoint
from pcs_detect.training.engine.curves import scalars
from pcs_detect.training.engine.train import evaluate, train

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same training by one process with 2 images a step and by two with one each; of 7 images, so one is repeated."""
    folder = tmp_path_factory.mktemp("ranks")
    config = write_config(folder / "tiny.py", dropout=0.0, epochs=2, every_iters=None)
    data = write_data(folder / "data.json", count=7)
    arguments = [
        "train",
        str(config),
        "--data",
        str(data),
        "--val",
        str(data),
        "--out",
        str(folder / "two"),
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "pcs_detect.cli", *arguments, "--device", "cpu", "--gpus", "2"],
        env={**os.environ, "PYTHONPATH": str(TESTS), "SEEN": str(folder / "seen_two"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEN", str(folder / "seen_one"))
        train(config, data, val=data, out=folder / "one", device="cpu", batch_size=2)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return folder, config, data, out


def test_two_processes_see_the_same_augmented_images_as_one(both):
    folder, *_ = both
    one = seen(folder / "seen_one")
    ranks = [seen(folder / "seen_two", rank) for rank in (0, 1)]
    assert len(one) == 8
    assert len(ranks[0]) == len(ranks[1]) == 8
    for whole, first, second in zip(one, *ranks):
        assert whole[:2] == first[:2] == second[:2]  # iteration, epoch
        assert whole[2] == first[2] + second[2]  # image ids
        assert whole[3] == first[3] + second[3]  # pixels, bit for bit
    for epoch in (0, 1):
        assert {i for _, e, ids, _ in one if e == epoch for i in ids} == {*range(1, 8)}


def test_two_processes_learn_and_measure_the_same_as_one(both):
    folder, config, data, _ = both
    one, two = (read_checkpoint(folder / name / "epoch_2.pth") for name in ("one", "two"))
    assert one["meta"]["total_batch"] == two["meta"]["total_batch"] == 2
    assert len(two["random"]) == 2
    for name, weights in one["state_dict"].items():  # sums over the batch run in another order
        torch.testing.assert_close(two["state_dict"][name], weights, rtol=1e-4, atol=1e-6)
    (_, measured), (_, again) = (scalars(folder / name) for name in ("one", "two"))
    assert measured[2]["AP50"] > 0.3
    for epoch in (1, 2):
        assert measured[epoch] == pytest.approx(again[epoch], abs=1e-4, nan_ok=True)
    alone = evaluate(config, folder / "two" / "epoch_2.pth", data, device="cpu")
    assert alone == pytest.approx({k: again[2][k] for k in alone}, abs=1e-4, nan_ok=True)  # the logged ones are rounded


def test_on_cpus_every_process_has_batch_norms_of_its_own(monkeypatch):
    monkeypatch.setattr(runner, "MMDistributedDataParallel", lambda module, **_: module)
    monkeypatch.setattr(runner, "get_device", lambda: "cpu")
    shared = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SyncBatchNorm(2))
    model = runner.CrystalRunner.wrap_model(SimpleNamespace(distributed=True, cfg={}), None, shared)
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(model(x), nn.Sequential(shared[0], nn.BatchNorm2d(2))(x))


def test_only_one_process_reports(both):
    folder, *_, out = both
    assert out.splitlines() == [str(folder / "two" / Path(out.strip()).name)]


def test_a_training_goes_on_with_another_number_of_processes(both):
    folder, config, data, _ = both
    two = read_checkpoint(folder / "two" / "epoch_2.pth")
    train(config, data, val=data, out=folder / "two", device="cpu", batch_size=2, resume=True)
    torch.testing.assert_close(read_checkpoint(folder / "two" / "epoch_2.pth")["state_dict"], two["state_dict"], rtol=0, atol=0)


def test_what_is_wrong_with_the_data_is_said_once(both, tmp_path):
    _, config, data, _ = both
    (tmp_path / "data").mkdir()
    damaged = tmp_path / "data.json"
    damaged.write_text(data.read_text()[:500])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pcs_detect.cli",
            "train",
            str(config),
            "--data",
            str(damaged),
            "--val",
            str(damaged),
            "--out",
            str(tmp_path / "out"),
            "--gpus",
            "2",
            "--device",
            "cpu",
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "not valid JSON" in done.stderr
    assert "Traceback" not in done.stderr
