"""The GPU check-up: rehearsed without a GPU, and without packages that are not there either."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# they look absent, to importlib.util.find_spec too
HIDING = """
import importlib.machinery as machinery
HIDDEN = {"kornia", "cv2", "numba", "webdataset", "pycocotools", "pyarrow", "ray", "tqdm", "scipy", "torchvision"}
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(
    lambda c, name, *args: None if name.partition(".")[0] in HIDDEN else find(name, *args)
)
"""
ENDLESS = """
import subprocess, sys, time
def endless(device, note):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note(child=child.pid, headline="so far")
    time.sleep(60)
def failing(device, note):
    print("what it said")
    raise ValueError("why")
"""


@pytest.fixture
def checkup(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu_checkup

    return gpu_checkup


def rehearse(call, out, hiding, *stages):
    (hiding / "sitecustomize.py").write_text(HIDING)
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(hiding)}
    options = [o for s in stages for o in ("--only", s)]
    command = [sys.executable, BENCHMARKS / "gpu_checkup.py", str(call), "--device", "cpu", "--out", out, *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr + "".join(f.read_text() for f in out.glob("*.json"))
    table = (out / f"call_{call}.md").read_text()
    assert table in done.stdout
    assert all(f"| {s} | ok |" in table for s in stages)
    assert {f.name for f in out.iterdir()} == {f"call_{call}.md", *(f"{s}.json" for s in stages)}
    return {s: json.loads((out / f"{s}.json").read_text()) for s in stages}


def test_the_tests_for_a_gpu_are_collected_where_only_their_needs_are_installed(tmp_path):
    found = rehearse(1, tmp_path / "out", tmp_path, "tests")["tests"]
    assert found["collected"] > 50
    assert found["failed"] == 0


def test_checks_run_without_a_gpu(tmp_path):
    found = rehearse(2, tmp_path / "out", tmp_path, "many_values", "equal_bits", "graph")
    assert found["many_values"]["different"] == []
    assert found["equal_bits"]["same"] == found["equal_bits"]["times"] > 1
    assert found["graph"]["found"]["whole"] == "ran, (2, 1, 96, 96)"
    assert found["graph"]["in_room"] == "3 batches have 1 program"


def test_each_call_fits_its_time_and_its_files(checkup):
    for call, more in ((1, 0), (2, 0), (3, 2)):  # the timeline and its picture
        mine = [s for s in checkup.STAGES if s.call == call]
        assert sum(s.limit for s in mine) <= 450
        assert len(mine) + 1 + more <= 8
    assert checkup.CALL_S < 420
    assert len({s.name for s in checkup.STAGES}) == len(checkup.STAGES)


def gone(status):
    """Whether a process that was killed ends within ten seconds: on a busy machine that takes a moment."""
    for _ in range(100):
        try:
            if "zombie" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_a_stage_past_its_limit_is_stopped_with_what_it_started_and_keeps_what_it_found(checkup, tmp_path, monkeypatch):
    (tmp_path / "stages.py").write_text(ENDLESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = checkup.run(checkup.Stage(1, "endless", 9, "stages"), "cpu", tmp_path, 9.0)
    assert found["status"] == "stopped after 9 s"
    assert found["headline"] == "so far"
    assert json.loads((tmp_path / "endless.json").read_text()) == found
    assert gone(Path(f"/proc/{found['child']}/status"))
    assert "| endless | stopped after 9 s |" in checkup.table(1, "cpu", [found])


def test_a_stage_that_fails_says_why(checkup, tmp_path, monkeypatch):
    (tmp_path / "stages.py").write_text(ENDLESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = checkup.run(checkup.Stage(1, "failing", 30, "stages"), "cpu", tmp_path, 30.0)
    assert found["status"] == "failed (1)"
    assert "what it said" in found["output"]
    assert "ValueError: why" in checkup.table(1, "cpu", [found])
