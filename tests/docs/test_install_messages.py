"""Whoever is told to install something can: in a checkout, with an extra that exists and brings what is missing."""

import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from pcs_augment import console, extras

ROOT = Path(__file__).resolve().parents[2]
DETECT = ROOT / "pcs_detect"
SOURCES = [
    p for d in ("pcs_augment", "pcs_render", "pcs_detect", "examples", "benchmarks", "docs") for p in (ROOT / d).rglob("*.py")
]
SOURCES = [p for p in SOURCES if "tests" not in p.parts]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *DETECT.rglob("*.md")]
DISTRIBUTION = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "mmdet": "onedl-mmdetection"}
DISTRIBUTION |= {m: f"onedl-{m}" for m in ("mmengine", "mmcv", "mmrotate")}
DISTRIBUTION |= dict.fromkeys(("pcs_augment", "pcs_render"), "pcs-augment")


def detect_extras():
    """The module without its package: that one needs what this environment may lack."""
    spec = importlib.util.spec_from_file_location("detect_extras", DETECT / "pcs_detect" / "extras.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def brought(folder: Path) -> dict[str, set[str]]:
    """Extra ("" for none): the distributions that it brings, those of extras that it names included."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    asked = {"": project["dependencies"], **project["optional-dependencies"]}

    def names(extra: str) -> set[str]:
        found = set()
        for requirement in asked[extra]:
            name, others = re.match(r"([\w-]+)(?:\[([\w,-]+)\])?", requirement).groups()
            found.add(name)
            if name == project["name"]:
                found |= {n for other in others.split(",") for n in names(other)}
        return found

    return {extra: names(extra) for extra in asked}


BROUGHT = {".": brought(ROOT), "./pcs_detect": brought(DETECT)}


def commands(path: Path) -> list[str]:
    """Each "pip install ..." that a file says, up to the end of its line; {} is what a program puts in."""
    text = path.read_text()
    if path.suffix == ".py":
        said = []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.JoinedStr):
                said.append("".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
        text = "\n".join(said)
    return re.findall(r"pip install +(.*)", text)


COMMANDS = {(str(p.relative_to(ROOT)), c) for p in [*SOURCES, *PAGES] for c in commands(p)}


def test_commands_work_in_a_checkout():
    assert len(COMMANDS) > 30
    for place, command in sorted(COMMANDS):
        assert not re.match(r"""(-\S+ )*["']?pcs[-_]""", command), f"{place}: no index has it: {command}"
        for quote, what, named in re.findall(r"""(["']?)(\.(?:/pcs_detect)?)\[([\w,{}]+)\]""", command):
            assert quote == '"', (
                f"{place}: a shell takes brackets for a pattern, and Windows single quotes for a part: {command}"
            )
            for extra in named.split(","):
                assert extra == "{}" or extra in BROUGHT[what], f"{place}: no such extra: {command}"


def test_the_extras_that_are_named_bring_the_module():
    for module, names in extras.EXTRAS.items():
        for extra in names:
            assert DISTRIBUTION.get(module, module) in BROUGHT["."][extra], (module, extra)
        assert f'".[{names[0]}]"' in extras.missing(module, "reading")
        assert all(f'".[{e}]"' in extras.missing(f"{module}.part", command=e) for e in names)
    detect = detect_extras()
    told = {**detect.EXTRAS, **dict.fromkeys(detect.TRAINING, "train"), **dict.fromkeys(detect.ALWAYS, "")}
    for module, extra in told.items():
        assert DISTRIBUTION.get(module, module) in BROUGHT["./pcs_detect"][extra], (module, extra)
        assert (f'"./pcs_detect[{extra}]"' if extra else "install ./pcs_detect") in detect.install(f"{module}.part")


def imported(folder: Path) -> set[str]:
    """The modules of others that the files of a package import."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {a.name.partition(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return {m for m in found if m not in sys.stdlib_module_names and m != folder.name}


def test_every_module_that_may_be_missing_has_an_extra():
    detect = detect_extras()
    elsewhere = {"triton", "torchvision", "jaxtyping"}  # with torch, used where it is there, for type checkers
    elsewhere |= {"bmesh", "mathutils", "faster_coco_eval"}  # with bpy, with mmdet
    always = {DISTRIBUTION.get(m, m) for m in BROUGHT["."][""]}
    mine = imported(ROOT / "pcs_augment") | imported(ROOT / "pcs_render")
    assert mine - always - elsewhere - {"pcs_augment", "pcs_render"} <= set(extras.EXTRAS)
    theirs = imported(DETECT / "pcs_detect") - elsewhere
    assert theirs <= detect.ALWAYS | detect.TRAINING | set(detect.EXTRAS)


def named(function: str) -> set[tuple[str, str]]:
    """(file, first argument) of every call of a function of ``extras`` in pcs_augment and pcs_render."""
    calls = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function:
                given = {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
                calls |= {(path.relative_to(ROOT).parts[0], a) for a in given}
    return calls


def test_calls_name_modules_and_extras_that_exist():
    modules, installs = named("missing"), named("install")
    assert {m for _, m in modules} <= set(extras.EXTRAS)
    assert len(modules) >= 4
    for package, name in installs:
        known = detect_extras() if package == "pcs_detect" else None
        assert name in (known.ALWAYS | known.TRAINING | set(known.EXTRAS) if known else BROUGHT["."]), name


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [("PIL.Image", "cli", "cli"), ("PIL", "render", "render"), ("cv2", "cli", "reference"), ("kiwisolver", "render", "render")],
)
def test_a_command_says_what_is_missing(capsys, module, command, extra):
    def work() -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert console.guarded("pcs", work, extra=command) == 1
    assert capsys.readouterr().err == (
        f"pcs: error: {module.partition('.')[0]} is not installed; in the folder of the checkout run: "
        f'pip install ".[{extra}]"\n'
    )
