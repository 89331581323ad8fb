"""The renderer against workers that misbehave in every way; no Blender is needed."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from pcs_render import blender, png, process
from pcs_render.blender import Renderer, SceneFailed, started
from pcs_render.errors import BlenderError, InputError
from pcs_render.locate import Blender
from pcs_render.profile import PROFILES
from pcs_render.scene import Camera, Scene

FAKE = Path(__file__).with_name("fake_worker.py")


def scene(image=7, width=12, height=9):
    camera = Camera(width, height, 0.8, 15.0, 15.0, 0.0, 22.5)
    return Scene(image, 0, "", camera, (), "glass", 0, False, (), {}, (0.0, 0.0))


@pytest.fixture
def workers(tmp_path):
    """A Blender whose successive workers behave as told, and the list of their process ids so far."""

    def make(*moods):
        plan = tmp_path / "plan"
        plan.write_text("\n".join(moods))
        Path(plan.with_suffix(".starts")).write_text("")
        return Blender((sys.executable, str(FAKE), str(plan)))

    make.pids = lambda: [int(pid) for pid in (tmp_path / "plan.starts").read_text().split()]
    return make


def renderer(blender, **options):
    return Renderer(PROFILES["preview"], blender, **{"heartbeat": 1.1, "patience": 30.0, **options})


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid, within=5.0):
    end = time.monotonic() + within
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_a_picture_comes_whole_and_without_what_differs_between_runs(workers):
    with renderer(workers("good")) as r:
        first, second, other = r.render(scene()), r.render(scene()), r.render(scene(8))
    assert first.png == second.png != other.png
    assert b"tEXt" not in first.png
    assert (first.tries, first.device, first.blender) == (1, "CPU", "4.5.99")
    assert len(workers.pids()) == 1


FAILINGS = {
    "die": "SIGKILL",
    "exit": "exit status 1, its last words: something broke",
    "stop": "no sign of life",
    "grow": "memory",
    "nonsense": "nonsense",
    "endless": "nonsense",
    "list": "nonsense",
    "no picture": "no good picture",
    "broken off": "no good picture",
    "wrong size": "12 x 9 px",
    "error": "RuntimeError: no",
}


@pytest.mark.parametrize("mood", FAILINGS)
def test_a_failing_worker_is_replaced_and_the_same_picture_comes_out(workers, mood):
    with renderer(workers("good")) as r:
        expected = r.render(scene()).png
    begun = time.monotonic()
    with renderer(workers(mood, "good"), memory_limit=256) as r:
        rendered = r.render(scene())
        assert time.monotonic() - begun < 8
        assert (rendered.png, rendered.tries) == (expected, 2)
        assert gone(workers.pids()[0])
        assert r.render(scene(8)).tries == 1
    assert len(workers.pids()) == 2


@pytest.mark.parametrize("mood", ["die", "error", "nonsense", "broken off"])
def test_a_scene_that_no_worker_can_render_is_given_up_and_the_next_is_rendered(workers, mood):
    with renderer(workers(mood, mood, mood, "good")) as r:
        with pytest.raises(SceneFailed, match=FAILINGS[mood]) as caught:
            r.render(scene(41))
        copy = pickle.loads(pickle.dumps(caught.value))
        assert copy.image == caught.value.image == 41
        assert str(copy) == str(caught.value)
        assert r.render(scene(42)).tries == 1
    assert len(workers.pids()) == 4


def test_signs_of_life_do_not_prolong_patience(workers):
    with renderer(workers("never ready", "good"), patience=1.5) as r:
        assert r.render(scene()).tries == 2


def test_silence_is_measured_between_signs_not_in_all(workers):
    with renderer(workers("slow"), heartbeat=1.2) as r:
        assert r.render(scene()).tries == 1


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_an_idle_worker_that_is_killed_or_stopped_costs_one_try(workers, signum):
    with renderer(workers("good")) as r:
        r.render(scene())
        os.kill(r.worker_pid, signum)
        assert r.render(scene()).tries == 2


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        ("exit at start", "does not start.*this is the end"),
        ("stop at start", "does not start.*took more than"),
        ("version 5.0.1", "has Blender 5.0.1; version 4.5 is needed"),
        ("version 4.4.3", "has Blender 4.4.3; version 4.5 is needed"),
        ("cannot import ImportError: libXi.so.6: cannot open shared object file: No such file", "libxi6 .*dnf install libXi"),
        ("cannot import ModuleNotFoundError: No module named 'bpy'", "has no bpy.*install-blender"),
        ("no device", "no CUDA device"),
    ],
)
def test_what_no_other_scene_would_do_better_with_is_no_fault_of_the_scene(workers, mood, message):
    with renderer(workers(mood), patience=1.0) as r, pytest.raises(BlenderError, match=message) as caught:
        r.render(scene())
    assert not isinstance(caught.value, SceneFailed)
    assert all(gone(pid) for pid in workers.pids())


@pytest.mark.parametrize("mood", ["exit at start", "stop at start", "version 5.0.1"])
def test_asking_for_the_version_raises_the_same(workers, mood):
    with pytest.raises(BlenderError):
        started(workers(mood), patience=1.0)
    assert started(workers("version 4.5.3 LTS")).version == "4.5.3 LTS"


def test_workers_are_recycled_by_number(workers):
    with renderer(workers("good"), recycle=3) as r:
        assert all(r.render(scene(i)).tries == 1 for i in range(7))
    assert len(workers.pids()) == 3


def test_workers_are_recycled_by_size_without_losing_the_picture(workers, monkeypatch):
    monkeypatch.setattr(process, "POLL", 30.0)  # or a slow machine would see the size before the picture is done
    with renderer(workers("fat"), memory_limit=128) as r:
        assert all(r.render(scene(i)).tries == 1 for i in range(2))
    assert len(workers.pids()) == 2


def test_closing_ends_the_worker_with_all_that_it_started_and_removes_the_folder(workers):
    r = renderer(workers("child"))
    errors = []

    def render():
        try:
            r.render(scene())
        except BlenderError as e:
            errors.append(e)

    thread = threading.Thread(target=render)
    thread.start()
    while r.worker_pid is None or not (children := _children(r.worker_pid)):
        time.sleep(0.02)
    pid, folder = r.worker_pid, Path(r._folder.name)
    begun = time.monotonic()
    r.close()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - begun < 3
    assert len(errors) == 1
    assert gone(pid)
    assert all(gone(child) for child in children)
    assert not folder.exists()
    with pytest.raises(BlenderError, match="closed"):
        r.render(scene())


def _children(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_the_worker_goes_when_its_parent_is_killed(workers, tmp_path):
    command = workers("slow").command
    script = (
        "import sys; from pcs_render.blender import *; from pcs_render.profile import PROFILES\n"
        "sys.path.insert(0, sys.argv[1]); from test_blender_supervision import scene\n"
        f"r = Renderer(PROFILES['preview'], Blender({command!r})); r.render(scene()); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # the true worker would remove its folder
    ) as parent:
        assert parent.stdout.readline() == b"\n"
        (pid,) = workers.pids()
        assert alive(pid)
        parent.kill()
    assert gone(pid)


def test_a_full_disk_is_no_fault_of_the_scene(workers, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(blender.shutil, "disk_usage", lambda path: usage(100, 100, 0))
    with renderer(workers("broken off")) as r, pytest.raises(BlenderError, match="disk is full") as caught:
        r.render(scene())
    assert not isinstance(caught.value, SceneFailed)


@pytest.mark.parametrize(
    "options",
    [
        {"recycle": 0},
        {"patience": 0.0},
        {"patience": float("nan")},
        {"heartbeat": 1.0},
        {"memory_limit": 0},
        {"threads": 0},
        {"threads": 1025},
        {"device": "TPU"},
    ],
)
def test_impossible_options_are_named(workers, options):
    (name,) = options
    with pytest.raises(InputError, match=name):
        renderer(workers("good"), **options)


def test_a_worker_that_cannot_be_run_is_an_error_about_blender(tmp_path):
    with renderer(Blender((str(tmp_path / "nothing"),))) as r, pytest.raises(BlenderError, match="cannot be run"):
        r.render(scene())


def test_every_changed_byte_of_a_picture_is_noticed(workers):
    with renderer(workers("good")) as r:
        whole = r.render(scene(200, 5, 3)).png
    assert png.plain(whole, 5, 3) == whole
    for at in range(len(whole)):
        broken = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        with pytest.raises(ValueError, match=r"^it"):
            png.plain(broken, 5, 3)
        with pytest.raises(ValueError, match=r"^it"):
            png.plain(whole[:at], 5, 3)
    with pytest.raises(ValueError, match="3 x 5"):
        png.plain(whole, 3, 5)
