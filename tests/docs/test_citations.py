"""What comments, docstrings and pages name exists: files, modules and what is in them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("pcs_augment", "pcs_render", "pcs_detect", "benchmarks", "docs", "examples", "tests", ".ci", ".github")
FILES = [p for p in ROOT.iterdir() if p.is_file()] + [p for f in FOLDERS for p in (ROOT / f).rglob("*") if p.is_file()]
NAMES = {p.name for p in FILES}
TEXTS = [p for p in FILES if p.suffix in (".py", ".md", ".toml", ".yml", ".yaml") and "tests" not in p.relative_to(ROOT).parts]
# of sources: what else has such an ending is written by commands, or is the user's
SOURCE = re.compile(r"(?<![\w/.<-])((?:[\w.-]+/)*[\w-]+\.(?:py|md|toml|sh|yml|css|js))(?![\w/-])")
DOTTED = re.compile(r"(?<![\w/.-])pcs_(?:augment|render|detect)(?:\.\w+)+")
WRITTEN = {"gallery.md", "tables.md", "call_N.md"}  # by docs/pictures.py and by benchmarks
BASES = (ROOT, ROOT / "docs", ROOT / "pcs_detect")  # where paths begin, but for those beside the file that names them


def said(path: Path) -> Iterator[str]:
    """The comments and docstrings of a Python file; all of any other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield text
        return
    yield from (t.string for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def there(name: str, beside: Path) -> bool:
    if Path(name).name in WRITTEN or Path(name).stem.isupper():  # capitals stand for any name
        return True
    return name in NAMES or any((base / name).exists() for base in (beside.parent, *BASES))


@cache
def defined(path: Path) -> set[str]:
    """The names that a module says at all: defined, imported or loaded on first use."""
    return set(re.findall(r"\w+", path.read_text(encoding="utf-8")))


def leads_somewhere(name: str) -> bool:
    """Whether a dotted name is a module, or something in the module that it begins with."""
    package, *parts = name.split(".")
    place = ROOT / "pcs_detect" / "pcs_detect" if package == "pcs_detect" else ROOT / package
    for part in parts:
        if (place / part).is_dir():
            place = place / part
        elif (place / f"{part}.py").is_file():
            place = place / f"{part}.py"
        else:
            return part in defined(place if place.is_file() else place / "__init__.py")
    return True


@pytest.mark.parametrize("path", TEXTS, ids=[str(p.relative_to(ROOT)) for p in TEXTS])
def test_what_is_named_exists(path):
    for text in said(path):
        files = [n for n in SOURCE.findall(text) if not there(n, path)]
        assert not files, f"there is no such file: {files}"
        names = [n for n in DOTTED.findall(text) if not leads_somewhere(n)]
        assert not names, f"there is no such thing: {names}"
