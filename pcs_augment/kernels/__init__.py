"""Faster implementations of functions that a profile names, in numba and Triton; ``dispatch`` says when they run."""
