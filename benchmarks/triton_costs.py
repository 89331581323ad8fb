"""What a launch of each Triton kernel moves and computes, from its arguments.

Rule: every tensor is read or written once, since what is read again is in a cache. Of ``images`` only the rows that ``sample``
names count; tables on the device that came from the host carry their values as ``host``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from pcs_augment.raster import following

# Instructions of a thread for each of its pixels (values, gradients): those of the innermost loop, or of the whole kernel where
# there is none, in the code for compute capability 9.0, over the pixels of a thread. Slow paths of divisions and roots, which
# ordinary numbers do not take, are among those of _strokes, _fills, _extremes and _curves: an upper bound.
INSTRUCTIONS = {
    "_add_impulses": 29,
    "_add_ranks": 15,
    "_add_noise": 28,
    "_assign": 40,
    "_distances": 30,
    "_blend": 53,
    "_clear": 8,
    "_converted": 8,
    "_gradients": 39,
    "_halves": 23,
    "_layer_counts": 21,
    "_look_up": 10,
    "_offsets": 7,
    "_put": 6,
    "_ranges": 20,
    "_roll": 53,
    "_scale": 9,
    "_stretch": 12,
    "_sum": 11,
    "_turned": 84,
    "_visible": 23,
    "_along": 11,  # per distance from the centre
    "_curves": 50,  # per segment near the tile
    "_strokes": 79,  # per edge and place near it
    "_perlin_counts": 86,  # per texture
    "_perlin_sums": 57,  # per texture
    "_wave_sums": 11,  # per texture
}
# of a convex outline for each row and edge (two threads to a row), and for each pixel; of others for each pixel and edge, and
# for each pixel
OUTLINES = {"_extremes": (340, 22, 139, 67), "_fills": (100, 19, 41, 69)}
IMAGES = {  # how often rows of ``images`` are read or written
    "_add_impulses": 1,  # hits alone are written, but few runs of 32 bytes are without
    "_add_noise": 2,
    "_blend": 2,
    "_put": 1,
    "_scale": 2,
    "_stretch": 2,
    "_sum": 1,
    "_turned": 2,
}
ADDED_TO = {"_perlin_counts": "counts", "_layer_counts": "counts"}  # read and written


class Work(NamedTuple):
    moved: int  # bytes
    atomics: int  # on the memory of the device
    operations: int  # instructions of threads


def work(kernel: str, programs: int, given: dict[str, Any]) -> Work:
    """Of one launch, given its arguments by name."""
    tensors = {k: v for k, v in given.items() if isinstance(v, Tensor)}
    counted_below = {"_along": ("source", "out"), "_extremes": ("images",), "_curves": ("images",)}
    counted_below |= dict.fromkeys(("_fills", "_strokes"), ("owner",))
    whole = counted_below.get(kernel, ("images",) if kernel in IMAGES else ())
    moved = sum(distinct_bytes(t) for k, t in tensors.items() if k not in whole)
    if kernel in ADDED_TO:
        moved += distinct_bytes(tensors[ADDED_TO[kernel]])
    if kernel in IMAGES:
        moved += IMAGES[kernel] * len(tensors["sample"]) * distinct_bytes(tensors["images"][:1])
    places, atomics = programs * _places(given), 0
    if kernel == "_along":
        row = 4 * given["height"] * given["width"]
        into = 2 * (given["ADD"] + given["MULTIPLY"]) or given["channels"]
        moved += len(tensors["reach"]) * row * (given["channels"] + into)
        places = int(tensors["reach"].host.sum()) * given["per_image"] * _places(given)
    elif kernel in ("_perlin_counts", "_perlin_sums", "_wave_sums"):
        textures = len(tensors["waves" if kernel == "_wave_sums" else "geometry"])
        places = textures * given["per_image"] * _places(given)
        if kernel == "_perlin_counts":  # from shared memory at most: empty bins are not added
            atomics = programs * given["BINS"] if given["SHARED"] else textures * given["height"] * given["width"]
    elif kernel in OUTLINES:
        area, tall, blocks, edges = _parts(given)
        atomics = int(area.sum())  # at most
        moved += 8 * atomics
        if kernel == "_extremes":
            moved += (4 * given["channels"] - 8) * atomics
            atomics = int(blocks.sum()) * 2 * given["channels"]
        per_row, per_pixel, per_edge, without = OUTLINES[kernel]
        pixels = blocks * given["BX"] * given["BY"]
        once = (tall * edges * per_row + pixels * per_pixel) if given["CONVEX"] else pixels * (edges * per_edge + without)
        return Work(moved, atomics, int(once.sum()) * (2 if kernel == "_fills" else 1))  # copies too, at most
    elif kernel == "_strokes":
        near, long = _walks(given)
        return Work(moved + 8 * near, near, long * INSTRUCTIONS[kernel])
    elif kernel == "_curves":
        runs = given["runs"].host.astype(np.int64)
        moved += 2 * given["channels"] * programs * _places(given) * 4
        places = int((runs[:, 1] - runs[:, 0]).sum()) * _places(given)
    elif kernel == "_layer_counts":
        atomics = len(tensors["layers"]) * given["n"]
    elif kernel == "_sum":
        atomics = programs
    elif kernel in ("_assign", "_ranges"):  # at most: passes after the first skip what needs none
        atomics = tensors["rows"].numel() * (1 if kernel == "_assign" else 0 if given["FIRST"] else 2)
    elif kernel == "_edges":
        points, first = given["points"].host.view(np.float64), given["first"].host
        tensors["edges"].host = np.concatenate((points, points[following(np.diff(first))]), 1)  # type: ignore[attr-defined]
    return Work(moved, atomics, places * INSTRUCTIONS.get(kernel, 0))


def distinct_bytes(t: Tensor) -> int:
    """Of its distinct elements: an expanded axis costs nothing."""
    return int(np.prod([n for n, step in zip(t.shape, t.stride()) if step != 0])) * t.element_size() if t.numel() else 0


def _places(given: dict[str, Any]) -> int:
    """Pixels, values or gradients that a program looks at together; 0 for programs that make tables."""
    if "TX" in given:
        return given["TX"] * given["TY"]
    return given.get("BLOCK", 8 * given.get("CALLS", 0)) * given.get("RUN", 1)


def _parts(given: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Pixels, rows of whole blocks, blocks and edges of each part of an outline's rectangle."""
    outline, x0, y0, x1, y1 = given["parts"].host.astype(np.int64).T
    wide, tall = x1 - x0, y1 - y0
    high = -(-tall // given["BY"])
    return wide * tall, high * given["BY"], -(-wide // given["BX"]) * high, np.diff(given["first"].host)[outline]


def _walks(given: dict[str, Any]) -> tuple[int, int]:
    """Places near edges, and all that are looked at in whole blocks."""
    ends, kind = given["edges"].host, np.repeat(given["kind"].host, np.diff(given["first"].host))
    steps = np.ceil(np.abs(ends[:, 2:] - ends[:, :2]).max(1)) + 2
    window = np.where(kind == given["OUTLINE"], given["window"], given["BORDER_WINDOW"])
    blocks = np.ceil(steps / given["ALONG"]) * np.ceil(window / given["ACROSS"])
    return int((steps * window).sum()), int(blocks.sum()) * given["ALONG"] * given["ACROSS"]
