"""What the documentation says works: Python blocks run, commands are understood, files that are named exist."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
PAGES = [p for p in PAGES if p.name != "gallery.md"]  # that one is made, not written
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """One after the other, as a reader would type them."""
    code = blocks(page, "python")
    if not code:
        return
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    for block in code:
        included = re.fullmatch(r'--8<-- "(.*)"\n', block)
        if included:  # an example, which test_examples.py runs
            assert (ROOT / included[1]).is_file(), included[1]
            continue
        exec(compile(block, str(page), "exec"), names)


def commands(page: Path) -> list[list[str]]:
    found = []
    for block in blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.partition(" #")[0].split("&&"):
                words = shlex.split(part)
                if words and words[0] in ("pcs-augment", "pcs-render"):
                    found.append(words)
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_understood(page):
    from pcs_augment import cli as augment
    from pcs_render import cli as render

    for program, *arguments in commands(page):
        parser = {"pcs-augment": augment, "pcs-render": render}[program]._parser()
        parser.parse_args(arguments)  # exits where an option is unknown


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page):
    text = page.read_text()
    named = re.findall(r"`((?:examples|benchmarks|docs|tests|pcs_augment|pcs_render|pcs_detect)/[\w/.-]+\.\w+)`", text)
    for name in named:
        assert (ROOT / name).exists() or (page.parent / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    """From where the page lies; those of the site stay on it, since only docs/ is published."""
    docs = ROOT / "docs"
    for name in re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text()):
        target = (page.parent / name).resolve()
        assert target.exists() or target.name == "gallery.md", f"{name} does not exist"
        assert not page.is_relative_to(docs) or target.is_relative_to(docs), f"{name} is not part of the site"
