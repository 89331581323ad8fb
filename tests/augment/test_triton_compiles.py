"""The Triton kernels compile for GPUs that are not here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_steps import kernel_names

pytest.importorskip("triton", reason="there is no Triton for this system")


@pytest.mark.parametrize("case", ["90 1 384 384", "90 1 1 1", "80 3 61 97", "120 1 61 97"])
def test_kernels_compile(case, tmp_path):
    """With (next to) no register spilled, with torch's rounding, and once for an image size, whatever is drawn."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, Path(__file__).parent / "compile_kernels.py", *case.split()]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {f["kernel"] for f in found} == kernel_names()
    for kernel in found:
        assert (kernel["stack"] or 0) <= 32, kernel
        assert kernel["inexact"] == [], kernel
        assert not kernel["fused"], kernel
    if case.split()[1] == "1":  # masks have one channel, whatever the images have
        variants = [(f["kernel"], str(f["constants"])) for f in found]
        assert len(set(variants)) == len(variants)
