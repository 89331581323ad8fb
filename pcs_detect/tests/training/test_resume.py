import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import seen, write_config, write_data

from pcs_detect.errors import DataError, InputError
from pcs_detect.training.engine import checkpoints
from pcs_detect.training.engine.loops import ResumableSampler
from pcs_detect.training.engine.settings import learnt_otherwise
from pcs_detect.training.engine.train import train

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    return folder, write_config(folder / "tiny.py"), write_data(folder / "data.json")


@pytest.fixture(scope="module")
def undisturbed(setting):
    """A training of 3 epochs of 4 steps, and what it saw."""
    folder, config, data = setting
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEN", str(folder / "undisturbed"))
        best = train(config, data, val=data, out=folder / "whole", device="cpu")
    return best, seen(folder / "undisturbed")


def test_a_killed_training_goes_on_with_the_identical_next_batch_and_ends_with_the_same_weights(setting, undisturbed):
    folder, config, data = setting
    _, expected = undisturbed
    out, log = folder / "killed", folder / "killed_seen"
    arguments = ["train", str(config), "--data", str(data), "--val", str(data), "--out", str(out), "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), *sys.path)), "SEEN": str(log), "SEEN_PAUSE": "0.3"}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    process = subprocess.Popen([sys.executable, "-m", "pcs_detect.cli", *arguments, "--device", "cpu"], env=environment)
    try:
        deadline = time.monotonic() + 300
        while len(seen(log)) < 7 and time.monotonic() < deadline:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = seen(log)
    assert 7 <= len(before) < 12  # within the second epoch of four steps, or the third
    assert before == expected[: len(before)]
    found, checkpoint = checkpoints.newest(out)
    assert found.name in ("iter_6.pth", "iter_9.pth")
    first = checkpoint["meta"]["iter"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEN", str(folder / "resumed"))
        train(config, data, val=data, out=out, device="cpu", workers=1, resume=True)
    assert seen(folder / "resumed") == expected[first:]  # ids and pixels, step by step
    one, two = (checkpoints.read_checkpoint(folder / name / "epoch_3.pth") for name in ("whole", "killed"))
    for name, weights in one["state_dict"].items():  # bit for bit: dropout included
        torch.testing.assert_close(two["state_dict"][name], weights, rtol=0, atol=0)
    assert one["message_hub"]["runtime_info"]["best_score"] == two["message_hub"]["runtime_info"]["best_score"]


def test_every_file_of_a_training_holds_plain_data_only(undisturbed):
    best, _ = undisturbed
    files = [*best.parent.glob("*.pth")]
    assert {f.name for f in files} >= {"epoch_1.pth", "epoch_3.pth", "iter_3.pth", "iter_6.pth", best.name}
    assert best.name.startswith("best_")
    for file in files:
        content = torch.load(file, weights_only=True)  # nothing allowed beside the default
        assert content["meta"]["dataset_meta"]["classes"] == ("Crystal",)
        assert "CrystalMetric" in content["meta"]["cfg"]
        assert content["meta"]["pcs_detect"]
    assert (best.parent / "last_checkpoint").read_text().strip() == "epoch_3.pth"
    assert sorted(p.name for p in (best.parent / "samples").iterdir()) == [f"epoch_00{i}.png" for i in (1, 2, 3)]
    assert (best.parent / "curves.png").stat().st_size > 1000


def test_a_validation_that_was_not_reached_is_made_up_for(setting, undisturbed):
    folder, config, data = setting
    best, _ = undisturbed
    out = folder / "unvalidated"
    out.mkdir()
    content = checkpoints.read_checkpoint(best.parent / "epoch_3.pth")
    content["meta"]["validated"] = False
    for name in ("best_score", "best_checkpoint"):
        del content["message_hub"]["runtime_info"][name], content["message_hub"]["resumed_keys"][name]
    torch.save(content, out / "epoch_3.pth")
    found = train(config, data, val=data, out=out, device="cpu", resume=True)
    assert found.name == "best_crystal_AP_epoch_3.pth"
    assert checkpoints.read_checkpoint(out / "epoch_3.pth")["meta"]["validated"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 4}, "randomness.seed: 3 then, 4 now"),
        ({"options": {"optim_wrapper.optimizer.lr": 0.2}}, "optim_wrapper.optimizer.lr: 0.1 then, 0.2 now"),
        ({"batch_size": 4}, "total batch: 2 then, 4 now"),
        ({"augment": False}, "model.data_preprocessor.augment"),
    ],
)
def test_going_on_with_another_training_is_refused_and_says_what_differs(setting, undisturbed, options, named):
    _, config, data = setting
    best, _ = undisturbed
    with pytest.raises(InputError, match="belongs to another training") as e:
        train(config, data, val=data, out=best.parent, device="cpu", resume=True, **options)
    assert named in str(e.value)


def test_other_epochs_move_the_learning_rate_which_is_said_with_a_way_out(setting, undisturbed):
    _, config, data = setting
    best, _ = undisturbed
    with pytest.raises(
        InputError, match=r"3 epochs, not 4.*milestones\.1: 2 then, 3 now.*--epochs 3, or .*--start \S+epoch_3"
    ) as e:
        train(config, data, val=data, out=best.parent, device="cpu", resume=True, epochs=4)
    assert "..." not in str(e.value)


def test_differences_are_shown_where_they_are():
    alike = {"a": list(range(40))}
    assert learnt_otherwise({"m": [{"x": 1}, {"y": [1, 2]}]}, {"m": [{"x": 1}, {"y": [1, 3]}]}) == ["m.1.y.1: 2 then, 3 now"]
    (line,) = learnt_otherwise({"m": [alike, 1]}, {"m": [alike, 1, 2]})
    before, now = line.removesuffix(" now").split(" then, ")
    assert before.removeprefix("m: ") != now
    assert max(map(len, (before, now))) < 70


def test_what_does_not_matter_may_change(setting, undisturbed):
    folder, config, _data = setting
    best, _ = undisturbed
    moved = write_data(folder / "moved.json")
    found = train(config, moved, val=moved, out=best.parent, device="cpu", resume=True, workers=1)
    assert found == best


def test_a_training_that_began_with_given_weights_goes_on_from_its_own_checkpoint(setting, undisturbed, tmp_path, capsys):
    _, config, data = setting
    best, _ = undisturbed
    given = checkpoints.read_checkpoint(best)["state_dict"]
    for epochs, line in ((1, "training starts anew"), (2, f"resuming from {tmp_path / 'epoch_1.pth'} with epoch 2")):
        options = {"load_from": str(best), "optim_wrapper.optimizer.lr": 0.0, "train_cfg.max_epochs": epochs}
        train(config, data, val=data, out=tmp_path, device="cpu", resume=True, options=options)
        assert line in capsys.readouterr().err
        torch.testing.assert_close(checkpoints.newest(tmp_path)[1]["state_dict"], given, rtol=0, atol=0)


def test_a_folder_with_a_training_is_not_written_over(setting, undisturbed):
    _, config, data = setting
    best, _ = undisturbed
    with pytest.raises(InputError, match="holds a training already"):
        train(config, data, val=data, out=best.parent, device="cpu")


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("place", ["meta", "state_dict", "optimizer"])
def test_a_file_that_would_run_a_program_is_refused(setting, tmp_path, place):
    _, config, data = setting
    trap = tmp_path / "sprung"
    torch.save({"meta": {}, "state_dict": {}, "optimizer": {}, place: Evil(trap)}, tmp_path / "epoch_1.pth")
    for use in (
        lambda: train(config, data, val=data, out=tmp_path, device="cpu", resume=True),
        lambda: checkpoints.mm_checkpoint._load_checkpoint(str(tmp_path / "epoch_1.pth")),  # as init_cfg loads weights
    ):
        with pytest.raises(DataError, match=r"epoch_1\.pth"):
            use()
    assert not trap.exists()


def test_text_in_a_checkpoint_is_never_executed(setting, undisturbed, tmp_path):
    _, config, data = setting
    best, _ = undisturbed
    trap = tmp_path / "sprung"
    content = checkpoints.read_checkpoint(best.parent / "epoch_3.pth")
    content["meta"]["config"] = content["meta"]["cfg"] = f"import pathlib\npathlib.Path({str(trap)!r}).touch()"
    torch.save(content, tmp_path / "epoch_3.pth")
    train(config, data, val=data, out=tmp_path, device="cpu", resume=True)
    assert not trap.exists()


def test_released_weights_with_logs_of_openmmlab_are_read_without_running_anything(tmp_path):
    from mmengine.logging import HistoryBuffer

    buffer = HistoryBuffer([1.0], [1])
    buffer.__getstate__()  # as mmengine saved them: with functions inside
    torch.save(
        {"state_dict": {"w": torch.ones(2)}, "meta": {"a": np.float64(1), "b": np.arange(3)}, "hub": buffer}, tmp_path / "w.pth"
    )
    content = checkpoints.read_checkpoint(tmp_path / "w.pth")
    assert content["state_dict"]["w"].tolist() == [1, 1]
    assert content["meta"]["b"].tolist() == [0, 1, 2]
    assert not isinstance(content["hub"], HistoryBuffer)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, part):
    for name in ("epoch_1.pth", "epoch_2.pth"):
        checkpoints.write_checkpoint({"state_dict": {"w": torch.ones(1000)}, "meta": {"name": name}}, tmp_path / name)
    whole = (tmp_path / "epoch_2.pth").read_bytes()
    (tmp_path / "epoch_2.pth").write_bytes(whole[: int(len(whole) * part)])
    path, content = checkpoints.newest(tmp_path)
    assert path.name == content["meta"]["name"] == "epoch_1.pth"
    (tmp_path / "epoch_1.pth").unlink()
    with pytest.raises(DataError, match=r"epoch_2\.pth"):
        checkpoints.newest(tmp_path)


def test_a_crash_while_saving_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "epoch_1.pth"
    checkpoints.write_checkpoint({"state_dict": {"w": torch.zeros(5)}}, path)
    real = torch.save

    def crashing(content, file):
        real(content, file)
        with open(file, "r+b") as half:
            half.truncate(100)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", crashing)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write_checkpoint({"state_dict": {"w": torch.ones(5)}}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["epoch_1.pth"]
    assert checkpoints.read_checkpoint(path)["state_dict"]["w"].tolist() == [0] * 5


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_plain_data_stays_what_it_is(value):
    assert checkpoints.plain(value) == value


def test_arrays_and_numbers_of_numpy_become_tensors_and_numbers():
    found = checkpoints.plain({"a": np.float32(0.5), "b": [np.arange(3)], "c": (np.bool_(True),), np.int64(4): Path("x")})
    assert found == {"a": 0.5, "b": found["b"], "c": (True,), 4: "x"}
    assert type(found["a"]) is float
    assert torch.equal(found["b"][0], torch.arange(3))
    with pytest.raises(TypeError, match=r"a\.b\[1\]: a function"):
        checkpoints.plain({"b": [1, json.dumps]}, "a")


def order(monkeypatch, ranks, size, batch, epoch, start=0):
    """The indices of one epoch as steps x total batch, from all ranks."""
    parts = []
    for rank in range(ranks):
        monkeypatch.setitem(ResumableSampler.__init__.__globals__, "get_dist_info", lambda rank=rank: (rank, ranks))
        sampler = ResumableSampler(range(size), batch_size=batch // ranks, seed=5)
        sampler.set_epoch(epoch)
        sampler.start = start
        indices = list(sampler)
        assert len(sampler) == len(indices) + start * (batch // ranks)
        parts.append(np.reshape(indices, (-1, batch // ranks)))
    return np.concatenate(parts, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 5), st.integers(0, 9))
def test_every_step_sees_the_same_images_for_any_number_of_processes(size, epoch, start):
    with pytest.MonkeyPatch.context() as patch:
        whole = order(patch, 1, size, 12, epoch)
        start = min(start, len(whole))
        for ranks in (2, 3, 4):
            assert np.array_equal(order(patch, ranks, size, 12, epoch), whole)
            assert np.array_equal(order(patch, ranks, size, 12, epoch, start), whole[start:])
        flat = whole.flatten()
        assert sorted(flat[:size]) == list(range(size))  # each image once
        assert np.array_equal(flat[size:], np.resize(flat[:size], len(flat) - size))  # then from the front again
        assert len(flat) - size < 12
        if size > 8:
            assert not np.array_equal(order(patch, 1, size, 12, epoch + 1), whole)
