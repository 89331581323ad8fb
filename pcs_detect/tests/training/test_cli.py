import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_training import write_config, write_data

from pcs_detect import cli
from pcs_detect.commands import arguments
from pcs_detect.errors import DataError, InputError
from pcs_detect.extras import TRAINING_HALF
from pcs_detect.training import configs
from pcs_detect.training.engine import train
from pcs_detect.training.engine.checkpoints import write_checkpoint
from pcs_render.shards import Manifest


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return write_config(folder / "tiny.py", epochs=1, every_iters=None), write_data(folder / "data.json", count=6)


@pytest.fixture(scope="module")
def trained(setting, tmp_path_factory):
    config, data = setting
    out = tmp_path_factory.mktemp("trained")
    status = cli.main(
        [
            "train",
            str(config),
            "--data",
            str(data),
            "--val",
            str(data),
            "--out",
            str(out),
            "--device",
            "cpu",
            "--seed",
            "7",
            "--epochs",
            "2",
            "--cfg-options",
            "optim_wrapper.optimizer.lr=0.05",
        ]
    )
    assert status == 0
    return out


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def error(capsys):
    """The one line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pcs-detect: error: ")
    return lines[0]


def test_configs_lists_every_configuration_with_its_description(capsys):
    assert run("configs") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == [name for name, _ in configs.available()]
    assert all(description in line for line, (_, description) in zip(lines, configs.available()))


def test_train_writes_what_it_says_and_prints_the_best_checkpoint(trained, setting, capsys):
    config, data = setting
    assert run("train", config, "--data", data, "--val", data, "--out", trained, "--device", "cpu", "--resume", "--seed", 7,
               "--epochs", 2, "--cfg-options", "optim_wrapper.optimizer.lr=0.05") == 0  # fmt: skip
    (best,) = trained.glob("best_*.pth")
    assert capsys.readouterr().out == f"{best}\n"
    content = torch.load(best, weights_only=True)
    assert content["meta"]["seed"] == content["meta"]["settings"]["model"]["data_preprocessor"]["seed"] == 7
    assert content["meta"]["settings"]["optim_wrapper"]["optimizer"]["lr"] == 0.05
    assert {"curves.png", "samples", "last_checkpoint", "epoch_2.pth"} <= {p.name for p in trained.iterdir()}


def test_test_prints_a_table_and_writes_metrics_detections_and_pictures(trained, setting, tmp_path, capsys):
    config, data = setting
    assert run("test", config, trained / "epoch_2.pth", "--data", data, "--out", tmp_path, "--device", "cpu") == 0
    table = dict(line.split() for line in capsys.readouterr().out.splitlines())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert table.keys() == metrics.keys() >= {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR"}
    assert all(table[k] == ("-" if v is None else f"{100 * v:.2f}") for k, v in metrics.items())
    assert metrics["AP50"] > 0.3
    assert metrics["APl"] is None
    found = json.loads((tmp_path / "detections.json").read_text())
    assert len(found["images"]) == 6
    assert len(found["annotations"]) == 6 * 8
    for a in found["annotations"]:
        _, _, w, h, angle = a["bbox"]
        assert w >= h > 0
        assert -90 <= angle <= 90
        assert 0 <= a["score"] <= 1
        assert a["area"] == pytest.approx(w * h, rel=1e-3)
    assert (tmp_path / "samples" / "test.png").exists()


def test_a_test_never_replaces_its_data_nor_results_of_others(trained, setting, tmp_path, capsys):
    config, data = setting
    command = ["test", config, trained / "epoch_2.pth", "--device", "cpu", "--data"]
    labels = shutil.copy(data, tmp_path / "detections.json")
    shutil.copytree(data.with_suffix(""), tmp_path / "detections")
    before = sorted(tmp_path.iterdir())
    assert run(*command, labels, "--out", tmp_path) == 1
    assert "detections.json is read, and would be replaced" in error(capsys)
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "settings.json").write_text('{"program": "predict"}')
    assert run(*command, data, "--out", tmp_path / "found") == 1
    assert "holds results of predict or sizes" in error(capsys)
    assert sorted(tmp_path.iterdir()) == [*before, tmp_path / "found"]
    assert [p.name for p in (tmp_path / "found").iterdir()] == ["settings.json"]


def test_a_detector_is_tested_as_it_was_trained_or_a_line_says_what_differs(trained, setting, capsys):
    config, data = setting
    command = ["test", config, trained / "epoch_2.pth", "--data", data, "--device", "cpu"]
    quiet = ["model.data_preprocessor.augment=None", "model.data_preprocessor.seed=1"]
    assert run(*command, "--cfg-options", quiet[0], "--cfg-options", quiet[1]) == 0
    assert capsys.readouterr().err == ""
    assert run(*command, "--cfg-options", "model.data_preprocessor.mean=10.0", "model.dropout=0.1") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "model.data_preprocessor.mean is 10.0, it was None; model.dropout is 0.1, it was 0.3" in line


def test_several_processes_write_the_detections_of_one(trained, setting, tmp_path):
    config, data = setting
    train.evaluate(config, trained / "epoch_2.pth", data, out=tmp_path / "one", device="cpu")
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "pcs_detect.cli", "test", config, trained / "epoch_2.pth", "--data", data, "--out", tmp_path / "two"]
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run(
        [*map(str, command), "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("AP50 ") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]
    for name in ("metrics.json", "detections.json", "results.json"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()


def test_detections_are_a_data_set(trained, setting, tmp_path):
    """Written and read again they are the same boxes, so their own labels have AP 1."""
    from pcs_augment.data import PcsDataset

    config, data = setting
    train.evaluate(config, trained / "epoch_2.pth", data, out=tmp_path, device="cpu")
    again = PcsDataset(tmp_path / "detections.json", data.with_suffix(""))
    document = json.loads((tmp_path / "detections.json").read_text())
    boxes = torch.cat([again.target(i)["boxes"] for i in range(len(again))])
    given = torch.tensor([a["bbox"] for a in document["annotations"]])
    torch.testing.assert_close(boxes[:, :4], given[:, :4])
    torch.testing.assert_close(torch.sin(2 * boxes[:, 4]), torch.sin(-2 * given[:, 4].deg2rad()), atol=1e-5, rtol=0)


def test_without_validation_data_a_line_says_so_and_training_goes_on(setting, tmp_path, capsys):
    config, data = setting
    assert run("train", config, "--data", data, "--out", tmp_path, "--device", "cpu", "--no-augment") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("no validation: name data for it (--val) or take some of these (--validation)\n")
    assert captured.out == f"{tmp_path / 'epoch_1.pth'}\n"
    assert not (tmp_path / "samples").exists()


def test_validation_takes_images_from_a_json(setting, tmp_path, capsys):
    config, data = setting
    assert run("train", config, "--data", data, "--out", tmp_path, "--device", "cpu", "--validation", "2") == 0
    meta = torch.load(tmp_path / "epoch_1.pth", weights_only=True)["meta"]
    assert (meta["images"], meta["config"]) == (4, Path(config).stem)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "s2anet"], "s2anet_tiny"),  # all names are listed
        (["train", "{config}", "--data", "nowhere.json"], "'nowhere.json'"),
        (["train", "{config}", "--data", "{data}", "--val", "{data}", "--validation", "2"], "--validation"),
        (["train", "{config}", "--data", "{data}", "--cfg-options", "optim_wraper.lr=1"], "optim_wrapper"),
        (["train", "{config}", "--data", "{data}", "--weights", "nowhere"], "nowhere"),
        (["test", "{config}", "nowhere.pth", "--data", "{data}"], "nowhere.pth"),
        (["test", "{config}", "{data}", "--data", "{data}"], "not a checkpoint"),
        (["test", "{config}", "{other}", "--data", "{data}"], "none of its weights"),
        (["test", "{config}", "{part}", "--data", "{data}"], "missing keys in source state_dict: net.0.bias"),
    ],
)
def test_mistakes_are_one_line_that_names_them(setting, tmp_path, capsys, monkeypatch, arguments, named):
    config, data = setting
    monkeypatch.chdir(tmp_path)
    write_checkpoint({"state_dict": {"w": torch.ones(1)}}, tmp_path / "other.pth")
    write_checkpoint({"state_dict": {"net.0.weight": torch.ones(8, 1, 5, 5)}}, tmp_path / "part.pth")
    words = [a.format(config=config, data=data, other=tmp_path / "other.pth", part=tmp_path / "part.pth") for a in arguments]
    assert run(*words, "--device", "cpu") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("no validation")]
    assert len(lines) == 1
    assert lines[0].startswith("pcs-detect: error: ")
    assert named in lines[0]


@pytest.mark.parametrize("gpus", [2, 5])
def test_more_gpus_than_there_are_is_an_error(setting, capsys, monkeypatch, gpus):
    config, data = setting
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert run("train", config, "--data", data, "--val", data, "--gpus", gpus) == 1
    assert f"--gpus {gpus}: torch finds 1 here" in error(capsys)


def test_a_gpu_that_is_not_there_is_an_error(setting, capsys, monkeypatch):
    config, data = setting
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("train", config, "--data", data, "--device", "cuda") == 1
    assert "--device cpu" in error(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["fly"],
        ["train", "s2anet_tiny", "--epochs", "0"],
        ["train", "s2anet_tiny", "--batch-size", "-1"],
        ["train", "s2anet_tiny", "--validation", "1.5"],
        ["train", "s2anet_tiny", "--cfg-options", "lr"],
        ["train", "s2anet_tiny", "--device", "tpu"],
        ["test", "s2anet_tiny"],
    ],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    assert run(*arguments) == 2
    assert "usage: pcs-detect" in capsys.readouterr().err


def stop(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "status", "line"),
    [
        (stop(KeyboardInterrupt), 130, "pcs-detect: interrupted; the same command resumes (train: with --resume)"),
        (stop(InputError("bad")), 1, "pcs-detect: error: bad"),
        (stop(DataError("Caught DataError in DataLoader worker process 0.\nFile x\npcs_detect.errors.DataError: a.png: gone")),
         1, "pcs-detect: error: a.png: gone"),
        (stop(ModuleNotFoundError("no", name="yapf")), 1,
         f"pcs-detect: error: yapf is not installed; install {TRAINING_HALF}"),
        (stop(ModuleNotFoundError("no", name="pandas.core")), 1,
         "pcs-detect: error: pandas.core is not installed; in the folder of the checkout run: pip install ./pcs_detect"),
    ],
)  # fmt: skip
def test_what_stops_a_command_becomes_a_status_and_a_line(work, status, line, capsys):
    assert cli.guarded("pcs-detect", work) == status
    assert capsys.readouterr().err == line + "\n"


def test_faults_of_the_program_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.guarded("pcs-detect", stop(ZeroDivisionError))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        ("a=0.5", 0.5),
        ("a=None", None),
        ("a=adam", "adam"),
        ("a=[1, 2]", [1, 2]),
        ("a=b=c", "b=c"),
        ("a=", ""),
        ("a=false", False),
        ("a=True", True),
        ("a=none", None),
    ],
)
def test_options_are_python_values_or_else_text(text, value):
    assert arguments.option(text)[1] == value


def split_of(cfg):
    loaders = cfg.train_dataloader, cfg.val_dataloader
    return [loader and (loader.dataset.split, loader.dataset.validation) for loader in loaders]


def test_data_are_split_as_they_say_or_as_told(tmp_path):
    rendered, unsplit, exported, plain = (tmp_path / n for n in ("rendered", "unsplit", "exported", "plain"))
    for folder, count in ((rendered, 0.1), (unsplit, 0)):
        folder.mkdir()
        Manifest(0, 100, 0, 10, {}, {}, {}, "2026-01-01", count).save(folder)
    (exported / "train").mkdir(parents=True)
    (exported / "val").mkdir()
    plain.mkdir()
    whole, both = [(None, None), None], [("train", None), ("validation", None)]
    with pytest.raises(InputError, match=r"plain is not split by itself.*--validation"):
        train._source([rendered, plain], "validation", None)
    with pytest.raises(InputError, match=r"some are not; name validation data"):
        train.configured("s2anet_tiny", [rendered, plain])
    for data, expected in ((rendered, both), (exported, both), (unsplit, whole), (plain, whole)):
        assert split_of(train.configured("s2anet_tiny", data)) == expected
        assert split_of(train.configured("s2anet_tiny", data, validation=5)) == [("train", 5), ("validation", 5)]
        assert split_of(train.configured("s2anet_tiny", data, val=plain)) == [(None, None)] * 2


def test_epochs_move_the_steps_of_the_learning_rate():
    short = train.configured("s2anet_tiny", epochs=3)
    assert short.train_cfg.max_epochs == 3
    assert [s.milestones for s in short.param_scheduler if "milestones" in s] == [[2, 3]]  # of [8, 11] in 12
    assert [s.end for s in short.param_scheduler if not s.by_epoch] == [20]  # the warm-up counts steps


def test_workers_that_do_not_exist_do_not_persist():
    for workers in (0, 1):
        cfg = train.configured("s2anet_r50_anchor8_nopool_gn_110e", workers=workers)
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            assert cfg[name].num_workers == workers
            assert cfg[name].persistent_workers == bool(workers)


def test_help_and_listing_are_quick_and_need_no_training_half():
    code = (
        "import sys; from pcs_detect import cli\n"
        "assert cli.main(['configs']) == cli.main(['--help']) == cli.main(['train', '--help']) == 0\n"
        "assert 'mmengine' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
