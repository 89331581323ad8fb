"""A detector in a file of ONNX Runtime, as ``pcs-detect export`` writes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boxes import Floats
from ..errors import DataError, InputError, InstallationError
from ..extras import install
from ..photographs.grey import Grey
from .averages import PART
from .decoding import averaged, decoded, suppressed
from .look import Look

FORMAT = 3  # of what a file says about itself; newer ones are refused by name


class OnnxNetwork:
    """The network of an ONNX file; see ``networks.Network``.

    Args:
        file: written by ``pcs-detect export``.
        device: "cpu", "cuda" (with the package onnxruntime-gpu), or None for CUDA where it is installed.
        score, iou: least score and largest overlap of crystals; None for what the file says (``Look.sought``).
        threads: of the processor; None for as many as there are cores.

    Raises:
        DataError: the file is missing, damaged, or no detector of this package.
        InputError: a device that is not there.
    """

    tiled = True

    def __init__(
        self,
        file: str | Path,
        device: str | None = None,
        *,
        score: float | None = None,
        iou: float | None = None,
        threads: int | None = None,
    ) -> None:
        path = Path(file)
        try:
            content = path.read_bytes()
        except OSError as e:
            raise DataError(f"{path}: {e.strerror or e}; name a detector that pcs-detect export wrote") from e
        self.session, self.device = _session(content, path, device, threads)
        about = _about(self.session.get_modelmeta().custom_metadata_map, path)
        self.about = about
        self.mean, self.deviation = float(about["mean"]), float(about["deviation"])
        self.divisor, self.strides = int(about["divisor"]), [int(s) for s in about["strides"]]
        self.look = Look(**about["look"])
        self.score = self.look.sought if score is None else score
        self.iou = self.look.iou if iou is None else iou
        self.source = {
            "file": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "config": about.get("config"),
            "epoch": about.get("epoch"),
        }

    def find(self, images: list[Grey]) -> list[tuple[Floats, NDArray]]:
        """(N, 5) boxes le90 and (N,) scores in each of (H, W) grey values 0..255 of one size, suppressed."""
        found = []
        for image in images:
            geometry, scores = self.dense(image)
            size = (image.shape[0], image.shape[1])
            least = self.score * PART if self.look.average else self.score
            best = decoded(geometry, scores, size, self.strides, self.about["coding"], least, self.about["candidates"])
            found.append(averaged(*best, self.iou, self.score) if self.look.average else suppressed(*best, self.iou))
        return found

    def dense(self, image: Grey) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(A, 5) geometry and (A,) scores of every place of an image (H, W) whose sides ``divisor`` divides."""
        pixels = np.ascontiguousarray(image, dtype=np.float32)[None, None]
        geometry, scores = self.session.run(["geometry", "scores"], {"image": pixels})
        if not np.isfinite(scores).all():
            raise DataError(f"{self.source['file']} gives no finite numbers: its weights are damaged, or its training failed")
        return geometry[0], scores[0]


def _session(content: bytes, path: Path, device: str | None, threads: int | None) -> tuple[Any, str]:
    try:
        import onnxruntime
    except ImportError as e:
        raise InstallationError(f"onnxruntime cannot be imported ({e}); {install('onnxruntime')}") from e
    if device not in (None, "cpu", "cuda"):
        raise InputError(f"device {device!r}: it is 'cpu' or 'cuda'")
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not there:
        raise InputError("device 'cuda': the installed onnxruntime has none; install onnxruntime-gpu instead, or take 'cpu'")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they are raised as well
    options.intra_op_num_threads = threads or 0
    # threads that wait without sleeping would take their cores from reading and drawing
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = (["CUDAExecutionProvider"] if there and device != "cpu" else []) + ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=wanted)
    except Exception as e:  # its errors are classes of its own without a common base
        raise DataError(f"{path}: not a readable ONNX file ({str(e).splitlines()[0][:200]}); is it complete?") from e
    return session, "cuda" if session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"


def _about(entries: dict[str, str], path: Path) -> dict[str, Any]:
    """What the file says about itself. Raises DataError."""
    refused = f"{path}: no detector of pcs-detect; write one with: pcs-detect export CHECKPOINT {path.stem}.onnx"
    if "pcs_detect" not in entries:
        raise DataError(refused)
    try:
        about = json.loads(entries["pcs_detect"])
        if int(about["format"]) > FORMAT:
            raise DataError(f"{path}: written by a newer version of pcs-detect ({about.get('version')}); update this one")
        missing = {"mean", "deviation", "divisor", "strides", "coding", "candidates", "look"} - about.keys()
        Look(**about["look"])
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{refused} ({e})") from e
    if missing:
        raise DataError(f"{refused} (it lacks {', '.join(sorted(missing))})")
    return about
