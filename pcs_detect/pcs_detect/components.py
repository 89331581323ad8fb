"""Where configurations written by version 0.3 and before look for the parts that they name."""

from .training import components  # noqa: F401
