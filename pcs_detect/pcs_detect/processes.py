"""Whether this process is one of several that train together; asked before anything large is loaded."""

from __future__ import annotations

import os


def launched() -> bool:
    """Whether this process is one of several that torchrun started, here or on several machines."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= os.environ.keys()


def first_process() -> bool:
    """Whether this is the only process, or the first of several."""
    return os.environ.get("RANK", "0") == "0"
