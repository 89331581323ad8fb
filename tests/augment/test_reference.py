"""Parity with the oracle, step by step and as a whole; the oracle's own foundations; the error law of equalisation."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

import pcs_augment as pa
from pcs_augment import published, reference, rng
from pcs_augment.errors import InputError, PcsError
from pcs_augment.noise.interference import distances, wave
from pcs_augment.noise.layer import LayerSums
from pcs_augment.noise.perlin import Lattices

SAMPLE = Path(pa.__file__).parent / "sample" / "pcs_sample.json"
STEPS_EXACT = [
    pa.Displace(),
    pa.Displace(reach=3),
    pa.ImpulseNoise(),
    pa.Rotate90(),
    pa.Flip(),
]
STEPS_ROUNDING = [
    pa.GaussianNoise(),
    pa.Brightness(),
    pa.Contrast(),
    pa.Blur(),
    pa.Blur(sigma=2),
]
LAYERS = [
    pa.InterferenceLayer(),
    pa.PerlinLayer(),
    pa.PerlinLayer(offset=False),
    pa.InterferenceLayer(equalize_layer=False),
    pa.PerlinLayer(equalize_layer=False),
]


@pytest.fixture(scope="module")
def sample():
    """Six of the bundled images, as uint8 with their targets."""
    data = pa.PCSDataset(SAMPLE)
    images, targets, _ = pa.collate([data[i] for i in range(6)])
    return images, targets


def both(step, images, targets, epoch=0):
    """(B, C, H, W) float64 from the package and from the oracle, with the targets of both."""
    plan = step.draw(images.shape, targets, epoch=epoch)
    out, new = step.apply(images, targets, plan)
    mine = [reference.apply(images[i].numpy(), targets and targets[i], one, step) for i, one in enumerate(plan)]
    return out.double().numpy(), np.stack([m[0] for m in mine]), new, [m[1] for m in mine]


def assert_same_targets(new, oracle):
    """Sides and flags equal; positions to float32 rounding at 384 px."""
    for a, b in zip(new, oracle):
        assert np.array_equal(a["keep"].numpy(), b["keep"])
        assert np.array_equal(a["boxes"][:, 2:4].numpy(), b["boxes"][:, 2:4].astype(np.float32))
        np.testing.assert_allclose(a["boxes"].numpy(), b["boxes"], atol=5e-5)
        for p, q in zip(a.get("polygons") or [], b.get("polygons") or []):
            np.testing.assert_allclose(p.numpy(), q, atol=5e-5)


def some_targets(count, height, width, seed, polygons):
    """Random objects, some of them partly or wholly outside the image."""
    g = np.random.default_rng(seed)
    size = np.sort(g.uniform(0.3, 0.6 * max(height, width, 4), (count, 2)), 1)[:, ::-1]
    boxes = np.column_stack(
        (g.uniform(-2, width + 2, count), g.uniform(-2, height + 2, count), size, g.uniform(-1.57, 1.57, count))
    )
    target = {"boxes": torch.from_numpy(boxes).float(), "labels": torch.zeros(count, dtype=torch.int64)}
    if polygons:
        stars = [_star(g, *box[:2], box[2] / 2) for box in boxes]
        target["polygons"] = [torch.from_numpy(p).float() for p in stars]
    return target


def _star(g, cx, cy, radius):
    """A simple polygon, seldom convex."""
    angle = np.sort(g.uniform(0, 2 * np.pi, g.integers(3, 9)))
    r = radius * g.uniform(0.3, 1, len(angle))
    return np.stack((cx + r * np.cos(angle), cy + r * np.sin(angle)), -1)


sizes = st.tuples(st.integers(1, 3), st.integers(1, 45), st.integers(1, 45))
anything = settings(max_examples=25, deadline=None, derandomize=True)


# --- foundations --------------------------------------------------------------------------------------------------------

KNOWN = [  # Random123, kat_vectors, philox4x32 10
    ("00000000 " * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("given_words", "expected"), KNOWN)
def test_philox_known_answers(given_words, expected):
    words = np.array([int(w, 16) for w in given_words.split()], dtype=np.uint64)
    answer = [int(w, 16) for w in expected.split()]
    assert reference.philox(words[:4], words[4:]).tolist() == answer
    assert [int(w) for w in rng.philox(*words)] == answer
    assert [int(w) for w in rng.philox(*torch.from_numpy(words.astype(np.int64)))] == answer


def test_streams_and_normals_are_the_packages():
    table = {"key0": np.array([123456789], np.uint64), "key1": np.array([4294967295], np.uint64)}
    key = torch.tensor([123456789, 4294967295])
    for lane in range(5):
        assert np.array_equal(reference.numbers(table, 0, lane, 1003), rng.halves(key, lane, 1003).numpy())
    every = np.arange(65536)
    np.testing.assert_allclose(rng._normal_quantiles().numpy(), reference.normals(every), atol=1e-6)
    assert abs(reference.normals(every).mean()) < 1e-12
    assert abs(reference.normals(every).var() - 1) < 1e-5


def test_oracle_refuses_what_it_cannot_do(sample):
    pipeline = pa.default_pipeline()
    with pytest.raises(InputError, match="one"):
        reference.apply(np.zeros((8, 8)), None, pipeline.draw((2, 1, 8, 8)), pipeline)
    with pytest.raises(InputError, match="shape"):
        reference.apply(np.zeros((1, 1, 8, 8)), None, pipeline.draw((1, 1, 8, 8)), pipeline)
    with pytest.raises(InputError, match="shape"):
        published.augment(np.zeros((1, 8, 8)), None, np.random.default_rng(0))


# --- step by step -------------------------------------------------------------------------------------------------------


def tolerance_of(step):
    """Steps that move or replace pixels are exact; the others round to float32 a few times."""
    return 0 if type(step) in {type(s) for s in STEPS_EXACT} else 1e-5 if type(step) is pa.Contrast else 2e-6


@pytest.mark.parametrize("step", STEPS_EXACT + STEPS_ROUNDING, ids=repr)
def test_plain_steps_on_the_sample(step, sample):
    out, oracle, new, mine = both(step, sample[0].float() / 255, sample[1])
    np.testing.assert_allclose(out, oracle, rtol=0, atol=tolerance_of(step))
    assert_same_targets(new, mine)


@pytest.mark.parametrize("step", STEPS_EXACT + STEPS_ROUNDING, ids=repr)
@anything
@given(size=sizes, seed=st.integers(0, 2**31), polygons=st.booleans())
def test_plain_steps_on_any_size(step, size, seed, polygons):
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed))
    targets = [some_targets(4, *size[1:], seed, polygons)]
    step.seed = seed
    out, oracle, new, mine = both(step, images, targets)
    np.testing.assert_allclose(out, oracle, rtol=0, atol=tolerance_of(step))
    assert_same_targets(new, mine)


@pytest.mark.parametrize("step", LAYERS, ids=repr)
def test_layers_on_the_sample(step, sample):
    """A texture's ranks err by <= 0.002 on average and 0.01 at most (below). Equalising a layer multiplies this by its density,
    at most 4.4 for the mean of ten uniform variables, in the middle; |dA/dl| <= 1 where c sigma_b is about 1. Large
    textures err less, and errors partly cancel: 7e-4 and 6e-5 were seen.
    """
    out, oracle, *_ = both(step, sample[0][:4].float() / 255, None, epoch=1)
    assert np.abs(out - oracle).max() <= 0.005
    assert np.abs(out - oracle).mean() <= 0.0005


@pytest.mark.parametrize("step", LAYERS, ids=repr)
@anything
@given(size=sizes, seed=st.integers(0, 2**31))
def test_layers_on_any_size(step, size, seed):
    """As above; and where n is small, means of multiples of 1/n often tie, and rounding breaks ties: some ranks."""
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed))
    step.seed = seed
    out, oracle, *_ = both(step, images, None)
    assert np.abs(out - oracle).max() <= 0.02 + 3 / (size[1] * size[2])
    assert np.abs(out - oracle).mean() <= 0.002 + 0.5 / (size[1] * size[2])


@pytest.mark.parametrize("kind", [pa.InterferenceLayer, pa.PerlinLayer])
def test_published_layers_on_the_sample(kind, sample):
    """A few values lie so close to the middle of two of 256 levels that rounding decides, and move by one occupied level."""
    out, oracle, *_ = both(kind(bins=256), sample[0][:3].float() / 255, None)
    off = np.abs(out - oracle)
    assert off.max() <= 0.1
    assert (off > 1 / 255).mean() <= 0.001


def doubtful(step, target, plan, shape, close=1e-3):
    """Pixels whose centre lies so near an edge of what a highlight paints that rounding may decide: within ``close`` px."""
    t, mask = plan.steps[0]["objects"], np.zeros(shape, bool)
    px, py = reference.centres(shape)
    for n, i in enumerate(t["object"]):
        points = target["polygons"][i].double().numpy()
        lines = [points] if t["kind"][n] != 1 else [points, points + np.array([t["dx"][n], t["dy"][n]])]
        reach = t["width"][n] / 2 if t["kind"][n] == 2 else 0.5
        for line in lines:
            d = reference.distance(np.concatenate((line, line[:1])), px, py)
            mask |= (np.abs(d - reach) < close) | (d < close)
    return mask


@pytest.mark.parametrize("kernels", [(1,), (3, 5)])
def test_highlights_on_the_sample(kernels, sample):
    """Equal to rounding, but for a tiny share of pixels all of which lie by an edge (or within a blur's reach of such)."""
    images, targets = sample[0][:4].float() / 255, sample[1][:4]
    step = pa.Highlight(kernels=kernels, seed=5)
    out, oracle, *_ = both(step, images, targets)
    off = np.abs(out - oracle) > 2e-6
    assert off.mean() <= 1e-4
    for i, plan in enumerate(step.draw(images.shape, targets)):
        near = cv2.dilate(
            doubtful(step, targets[i], plan, off.shape[2:]).astype(np.uint8), np.ones((2 * (max(kernels) // 2) + 1,) * 2)
        )
        assert not (off[i, 0] & (near == 0)).any()
        assert near.mean() < 0.02  # the excuse must not cover everything


@anything
@given(size=sizes, seed=st.integers(0, 2**31), polygons=st.booleans(), mirrored=st.booleans())
def test_highlights_on_any_size(size, seed, polygons, mirrored):
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed))
    step = pa.Highlight(fill=0.5, outline=0.7, width=(1, 4), mirrored=mirrored, seed=seed)
    out, oracle, *_ = both(step, images, [some_targets(9, *size[1:], seed, polygons)])
    assert (np.abs(out - oracle) > 2e-6).mean() <= 1e-3


def test_splines_on_the_sample(sample):
    """Coverage is continuous in the distance, which float32 knows to about 1e-4 px at 384 px."""
    out, oracle, *_ = both(pa.Splines(), sample[0].float() / 255, None)
    assert np.abs(out - oracle).max() <= 1e-3
    assert np.abs(out - oracle).mean() <= 1e-6


@anything
@given(size=sizes, seed=st.integers(0, 2**31))
def test_splines_on_any_size(size, seed):
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed))
    out, oracle, *_ = both(pa.Splines(widths=(0.5, 1.0, 1.5, 4.0), seed=seed), images, None)
    assert np.abs(out - oracle).max() <= 1e-3


@pytest.mark.parametrize("step", [pa.Overlay(), pa.Overlay(sigma=2)], ids=repr)
def test_overlays(step, sample):
    """The circle's edge may fall on either side of a centre, in a few pixels of 147,456; the bands are exact."""
    small = (torch.rand(6, *size, generator=torch.Generator().manual_seed(0)) for size in ((2, 17, 44), (1, 1, 9), (1, 1, 1)))
    for images in (sample[0].float() / 255, *small):
        out, oracle, *_ = both(step, images, None)
        assert (np.abs(out - oracle) > 2e-6).mean() <= 1e-4


@pytest.mark.parametrize(("threshold", "dilation"), [(0, 2.0), (60, 2.0), (20, 0.4)])
def test_keep_detectable(threshold, dilation, sample):
    """Flags are equal: grey values are the input's own."""
    step = pa.KeepDetectable(threshold, dilation)
    *_, new, mine = both(step, *sample)
    assert_same_targets(new, mine)
    if threshold:
        assert 0.02 < np.mean(np.concatenate([m["keep"] for m in mine])) < 0.98


@anything
@given(size=sizes, seed=st.integers(0, 2**31), polygons=st.booleans())
def test_keep_detectable_on_any_size(size, seed, polygons):
    """Half-black images, so that many objects see one grey value only."""
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed))
    images[..., : size[2] // 2] = 0
    *_, new, mine = both(pa.KeepDetectable(), images, [some_targets(9, *size[1:], seed, polygons)])
    assert_same_targets(new, mine)


# --- the whole pipeline -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [(slice(0, 384), slice(0, 384)), (slice(40, 341), slice(0, 256))], ids=["square", "301x256"])
def test_default_pipeline_on_the_sample(window, sample):
    images, targets = sample[0][:, :, *window], sample[1]
    out, oracle, new, mine = both(pa.default_pipeline(seed=1, min_edge=3), images, targets, epoch=window[0].start)
    for a, b in zip(out, oracle):
        assert (np.abs(a - b) <= 1 / 255).mean() >= 0.99
        assert np.abs(a - b).mean() <= 0.05 / 255
    assert_same_targets(new, mine)
    assert not np.concatenate([m["keep"] for m in mine]).all()


@anything
@given(size=sizes, seed=st.integers(0, 2**31))
def test_default_pipeline_on_any_size(size, seed):
    """As for the layers."""
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed))
    out, oracle, *_ = both(pa.default_pipeline(seed=seed), images, [some_targets(3, *size[1:], seed, True)])
    assert np.abs(out - oracle).mean() <= 0.003 + 0.5 / (size[1] * size[2])


# --- options for parity with the published code ---------------------------------------------------------------------------


def test_equalize_8bit_is_opencvs():
    g = np.random.default_rng(0)
    for shape in ((1, 2), (7, 5), (64, 64), (200, 128)):
        grey = np.rint(255 * g.beta(0.7, 2, shape)).astype(np.uint8)
        grey.flat[0], grey.flat[-1] = 0, 255  # already stretched, so both see the same 256 levels
        mine = pa.equalize_8bit(torch.from_numpy(grey).float())
        assert np.array_equal(np.rint(mine.numpy() * 255), cv2.equalizeHist(grey))
    assert (pa.equalize_8bit(torch.full((3, 4), 0.2)) == 0.5).all()


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 31])
@pytest.mark.parametrize("sigma", [None, 2.0])
def test_blur_is_opencvs(kernel, sigma):
    x = np.random.default_rng(kernel).random((20, 33)).astype(np.float32)
    out = pa.Blur(kernels=(kernel,), sigma=sigma)(torch.from_numpy(x)[None, None])[0, 0].numpy()
    width = sigma or 0.3 * ((kernel - 1) / 2 - 1) + 0.8
    np.testing.assert_allclose(out, cv2.GaussianBlur(x, (kernel, kernel), width, borderType=cv2.BORDER_REFLECT_101), atol=2e-6)


def test_alternating_displacement_is_the_published_loop():
    n, step = 41, pa.Displace(alternate=True, seed=8)
    images = torch.rand(3, 1, n, n, generator=torch.Generator().manual_seed(0))
    out, oracle, *_ = both(step, images, None)
    table = step.draw(images.shape).steps[0]["images"]
    for i in range(3):
        shift = reference.numbers(table, i, reference.DISPLACE, 2 * n) * 3 // 65536 - 1
        x = images[i, 0].numpy().copy()
        for j in range(n):
            x[:, j] = np.roll(x[:, j], shift[n + j])
            x[j, :] = np.roll(x[j, :], shift[j])
        assert np.array_equal(out[i, 0], x)
    assert np.array_equal(out, oracle)


# --- noise textures and the error law of equalisation --------------------------------------------------------------------


def exact(x):
    return (rankdata(x).reshape(x.shape) - 0.5) / x.size


def perlin_table(scale, g):
    n = len(scale)
    keys = {k: g.integers(0, 2**32, n).astype(np.uint64) for k in ("key0", "key1")}
    return {
        "sample": np.zeros(n, int),
        "scale": scale,
        "first": g.random(n),
        "second": g.random(n),
        "item": np.arange(n),
    } | keys


@pytest.mark.parametrize("size", [(33, 57), (96, 96), (1, 70), (1, 1)])
def test_fields_are_the_oracles(size):
    """Fixed-point lattices and phases: a field differs from float64 by float32 rounding alone."""
    g, n = np.random.default_rng(0), 40
    scale = 4 * (max(4, np.hypot(*size)) / 4) ** g.random(n)
    t = perlin_table(scale, g)
    lattices, sums = Lattices(t, *size, torch.device("cpu")), LayerSums("interference", t, *size, torch.device("cpu"), None)
    for i in range(n):
        plain = reference.perlin(
            scale[i], t["first"][i], t["second"][i], *size, lambda c, i=i: reference.numbers(t, i, reference.LATTICE, c, i)
        )
        np.testing.assert_allclose(lattices.field(i, i + 1)[0].numpy(), plain, atol=5e-6)
        plain = reference.interference(scale[i], t["first"][i], t["second"][i], *size)
        mine = wave(distances(sums.rows[i : i + 1], sums.columns[i : i + 1]))
        np.testing.assert_allclose(mine[0].numpy(), plain, atol=2e-6)


def awkward_waves(height, width, count, g):
    """Angles within 1e-9 .. 1e-2 of an axis or a diagonal, k within 1e-9 .. 0.1 of a whole number (or of it over sqrt 2), up to
    the image diagonal; a quarter as the pipeline draws them."""
    diagonal = np.hypot(height, width)
    eighth = g.integers(0, 8, count)
    turn = eighth / 8 + g.choice([-1, 1], count) * 10 ** g.uniform(-9, -2, count) / (2 * np.pi)
    whole = g.integers(4, int(diagonal) + 1, count) + g.choice([-1, 1], count) * 10 ** g.uniform(-9, -1, count)
    scale = np.where((eighth % 2 == 1) & (g.random(count) < 0.5), whole * np.sqrt(0.5), whole)
    ordinary = g.random(count) < 0.25
    scale = np.where(ordinary, 4 * (diagonal / 4) ** g.random(count), scale).clip(4, diagonal)
    turn = np.where(ordinary, g.random(count), turn % 1)
    return {"sample": np.zeros(count, int), "scale": scale, "first": turn, "second": g.random(count)}


def assert_law(error, what):
    """Mean <= 0.002 and maximum <= 0.01 for every texture."""
    assert error.mean() <= 0.002, what
    assert error.max() <= 0.01, what


LAW = {(32, 32): 300, (33, 57): 300, (64, 64): 250, (96, 96): 150, (128, 200): 100}


@pytest.mark.parametrize("size", LAW, ids=str)
def test_error_law_for_waves(size):
    """Against exact ranks of the same float32 values; a wave falls with the distance of its phase from a whole turn."""
    t = awkward_waves(*size, LAW[size], np.random.default_rng(sum(size)))
    sums = LayerSums("interference", t, *size, torch.device("cpu"), None)
    field = distances(sums.rows, sums.columns)
    for a, _, ranks in sums._ranks(0, LAW[size]):
        what = f"k = {t['scale'][a]!r}, {t['first'][a]!r} turns, phase {t['second'][a]!r}"
        assert_law(np.abs(ranks[0].numpy() / 4096 - exact(-field[a].numpy()).ravel()), what)
        texture = wave(field[a].clone())
        assert_law(np.abs(pa.equalize(texture).numpy() - exact(texture.numpy())), what)


@pytest.mark.parametrize("size", LAW, ids=str)
def test_error_law_for_perlin_noise(size):
    g, n = np.random.default_rng(1), LAW[size]
    diagonal = np.hypot(*size)
    scale = np.where(np.arange(n) % 2, diagonal * 10 ** -g.uniform(0, 0.2, n), 4 * (diagonal / 4) ** g.random(n))
    sums = LayerSums("perlin", perlin_table(scale, g), *size, torch.device("cpu"), None)
    for a, b, ranks in sums._ranks(0, n):
        texture = sums.lattices.field(a, b)[0]
        assert_law(np.abs(ranks[0].numpy() / 4096 - exact(texture.numpy()).ravel()), f"k = {scale[a]!r}")
        assert_law(np.abs(pa.equalize(texture).numpy() - exact(texture.numpy())), f"k = {scale[a]!r}")


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (5, 7), (64, 64)])
def test_equalize_flat_and_few_pixels(shape):
    assert (pa.equalize(torch.full(shape, 0.7)) == 0.5).all()
    x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape) // 2  # pairs tie
    np.testing.assert_allclose(pa.equalize(torch.from_numpy(x)).numpy(), exact(x), atol=1e-6 if x.size < 100 else 0.01)
    assert (reference.equalize(np.full(shape, 0.7)) == 0.5).all()
    assert (reference.equalize_8bit(np.full(shape, 0.7)) == 0.5).all()


def test_noise_layer_and_blend_follow_the_formulas():
    textures = pa.perlin([6.0, 20.0, 50.0], (60, 40), seed=2)
    plain = [t.double().numpy() for t in textures]
    layer, weight = pa.noise_layer(textures), pa.noise_layer(textures[:1])
    assert np.abs(layer.numpy() - reference.noise_layer(plain)).max() <= 0.01
    assert np.abs(pa.noise_layer(textures, False).numpy() - reference.noise_layer(plain, False)).max() <= 0.005
    image = torch.rand(2, 60, 40, generator=torch.Generator().manual_seed(0))
    oracle = reference.blend(image.double().numpy(), layer.double().numpy(), weight.double().numpy(), 3.0)
    np.testing.assert_allclose(pa.blend(image, layer, weight, 3.0).numpy(), oracle, atol=1e-6)
    eight_bit = np.abs(pa.noise_layer(textures, bins=256).numpy() - reference.noise_layer(plain, bins=256))
    assert (eight_bit > 2 / 255).mean() < 0.01


# --- as published -------------------------------------------------------------------------------------------------------


def test_published_pipeline(sample, monkeypatch):
    """Runs in full, stays in range, moves labels with the image; a plain random field stands in for the noise package."""
    monkeypatch.setattr(published, "_perlin", lambda height, width, g: cv2.blur(g.random((height, width)), (9, 9)))
    image, target = sample[0][0, 0, 100:220, 60:160].numpy() / 255, sample[1][0]
    for seed in range(30):
        out, new = published.augment(image, target, np.random.default_rng(seed))
        again, _ = published.augment(image, target, np.random.default_rng(seed))
        assert out.shape == image.shape
        assert np.array_equal(out, again)
        assert out.min() >= 0
        assert out.max() <= 1
        assert new["keep"].shape == (len(target["boxes"]),)
        assert np.array_equal(new["boxes"][:, 2:4], target["boxes"][:, 2:4].double().numpy())
        low, high = (np.stack([f(p, 0) for p in new["polygons"]]) for f in (np.min, np.max))
        assert ((low < new["boxes"][:, :2]) & (new["boxes"][:, :2] < high)).all()
    assert published.augment(image, None, np.random.default_rng(0))[1] is None


def test_published_pipeline_names_the_missing_package(monkeypatch):
    for package in ("pyfastnoisesimd", "noise"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PcsError, match=r"pip install .*pyfastnoisesimd.*pip install \"\.\[noise\]\""):
        published._perlin(4, 4, np.random.default_rng(0))


@pytest.mark.parametrize("width", [16, 21])
def test_published_noise_takes_the_published_library(monkeypatch, width):
    """Where NumPy has what it calls; it fills whole registers, and what is beyond the image is cut off."""

    class Noise:
        def __init__(self, seed, numWorkers):
            self.seed = seed

        def genAsGrid(self, shape, start):
            assert shape[2] % 16 == 0
            assert self.noiseType == "perlin"
            return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) * self.frequency

    library = types.ModuleType("pyfastnoisesimd")
    library.Noise, library.NoiseType = Noise, types.SimpleNamespace(Perlin="perlin")
    monkeypatch.setitem(sys.modules, "pyfastnoisesimd", library)
    monkeypatch.setattr(np, "product", np.prod, raising=False)
    assert published.noise_package() is library
    out = published._perlin(5, width, np.random.default_rng(0))
    assert out.shape == (5, width)
    assert np.ptp(np.diff(out[0])) < 1e-6 * out.max()
    assert out[1, 0] > out[0, -1]
