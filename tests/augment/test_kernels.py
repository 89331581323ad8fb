"""The numba kernels give the bits of the torch functions they stand for."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import assert_same_targets, random_images, random_targets
from hypothesis import given, settings
from hypothesis import strategies as st

import pcs_augment as pa
from pcs_augment import dispatch
from pcs_augment.kernels.numba import compiling
from pcs_augment.kernels.numba.threads import run_all

STEPS = [
    pa.Highlight(),
    pa.Splines(),
    pa.Displace(),
    pa.Displace(reach=80),
    pa.GaussianNoise(),
    pa.ImpulseNoise(),
    pa.Brightness(),
    pa.Contrast(),
    pa.InterferenceLayer(),
    pa.InterferenceLayer(equalize_layer=False),
    pa.PerlinLayer(),
    pa.PerlinLayer(equalize_layer=False, textures=(2, 12)),
    pa.Overlay(),
    pa.Blur(kernels=(1, 3, 9, 31)),
    pa.Rotate90(),
    pa.Flip(),
    pa.KeepDetectable(3),
    pa.KeepDetectable(120),
]


def test_numba_is_in_use_here():
    assert dispatch.module("numba", "raster") is not None


@pytest.mark.parametrize("step", STEPS, ids=lambda s: type(s).__name__)
@settings(max_examples=15)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 3), st.integers(0, 2**63))
def test_same_bits(step, height, width, channels, seed):
    images, targets = random_images(3, height, width, channels, seed), random_targets([4, 0, 5], height, width, seed % 1000)
    index = np.array([0, 1, 2]) + seed % 2**40
    plan = step.draw(images.shape, targets, index=index)
    fast = step.apply(images, targets, plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCS_AUGMENT_KERNELS", "torch")
        plain = step.apply(images, targets, plan)
    assert torch.equal(fast[0], plain[0])
    assert_same_targets(fast[1], plain[1])


def test_same_bits_for_the_default_pipeline(sample):
    images, targets, index = sample
    pipeline = pa.default_pipeline(seed=3)
    for epoch in range(3):
        fast = pipeline(images, targets, index=index, epoch=epoch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PCS_AUGMENT_KERNELS", "torch")
            plain = pipeline(images, targets, index=index, epoch=epoch)
        assert torch.equal(fast[0], plain[0])
        assert_same_targets(fast[1], plain[1])


def test_an_error_in_a_thread_reaches_the_caller():
    def fail(job):
        raise RuntimeError(f"job {job}")

    with pytest.raises(RuntimeError, match="job 0"):
        run_all(fail, range(3))


@settings(max_examples=30)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_same_bits_of_equalisation(height, width, seed):
    """Of even values, clusters, clusters of clusters, and flat textures: they take one pass to all passes."""
    rng = np.random.default_rng(seed)
    shape = (height, width)
    wide, narrow = rng.integers(0, 4, shape) * 0.25, rng.integers(0, 4, shape) * 1e-4
    dust = rng.random(shape) * 1e-7
    textures = np.stack((rng.random(shape), wide, wide + dust, wide + narrow + dust, np.full(shape, 0.3)))
    textures = torch.from_numpy(textures).float()
    fast = pa.equalize(textures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCS_AUGMENT_KERNELS", "torch")
        assert torch.equal(fast, pa.equalize(textures))


def test_tasks_may_run_tasks():
    """Without threads of the pool waiting for the pool."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        done = []
        run_all(lambda i: run_all(lambda j: done.append((i, j)), range(3)), range(8))
    finally:
        torch.set_num_threads(threads)
    assert sorted(done) == [(i, j) for i in range(8) for j in range(3)]


def test_unknown_kernels_are_named(monkeypatch):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "trition")
    with pytest.raises(pa.InputError, match="'trition'"):
        pa.Brightness()(random_images(1, 4, 4))


def test_helpers_are_called_by_compiled_functions_and_what_is_inlined_in_one_place():
    """From Python there is no way into a helper; what is inlined in two places would be compiled twice."""
    kinds, calls = {}, []
    for path in sorted(Path(compiling.__file__).parent.glob("*.py")):
        for function in (n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)):
            marks = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
            kind = next((d.id for d in marks if isinstance(d, ast.Name)), "python")
            kinds[path.stem, function.name] = kind
            calls += [(n.func.id, kind) for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    helpers = {name for (_, name), kind in kinds.items() if kind in ("helper", "inlined")}
    once = [name for (_, name), kind in kinds.items() if kind == "inlined"]
    assert len(once) > 10
    assert len(helpers) > len(once) + 10
    assert [c for c in calls if c[0] in helpers and c[1] == "python"] == []
    names = [name for name, _ in calls]
    assert {name: names.count(name) for name in once} == dict.fromkeys(once, 1)


def test_what_is_kept_on_disk_follows_files_that_functions_come_from(tmp_path):
    """numba alone would go by the age of the caller's file."""
    folder = tmp_path / "house" / "kernels" / "numba"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent, folder.parent.parent):
        (place / "__init__.py").touch()
    (tmp_path / "house" / "sums.py").touch()
    shutil.copy(compiling.__file__, folder)
    (folder / "caller.py").write_text(
        "from .compiling import compiled\nfrom .helper import helped\n@compiled\ndef caller(x):\n    return helped(x)\n"
    )
    program = "from house.kernels.numba.caller import caller; print(caller(3), sum(caller.stats.cache_hits.values()))"
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    seen = []
    for added in (1, 1, 20):
        text = f"from .compiling import compiled\n@compiled\ndef helped(x):\n    return x + {added}\n"
        if not seen or added != 1:
            (folder / "helper.py").write_text(text)
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen.append(done.stdout.split())
    assert seen == [["4", "0"], ["4", "1"], ["23", "0"]]
