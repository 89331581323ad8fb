"""A renderer for tests on a cluster: draws hulls in place of starting Blender, notes what it does, and fails where told to."""

from __future__ import annotations

import io
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from pcs_render.blender import Rendered, SceneFailed
from pcs_render.errors import BlenderError, OutputError
from pcs_render.labels import labels

VERSION = "4.5.0"
OTHER = "TESTED_BLENDER"  # environment variable of a node: the version that Blender has there
OPENS = "TESTED_OPENS"  # environment variable of a node: the gate that a drawer there opens


@dataclass(frozen=True)
class Opened:
    """Makes drawers. Images named in the sets fail each in its way; those from ``waits`` on wait until the gate exists."""

    log: Path | None = None
    seconds: float = 0.0
    gate: Path | None = None
    waits: int = 0
    fails: frozenset[int] = frozenset()
    kills: frozenset[int] = frozenset()
    fills: frozenset[int] = frozenset()
    breaks: frozenset[int] = frozenset()

    def __call__(self):
        return Drawer(self), os.environ.get(OTHER, VERSION)


class Drawer:
    def __init__(self, opened):
        self.opened = opened

    def render(self, scene):
        self.note("begins", scene.image)
        self.wait(scene.image)
        if scene.image in self.opened.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if scene.image in self.opened.fails:
            raise SceneFailed(scene.image, "it always does")
        if scene.image in self.opened.fills:
            raise OutputError("cannot write the shard: No space left on device")
        if scene.image in self.opened.breaks:
            raise BlenderError("Blender does not start")
        image = Image.new("L", (scene.camera.width, scene.camera.height), 128)
        for polygon in labels(scene).polygons:
            ImageDraw.Draw(image).polygon([tuple(p) for p in polygon.tolist()], fill=200)
        file = io.BytesIO()
        image.save(file, "PNG")
        return Rendered(png=file.getvalue(), seconds=0.5, processor_seconds=0.5, device="CPU", blender=VERSION, tries=1)

    def wait(self, image):
        time.sleep(self.opened.seconds)
        gate, deadline = self.opened.gate, time.monotonic() + 40
        if gate is not None:
            if os.environ.get(OPENS) == str(gate):
                gate.touch()
            while image >= self.opened.waits and not gate.exists() and time.monotonic() < deadline:
                time.sleep(0.02)

    def note(self, *words):
        """One line, in one piece even where many write."""
        if self.opened.log is not None:
            import ray

            node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "-"
            line = " ".join(map(str, (*words, os.getpid(), node, os.environ.get("CUDA_VISIBLE_DEVICES") or "-")))
            with open(self.opened.log, "ab", buffering=0) as file:
                file.write(line.encode() + b"\n")

    def close(self):
        self.note("closes", -1)


@dataclass(frozen=True)
class Note:
    what: str  # "begins" an image, or "closes"
    image: int
    pid: int
    node: str
    gpus: str


def notes(log: Path) -> list[Note]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [Note(w[0], int(w[1]), int(w[2]), w[3], w[4]) for w in map(str.split, lines)]
