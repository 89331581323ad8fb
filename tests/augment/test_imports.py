"""Who imports whom: nothing imports up, nothing in a circle, whether at once or when a function runs."""

import ast
import inspect
from pathlib import Path

import pytest

import pcs_augment as pa
from pcs_augment import dispatch

ROOT = Path(__file__).parents[2]
PACKAGES = {"pcs_augment": ROOT, "pcs_render": ROOT, "pcs_detect": ROOT / "pcs_detect"}

# From the ground up; a name stands for a file or a folder. Files of one floor may import each other, those above them may not.
FLOORS = {
    "pcs_augment": [
        {"errors", "extras", "files", "console", "sample"},
        {"dispatch", "eager", "checks", "memory", "plan", "rooms", "transfer", "turns", "sums", "boxes"},
        {"rng", "ragged", "keys", "raster", "gaussian", "joining", "coco_json"},
        {"noise", "targets", "fields", "stamps"},
        {"kernels", "clipping", "placing"},
        {"base"},
        {"steps"},
        {"pipeline", "json_labels"},
        {"microscope"},
        {"images"},
        {"data", "reference", "packing"},
        {"loader", "warming", "gallery", "bench", "interop", "published"},
        {"freeze"},
        {"cli"},
        {"demo"},
    ],
    "pcs_render": [
        {"errors", "exact", "meshes", "png", "draw", "_worker", "published"},
        {"settings", "locate", "scene", "process"},
        {"profile", "geometry", "shards", "distributions", "look"},
        {"blender", "labels", "habits", "fit", "export", "contact"},
        {"install", "generate", "report"},
        {"production"},
        {"cluster"},
        {"commands"},
        {"cli"},
    ],
    "pcs_detect": [
        {"errors", "extras", "processes"},
        {"boxes", "files", "models", "overlaps", "results"},
        {"crystals", "photographs"},
        {"labels", "inference"},
        {"sizes"},
        {"evaluation", "report"},
        {"training"},
        {"commands", "components"},
        {"cli"},
    ],
}
# what pcs_render has in common with pcs_augment: nothing of it loads torch (tests/augment/test_start.py)
SHARED = {"errors", "extras", "files", "console", "boxes", "coco_json", "images"}


def modules(package: str) -> dict[str, Path]:
    folder = PACKAGES[package]
    files = sorted((folder / package).rglob("*.py"))
    names = [".".join(f.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for f in files]
    return dict(zip(names, files))


MODULES = {package: modules(package) for package in PACKAGES}
ALL = {name: path for mine in MODULES.values() for name, path in mine.items()}


def imports(name: str) -> set[str]:
    """The modules of the three packages that a module names, wherever it does."""
    path, found = ALL[name], set()
    home = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = home
            for _ in range(node.level - 1):
                base = base.rpartition(".")[0]
            whole = ".".join(filter(None, (base if node.level else "", node.module)))
            found |= {f"{whole}.{a.name}" if f"{whole}.{a.name}" in ALL else whole for a in node.names}
    # a package's own front is a signpost: it imports everything, and what is in it may ask it for the version
    return {m for m in found if m in ALL and m != name and m not in PACKAGES}


GRAPH = {name: imports(name) for name in ALL if name not in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_imports_in_a_circle(package):
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for other in sorted(GRAPH[name]):
            walk(other, (*path, name))
        done.add(name)

    for name in MODULES[package]:
        if name in GRAPH:
            walk(name, ())
    assert len(done) > 10


@pytest.mark.parametrize("package", FLOORS)
def test_nobody_imports_up(package):
    floors = {name: i for i, floor in enumerate(FLOORS[package]) for name in floor}

    def floor(module: str) -> int:
        room = module.split(".")[1]
        assert room in floors, f"{module} has no floor yet: say in FLOORS on which one it is"
        return floors[room]

    mine = [m for m in MODULES[package] if m in GRAPH]
    up = [(m, o) for m in mine for o in GRAPH[m] if o.startswith(f"{package}.") and floor(o) > floor(m)]
    assert up == []
    assert {m.split(".")[1] for m in mine} == set(floors)  # no floor for what is gone


def test_packages_import_one_way():
    others = {package: {o.partition(".")[0] for m in MODULES[package] for o in GRAPH.get(m, ())} for package in PACKAGES}
    assert others["pcs_augment"] <= {"pcs_augment"}
    assert others["pcs_render"] <= {"pcs_augment", "pcs_render"}
    taken = {(m, o) for m in MODULES["pcs_render"] for o in GRAPH.get(m, ()) if o.startswith("pcs_augment.")}
    beyond = {(m, o) for m, o in taken if o.split(".")[1] not in SHARED}
    assert beyond == {("pcs_render.shards.datasets", "pcs_augment.ragged")}  # the one that is for torch


def test_the_photograph_half_of_pcs_detect_stands_alone():
    """It is installed without torch; commands reach the other half when they run."""
    photographs = [
        m for m in MODULES["pcs_detect"] if m in GRAPH and m.split(".")[1] not in ("training", "commands", "components")
    ]
    assert len(photographs) > 40
    others = ("pcs_augment", "pcs_render", "pcs_detect.training")
    assert [(m, o) for m in photographs for o in GRAPH[m] if o.startswith(others)] == []


def test_kernels_are_reached_through_dispatch_alone():
    outside = [m for m in ALL if not m.startswith(dispatch.KERNELS)]
    assert [(m, o) for m in outside for o in GRAPH.get(m, ()) if o.startswith(dispatch.KERNELS)] == []


# --- implementations of one function ------------------------------------------------------------------------------------


def implementations():
    import pcs_augment  # noqa: F401  (whose modules say which functions have implementations)

    for home_name, function in dispatch.FUNCTIONS.items():
        home, _, name = home_name.partition(".")
        for wing in ("numba", "triton"):
            found = getattr(dispatch.module(wing, home), name, None)
            if found is not None:
                yield home_name, wing, function, found


def test_implementations_have_the_arguments_of_the_definition():
    assert pa.default_pipeline().steps  # loads them all
    seen = set()
    for name, wing, definition, implementation in implementations():
        signature = inspect.signature(getattr(implementation, "py_func", implementation))
        assert list(signature.parameters) == list(inspect.signature(definition).parameters), (name, wing)
        seen.add((name, wing))
    assert {name for name, _ in seen} == set(dispatch.FUNCTIONS)  # what has none is no operator
    assert {wing for _, wing in seen} == {"numba", "triton"}


def test_every_file_of_kernels_serves_a_function():
    """It is named like the one that it speeds up, or others of its folder import it."""
    homes = {name.partition(".")[0] for name in dispatch.FUNCTIONS}
    for wing in ("numba", "triton"):
        folder = f"{dispatch.KERNELS}.{wing}"
        for module in (m for m in ALL if m.startswith(f"{folder}.")):
            helped = [m for m in ALL if m.startswith(folder) and module in GRAPH[m]]
            assert module.rpartition(".")[2] in homes or helped, module
