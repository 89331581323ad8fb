"""The public names of one half of the package, as the page of the API lists them."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("docstrings", ROOT / "tests" / "docs" / "docstrings.py")
docstrings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(docstrings)


def names_of(training: bool) -> dict:
    return docstrings.public(ROOT / "docs" / "api" / "detect.md", lambda name: (".training." in name) == training)
