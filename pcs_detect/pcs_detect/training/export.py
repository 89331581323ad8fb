"""Detectors of one stage as files that run without OpenMMLab: ONNX, TorchScript, torch.export.

The file holds the network with its normalisation; decoding and suppression of what it gives are NumPy's
(``inference.decoding``). An ONNX file takes images of any size, says itself all that ``Detector("x.onnx")`` needs, and can
hold its weights in half precision, computing in single.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import InputError
from ..files import made_folder, written
from ..inference.look import Look
from ..inference.onnx_network import FORMAT
from ..results import check_apart
from .dense import DenseDetector, dense_detector
from .engine.loading import Loaded, load_detector
from .half import halved_graph, halved_state

STEP = 32  # sides of an example image: multiples of this, as in training
OPSET, IR_VERSION = 18, 10  # what ONNX Runtime 1.18 and later reads
ENDINGS = (".onnx", ".ts", ".pt2")


def export(
    checkpoint: str | Path,
    out: str | Path,
    size: tuple[int, int] = (384, 384),
    config: str | Path | None = None,
    *,
    half: bool = False,
    look: Look | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a detector as a file.

    Args:
        checkpoint, config: see ``loading.load_detector``.
        out: .onnx (needs onnx and onnxscript), .ts for TorchScript, .pt2 for torch.export.
        size: (H, W) px of the image that .ts and .pt2 will take, multiples of 32; ONNX takes any.
        half: weights of convolutions in half precision, which halves an ONNX file.
        look: how it looks at photographs, for the ONNX file; by default as the checkpoint's settings say.
        about: what else the ONNX file says of itself, such as training data and licence.

    Raises:
        InputError: a detector of two stages, or arguments that do not fit; ``out`` is the checkpoint.
        DataError: the checkpoint cannot be read.
    """
    path = Path(out)
    if path.suffix not in ENDINGS:
        raise InputError(f"{path}: a detector is exported to a file ending in {', '.join(ENDINGS)}")
    if any(s < STEP or s % STEP for s in size):
        raise InputError(f"size is {size[0]} x {size[1]}; both sides must be multiples of {STEP} px")
    if path.suffix != ".onnx" and (half or look or about):
        raise InputError(f"{path.name}: half precision, look and descriptions are for .onnx files")
    check_apart([path], [checkpoint])
    loaded = load_detector(checkpoint, config)
    if half:
        loaded.model.load_state_dict(halved_state(loaded.model.state_dict()))
    write(loaded, path, size, half=half, look=look, about=about)


def write(
    loaded: Loaded,
    path: Path,
    size: tuple[int, int] = (384, 384),
    *,
    half: bool = False,
    look: Look | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """``export`` of a detector that is loaded already."""
    dense = dense_detector(loaded.model)
    image = torch.randint(0, 256, (1, 1, *size), generator=torch.Generator().manual_seed(0)).float()
    made_folder(path.parent)
    with torch.no_grad(), warnings.catch_warnings(), written(path) as temporary:
        warnings.simplefilter("ignore")  # torch's about itself
        if path.suffix == ".ts":
            torch.jit.save(torch.jit.freeze(torch.jit.trace(dense, image)), str(temporary))
        elif path.suffix == ".pt2":
            with temporary.open("wb") as file:
                torch.export.save(torch.export.export(dense, (image,)), file)
        else:
            _write_onnx(dense, image, temporary, half, _description(loaded, dense, look or loaded.look, about or {}))


def _description(loaded: Loaded, dense: DenseDetector, look: Look, about: Mapping[str, str]) -> dict[str, Any]:
    """What an ONNX file says about itself; ``inference.onnx_network`` reads it."""
    return {
        "format": FORMAT,
        "version": __version__,
        "mean": dense.mean,
        "deviation": dense.deviation,
        "divisor": dense.divisor,
        "strides": dense.strides,
        "coding": dense.coding,
        "candidates": int(loaded.model.test_cfg.get("nms_pre", 5000)),  # type: ignore[union-attr, operator]
        "look": look.plain(),
        "config": loaded.source["config"],
        "epoch": loaded.source["epoch"],
        "checkpoint": loaded.source["sha256"],
        **about,
    }


def _write_onnx(dense: Any, image: torch.Tensor, path: Path, half: bool, description: dict[str, Any]) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ModuleNotFoundError as e:
        raise InputError(
            f"ONNX needs the package {e.name}, which the training half brings: pip install onnx onnxscript"
        ) from None
    rows, columns = (torch.export.Dim(name, min=1, max=2048) for name in ("rows", "columns"))
    free: dict[int, Any] = {2: STEP * rows, 3: STEP * columns}
    if not dense.one_by_one:
        image, free[0] = image.repeat(2, 1, 1, 1), torch.export.Dim("images", min=1, max=64)
    program = torch.onnx.export(
        dense,
        (image,),
        input_names=["image"],
        output_names=["geometry", "scores"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes={"image": free},
    )
    graph = program.model_proto  # type: ignore[union-attr]
    if half:
        halved_graph(graph)
    _strip(graph)
    graph.ir_version = IR_VERSION
    graph.doc_string = "Detector of crystals in micrographs: grey values 0..255 in, geometry and scores of every place out."
    onnx.helper.set_model_props(graph, {"pcs_detect": json.dumps(description)})
    onnx.checker.check_model(graph)
    path.write_bytes(graph.SerializeToString())


def _strip(model: Any) -> None:
    """Leave out what the exporter records of the program that it ran: files and lines of this machine, types in between."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""
