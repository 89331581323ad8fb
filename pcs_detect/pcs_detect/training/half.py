"""Weights in half precision: half the bytes, the same computation in single precision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

LEAST = 1024  # numbers: smaller tensors (norms, biases) stay as they are, since their bytes hardly count


def halved_state(state: Mapping[str, Any], store: bool = False) -> OrderedDict[str, Any]:
    """A state dict whose large weights are numbers of half precision, kept as such (``store``) or as single precision.

    Raises:
        InputError: a weight is too large for half precision.
    """
    out: OrderedDict[str, Any] = OrderedDict()
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim > 1 and value.numel() >= LEAST:
            small = value.half()
            if not torch.isfinite(small).all():
                raise InputError(f"{name} holds numbers that half precision cannot; leave the weights as they are")
            value = small if store else small.float()
        out[name] = value
    return out


def halved_graph(graph: Any) -> None:
    """Store the large weights of an ONNX model in half precision, cast to single where they are used."""
    import onnx

    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2 or np.prod(tensor.dims) < LEAST:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], f"cast_{name}", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
