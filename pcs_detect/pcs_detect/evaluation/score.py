"""How good the crystals found in photographs are, against labels: precision, recall, average precision, errors of sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from ..labels.truth import Truth
from ..overlaps import overlapping_pairs
from ..sizes.groups import some_of
from ..sizes.output import read_input
from .average_precision import RECALLS, THRESHOLDS

Floats = NDArray[np.float64]
BOX = ("image", "x_px", "y_px", "width_px", "height_px", "angle_deg", "score")
IGNORED = 0.3  # part of a box that must lie on an ignored place for the box to count neither way


@dataclass
class Matched:
    """The boxes of a photograph that count: their scores (N,), and whether each is a hit (N, T) at each of THRESHOLDS; labels:
    how many crystals are labelled; errors (M, 2): relative errors, with their sign, of width and height of the hits at 0.5."""

    scores: Floats = field(default_factory=lambda: np.zeros(0))
    hits: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, len(THRESHOLDS)), bool))
    labels: int = 0
    errors: Floats = field(default_factory=lambda: np.zeros((0, 2)))


def match(boxes: ArrayLike, scores: ArrayLike, truth: Truth) -> Matched:
    """Match boxes (N, 5) with scores (N,) to the labels of their photograph.

    From the highest score down and at each threshold of IoU, a box takes the free label that it overlaps most, if by the
    threshold or more. A box that is no hit at 0.5 counts neither way where its centre lies outside the labelled region, or
    where more than 30 % of its area lie on one ignored place.
    """
    given, score = np.asarray(boxes, np.float64).reshape(-1, 5), np.asarray(scores, np.float64).reshape(-1)
    order = np.argsort(-score, kind="stable")
    given, score = given[order], score[order]
    hits = np.zeros((len(given), len(THRESHOLDS)), bool)
    errors: list[tuple[float, float]] = []
    candidates: list[list[tuple[float, int]]] = [[] for _ in given]
    for i, j, iou in zip(*overlapping_pairs(given, truth.crystals, THRESHOLDS[0])):
        candidates[i].append((-float(iou), int(j)))
    free = np.ones((len(THRESHOLDS), len(truth.crystals)), bool)
    for i, near in enumerate(candidates):
        near.sort()
        for k, threshold in enumerate(THRESHOLDS):
            best = next(((-iou, j) for iou, j in near if free[k, j]), None)
            if best is None or best[0] < threshold:
                continue
            free[k, best[1]], hits[i, k] = False, True
            if k == 0:
                sides, own = np.sort(truth.crystals[best[1], 2:4])[::-1], np.sort(given[i, 2:4])[::-1]
                errors.append(tuple(own / sides - 1))
    counts = hits[:, 0] | ~_ignored(given, truth)
    return Matched(score[counts], hits[counts], len(truth.crystals), np.array(errors).reshape(-1, 2))


def together(matched: Iterable[Matched]) -> Matched:
    """All photographs as one."""
    every = [Matched(), *matched]
    return Matched(
        np.concatenate([m.scores for m in every]),
        np.concatenate([m.hits for m in every]),
        sum(m.labels for m in every),
        np.concatenate([m.errors for m in every]),
    )


def figures(matched: Matched) -> dict[str, float]:
    """crystals (labelled), found (boxes that count), AP50, AP (mean over IoU 0.50 to 0.95), and at the score with the best F1
    that score, precision and recall; width_error, height_error: median of the relative errors without sign, width_bias,
    height_bias: with it. nan where there is nothing to compute."""
    order = np.argsort(-matched.scores, kind="stable")
    hits = np.cumsum(matched.hits[order], axis=0)
    precision = hits / np.arange(1, len(hits) + 1)[:, None]
    recall = hits / max(matched.labels, 1)
    average = [_average(p, r) for p, r in zip(precision.T, recall.T)]
    best: tuple[float, float, float] = (math.nan, 0.0, 0.0)
    if len(hits):
        p, r = precision[:, 0], recall[:, 0]
        at = int(np.argmax(2 * p * r / np.maximum(p + r, 1e-9)))
        best = (float(matched.scores[order][at]), float(p[at]), float(r[at]))
    errors = np.median(np.abs(matched.errors), 0) if len(matched.errors) else (math.nan, math.nan)
    bias = np.median(matched.errors, 0) if len(matched.errors) else (math.nan, math.nan)
    return {
        "crystals": matched.labels,
        "found": len(hits),
        "AP50": average[0],
        "AP": float(np.mean(average)),
        **dict(zip(("score", "precision", "recall"), best)),
        "width_error": float(errors[0]),
        "height_error": float(errors[1]),
        "width_bias": float(bias[0]),
        "height_bias": float(bias[1]),
    }


def score_table(crystals: pd.DataFrame, truths: Mapping[str, Truth]) -> pd.DataFrame:
    """A row of ``figures`` for each labelled photograph, for "all" of them together, and for the "mean" over photographs (of
    AP50, AP, precision and recall).

    crystals: a table of crystals, whose images ``truths`` names; images without labels do not count.
    """
    matched = {}
    for name, truth in truths.items():
        rows = crystals[crystals["image"] == name]
        boxes = np.array(rows[list(BOX[1:6])], np.float64)
        boxes[:, 4] = np.radians(boxes[:, 4])
        matched[name] = match(boxes, rows["score"].to_numpy(np.float64), truth)
    lines: list[dict[str, Any]] = [{"image": name, **figures(m)} for name, m in matched.items()]
    names = ("AP50", "AP", "precision", "recall")
    mean = {n: float(np.mean([line[n] for line in lines])) if lines else math.nan for n in names}
    return pd.DataFrame([*lines, {"image": "all", **figures(together(matched.values()))}, {"image": "mean", **mean}])


def _average(precision: Floats, recall: Floats) -> float:
    """Mean over 101 recalls of the best precision at that recall or more; 0 where it is not reached."""
    if not len(precision):
        return 0.0
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS - 1e-12)  # recall never falls
    return float(np.mean(np.where(at < len(best), best[np.minimum(at, len(best) - 1)], 0.0)))


def _ignored(boxes: Floats, truth: Truth) -> NDArray[np.bool_]:
    out = np.zeros(len(boxes), bool)
    if truth.region is not None:
        x0, y0, x1, y1 = truth.region
        x, y = boxes[:, 0], boxes[:, 1]
        out |= ~((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1))
    i, j, iou = overlapping_pairs(boxes, truth.ignored)
    area, other = boxes[i, 2] * boxes[i, 3], truth.ignored[j, 2] * truth.ignored[j, 3]
    shared = iou * (area + other) / (1 + iou)
    out[i[shared > IGNORED * area]] = True
    return out


def read_found(
    path: str | Path, truths: Mapping[str, Truth], min_score: float = 0.0
) -> tuple[pd.DataFrame, dict[str, Truth], list[str]]:
    """(crystals, labels by the names that their photographs have there, labelled photographs that are not there).

    path: a folder of ``predict`` or a table of crystals. A photograph is the one of its name, or, where the label or the table
    has no ending or no folder, of its name without them. A labelled photograph that predict was not given is left out; without
    images.csv beside the table it counts as one in which nothing was found.
    """
    crystals, images, unread = read_input(path)
    missing = [c for c in BOX if c not in crystals.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; give the crystals of pcs-detect predict")
    crystals = crystals[crystals["score"] >= min_score]
    there = list(dict.fromkeys([*(images or []), *crystals["image"]]))
    found: dict[str, Truth] = {}
    left = []
    for name, truth in truths.items():
        known = _known(name, there)
        if known is None and images is not None:
            left.append(f"{name} is labelled, but {'could not be read' if name in unread else 'is not among the photographs'}")
        elif known in found:
            left.append(f"{name} is labelled, but {known} has labels already")
        else:
            found[known or name] = truth
    if not found:
        labelled, given = some_of(truths, 2), some_of(there, 2)
        raise DataError(f"none of the {len(truths)} labelled photographs ({labelled}) is among those of {path} ({given})")
    return crystals, found, left


def shown(table: pd.DataFrame) -> str:
    """The figures of ``score_table`` as text for people."""
    lines = []
    width = max(len(str(name)) for name in table["image"])
    heads = ("crystals", "found", "AP50", "AP", "score", "precision", "recall", "width_error", "height_error")
    lines.append(" ".join([" " * width, *(f"{h.replace('_', ' '):>12}" for h in heads)]))
    for row in table.to_dict("records"):
        cells = [f"{row[h]:.0f}" if h in ("crystals", "found") and row[h] == row[h] else f"{row[h]:.3f}" for h in heads]
        lines.append(" ".join([f"{row['image']:<{width}}", *(f"{c if c != 'nan' else '-':>12}" for c in cells)]))
    return "\n".join(lines)


def _known(name: str, there: Sequence[str]) -> str | None:
    """The photograph of a table that labels name."""
    for simple in (str, _last, lambda text: PurePosixPath(_last(text)).stem):
        same = [t for t in there if simple(t) == simple(name)]
        if len(same) == 1:
            return same[0]
    return None


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
