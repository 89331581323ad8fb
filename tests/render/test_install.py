"""``install-blender`` offline, with a wheel that only pretends to be Blender; and the order in which Blender is looked for."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from pcs_render import install, locate
from pcs_render.blender import find_blender
from pcs_render.errors import BlenderError, OutputError
from pcs_render.install import install_blender

ROOT = Path(__file__).parents[2]


def wheel(folder, version="4.5.99", code="class app:\n    version_string = '4.5.99'\n"):
    info = f"bpy-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"bpy-{version}-py3-none-any.whl", "w") as file:
        file.writestr("bpy.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: bpy\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"bpy.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty data folder, and a package index that is a folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    for name in ("PIP_CONSTRAINT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PCS_RENDER_BLENDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(locate.importlib.util, "find_spec", lambda name: None)
    return tmp_path / "data" / "pcs-render"


def test_a_failed_install_leaves_no_environment_and_the_next_one_completes_it(home, tmp_path, capfd):
    wheel(tmp_path / "index", "5.0.1")
    with pytest.raises(BlenderError, match="run this again"):
        install_blender()
    assert not locate.private_python().exists()
    with pytest.raises(BlenderError, match="install-blender"):
        find_blender()
    wheel(tmp_path / "index")
    said: list[str] = []
    python = install_blender(say=said.append)
    assert python == locate.private_python()
    found = find_blender()
    assert (found.name, found.version) == (str(python), "4.5.99")
    assert sorted(p.name for p in home.iterdir()) == [".lock", "blender-4.5"]
    assert "ready" in said[-1]
    install_blender(say=said.append)
    assert "already installed" in said[-1]


def test_an_environment_that_does_not_work_is_replaced(home):
    locate.private_python().parent.mkdir(parents=True)
    script(locate.private_python(), "exit 1")
    said: list[str] = []
    with pytest.raises(BlenderError, match="not found"):  # it goes on to make another
        install_blender("python3.99", say=said.append)
    assert "does not work and is replaced" in said[0]


def test_an_install_that_is_killed_at_any_moment_can_be_run_again(home, tmp_path):
    wheel(tmp_path / "index")
    code = "from pcs_render.install import install_blender; install_blender()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for seconds in (1.0, 4.0):
        run = subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True)
        time.sleep(seconds)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        if locate.private_python().exists():  # it had finished
            assert find_blender().version == "4.5.99"
    assert install_blender().exists()
    assert find_blender().version == "4.5.99"


def test_a_full_disk_and_a_missing_python_are_told_before_anything_is_done(home, tmp_path, monkeypatch):
    with pytest.raises(BlenderError, match=r"python3\.99 was not found"):
        install_blender("python3.99")
    with pytest.raises(BlenderError, match=r"is not Python 3\.11"):
        install_blender(script(tmp_path / "python", "echo 3 12"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: usage(0, 0, 5 << 20))
    with pytest.raises(OutputError, match="has 5 MiB free"):
        install_blender()
    assert not home.joinpath("blender-4.5.partial").exists()


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo Blender 4.2.1 LTS", r"has Blender 4\.2\.1; version 4\.5 is needed"),
        ("echo Blender 4.50.1", r"has Blender 4\.50\.1"),
        ("echo Python 3.10.4", r"is Python 3\.10\.4; bpy 4\.5 runs under Python 3\.11 alone"),
        ("echo what?; exit 1", "neither Blender nor Python.*what"),
        ("", "neither Blender nor Python"),
        ("echo Blender 4.5.3 LTS", "does not start"),
    ],
)
def test_what_is_configured_must_be_blender_or_python_of_the_right_version(tmp_path, body, message, monkeypatch):
    path = script(tmp_path / "program", body)
    with pytest.raises(BlenderError, match=message):
        find_blender(path)
    monkeypatch.setenv("PCS_RENDER_BLENDER", str(path))
    with pytest.raises(BlenderError, match=message):
        find_blender()


def test_a_configured_path_that_is_no_program_is_named_and_nothing_else_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(locate.importlib.util, "find_spec", lambda name: object())
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(BlenderError, match=f"{path} is no program"):
            find_blender(path)


def test_a_blender_executable_runs_the_worker_as_a_script_without_the_user_s_settings(tmp_path):
    runs_script = 'test "$2 $5" = "--factory-startup --python" && test "$7" = -- && exec python3 -P "$6" "$8" "$9"'
    path = script(tmp_path / "blender", f'test "$1" = --version && echo Blender 4.5.3 LTS && exit\n{runs_script}')
    with pytest.raises(BlenderError, match="has no bpy"):  # that is what the worker found, under this Python
        find_blender(path)


def test_blender_is_looked_for_in_the_documented_order(tmp_path, monkeypatch):
    with pytest.raises(BlenderError, match=r'pip install "\.\[blender\]".*pcs-render install-blender'):
        locate.find()
    private = locate.private_python()
    private.parent.mkdir(parents=True)
    script(private, "")
    assert locate.find().name == str(private)
    monkeypatch.setattr(locate.importlib.util, "find_spec", lambda name: object() if name == "bpy" else None)
    assert locate.find().name == sys.executable
    monkeypatch.setenv("PCS_RENDER_BLENDER", str(script(tmp_path / "named", "echo Blender 4.5.3")))
    assert locate.find().name == str(tmp_path / "named")
    assert locate.find(script(tmp_path / "given", "echo Python 3.11.2")).name == str(tmp_path / "given")


@pytest.mark.parametrize(
    "library", ["libXi.so.6", "libSM.so.6", "libGL.so.1", "libxkbcommon.so.0", "libXfixes.so.3", "libEGL.so.1"]
)
def test_a_missing_library_is_named_with_the_packages_that_bring_it(library):
    debian, fedora = locate.LIBRARIES[library.split(".")[0]]
    reason = f"ImportError: {library}: cannot open shared object file: No such file or directory"
    assert {library, debian, fedora} <= set(locate.explained(reason, "python").replace(":", " ").split())
    unknown = locate.explained("ImportError: libodd.so.3: cannot open shared object file: No such file", "python")
    assert "libodd.so.3" in unknown
