"""What a launch of each Triton kernel moves and computes, from its arguments.

Rule: every tensor is read or written once, since what is read again is in a cache. Of ``images`` only the rows that ``sample``
names count; tables on the device that came from the host carry their values as ``host``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from pcs_augment.noise.equalize import PARTS, PASSES, _split
from pcs_augment.noise.interference import distances
from pcs_augment.raster import following
from pcs_augment.rng import MASK

# Instructions of a thread for each of its pixels (values, gradients): those of the innermost loop, or of the whole kernel where
# there is none, in the code for compute capability 9.0, over the pixels of a thread. Slow paths of divisions and roots, which
# ordinary numbers do not take, are among those of _strokes, _fills, _extremes and _curves: an upper bound.
INSTRUCTIONS = {
    "_add_impulses": 29,
    "_across": 33,
    "_add_ranks": 29,  # per texture
    "_assign": 40,
    "_distances": 30,
    "_blend": 84,
    "_clear": 8,
    "_converted": 8,
    "_gradients": 39,
    "_halves": 23,
    "_layer_counts": 13,  # per slice of the bins
    "_layout": 85,
    "_look_up": 10,
    "_put": 6,
    "_points": 67,  # of all that it may do: an upper bound
    "_ranges": 20,
    "_roll": 53,
    "_stretch": 25,
    "_sum": 11,
    "_tables": 70,
    "_turned": 84,
    "_visible": 23,
    "_wave_tables": 170,
    "_along": 11,  # per distance from the centre
    "_curves": 50,  # per segment near the tile
    "_strokes": 79,  # per edge and place near it
    "_perlin_counts": 37,  # per texture
    "_perlin_sums": 24,  # per texture
    "_rank_table": 63,  # per bin
    "_wave_sums": 11,  # per texture
}
_NUMBERED = 15  # of _along, per distance, where it looks up what the numbers that it reads stand for
# of a convex outline for each row and edge (two threads to a row), and for each pixel; of others for each pixel and edge, and
# for each pixel
OUTLINES = {"_extremes": (340, 22, 139, 67), "_fills": (100, 19, 41, 69)}
IMAGES = {  # how often rows of ``images`` are read or written
    "_add_impulses": 1,  # hits alone are written, but few runs of 32 bytes are without
    "_blend": 2,
    "_put": 1,
    "_stretch": 2,
    "_sum": 1,
    "_turned": 2,
}
_passes: list[int] = []  # that waves take which are ranked by counting, as of the last that were made


class Work(NamedTuple):
    moved: int  # bytes
    atomics: int  # on the memory of the device
    operations: int  # instructions of threads


def work(kernel: str, programs: int, given: dict[str, Any]) -> Work:
    """Of one launch, given its arguments by name."""
    tensors = {k: v for k, v in given.items() if isinstance(v, Tensor)}
    counted_below = {"_along": ("source", "out", "values"), **dict.fromkeys(("_extremes", "_curves", "_points"), ("images",))}
    counted_below |= dict.fromkeys(("_fills", "_strokes"), ("owner",))
    whole = counted_below.get(kernel, ("images",) if kernel in IMAGES else ())
    moved = sum(distinct_bytes(t) for k, t in tensors.items() if k not in whole)
    if kernel in ("_perlin_sums", "_wave_sums"):  # another tensor stands for counts that are not made
        moved += distinct_bytes(tensors["counts"]) if given["COUNT"] else -distinct_bytes(tensors["counts"])
    elif kernel == "_perlin_counts" and not given["SHARED"]:
        moved += distinct_bytes(tensors["counts"])
    if kernel in IMAGES:
        present = int((given["sample"].host >= 0).sum())
        moved += IMAGES[kernel] * present * distinct_bytes(tensors["images"][:1])
        programs = programs * present // len(given["sample"])
    places, atomics = programs * _places(given), 0
    if kernel == "_along":
        row = 4 * given["height"] * given["width"]
        into = 2 * (given["ADD"] + given["MULTIPLY"]) or given["channels"]
        moved += len(tensors["reach"]) * row * (given["channels"] + into)
        places = int(tensors["reach"].host.sum()) * given["per_image"] * _places(given)
        if given["NUMBERED"]:
            places = places * _NUMBERED // INSTRUCTIONS[kernel]
    elif kernel in ("_perlin_counts", "_perlin_sums", "_wave_sums"):
        textures, pixels = len(tensors["waves" if kernel == "_wave_sums" else "geometry"]), given["height"] * given["width"]
        places = textures * given["per_image"] * _places(given)
        if kernel == "_perlin_counts":
            atomics = 0 if given["SHARED"] else textures * pixels
        else:
            atomics = len(tensors["out"]) * pixels if given["COUNT"] else 0
            if kernel == "_wave_sums":
                moved += distinct_bytes(tensors["out"][:1]) * int(given["begun"].host.sum())
    elif kernel == "_across":
        rows = -(-given["geometry"].host[:, 6] // given["LINES"])
        places = int(rows.sum()) * given["LINES"] * -(-given["width"] // given["TX"]) * given["TX"]
    elif kernel == "_layer_counts":
        textures = np.diff(given["first"].host)
        places = int((textures * given["ranks"] // given["BINS"] + 1).sum()) * -(-given["n"] // given["BLOCK"]) * given["BLOCK"]
    elif kernel == "_rank_table":
        places = programs * -(-given["bins"] // given["CHUNK"]) * given["CHUNK"]
    elif kernel == "_wave_tables":
        places = programs * 4 * given["NODES"]
    elif kernel == "_distances":
        _passes[:] = passes_of(given["waves"].host, given["n"], given["width"])
    elif kernel in ("_ranges", "_layout", "_assign", "_tables"):
        return _pass(kernel, moved, given)
    elif kernel == "_add_ranks":
        places = len(_passes) * given["n"]
        layers = distinct_bytes(tensors["out"][:1])  # of which those in the list are written, and read if something is there
        moved -= distinct_bytes(tensors["out"]) + distinct_bytes(tensors["table"])
        moved += layers * (len(tensors["layers"]) + int(given["begun"].host.sum()))
        moved += 4 * sum(1 + PARTS * p for p in _passes)
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
    elif kernel == "_points":
        moved += distinct_bytes(tensors["images"][:1]) * (len(tensors["what"]) + int((given["what"].host > 0).sum()))
        atomics = programs
    elif kernel in ("_sum", "_stretch", "_blend"):
        atomics = programs
    elif kernel == "_edges":
        points, first = given["points"].host.view(np.float64), given["first"].host
        tensors["edges"].host = np.concatenate((points, points[following(np.diff(first))]), 1)  # type: ignore[attr-defined]
    return Work(moved, atomics, places * INSTRUCTIONS.get(kernel, 0))


def passes_of(waves: np.ndarray, n: int, width: int) -> list[int]:
    """How many passes of equalisation each of the waves (t, 3) takes, by the definition."""
    taken = np.ones(len(waves), np.int64)
    with _disable_current_modes():
        fx, fy, phase = (torch.from_numpy(column.copy())[:, None] for column in waves.T)
        rows, columns = (torch.arange(n // width) * fy) & MASK, (torch.arange(width) * fx + phase) & MASK
        for i, row in enumerate(distances(rows, columns).neg_().flatten(1).mul_(0.5)):
            _, heavy, state = _split(row[None], torch.zeros(1, n, dtype=torch.int64), 1)
            while taken[i] < PASSES and bool(heavy.any()):
                _, still, state = _split(row[None], *state)
                heavy, taken[i] = heavy & still, taken[i] + 1
    return taken.tolist()


def _pass(kernel: str, moved: int, given: dict[str, Any]) -> Work:
    """Of a kernel in a pass of equalisation: waves that do not take it cost nothing."""
    number = (given["total" if kernel == "_tables" else "bins"] - 1) // PARTS - (kernel == "_tables")
    waves = len(_passes) or len(given["active"])
    mine = sum(p > number for p in _passes) if _passes else waves
    if kernel in ("_layout", "_tables"):
        chunks = -(-given["total" if kernel == "_tables" else "bins"] // given["CHUNK"])
        return Work(moved * mine // waves, 0, mine * chunks * given["CHUNK"] * INSTRUCTIONS[kernel])
    each = 1 if kernel == "_assign" else 0 if given["FIRST"] else 2
    return Work(moved * mine // waves, each * mine * given["n"], mine * given["blocks"] * given["BLOCK"] * INSTRUCTIONS[kernel])


def distinct_bytes(t: Tensor) -> int:
    """Of its distinct elements: an expanded axis costs nothing."""
    return int(np.prod([n for n, step in zip(t.shape, t.stride()) if step != 0])) * t.element_size() if t.numel() else 0


def _places(given: dict[str, Any]) -> int:
    """Pixels, values or gradients that a program looks at together; 0 for programs that make tables."""
    if "TY" in given:
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
