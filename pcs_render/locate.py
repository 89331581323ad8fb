"""Which Blender renders, and what to do when there is none."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pcs_augment.extras import install

from .errors import BlenderError

VERSION = (4, 5)  # the long-term-support series whose pictures the profiles were measured on
PYTHON = (3, 11)  # the only one that bpy of this series runs under
VARIABLE = "PCS_RENDER_BLENDER"
WORKER = Path(__file__).with_name("_worker.py")
WAYS = (
    f"install it ({install('blender')}, with Python 3.11), or into an environment of its own with "
    f"pcs-render install-blender, or name a blender executable or a Python that has bpy with --blender or {VARIABLE}"
)

# shared libraries that bpy and its parts load: package on Debian and Ubuntu, on Fedora
LIBRARIES = {
    "libEGL": ("libegl1", "libglvnd-egl"),
    "libGL": ("libgl1", "libglvnd-glx"),
    "libGLX": ("libglx0", "libglvnd-glx"),
    "libICE": ("libice6", "libICE"),
    "libSM": ("libsm6", "libSM"),
    "libX11": ("libx11-6", "libX11"),
    "libXau": ("libxau6", "libXau"),
    "libXdmcp": ("libxdmcp6", "libXdmcp"),
    "libXext": ("libxext6", "libXext"),
    "libXfixes": ("libxfixes3", "libXfixes"),
    "libXi": ("libxi6", "libXi"),
    "libXrender": ("libxrender1", "libXrender"),
    "libXt": ("libxt6", "libXt"),
    "libXxf86vm": ("libxxf86vm1", "libXxf86vm"),
    "libgomp": ("libgomp1", "libgomp"),
    "libstdc++": ("libstdc++6", "libstdc++"),
    "libuuid": ("libuuid1", "libuuid"),
    "libxcb": ("libxcb1", "libxcb"),
    "libxkbcommon": ("libxkbcommon0", "libxkbcommon"),
}


@dataclass(frozen=True)
class Blender:
    """How to start a worker: a command that the file descriptor for its answers and its folder are appended to."""

    command: tuple[str, ...]
    version: str = ""  # as far as it is known

    @property
    def name(self) -> str:
        return self.command[0]


def python_with_bpy(path: str | os.PathLike[str]) -> Blender:
    """-P keeps the worker's folder, and so this package's modules, out of its way."""
    return Blender((str(path), "-P", str(WORKER)))


def _executable(path: str) -> Blender:
    return Blender((path, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(WORKER), "--"))


def data_folder() -> Path:
    """Where this user's private Blender lives. Raises BlenderError for a user without a home."""
    base = os.environ.get("XDG_DATA_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "pcs-render"
    except RuntimeError as e:
        raise BlenderError(f"this user has no home folder ({e}); set HOME or XDG_DATA_HOME, or {WAYS}") from e


def private_python() -> Path:
    """The Python of the environment that ``pcs-render install-blender`` makes."""
    return data_folder() / "blender-{}.{}".format(*VERSION) / "bin" / "python"


def find(configured: str | os.PathLike[str] | None = None) -> Blender:
    """The Blender to use: ``configured`` or else $PCS_RENDER_BLENDER, bpy beside this library, the private environment.

    Raises BlenderError when there is none, or when the configured one cannot be used; then no other is tried.
    """
    named = configured or os.environ.get(VARIABLE)
    if named:
        return _configured(str(named))
    if importlib.util.find_spec("bpy") is not None:
        return python_with_bpy(sys.executable)
    with contextlib.suppress(BlenderError):  # no home, so nothing in it
        if private_python().exists():
            return python_with_bpy(private_python())
    raise BlenderError(f"Blender {'.'.join(map(str, VERSION))} was not found; {WAYS}")


def _configured(named: str) -> Blender:
    path = shutil.which(os.path.expanduser(named))
    if path is None:
        raise BlenderError(f"{named} is no program that can be run; name a blender executable or a Python that has bpy")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace", timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise BlenderError(f"{path} cannot be run: {e}; name a blender executable or a Python that has bpy") from e
    # both say their name and version, whatever they are called
    found = re.search(r"^(Blender|Python) (\d+)\.(\d+)\S*", done.stdout, re.MULTILINE)
    if found is None:
        said = (done.stdout + done.stderr).strip()[-200:]
        raise BlenderError(f"{path} is neither Blender nor Python; asked for its version it says {said!r}")
    version = int(found[2]), int(found[3])
    if found[1] == "Python":
        if version != PYTHON:
            raise BlenderError(f"{path} is {found[0]}; bpy 4.5 runs under Python 3.11 alone")
        return python_with_bpy(path)
    require_version(found[0].split()[1], path)
    return _executable(path)


def require_version(version: str, where: str) -> None:
    """Raises BlenderError unless ``version`` ("4.5.3 LTS") belongs to the series that is supported."""
    if tuple(re.findall(r"\d+", version)[:2]) != tuple(map(str, VERSION)):
        raise BlenderError(
            f"{where} has Blender {version}; version {'.'.join(map(str, VERSION))} is needed, because others make other "
            f'pictures. With pip: {where if "python" in Path(where).name else "python3.11"} -m pip install "bpy==4.5.*"'
        )


def explained(reason: str, where: str) -> str:
    """What to do about the error with which bpy refused to be imported by ``where``."""
    missing = re.search(r"(lib[^\s:/]+?)\.so[.\d]*: cannot open shared object file", reason)
    if missing:
        library = missing[0].split(":")[0]
        if missing[1] in LIBRARIES:
            debian, fedora = LIBRARIES[missing[1]]
            return f"Blender needs {library}: apt-get install {debian} (Debian, Ubuntu) or dnf install {fedora} (Fedora)"
        return f"Blender needs {library}; install the package of your system that brings it"
    if "No module named 'bpy'" in reason:
        return f'{where} has no bpy; {where} -m pip install "bpy==4.5.*", or {WAYS}'
    return f"{where} cannot import bpy: {reason}"
