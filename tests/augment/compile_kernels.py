"""Compile the Triton kernels for a GPU that need not be there: ``python compile_kernels.py 90 1 384 384``.

Arguments: the architecture (compute capability times ten); channels, height and width of the images. Prints a JSON list, one
row for each variant of a kernel that Triton's JIT compiles while every step runs on several batches.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
import triton.backends.nvidia
from batches import random_images, random_targets
from kernel_steps import STEPS
from triton.backends.compiler import GPUTarget

import pcs_augment as pa

# what does not round to the nearest float32, or rounds only once where torch rounds twice
INEXACT = re.compile(
    r"\b(?:fma\.rn\.f32|div\.full|(?:div|sqrt|rsqrt|rcp|ex2|lg2|sin|cos)\.approx|(?:add|sub|mul)[.\w]*\.ftz)\b"
)


class Absent:
    """A driver of a GPU that is compiled for but never launched on."""

    def __init__(self, architecture: int) -> None:
        self.architecture = architecture

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.architecture, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_all(architecture: int, channels: int, height: int, width: int) -> list[dict[str, Any]]:
    """Run every step without running a kernel; a row per variant."""
    found: dict[str, dict[str, Any]] = {}
    run = triton.JITFunction.run

    def compile_only(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        compiled = run(kernel, *args, grid=grid, warmup=True, **options)
        if compiled.hash not in found:
            constants = {k: v for k, v in options.items() if k.isupper()}
            found[compiled.hash] = {"kernel": kernel.__name__, "constants": constants, **_look_at(compiled)}

    triton.runtime.driver.set_active(Absent(architecture))
    triton.JITFunction.run = compile_only
    for counts in ([9, 0, 5, 2], [4]):
        images, targets = random_images(len(counts), height, width, channels), random_targets(counts, height, width)
        for step in STEPS:
            for epoch in range(3):
                step.apply(images, targets, step.draw(images.shape, targets, epoch=epoch))
        pa.equalize(images)
    return list(found.values())


def _look_at(compiled: Any) -> dict[str, Any]:
    """Inexact instructions, and bytes of the stack, which a program uses where registers run out; None if unknown."""
    tool = shutil.which(Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump")
    stack = None
    if tool:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(compiled.asm["cubin"])
            file.flush()
            out = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True).stdout
        stack = max(int(n) for n in re.findall(r"\b(?:STACK|LOCAL):(\d+)", out))
    inexact = sorted(set(INEXACT.findall(compiled.asm["ptx"])))
    return {"stack": stack, "inexact": inexact, "fused": compiled.metadata.enable_fp_fusion}


if __name__ == "__main__":
    os.environ["PCS_AUGMENT_KERNELS"] = "triton"
    print(json.dumps(compile_all(*map(int, sys.argv[1:]))))
