"""Implementations for CPUs in numba: the same arithmetic, one image at a time in the cache, images shared out over threads.

A file is named like the one whose functions it speeds up, and its functions like theirs, with the same arguments. What is
compiled has the same operations in the same order with the same float32 rounding as the torch function it stands for.
"""

from . import compiling  # noqa: F401  (which needs numba)
