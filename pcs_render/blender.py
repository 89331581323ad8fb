"""Rendering scenes with Blender, in a process of its own that is watched, replaced when it fails, and replaced when it grows.

Blender leaks, needs an old NumPy and sometimes dies; nothing of it enters the process that uses this module.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from . import png
from ._worker import BEAT
from .errors import BlenderError, InputError
from .geometry import crystal_solid
from .locate import Blender, explained, find, require_version
from .meshes import ball, rounded
from .process import Lost, WorkerProcess
from .profile import Profile
from .scene import Scene

TRIES = 3
DEVICES = ("CPU", "GPU", "CUDA", "OPTIX", "HIP", "ONEAPI", "METAL")  # GPU: the best there is
NEEDED_SPACE = 16 << 20  # bytes, for a job and its picture


class SceneFailed(BlenderError):
    """One scene could not be rendered although fresh workers tried; others may well be."""

    def __init__(self, image: int, reason: str):
        super().__init__(image, reason)  # both, so that it can be pickled
        self.image = image
        self.reason = reason

    def __str__(self) -> str:
        return f"image {self.image} was skipped after {TRIES} tries: {self.reason}"


@dataclass(frozen=True)
class Rendered:
    png: bytes  # 8-bit grey, without metadata: the same bytes for the same scene, profile, Blender and processor features
    seconds: float  # in the worker, for this picture
    processor_seconds: float  # the same, summed over threads
    device: str  # CPU, or the kind and names of the GPUs
    blender: str  # version
    tries: int


def started(blender: Blender, patience: float = 600.0) -> Blender:
    """The same with its version, learnt by starting it once. Raises BlenderError when it does not start or is another one."""
    with tempfile.TemporaryDirectory(prefix="pcs-render-", ignore_cleanup_errors=True) as folder:
        worker = WorkerProcess(blender.command, Path(folder))
        try:
            _greet(worker, blender, patience)
        except Lost as e:
            raise BlenderError(f"Blender does not start ({blender.name}): {e}") from e
        finally:
            worker.end()
        return dataclasses.replace(blender, version=worker.version)


def find_blender(configured: str | os.PathLike[str] | None = None) -> Blender:
    """The Blender to render with: ``configured`` or else $PCS_RENDER_BLENDER (a ``blender`` executable or a Python that has
    bpy), bpy beside this library, the environment of ``pcs-render install-blender``.

    Raises BlenderError when there is none, when it does not start, or when it is not of the version supported.
    """
    return started(find(configured))


def time_limit(profile: Profile, width: int, height: int) -> float:
    """Seconds that a picture may take unless set otherwise: ten minutes, and ten times what one core took when measured
    (18 s for 384 x 384 px with 40 samples each)."""
    return 600.0 + 180.0 * (width * height / 384**2) * (profile.samples / 40)


def memory_limit(width: int, height: int) -> int:
    """MiB that a worker may use unless set otherwise: 4 GiB for scene and programs, and 256 bytes for each pixel's buffers."""
    return 4096 + (256 * width * height >> 20)


def _greet(worker: WorkerProcess, blender: Blender, patience: float, limit: int = 1 << 40) -> None:
    """Wait until the worker can take jobs. Raises Lost, or BlenderError for what no other worker would do better."""
    answer = worker.answer(patience, patience, limit, "start")
    if answer["kind"] == "unusable":
        raise BlenderError(explained(str(answer.get("reason")), str(answer.get("python", blender.name))))
    if answer["kind"] != "ready" or not isinstance(answer.get("version"), str):
        raise Lost(f"it began with {answer}")
    require_version(answer["version"], blender.name)
    worker.version, worker.pid = answer["version"], int(answer.get("pid", worker.pid))


class Renderer:
    """Renders scenes under one profile, one after the other, in a ``with`` block or until ``close``.

    Args:
        profile: How to render.
        blender: What ``find_blender`` found, or its argument.
        threads: CPU threads; they do not change the picture.
        device: One of ``DEVICES``.
        recycle: Pictures after which a fresh worker takes over.
        patience: Seconds that one picture, or the start of a worker, may take; None: ``time_limit`` of the picture.
        heartbeat: Seconds without a sign of life while rendering after which a worker is taken for dead.
        memory_limit: Resident memory of the worker in MiB. Above it, it is replaced, in the middle of a picture too
            (elsewhere than on Linux, only after a picture). None: ``memory_limit`` of the picture.

    Raises InputError for an argument out of its range, BlenderError when no Blender can be found.
    """

    def __init__(
        self,
        profile: Profile,
        blender: str | os.PathLike[str] | Blender | None = None,
        *,
        threads: int = 2,
        device: str = "CPU",
        recycle: int = 50,
        patience: float | None = None,
        heartbeat: float = 30.0,
        memory_limit: int | None = None,
    ):
        if not heartbeat > BEAT:
            raise InputError(
                f"heartbeat is {heartbeat}; a worker gives a sign of life every {BEAT} s, so it must be above that"
            )
        for name, value in {"recycle": recycle, "patience": patience, "memory_limit": memory_limit}.items():
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; it must be positive")
        if not 1 <= threads <= 1024:  # Blender's own limit
            raise InputError(f"threads is {threads}; it takes 1 to 1024")
        if device not in DEVICES:
            raise InputError(f"device is {device!r}; allowed are {', '.join(DEVICES)}")
        self.profile, self.threads, self.device = profile, threads, device
        self._blender = blender if isinstance(blender, Blender) else find(blender)
        self._recycle, self._patience, self._heartbeat = recycle, patience, heartbeat
        self._memory = memory_limit
        self._folder = tempfile.TemporaryDirectory(prefix="pcs-render-", ignore_cleanup_errors=True)
        self._worker: WorkerProcess | None = None
        self._greeted = self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and remove what it left. From another thread, this ends a ``render`` with BlenderError."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            worker.kill()
        with self._lock:
            self._drop()
            self._folder.cleanup()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, if there is one."""
        worker = self._worker
        return None if worker is None else worker.pid

    def render(self, scene: Scene) -> Rendered:
        """Render one scene, on fresh workers if the first ones fail.

        Raises SceneFailed when every try failed; BlenderError when Blender does not start, is of another version, has not the
        device or refuses the profile, so that every other scene would fail too.
        """
        with self._lock:
            job = self._job(scene)
            reasons = []
            for attempt in range(1, TRIES + 1):
                try:
                    return self._tried(scene, job, attempt)
                except Lost as e:
                    reasons.append(str(e))
                    self._drop()
                except BaseException:  # interrupted: what the worker says next would be about this scene
                    self._drop()
                    raise
        listed = "; ".join(dict.fromkeys(reasons))
        if shutil.disk_usage(self._folder.name).free < NEEDED_SPACE:
            raise BlenderError(f"the disk is full: Blender cannot work in {self._folder.name}; free space there or set TMPDIR")
        if not self._greeted:
            raise BlenderError(f"Blender does not start ({self._blender.name}): {listed}")
        raise SceneFailed(scene.image, listed)

    def _tried(self, scene: Scene, job: dict[str, Any], attempt: int) -> Rendered:
        self._require_open()
        size = scene.camera.width, scene.camera.height
        patience = self._patience or time_limit(self.profile, *size)
        limit = (self._memory or memory_limit(*size)) << 20
        if self._worker is None:
            self._greeted = False
            self._worker = WorkerProcess(self._blender.command, Path(self._folder.name))
            self._require_open()  # ``close`` may have looked for a worker just before
            _greet(self._worker, self._blender, patience, limit)
            self._greeted = True
        worker = self._worker
        answer = self._watched(worker, job, patience, limit)
        picture = _picture(Path(job["output"]), scene)
        if worker.rendered >= self._recycle or worker.memory(answer.get("peak", 0)) > limit:
            self._drop()
        return Rendered(
            picture,
            float(answer["seconds"]),
            float(answer["processor"]),
            str(answer["device"]),
            worker.version,
            attempt,
        )

    def _require_open(self) -> None:
        if self._closed:
            raise BlenderError("this renderer is closed; make another")

    def _job(self, scene: Scene) -> dict[str, Any]:
        content = scene.to_dict()
        del content["models"]  # the worker gets them placed, and with round edges
        solids = [crystal_solid(scene, crystal) for crystal in scene.crystals]
        return {
            "scene": content,
            "crystals": [rounded(s.vertices, s.faces, scene.subdivisions)._asdict() for s in solids],
            "spheres": [ball(sphere.radius)._asdict() for sphere in scene.spheres],
            "profile": self.profile.to_dict(),
            "threads": self.threads,
            "device": self.device,
            "output": str(Path(self._folder.name) / "picture.png"),
        }

    def _watched(self, worker: WorkerProcess, job: dict[str, Any], patience: float, limit: int) -> dict[str, Any]:
        """The answer to the job. Raises Lost when it is not done."""
        Path(job["output"]).unlink(missing_ok=True)
        path = Path(self._folder.name) / "job.json"
        try:
            path.write_text(json.dumps(job))
        except OSError as e:
            raise BlenderError(f"cannot write {path}: {e.strerror}; free space there or set TMPDIR") from e
        worker.send(str(path))
        answer = worker.answer(patience, self._heartbeat, limit, "render")
        if answer["kind"] == "unusable":
            raise BlenderError(str(answer.get("reason")))
        if answer["kind"] != "done" or not {"seconds", "processor", "device"} <= set(answer):
            raise Lost(str(answer.get("reason", answer)))
        worker.rendered += 1
        return answer

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


def _picture(path: Path, scene: Scene) -> bytes:
    try:
        return png.plain(path.read_bytes(), scene.camera.width, scene.camera.height)
    except (OSError, ValueError) as e:
        raise Lost(f"it left no good picture: {e}") from e
