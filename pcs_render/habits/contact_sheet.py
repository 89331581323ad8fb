"""A page of crystal shapes, drawn as crystallographers do: shaded faces, edges, the long axis upright, nothing hidden seen."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pcs_augment.files import written

from ..errors import InputError
from ..geometry import solid
from .shape import KINDS, Shape

Floats = NDArray[np.float64]

SHOWN = 100
CELL = 0.95  # inch
TURN, NOD = 28.0, 18.0  # degrees: the crystal is turned about its upright long axis, then its top is tilted to the viewer
LIGHT = np.array([-0.5, 0.62, 0.6])
DARK, BRIGHT = np.array([0.36, 0.46, 0.58]), np.array([0.95, 0.97, 0.99])
INK, FAINT = "#1d2733", "#8794a3"


def draw(shapes: Sequence[Shape], path: str | PathLike[str], columns: int = 10) -> None:
    """Draw up to 100 shapes, grouped by kind and spread evenly over each, at most ``columns`` in a row, as a PNG file.

    Each is scaled to its place; below it stands the point group. Raises InputError for no shapes or columns, OutputError.
    """
    if not shapes or columns < 1:
        raise InputError(f"{len(shapes)} shapes in {columns} columns cannot be drawn; at least one of each is needed")
    groups = _chosen(shapes)
    columns = min(columns, max(len(of) for _, of in groups))
    rows: list[tuple[str, list[Shape]]] = []
    for kind, of in groups:
        for start in range(0, len(of), columns):
            rows.append((f"{kind}s" if start == 0 else "", of[start : start + columns]))
    margin = 0.3
    height = sum(1.0 + (margin if title else 0) for title, _ in rows)
    figure = Figure(figsize=((columns + 0.2) * CELL, (height + 0.1) * CELL), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(-0.1, columns + 0.1), ylim=(-height - 0.05, 0.05), aspect="equal")
    axes.axis("off")
    y = 0.0
    for title, row in rows:
        if title:
            axes.text(0.02, y - 0.2, title, fontsize=9, color=INK, weight="bold")
            axes.plot([0, columns], [y - 0.26, y - 0.26], color=FAINT, linewidth=0.4)
            y -= margin
        for column, shape in enumerate(row):
            faces, colours, edges = _drawing(shape)
            middle = np.array([column + 0.5, y - 0.46])
            axes.add_collection(
                PolyCollection([f + middle for f in faces], facecolors=colours, edgecolors=colours, linewidths=0.3)
            )
            axes.add_collection(LineCollection([e + middle for e in edges], colors=INK, linewidths=0.7, capstyle="round"))
            axes.text(middle[0], y - 0.975, shape.point_group, fontsize=5, color=FAINT, ha="center")
        y -= 1.0
    canvas = FigureCanvasAgg(figure)
    with written(path) as temporary:
        figure.canvas = canvas
        canvas.print_figure(str(temporary), format="png", dpi=160)


def _chosen(shapes: Sequence[Shape]) -> list[tuple[str, list[Shape]]]:
    """The kinds there are, each with an equal part of the places, its shapes evenly spread."""
    kinds = [(kind, [s for s in shapes if s.kind == kind]) for kind in KINDS]
    kinds = [(kind, of) for kind, of in kinds if of]
    left = SHOWN
    chosen = {}
    for n, (kind, of) in enumerate(sorted(kinds, key=lambda pair: len(pair[1]))):  # small groups leave places to others
        places = min(len(of), left // (len(kinds) - n))
        chosen[kind] = [of[i * len(of) // places] for i in range(places)]
        left -= places
    return [(kind, chosen[kind]) for kind, _ in kinds if chosen[kind]]


def _drawing(shape: Shape) -> tuple[list[Floats], Floats, list[Floats]]:
    """Outlines of the visible faces within +-0.43, their colours, and their edges."""
    body = solid(shape.vertices)
    v = body.vertices @ _view().T
    v = v - (v.max(0) + v.min(0)) / 2
    v = v * (0.86 / max(np.ptp(v[:, 0]), np.ptp(v[:, 1]), 1e-12))
    faces, colours, edges = [], [], []
    for face in body.faces:
        corners = v[face]
        normal = np.cross(corners - corners[0], np.roll(corners, -1, axis=0) - corners[0]).sum(0)
        normal = normal / np.linalg.norm(normal)
        if normal[2] > 1e-6:
            light = 0.5 + 0.5 * float(normal @ LIGHT) / float(np.linalg.norm(LIGHT))
            faces.append(corners[:, :2])
            colours.append(DARK + (BRIGHT - DARK) * light)
            edges += [corners[[i - 1, i], :2] for i in range(len(face))]
    return faces, np.array(colours), edges


def _view() -> Floats:
    """(3, 3): rows are the page's right, its up and the direction to the viewer, for a crystal's x (long), y (broad), z."""
    t, n = np.radians(TURN), np.radians(NOD)
    upright = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])  # long axis up, broad face to the viewer
    turned = np.array([[np.cos(t), 0, np.sin(t)], [0, 1, 0], [-np.sin(t), 0, np.cos(t)]])
    nodded = np.array([[1, 0, 0], [0, np.cos(n), -np.sin(n)], [0, np.sin(n), np.cos(n)]])
    return nodded @ turned @ upright
