"""The oracle: the pipeline for one image at a time, as plainly as the formulas, to test and to time the library against.

``apply`` follows a one-sample Plan in float64 NumPy: own random streams, exact equalisation, brute-force distances. Its step
functions take (C, H, W) images in [0, 1], the step with its settings, and the plan's tables for it.

Needs ``pip install ".[reference]"`` in a checkout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..base import Augmentation
from ..errors import InputError
from ..plan import Plan
from ..ragged import AnyTarget
from .noise import blend, equalize, equalize_8bit, interference, noise_layer, perlin
from .shapes import centres, distance
from .steps import FILTERS, MOVES, PIXELS
from .streams import DISPLACE, LATTICE, Array, normals, numbers, philox
from .targets import as_float64

__all__ = [
    "DISPLACE",
    "LATTICE",
    "Array",
    "apply",
    "as_float64",
    "blend",
    "centres",
    "distance",
    "equalize",
    "equalize_8bit",
    "interference",
    "noise_layer",
    "normals",
    "numbers",
    "perlin",
    "philox",
]


def apply(image: ArrayLike, target: AnyTarget | None, plan: Plan, pipeline: Augmentation) -> tuple[Array, AnyTarget | None]:
    """What ``pipeline.apply`` must return for one image (H, W) or (C, H, W) and a plan of one sample, in float64.

    The target comes back with all objects, NumPy boxes and polygons, and ``keep (N,)``. Raises InputError.
    """
    if len(plan) != 1:
        raise InputError(f"the plan holds {len(plan)} samples, the oracle takes one; pass plan.slice(i, i + 1)")
    given = np.asarray(image)
    x = given.astype(np.float64) / (255 if given.dtype == np.uint8 else 1)
    if x.ndim not in (2, 3):
        raise InputError(f"image must be (H, W) or (C, H, W), got shape {x.shape}")
    x = x.reshape(-1, *x.shape[-2:])
    out = None if target is None else as_float64(target)
    for step, name, tables in zip(pipeline.sequence(), plan.names, plan.steps):
        if name in FILTERS:
            if out is not None:
                out["keep"] &= FILTERS[name](x, out, step)
        elif len(next(iter(tables.values()))["sample"]):
            if name in MOVES:
                x, out = MOVES[name](x, out, int(tables["images"]["kind"][0]))
            else:
                x = PIXELS[name](x, out, step, tables)
    return x if given.ndim == 3 else x[0], out
