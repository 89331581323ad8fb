"""Limits of time and memory that follow the picture, and a Blender that the environment cannot change."""

import sys
from pathlib import Path

import pytest
from test_production import SMALL

from pcs_render import blender, production
from pcs_render.blender import TRIES, Renderer, SceneFailed, memory_limit, time_limit
from pcs_render.locate import Blender
from pcs_render.process import WorkerProcess
from pcs_render.profile import PROFILES

FAKE = Path(__file__).with_name("fake_worker.py")


def test_limits_leave_room_for_what_was_measured():
    """18 s of one core for 384 px at 40 samples; float buffers of 16 bytes a pixel, about a dozen of them."""
    for side, profile, measured in ((384, "default", 18), (4096, "default", 2000), (1024, "published", 1600)):
        assert 5 * measured < time_limit(PROFILES[profile], side, side)
    assert time_limit(PROFILES["preview"], 64, 64) < 1000
    assert memory_limit(384, 384) < 4200
    assert memory_limit(16384, 16384) << 20 > 12 * 16 * 16384**2


def worker(tmp_path, mood):
    (tmp_path / "plan").write_text(mood)
    return Blender((sys.executable, str(FAKE), str(tmp_path / "plan")))


def test_a_limit_that_is_given_holds_and_is_named(tmp_path):
    scene = production.Job.of(SMALL, PROFILES["preview"]).scene(0)
    with (
        Renderer(PROFILES["preview"], worker(tmp_path, "never ready"), heartbeat=1.1, patience=1.2) as renderer,
        pytest.raises(SceneFailed, match=rf"{TRIES} tries.*--time-limit"),
    ):
        renderer.render(scene)
    assert len((tmp_path / "plan.starts").read_text().splitlines()) == TRIES


def test_pictures_have_their_own_limits(tmp_path, monkeypatch):
    scene, seen = production.Job.of(SMALL, PROFILES["preview"]).scene(0), []

    def answer(self, patience, silence, limit, doing):
        seen.append((patience, limit))
        return original(self, patience, silence, limit, doing)

    original = WorkerProcess.answer
    monkeypatch.setattr(blender.WorkerProcess, "answer", answer)
    with Renderer(PROFILES["published"], worker(tmp_path, "good")) as renderer:
        renderer.render(scene)
    assert seen[-1] == (time_limit(PROFILES["published"], 64, 48), memory_limit(64, 48) << 20)


def test_the_environment_cannot_change_the_pictures(tmp_path, monkeypatch):
    unwanted = (
        "OCIO",
        "OCIO_ACTIVE_VIEWS",
        "BLENDER_USER_SCRIPTS",
        "CYCLES_CPU_NO_AVX2",
        "OIDN_DEFAULT_DEVICE",
        "PYTHONINSPECT",
    )
    for name in (*unwanted, "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib")
    code = "import os, sys; open(sys.argv[-1] + '/seen', 'w').write(' '.join(os.environ))"
    process = WorkerProcess([sys.executable, "-c", code], tmp_path)
    process._process.wait(60)
    process.end()
    seen = set((tmp_path / "seen").read_text().split())
    assert not seen & set(unwanted)
    assert {"PATH", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"} <= seen
