"""The noise functions, each on textures of 384 x 384 px."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import turns

import pcs_augment as pa

COUNT, SIZE = 16, (384, 384)
SCALES = np.geomspace(4, 543, COUNT)  # px, as the pipeline draws them


@pytest.fixture(scope="module")
def textures(device):
    return pa.perlin(SCALES, SIZE, device=device)


@pytest.mark.parametrize("function", [pa.perlin, pa.interference], ids=lambda f: f.__name__)
def test_textures(clock, device, function):
    clock(lambda: function(SCALES, SIZE, device=device), COUNT, "functions", function.__name__, "texture")


@pytest.mark.parametrize("function", [pa.equalize, pa.equalize_8bit], ids=lambda f: f.__name__)
def test_equalize(clock, textures, function):
    inputs = turns(textures)
    clock(lambda: function(next(inputs)), COUNT, "functions", function.__name__, "texture")


def test_noise_layer(clock, textures):
    """One layer of all textures."""
    inputs = turns(textures)
    clock(lambda: pa.noise_layer(next(inputs)), COUNT, "functions", f"noise_layer of {COUNT}", "texture")


def test_blend(clock, batch):
    images = batch[0][:COUNT]
    inputs, layers = turns(images), torch.rand(2, *images.shape, device=images.device)
    clock(lambda: pa.blend(next(inputs), *layers), COUNT, "functions", "blend", "image")
