"""What ``pytest -m gpu`` collects: files that have tests for a GPU, so that it runs where only what those need is installed."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("markexpr") != "gpu":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any("pytest.mark.gpu" in f.read_text(encoding="utf-8") for f in files) else True
