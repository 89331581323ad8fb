"""Implementations for CUDA devices in Triton: all images of a batch at once.

A file is named like the one whose functions it speeds up, and its functions like theirs, with the same arguments. Images are
(B, C, H, W) float32 on the device; ``sample`` (A,) names those that change, and every other argument is on the host.
"""

import triton

if tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 4):
    raise ImportError(f"they need Triton 3.4, the oldest that they have been compiled with, found {triton.__version__}")
