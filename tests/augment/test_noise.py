"""Laws of the noise functions: what a texture depends on, ranges, equalisation and blending."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import pcs_augment as pa

sizes = st.integers(1, 40)
scales = st.lists(st.floats(1, 200), min_size=1, max_size=4)
both = pytest.mark.parametrize("function", [pa.perlin, pa.interference])


def exact(texture):
    """(rank + 1/2) / n with middle ranks."""
    flat = texture.numpy().ravel()
    return ((stats.rankdata(flat) - 0.5) / flat.size).reshape(texture.shape)


@both
@settings(max_examples=30)
@given(scales, sizes, sizes, st.integers(0, 2**63))
def test_textures_do_not_depend_on_their_neighbours(function, scale, height, width, seed):
    together = function(scale, (height, width), seed)
    assert together.shape == (len(scale), height, width)
    assert torch.equal(together, function(scale, (height, width), seed))
    first = function(scale[:1], (height, width), seed)
    assert torch.equal(together[:1], first)
    assert not torch.equal(function(scale, (height + 20, width + 20), seed ^ 1)[0, :height, :width], together[0])


def test_perlin_stays_in_its_range_and_vanishes_at_lattice_points():
    field = pa.perlin(np.geomspace(1, 300, 50), (64, 80), 3)
    assert float(field.abs().max()) <= 0.5**0.5
    assert float(field.abs().max()) > 0.5
    step = pa.PerlinLayer(offset=False, scale=(8, 8))
    table = step.draw((1, 1, 32, 32)).steps[0]["textures"]
    from pcs_augment.noise.perlin import Lattices

    value = Lattices(table, 32, 32, torch.device("cpu")).field(0, 1)[0]
    assert torch.equal(value[::8, ::8], torch.zeros(4, 4))
    assert float(value.abs().max()) > 0.1


@settings(max_examples=20)
@given(st.floats(4, 100), st.integers(0, 10**6))
def test_perlin_is_smooth_on_the_scale_of_its_lattice(k, seed):
    field = pa.perlin([k], (60, 60), seed)[0].double()
    # the steepest slope of gradient noise is below 4 per cell (fade' <= 15/8 times a difference of 2, plus a unit gradient)
    for difference in (field.diff(dim=0), field.diff(dim=1)):
        assert float(difference.abs().max()) <= 4.8 / k


def test_perlin_batches_on_the_general_path_equal_single_textures():
    """The path a GPU takes for several textures at once gives the bits of the one-texture path."""
    from pcs_augment.noise.perlin import Lattices
    from pcs_augment.noise.textures import seeded_textures

    table, height, width = seeded_textures(np.geomspace(4, 70, 9), (41, 53), 5)
    lattices = Lattices(table, height, width, torch.device("cpu"))
    assert torch.equal(lattices.field(2, 9), torch.cat([lattices.field(t, t + 1) for t in range(2, 9)]))


def test_interference_is_the_plane_wave_of_its_draw():
    from pcs_augment.noise.interference import frequencies
    from pcs_augment.noise.textures import seeded_textures

    scale = np.geomspace(4, 500, 40)
    wave = pa.interference(scale, (50, 70), 11)
    fx, fy, phase = frequencies(seeded_textures(scale, (50, 70), 11)[0])
    assert np.allclose(np.hypot(fx, fy) * scale, 1)
    y, x = np.mgrid[:50, :70]
    want = 0.5 * (np.cos(2 * np.pi * (fx[:, None, None] * x + fy[:, None, None] * y + phase[:, None, None])) + 1)
    assert np.abs(wave.numpy() - want).max() < 2e-6
    assert 0 <= float(wave.min()) <= float(wave.max()) <= 1


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 10**6), st.sampled_from(["normal", "ties", "few", "skew"]))
def test_equalize_is_monotone_and_uniform(height, width, seed, kind):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(height, width))
    x = {"normal": x, "ties": np.round(x), "few": x > 0, "skew": np.exp(4 * x)}[kind]
    texture = torch.from_numpy(np.asarray(x, dtype=np.float32))
    got = pa.equalize(texture)
    want = exact(texture)
    assert np.abs(got.numpy() - want).max() <= 0.5 / (height * width) + 0.01
    order = np.argsort(texture.numpy().ravel(), kind="stable")
    assert (np.diff(got.numpy().ravel()[order]) >= 0).all()
    if kind in ("ties", "few"):
        assert np.abs(got.numpy() - want).max() < 1e-6


def test_equalize_flat_tiny_huge_and_integer_textures():
    for value in (0.0, -3e38, 1e-40):
        assert torch.equal(pa.equalize(torch.full((5, 7), value)), torch.full((5, 7), 0.5))
    assert pa.equalize(torch.tensor([[3.0]])).tolist() == [[0.5]]
    assert pa.equalize(torch.tensor([[1.0, -1.0]])).tolist() == [[0.75, 0.25]]
    assert pa.equalize(torch.tensor([[0, 255]], dtype=torch.uint8)).tolist() == [[0.25, 0.75]]
    extremes = pa.equalize(torch.tensor([[-3e38, 0.0, 3e38]]))
    assert extremes.tolist()[0] == sorted(extremes.tolist()[0])
    tiny = torch.linspace(1, 1 + 1e-6, 9).view(3, 3)
    assert np.abs(pa.equalize(tiny).numpy() - exact(tiny)).max() < 1e-6


def test_equalize_takes_textures_that_belong_to_a_graph():
    texture = torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pa.equalize(texture.clone().requires_grad_()), pa.equalize(texture))


def test_equalize_takes_any_leading_dimensions():
    x = torch.rand(2, 3, 8, 9)
    got = pa.equalize(x)
    for i in range(2):
        for j in range(3):
            assert torch.equal(got[i, j], pa.equalize(x[i, j]))


@pytest.mark.parametrize("bins", [None, 256])
def test_a_noise_layer_is_the_equalised_mean_of_equalised_textures(bins):
    h = pa.equalize if bins is None else pa.equalize_8bit
    textures = pa.perlin([5, 9, 30], (40, 50), 2)
    mean = (h(textures[0]) + h(textures[1]) + h(textures[2])) / 3
    assert torch.allclose(pa.noise_layer(textures, equalize_layer=False, bins=bins), mean)
    assert torch.equal(pa.noise_layer(textures, bins=bins), h(mean))


@pytest.mark.parametrize("kind", [pa.PerlinLayer, pa.InterferenceLayer])
@pytest.mark.parametrize("equalize_layer", [True, False])
def test_a_layer_step_is_blend_of_noise_layers_of_its_plan(kind, equalize_layer, monkeypatch):
    """The pipeline's integer way against the plain functions, texture by texture."""
    from pcs_augment.noise.interference import distances, phases, wave
    from pcs_augment.noise.perlin import Lattices

    image = torch.rand(1, 1, 96, 110, generator=torch.Generator().manual_seed(1))
    step = kind(equalize_layer=equalize_layer, seed=4)
    for epoch in range(6):
        plan = step.draw(image.shape, epoch=epoch)
        table = plan.steps[0]["textures"]
        if kind is pa.PerlinLayer:
            lattices = Lattices(table, 96, 110, torch.device("cpu"))
            fields = torch.cat([lattices.field(t, t + 1) for t in range(len(table["scale"]))])
        else:
            fields = wave(distances(*phases(table, 96, 110, torch.device("cpu"))))
        layers = [pa.noise_layer(fields[torch.from_numpy(table["layer"] == i)], equalize_layer) for i in (0, 1)]
        want = pa.blend(image, *layers)
        assert float((step(image, epoch=epoch, index=range(len(image))) - want).abs().max()) < 0.02
        assert float((step(image, epoch=epoch, index=range(len(image))) - want).abs().mean()) < 0.003


def test_blend_is_the_formula():
    g = torch.Generator().manual_seed(0)
    image, layer, weight = (
        torch.rand(2, 3, 9, 11, generator=g),
        torch.rand(2, 1, 9, 11, generator=g),
        torch.rand(9, 11, generator=g),
    )
    sigma = image.double().flatten(1).std(1, unbiased=False).view(-1, 1, 1, 1)
    w = 3 * sigma * weight.double() * 2 ** (1 - 2 * layer.double())
    want = (image.double() + w * layer.double()) / (1 + w)
    assert torch.allclose(pa.blend(image, layer, weight, c=3).double(), want, atol=1e-6)
    assert torch.allclose(pa.blend(image[0, 0], layer[0, 0], weight, c=0), image[0, 0])
    flat = torch.full((4, 4), 0.3)
    assert torch.equal(pa.blend(flat, layer[0, 0, :4, :4], weight[:4, :4]), flat)
    assert pa.blend(image.half(), layer, weight).dtype == torch.float16
