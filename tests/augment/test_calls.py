"""Calls as people make them: rounded values, no index, evaluation, gradients, compiled, copied, reloaded."""

import copy
import dataclasses
import io
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_images, random_targets
from torch.utils.data import DataLoader, Dataset

import pcs_augment as pa

GREY = torch.full((3, 1, 12, 12), 0.5)


def test_resized_white_is_clamped():
    white = torch.nn.functional.interpolate(torch.ones(1, 1, 301, 303), (64, 64), mode="bilinear", antialias=True)
    assert float(white.max()) > 1
    for step in (pa.Blur(), pa.default_pipeline()):
        assert torch.equal(step(white), step(white.clamp(0, 1), index=[0]))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_values_up_to_a_hundredth_beyond_are_clamped_and_no_more(kind):
    images = torch.linspace(-0.0099, 1.0099, 144).reshape(1, 1, 12, 12).to(kind)
    step = pa.Flip(p=0)
    plan = step.draw(images.shape)
    for out in (step(images), step.apply(images, None, plan)[0], step.eval()(images)):
        assert torch.equal(out, images.clamp(0, 1).to(out.dtype))
    for bad in (images - 0.01, images + 0.01):
        for call in (step, step.train(), lambda x: step.apply(x, None, plan)):
            with pytest.raises(pa.InputError, match="expected floats"):
                call(bad)
    loader = pa.AugmentedLoader([(images, None, [0])], step, "cpu")
    assert float(next(iter(loader))[0].max()) == 1


def test_float64_is_converted():
    images = random_images(2, 12, 16)
    for step in (pa.GaussianNoise(), pa.default_pipeline()):
        out = step(images.double(), index=[4, 5])
        assert out.dtype == torch.float32
        assert torch.equal(out, step(images, index=[4, 5]))


# --- the counter ---------------------------------------------------------------------------------------------------------


def test_calls_without_index_count():
    first, second = pa.GaussianNoise(seed=3), pa.GaussianNoise(seed=3)
    whole = torch.cat((first(GREY), first(GREY)))
    assert torch.equal(whole, torch.cat([second(GREY[:1]) for _ in range(6)]))
    assert torch.equal(whole, pa.GaussianNoise(seed=3)(GREY[:1].expand(6, -1, -1, -1), index=range(6)))
    assert torch.equal(pa.GaussianNoise(seed=3)(GREY, [{"boxes": torch.zeros(0, 5)}] * 3)[0], whole[:3])


def test_what_names_its_samples_or_only_draws_does_not_count():
    step = pa.GaussianNoise()
    want = step(GREY, index=[0, 1, 2])
    step.draw(GREY.shape)
    with pytest.raises(pa.InputError):
        step(GREY + 1)
    next(iter(pa.AugmentedLoader([(GREY, None, None)], step, "cpu")))
    assert torch.equal(step(GREY), want)


def test_the_counter_travels_with_a_state_dict_and_never_fails_a_load():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), pa.Pipeline([pa.GaussianNoise()]))
    empty = copy.deepcopy(model.state_dict())
    assert not any("counter" in key for key in empty)
    model[1](GREY)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    want = model[1](GREY)
    file.seek(0)
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), pa.Pipeline([pa.GaussianNoise()]))
    other.load_state_dict(torch.load(file))
    assert torch.equal(other[1](GREY), want)
    other.load_state_dict(empty)


class Noisy(Dataset):
    def __init__(self, **index):
        self.step, self.index = pa.GaussianNoise(), index

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return self.step(GREY[:1], **{k: [i] for k in self.index})


def test_workers_must_name_their_samples():
    with pytest.raises(pa.InputError, match="index is needed in a DataLoader's worker"):
        list(DataLoader(Noisy(), num_workers=1))
    seen = torch.cat(list(DataLoader(Noisy(index=True), num_workers=1)))
    assert torch.equal(seen[:, 0], pa.GaussianNoise()(GREY[:2]))


def test_copies_of_one_index_differ():
    step = pa.GaussianNoise()
    pairs = [[7, 0], [7, 1], [7, 2]]
    out = step(GREY, index=pairs)
    assert torch.equal(out, step(GREY, index=torch.tensor(pairs)))
    assert torch.equal(out[:1], step(GREY[:1], index=[7]))
    assert len({tuple(image.flatten().tolist()) for image in out}) == 3
    batch = pa.collate([(image, {"boxes": torch.zeros(0, 5)}, pair) for image, pair in zip(GREY, pairs)])
    assert torch.equal(next(iter(pa.AugmentedLoader([batch], step, "cpu")))[0], out)
    for wrong in ([[2**40, 0]] * 3, [[0, 2**23]] * 3, [[0, -1]] * 3, [[0, 1, 2]] * 3):
        with pytest.raises(pa.InputError, match="index"):
            step(GREY, index=wrong)


# --- evaluation and gradients ----------------------------------------------------------------------------------------------


def test_in_evaluation_a_call_only_converts_types():
    images, targets = torch.randint(0, 256, (2, 1, 9, 9), dtype=torch.uint8), random_targets([2, 3], 9, 9)
    model = torch.nn.Sequential(pa.default_pipeline()).eval()
    assert torch.equal(model(images), images / 255)
    pipeline = pa.Pipeline([pa.MinEdge(1000), pa.Flip(), pa.GaussianNoise()]).eval()
    out, new = pipeline(images, targets)
    assert torch.equal(out, images / 255)
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(new, targets))
    assert pipeline(images.half() / 255).dtype == torch.float16
    with pytest.raises(pa.InputError, match="boxes"):
        pipeline(images, [{}, {}])


def test_plans_and_loaders_ignore_the_mode():
    pipeline = pa.default_pipeline()
    images, targets, index = random_images(2, 9, 9), random_targets([2, 3], 9, 9), torch.arange(2)
    want = pipeline(images, targets, index=index)[0]
    pipeline.eval()
    assert torch.equal(pipeline.apply(images, targets, pipeline.draw(images.shape, targets))[0], want)
    assert torch.equal(next(iter(pa.AugmentedLoader([(images, targets, index)], pipeline, "cpu")))[0], want)


def test_lost_gradients_are_refused():
    images = random_images(1, 8, 8).requires_grad_()
    step = pa.Blur()
    for call in (step, lambda x: step.apply(x, None, step.draw(x.shape)), step.eval()):
        with pytest.raises(pa.InputError, match=r"images.detach\(\)"):
            call(images)
    with torch.no_grad():
        assert torch.equal(step.train()(images, index=[0]), step(images.detach(), index=[0]))


# --- compiled, copied, reloaded -----------------------------------------------------------------------------------------------


# inductor makes C++ of what lies around a step, and so needs a compiler and Python's headers
HEADERS = Path(sysconfig.get_path("include")) / "Python.h"
BACKENDS = ["eager", "aot_eager", *(["inductor"] if shutil.which(os.environ.get("CXX", "g++")) and HEADERS.exists() else [])]


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_is_eager(backend):
    torch._dynamo.reset()
    images, targets = random_images(2, 16, 16), random_targets([2, 3], 16, 16)
    steps = [pa.Brightness(), pa.Blur(), pa.Overlay()] if backend != "inductor" else []  # which takes seconds for each
    for step in (*steps, pa.default_pipeline()):
        want = step(images, index=[0, 1])
        assert torch.equal(torch.compile(step, backend=backend)(images, index=[0, 1]), want)
        plan = step.draw(images.shape, targets)
        compiled = torch.compile(lambda x, step=step, plan=plan: step.apply(x, targets, plan)[0] * 2, backend=backend)
        assert torch.equal(compiled(images), step.apply(images, targets, plan)[0] * 2)
    model = torch.nn.Sequential(pa.default_pipeline(), torch.nn.Conv2d(1, 2, 3))
    first = model(images)
    model[0].__dict__["_counter"] = 0
    assert torch.equal(torch.compile(model, backend=backend)(images), first)


def test_trees_of_batches_have_tensors_as_leaves():
    targets = random_targets([2, 3], 9, 9)
    _, batch, _ = pa.collate([(x, t, i) for i, (x, t) in enumerate(zip(random_images(2, 9, 9), targets))])
    doubled = torch.utils._pytree.tree_map_only(torch.Tensor, lambda v: v * 2, batch)
    assert type(doubled) is type(batch)
    for a, b in zip(doubled, targets):
        assert torch.equal(a["boxes"], b["boxes"] * 2)
        assert all(torch.equal(p, q * 2) for p, q in zip(a["polygons"], b["polygons"]))


def through_a_file(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)


@pytest.mark.parametrize("make", [pa.default_pipeline, pa.microscope_pipeline])
def test_pipelines_and_plans_are_loaded_without_trust(make):
    images, targets = random_images(3, 32, 32), random_targets([3, 0, 2], 32, 32)
    pipeline = make(seed=5)
    plan, kept = pipeline.draw(images.shape, targets, epoch=2), through_a_file(pipeline)
    read = through_a_file(plan)
    assert type(read) is pa.Plan
    assert all(same(getattr(read, f.name), getattr(plan, f.name)) for f in dataclasses.fields(plan))
    assert torch.equal(kept.apply(images, targets, read)[0], pipeline.apply(images, targets, plan)[0])
    read.index[:] = 0  # memory of its own, like that of a plan that was drawn


@pytest.mark.parametrize("name", pa.steps.__all__)
def test_steps_are_loaded_without_trust(name):
    kind = getattr(pa, name)
    step = kind(8) if name == "RandomCrop" else kind()
    assert through_a_file(step).settings == step.settings


def test_batches_are_loaded_without_trust_but_not_packed_programs():
    samples = [(x, t, i) for i, (x, t) in enumerate(zip(random_images(2, 9, 9), random_targets([2, 0], 9, 9)))]
    for collate in (pa.collate, pa.DrawingCollate(pa.default_pipeline(), pack=False)):
        images, targets, *rest = collate(samples)
        seen = through_a_file((images, targets, *rest))
        assert [type(v) for v in seen] == [type(v) for v in (images, targets, *rest)]
        assert same(list(seen[1]), list(targets))
        assert type(seen[1][0]["polygons"]) is type(targets[0]["polygons"])
    with pytest.raises(pickle.UnpicklingError, match="PackedPlan"):  # its program is a pickle, which could run anything
        through_a_file(pa.DrawingCollate(pa.default_pipeline(), pack=True)(samples)[3])


def run(code, **environment):
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_may_be_imported_again_and_reloaded():
    again = (
        "import importlib, sys, torch\nimport pcs_augment as pa\nx = torch.rand(1, 1, 8, 8)\nwant = pa.Blur()(x)\n"
        "from pcs_augment.steps import geometry\nfrom pcs_augment import dispatch\n"
        "importlib.reload(dispatch); importlib.reload(geometry)\nassert torch.equal(pa.Blur()(x), want)\n"
        "for name in [m for m in sys.modules if m.startswith('pcs_augment')]: del sys.modules[name]\n"
        "import pcs_augment as pa\nassert torch.equal(pa.Blur()(x), want)\npa.Flip()(x)\nprint('fine')"
    )
    assert run(again) == "fine\n"


def test_compiled_kernels_follow_every_file_they_copy_from(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    from pcs_augment.kernels.numba import compiling

    assert compiling._stamp() == compiling._STAMP
    folder = tmp_path / "pcs_augment"
    shutil.copytree(Path(pa.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    monkeypatch.setattr(compiling, "_PACKAGE", folder)
    seen = [compiling._stamp()]
    assert seen == [compiling._STAMP]  # wherever it lies, whenever it was installed
    for name in ("sums.py", "noise/equalize.py", "rng.py"):
        file = folder / name
        state, text = file.stat(), file.read_text()
        digit = text.index("1")
        file.write_text(text[:digit] + "2" + text[digit + 1 :])
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # as installers with fixed time stamps leave it
        seen.append(compiling._stamp())
    assert len(set(seen)) == 4
