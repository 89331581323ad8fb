"""The shapes and types in the annotations of noise and raster are those that come and go, checked while a pipeline runs."""

import importlib
import inspect
import sys
import types
import typing

import jaxtyping
import pytest
import torch
from batches import SAMPLE
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation

import pcs_augment as pa

NAMES = ("raster", "noise.blend", "noise.equalize", "noise.interference", "noise.layer", "noise.perlin")
MODULES = [importlib.import_module(f"pcs_augment.{name}") for name in NAMES]


def checked(function):
    """The function, refusing what its annotations do not allow; jaxtyping's names are there for type checkers only."""
    out = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    out.__kwdefaults__ = function.__kwdefaults__
    out.__annotations__ = typing.get_type_hints(function, localns=vars(jaxtyping))
    return jaxtyping.jaxtyped(out, typechecker=beartype)


@pytest.fixture
def all_checked(monkeypatch, torch_only):
    """Every function of these modules, wherever it is used; counts the calls."""
    calls = {}
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__:
                continue
            run = checked(inspect.unwrap(function))

            def counting(*args, _run=run, _name=f"{module.__name__}.{name}", **options):
                calls[_name] = calls.get(_name, 0) + 1
                return _run(*args, **options)

            for user in [m for n, m in sys.modules.items() if n.startswith("pcs_augment")]:
                if vars(user).get(name) is function:
                    monkeypatch.setattr(user, name, counting)
    return calls


def test_shapes_hold_through_pipelines(all_checked):
    data = pa.PcsDataset(SAMPLE)
    images, targets, index = pa.collate([data[i] for i in range(2)])
    certain = [pa.Highlight(fill=0.5, outline=1.0), pa.Splines(), pa.KeepDetectable()]
    certain += [kind(textures=(1, 3), bins=bins) for kind in (pa.PerlinLayer, pa.InterferenceLayer) for bins in (None, 256)]
    for height, width in ((384, 384), (70, 91)):
        out, _ = pa.Pipeline(certain)(images[:, :, :height, :width], targets, index=index, epoch=0)
        assert out.shape == (2, 1, height, width)
    layers = [pa.noise_layer(make([8, 21.5], (40, 56), seed=s)) for s, make in enumerate((pa.perlin, pa.interference))]
    pa.blend(torch.rand(3, 40, 56), *layers)
    called = {name.removeprefix("pcs_augment.") for name in all_checked}
    assert {"raster.strokes", "raster.inside", "raster.row_spans", "raster.is_convex"} <= called
    assert {"noise.blend.blend_with", "noise.equalize._split", "noise.interference.phases"} <= called


def test_what_does_not_fit_is_seen():
    with pytest.raises((jaxtyping.TypeCheckError, BeartypeCallHintViolation)):
        checked(MODULES[3].distances)(torch.zeros(2, 5, dtype=torch.int64), torch.zeros(3, 5, dtype=torch.int64))
