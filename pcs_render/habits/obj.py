"""Wavefront OBJ: one file with many convex crystals, as the published collection comes, and ours written the same way."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from pcs_augment.files import written

from ..errors import DataError, InputError
from ..geometry import hull_edges, solid
from .shape import Shape, measure

Floats = NDArray[np.float64]

LARGEST_FILE = 32 * 2**20  # bytes
LONGEST_LINE = 2**16  # bytes
MOST_CORNERS = 2000  # of one object
STRAIGHT = 1e-4  # of an object's size: how far a corner may lie beyond the plane of a face
SMALLEST, LARGEST = 1e-12, 1e7  # across, in the file's units: beyond, the numbers of a scene cannot hold the scale
USUAL = (0.1, 100.0)  # across: beyond, the elongation, which is given in these units, dominates a shape or does nothing
CENTRED = 1e-6  # of an object's size: a shape this close to the middle is left where it is


@dataclass
class _Object:
    """What stands between two lines that name an object."""

    keyword: str  # o, g, or empty before the first name
    name: str
    line: int
    first: int  # its own vertices: first, and one past the last
    last: int
    faces: list[tuple[int, list[int]]] = field(default_factory=list)  # line, vertices counted from 0 over the whole file


def load(path: str | PathLike[str]) -> list[Shape]:
    """Every object of an OBJ file as a shape, centred by its bounding box and neither turned nor scaled.

    ``o`` lines name the objects; a file without them is divided by its ``g`` lines where each group is a body, and is a single
    object else, as one without either is.
    Faces (``f``, with texture and normal indices or without, counted from the end if negative) are checked to be the closed
    surface of a convex body; an object without faces is the hull of its vertices, each of which must be a part of it. Other
    lines are skipped. Shapes should be about 2 units across (``Settings.elongation`` is in the same units): a warning names
    those far from it. Raises DataError naming the line or object for everything that is not so, and for files above
    32 MiB, lines above 64 KiB, objects above 2000 vertices or beyond 1e-12 to 1e7 units across.
    """
    path = Path(path)
    vertices, objects = _parsed(path)
    try:
        shapes = _shapes(path, vertices, objects)
    except DataError:
        if sum(bool(o.faces) for o in objects) < 2 or any(o.keyword == "o" for o in objects):
            raise
        whole = dataclasses.replace(  # the groups may be parts of one body
            objects[0], keyword="", first=0, last=len(vertices), faces=[face for o in objects for face in o.faces]
        )
        shapes = []
        with contextlib.suppress(DataError):
            shapes = _shapes(path, vertices, [whole])
        if not shapes:
            raise
    sizes = [float(np.ptp(s.vertices, axis=0).max()) for s in shapes]
    odd = [(s.name, size) for s, size in zip(shapes, sizes) if not USUAL[0] <= size <= USUAL[1]]
    if odd:
        warnings.warn(
            f"{path}: {len(odd)} of {len(shapes)} shapes are far from 2 units across ({odd[0][0]!r} has {odd[0][1]:.3g}), "
            "while the elongation is given in the same units; scale the file, or set elongation to fit",
            stacklevel=2,
        )
    return shapes


def _shapes(path: Path, vertices: Floats, objects: list[_Object]) -> list[Shape]:
    """Raises DataError."""
    used = {i for o in objects for _, face in o.faces for i in face}
    shapes = []
    for number, o in enumerate(_joined(objects), 1):
        if not o.faces and used.intersection(range(o.first, o.last)):
            continue  # a block of vertices for the objects that follow
        if not o.faces and o.first == o.last:
            continue  # nothing but a name
        name = o.name or f"shape-{number:04d}"
        try:
            shapes.append(_shape(name, o, vertices))
        except InputError as e:
            raise DataError(f"{path}: the object {name!r} from line {o.line} on {e}") from e
    if not shapes:
        raise DataError(f"{path} holds no objects; it takes vertices (v) and faces (f) of at least one convex body")
    return shapes


def save(path: str | PathLike[str], shapes: Sequence[Shape]) -> None:
    """Write shapes as the objects of one OBJ file, with faces; ``load`` gives the same vertices back.

    Raises InputError for no shapes or a flat one, OutputError.
    """
    if not shapes:
        raise InputError("there are no shapes to write; at least one is needed")
    with written(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        before = 1
        for shape in shapes:
            body = solid(shape.vertices)
            file.write(f"o {' '.join(shape.name.split()) or 'shape'}\n")
            file.writelines(f"v {x!r} {y!r} {z!r}\n" for x, y, z in body.vertices.tolist())
            file.writelines(f"f {' '.join(str(before + i) for i in face)}\n" for face in body.faces)
            before += len(body.vertices)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbers and words of the lines, those ending in a backslash joined with the next."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > LARGEST_FILE:
            raise DataError(f"{path} is no file of at most {LARGEST_FILE} bytes; name an OBJ file, habits, cube or preset:NAME")
        with open(path, "rb") as file:
            held = b""
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if len(held) + len(line) > LONGEST_LINE:
                    raise DataError(f"{path}, line {number} has more than {LONGEST_LINE} bytes; this is no OBJ file")
                if b"\0" in line:
                    raise DataError(f"{path}, line {number} holds a zero byte; this is a binary file, not OBJ text")
                line = held + line.rstrip(b"\r\n")
                held = line[:-1] + b" " if line.endswith(b"\\") else b""
                if not held:
                    yield number, line.split(b"#")[0].decode("utf-8", "replace").split()
            if held:
                yield number, held.split(b"#")[0].decode("utf-8", "replace").split()
    except OSError as e:
        raise DataError(f"cannot read the shapes {path}: {e.strerror}; name an OBJ file, habits, cube or preset:NAME") from e


def _parsed(path: Path) -> tuple[Floats, list[_Object]]:
    vertices: list[tuple[float, ...]] = []
    objects = [_Object("", "", 1, 0, 0)]
    for number, words in _lines(path):
        if not words:
            continue
        where = f"{path}, line {number}"
        if words[0] in ("o", "g"):
            if not objects[-1].faces and objects[-1].first == objects[-1].last:
                objects.pop()
            objects.append(_Object(words[0], " ".join(words[1:]), number, len(vertices), len(vertices)))
        elif words[0] == "v":
            vertices.append(_vertex(words, where))
            objects[-1].last = len(vertices)
        elif words[0] == "f":
            objects[-1].faces.append((number, [_index(word, len(vertices), where) for word in words[1:]]))
            if len(words) < 4:
                raise DataError(f"{where}: a face has {len(words) - 1} corners; it takes at least 3")
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), objects


def _vertex(words: list[str], where: str) -> tuple[float, ...]:
    try:
        vertex = tuple(float(word.replace("_", "?")) for word in words[1:4])  # Python alone takes 1_000 for a number
    except ValueError:
        vertex = ()
    if len(vertex) != 3 or not np.isfinite(vertex).all() or max(map(abs, vertex)) > 1e100:
        raise DataError(f"{where}: the vertex {' '.join(words[1:])[:80]!r} is not three finite numbers")
    return vertex


def _index(word: str, count: int, where: str) -> int:
    try:
        given = int(word.split("/")[0])
    except ValueError as e:
        raise DataError(f"{where}: the corner {word[:80]!r} of a face is not the number of a vertex") from e
    index = given - 1 if given > 0 else count + given
    if given == 0 or not 0 <= index < count:
        raise DataError(f"{where}: a face names vertex {given}, but {count} vertices stand before it; they count from 1")
    return index


def _joined(objects: Iterable[_Object]) -> list[_Object]:
    """The objects, groups inside of objects joined with them."""
    objects = list(objects)
    if not any(o.keyword == "o" for o in objects):
        return objects
    out: list[_Object] = []
    for o in objects:
        if o.keyword == "g" and out:
            out[-1].last = o.last
            out[-1].faces += o.faces
        else:
            out.append(o)
    return out


def _shape(name: str, o: _Object, all_vertices: Floats) -> Shape:
    """Raises InputError that continues "the object ..."."""
    own = np.array(sorted({i for _, face in o.faces for i in face}) if o.faces else range(o.first, o.last))
    if len(own) > MOST_CORNERS:
        raise InputError(f"has {len(own)} vertices; at most {MOST_CORNERS} are allowed")
    given = all_vertices[own]
    points, same = np.unique(given, axis=0, return_inverse=True)  # corners that each face has for itself
    same = same.reshape(-1)
    size = float(np.ptp(points, axis=0).max())
    if len(points) > 1 and not SMALLEST <= size <= LARGEST:
        raise InputError(f"is {size:.3g} units across; it takes {SMALLEST:g} to {LARGEST:g}, and works best near 2: scale it")
    try:
        corners, _ = hull_edges(given[np.sort(np.unique(same, return_index=True)[1])])  # in the file's order
    except InputError as e:
        raise InputError(f"is no body: {e}") from e
    if o.faces:
        number = dict(zip(own.tolist(), same.tolist()))
        _check_surface([(line, [number[i] for i in face]) for line, face in o.faces], points, size)
    else:
        _check_hull(points, size)
    middle = (corners.max(0) + corners.min(0)) / 2
    if (np.abs(middle) > CENTRED * size).any():
        corners = corners - middle
    return Shape(name, corners, measure(corners).kind, "")


def _check_surface(faces: list[tuple[int, list[int]]], points: Floats, size: float) -> None:
    """Is every face a part of the hull, and has every edge a face on each side?"""
    if len(faces) > 2 * len(points):
        raise InputError(f"is not closed: {len(points)} corners cannot have {len(faces)} faces; some are double")
    sides: dict[tuple[int, int], int] = {}
    for line, face in faces:
        corners = points[face] - points[face[0]]
        normal = np.cross(corners, np.roll(corners, -1, axis=0)).sum(0)  # twice the area
        area = float(np.linalg.norm(normal))
        if area > 1e-9 * size * size:
            height = (points - points[face[0]]) @ (normal / area)
            if min(-height.min(), height.max()) > STRAIGHT * size or np.ptp(height[face]) > 2 * STRAIGHT * size:
                raise InputError(
                    f"is not convex: parts of it lie on both sides of the face in line {line}; replace it by its convex hull"
                )
        for a, b in zip(face, face[1:] + face[:1]):
            if a != b:
                edge = (min(a, b), max(a, b))
                sides[edge] = sides.get(edge, 0) + 1
    for (a, b), count in sides.items():
        if count != 2:
            raise InputError(
                f"is not closed: the edge from {tuple(points[a].tolist())} to {tuple(points[b].tolist())} has {count} "
                "face(s) instead of 2; faces are missing or double"
            )


def _check_hull(points: Floats, size: float) -> None:
    """Is every point a part of the hull?"""
    planes = ConvexHull(points).equations
    for point in points:
        depth = -float((planes[:, :3] @ point + planes[:, 3]).max())
        if depth > STRAIGHT * size:
            raise InputError(f"is not convex: its vertex {tuple(point.tolist())} lies inside the others; leave it out")
