"""What the documentation says to type is understood."""

import re
import shlex
from pathlib import Path

import pytest

from pcs_detect import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "pcs_detect").rglob("*.md"))]
PAGES = [p for p in PAGES if not {".nox", "build"} & set(p.parts) and "pcs-detect" in p.read_text()]
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]


def commands(text: str) -> list[list[str]]:
    blocks = [block.replace("\\\n", " ").splitlines() for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S)]
    lines = [line.partition(" #")[0].replace("...", "data.json") for block in blocks for line in block]
    return [shlex.split(line)[1:] for line in lines if line.startswith("pcs-detect ")]


def test_pages_are_found():
    assert {"README.md", "pcs_detect/README.md"} <= set(NAMES)
    assert sum(len(commands(p.read_text())) for p in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_understood(page):
    for arguments in commands(page.read_text()):
        cli._parser().parse_args(arguments)  # exits where an option is unknown
