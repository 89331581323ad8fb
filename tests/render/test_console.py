"""The command under streams, environments, threads and arguments that are not the usual ones."""

import errno
import fcntl
import io
import os
import pwd
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import pcs_render
from pcs_augment import console, files
from pcs_render import locate
from pcs_render.cli import main
from pcs_render.errors import BlenderError, OutputError

TINY = '{"width": 64, "height": 48, "area": [4, 400], "long_side": 48, "max_crystals": 3, "shapes": "cube"}'
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(TINY)
    return str(path)


def scenes(tmp_path, settings, shell, folder="out", **environment):
    command = f'"{sys.executable}" -m pcs_render.cli scenes --count 2 --settings "{settings}" --out "{folder}" {shell}'
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(tmp_path, settings, shell):
    done = scenes(tmp_path, settings, shell)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "out").glob("0*.json"))) == 2


def test_a_name_that_the_terminal_cannot_show(tmp_path, settings):
    done = scenes(tmp_path, settings, "--quiet", folder="Kästen", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "K\\xe4sten" in done.stdout


def test_errors_of_the_callers_streams_stay(capsys):
    before = sys.stdout.errors
    assert main(["settings"]) == 0
    assert sys.stdout.errors == before


def test_main_works_in_a_thread_and_leaves_signals_alone(capsys):
    def mine(*_):
        raise AssertionError("not sent")

    before = signal.signal(signal.SIGTERM, mine)
    try:
        status = []
        thread = threading.Thread(target=lambda: status.append(main(["settings"])))
        thread.start()
        thread.join()
        assert status == [0]
        assert main(["settings"]) == 0
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "arguments",
    [
        ["scenes", "--out", ""],
        ["render", "--out", ""],
        ["render", "--settings", ""],
        ["render", "--blender", ""],
        ["render", "--ray", ""],
        ["verify", ""],
        ["export", "x", "--out", " "],
        ["report", "x", "--out", ""],
        ["shapes", "--obj", ""],
        ["install-blender", "--python", ""],
    ],
)
def test_an_empty_name_is_wrong_usage(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_version_is_that_of_the_package(capsys):
    theirs = re.search(r'^__version__ = "(.+)"', (ROOT / "pcs_augment" / "__init__.py").read_text(), re.MULTILINE)
    assert theirs
    assert pcs_render.__version__ == theirs[1]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["pcs-render", theirs[1]]


def test_a_file_without_a_terminal_gets_a_line_a_minute(monkeypatch):
    clock, log = [0.0], io.StringIO()
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", log)
    with console.Progress("rendering", hourly=True) as bar:
        for done in range(301):  # five minutes at an image a second
            clock[0] = float(done)
            bar(done, 300)
    lines = log.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[1] == "rendering: 120 of 300 (3,600 images/h)"


def no_home(monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_DATA_HOME", locate.VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_a_user_without_a_home(monkeypatch, capsys):
    no_home(monkeypatch)
    assert main(["install-blender"]) == 1
    assert "XDG_DATA_HOME" in capsys.readouterr().err
    monkeypatch.setattr(locate.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BlenderError, match="--blender"):
        locate.find()


def refuse(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


def test_a_file_system_without_locks_is_called_that(tmp_path, monkeypatch):
    for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
        monkeypatch.setattr(fcntl, "flock", refuse(number))
        with pytest.raises(OutputError, match="has no locks"), files.locked(tmp_path):
            pass
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EWOULDBLOCK))
    with pytest.raises(OutputError, match="written by another run"), files.locked(tmp_path):
        pass
