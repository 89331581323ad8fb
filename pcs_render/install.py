"""``pcs-render install-blender``: bpy, and the NumPy < 2 that it needs, in an environment of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pcs_augment.files import locked, made_folder

from .blender import started
from .errors import BlenderError, OutputError
from .locate import PYTHON, VERSION, private_python, python_with_bpy

REQUIREMENT = "bpy=={}.{}.*".format(*VERSION)
SPACE = 2 << 30  # bytes: about 0.4 GB of downloads and 1 GB unpacked


def install_blender(python: str | os.PathLike[str] | None = None, say: Callable[[str], None] = print) -> Path:
    """Make the private environment unless there is a working one; returns its Python, which ``locate.find`` then finds.

    ``python`` is a Python 3.11 to make it from (default: this one, or ``python3.11``). The environment appears under its name
    when it is whole and has started Blender, so a run that is killed leaves none, and the next run resumes with the files that
    it had downloaded. Raises BlenderError, and OutputError for a folder that cannot be written or a run beside this one.
    """
    home = private_python().parents[1]
    made_folder(home.parent)
    with locked(home.parent):
        if private_python().exists():
            try:
                say(f"Blender {_version(private_python())} is already installed in {home}")
                return private_python()
            except BlenderError as e:
                say(f"the Blender in {home} does not work and is replaced: {e}")
        base = _base(python)
        _require_space(home.parent)
        partial = home.with_name(f"{home.name}.partial")
        wheels = made_folder(partial / "wheels")
        for old in partial.glob("environment-*"):  # cut short, it cannot be trusted
            shutil.rmtree(old, ignore_errors=True)
        environment = Path(tempfile.mkdtemp(prefix="environment-", dir=partial))
        say(f"making an environment with {base}")
        _run([base, "-m", "venv", str(environment)], "install the venv module of Python 3.11 (Debian: python3.11-venv)")
        pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        say(f"downloading {REQUIREMENT} (about 400 MB)")
        again = "check the network and run this again: what is downloaded already is kept"
        _run([*pip, "download", "--only-binary", ":all:", "--dest", str(wheels), REQUIREMENT], again)
        say("installing")
        offline = ["--no-index", "--find-links", str(wheels)]
        _run([*pip, "install", "--quiet", *offline, REQUIREMENT], f"delete {partial} and run this again")
        version = _version(environment / "bin" / "python")
        shutil.rmtree(home, ignore_errors=True)
        os.rename(environment, home)
        shutil.rmtree(partial, ignore_errors=True)
        say(f"Blender {version} is ready in {home}")
        return private_python()


def _version(python: Path) -> str:
    """Raises BlenderError when Blender does not start there."""
    return started(python_with_bpy(python)).version


def _base(python: str | os.PathLike[str] | None) -> str:
    if python is None and sys.version_info[:2] == PYTHON:
        return sys.executable
    wanted = str(python or "python{}.{}".format(*PYTHON))
    found = shutil.which(wanted)
    if found is None:
        raise BlenderError(
            f"{wanted} was not found; bpy {VERSION[0]}.{VERSION[1]} needs Python 3.11: install it and name it with --python, "
            "or download Blender 4.5 LTS and name its executable with PCS_RENDER_BLENDER"
        )
    done = subprocess.run(
        [found, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    if done.stdout.split() != [str(n) for n in PYTHON]:
        raise BlenderError(f"{found} is not Python 3.11, the only one that bpy {VERSION[0]}.{VERSION[1]} runs under")
    return found


def _require_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < SPACE:
        raise OutputError(
            f"{folder} has {free >> 20} MiB free and {SPACE >> 20} MiB are needed; free some, or set XDG_DATA_HOME to a place "
            "that has them"
        )


def _run(command: Sequence[str], remedy: str) -> None:
    """A step whose own output the user sees."""
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise BlenderError(f"{' '.join(command[1:4])} failed (exit status {done.returncode}); {remedy}")
