"""What runs on the nodes of a Ray cluster.

Ray sends this module's functions and classes by value, so that a node can say that pcs_render is missing there, or is another
version: nothing of pcs_render may be imported before ``fault`` has looked.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

TOKEN = ".cluster"  # a file of the data set by which a node knows that it sees the driver's folder
LAG = 90.0  # seconds after which a network file system shows every node what another one wrote


def foreign(version):
    """Why pcs_render here is not the driver's, or does not work; empty if all is well."""
    advice = f'install version {version}, which the driver has, on every node: pip install ".[cluster]" in its checkout'
    try:
        import pcs_render

        if pcs_render.__version__ != version:
            return f"has pcs_render {pcs_render.__version__}; {advice}"
        import pcs_render.production  # with all that it needs
    except ImportError as e:
        return f"cannot import pcs_render ({e}); {advice}"
    return ""


def fault(folder, token, version):
    """What keeps this node from working on a data set; empty if nothing does."""
    reason = foreign(version)
    if reason:
        return reason
    advice = "the data set must lie on a file system that every node sees under the same path"
    try:
        found = (Path(folder) / TOKEN).read_text()
    except OSError as e:
        return f"does not see the folder {folder} ({e.strerror}); {advice}"
    if found != token:
        return f"sees another folder under the name {folder}; {advice}"
    try:
        with tempfile.TemporaryFile(dir=Path(folder) / "shards"):
            return ""
    except OSError as e:
        return f"cannot write into the folder {folder} ({e.strerror}); every node must be allowed to"


def opened(profile, blender, threads, device, limits=None):
    """A renderer, and the version of the Blender found here."""
    from pcs_render.blender import Renderer, find_blender

    found = find_blender(blender)
    return Renderer(profile, found, threads=threads, device=device, **(limits or {})), found.version


def blender_version(version, pickled):
    """(version of Blender here, "") or ("", why there is none). ``pickled``: as ``opened`` without arguments."""
    reason = foreign(version)
    if reason:
        return "", reason
    import ray.cloudpickle

    from pcs_augment.errors import PcsError

    try:
        renderer, found = ray.cloudpickle.loads(pickled)()
    except PcsError as e:
        return "", f"cannot render: {e}"
    renderer.close()
    return found, ""


class RenderActor:
    """A renderer that stays warm, and the data set that it works on. Once it is at fault it does nothing more."""

    def start(self, folder, token, version, shared):
        """Make ready; returns (id of this node, its fault or ""). ``shared``: a reference in a list, or Ray opens it."""
        import ray

        self.renderer: Any = None
        self.fault = fault(folder, token, version) or self._open(ray.get(shared[0]))
        return ray.get_runtime_context().get_node_id(), self.fault

    def _open(self, shared):
        from pcs_augment.errors import PcsError

        self.plan, self.job, opened = shared
        try:
            self.renderer, found = opened()
        except PcsError as e:
            return f"cannot render: {e}"
        wanted = self.plan.versions["blender"]
        return "" if found == wanted else f"has Blender {found}, the data set is being made with {wanted}; install that one"

    def make(self, ids):
        """Render images one by one, each on disk before the next begins; those that are there already are left alone.

        Returns (how many were rendered, seconds that this took, this node's fault or "").
        """
        from pcs_render.errors import BlenderError
        from pcs_render.production import make

        began, made = time.monotonic(), 0
        for image in ids:
            if self.fault:
                break
            if self.plan.kept_path(image).exists() or self.plan.quarantine_path(image).exists():
                continue
            try:
                make(self.plan, self.job, self.renderer, image)
                made += 1
            except BlenderError as e:
                self.fault = f"cannot render: {e}"
        return made, time.monotonic() - began, self.fault

    def finish(self, shard):
        """Fold a shard. Returns its summary, or the ids of images that have vanished; None at fault."""
        deadline = time.monotonic() + LAG
        while not self.fault and (missing := self.plan.todo(shard).ids):
            if time.monotonic() > deadline:
                return missing
            time.sleep(0.2)
        return None if self.fault else self.plan.finish(shard)

    def stop(self):
        """End what it is rendering; may be called meanwhile."""
        if self.renderer is not None:
            self.renderer.close()
