"""The drawn numbers follow the published table; pixel noise and noise textures have the right statistics.

Fixed seeds; every test of significance is at 1e-4, correlations at five standard deviations.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare, kstest, spearmanr

import pcs_augment as pa
from pcs_augment import reference
from pcs_augment.rng import open_streams

SIGNIFICANCE = 1e-4
BATCH, SIDE, OBJECTS = 4000, 384, 5
DIAGONAL = SIDE * np.sqrt(2)


@pytest.fixture(scope="module")
def plan():
    return default_plan((BATCH, 1, SIDE, SIDE))


def default_plan(shape):
    """The default pipeline's numbers for a batch with the same few boxes on each image."""
    boxes = np.random.default_rng(0).uniform(20, 300, (OBJECTS, 5))
    boxes[:, 2:] = np.array([[30, 7, 0.3], [40, 9, -1.2], [60, 60, 0], [12, 3, 1.5], [90, 20, -0.4]])
    target = {"boxes": boxes, "labels": np.zeros(OBJECTS, int)}
    return pa.default_pipeline(seed=2022).draw(shape, [target] * shape[0], epoch=3)


def table(plan, step, name="images", occurrence=0):
    place = [i for i, n in enumerate(plan.names) if n == step][occurrence]
    return plan.steps[place][name]


def uniform(values, low, high):
    assert len(values) > 300
    assert low <= np.min(values) <= np.max(values) <= high
    assert kstest((np.asarray(values) - low) / (high - low), "uniform").pvalue > SIGNIFICANCE


def equally_likely(values, choices):
    """Every value is a choice, and all choices are equally likely."""
    counts = np.array([(np.asarray(values) == c).sum() for c in choices])
    assert counts.sum() == len(values) > 5 * len(choices)
    assert chisquare(counts).pvalue > SIGNIFICANCE


def share(hits, trials, p):
    assert binomtest(int(hits), int(trials), p).pvalue > SIGNIFICANCE


def uncorrelated(*columns):
    """No two of several equally long columns (or rows of one matrix) go together."""
    m = np.corrcoef(np.stack(columns))
    assert np.abs(m[~np.eye(len(m), dtype=bool)]).max() < 5 / np.sqrt(len(columns[0]))


# --- which steps touch an image -------------------------------------------------------------------------------------------

CHANCES = [
    ("Highlight", 0, "images", 0.5),
    ("Splines", 0, "curves", 0.2),
    ("Displace", 0, "images", 0.05),
    ("GaussianNoise", 0, "images", 0.4),
    ("ImpulseNoise", 0, "images", 0.2),
    ("Brightness", 0, "images", 1.0),
    ("Contrast", 0, "images", 1.0),
    ("InterferenceLayer", 0, "textures", 0.4),
    ("PerlinLayer", 0, "textures", 0.4),
    ("Contrast", 1, "images", 1.0),
    ("Overlay", 0, "images", 0.2),
    ("Blur", 0, "images", 0.7),
    ("Rotate90", 0, "images", 1.0),
    ("Flip", 0, "images", 1.0),
]


def test_order_of_the_steps(plan):
    assert plan.names == ("MinEdge", *(c[0] for c in CHANCES), "KeepDetectable")


def test_settings_that_are_not_drawn():
    """The oracle reads them from the steps, so parity says nothing about them."""
    steps = {type(s).__name__: s for s in pa.default_pipeline().steps}
    for name in ("InterferenceLayer", "PerlinLayer"):
        assert (steps[name].c, steps[name].equalize_layer, steps[name].bins) == (5, True, None)
    assert steps["PerlinLayer"].offset
    assert (steps["Displace"].reach, steps["Displace"].alternate) == (1, False)
    assert (steps["KeepDetectable"].threshold, steps["KeepDetectable"].dilation, steps["MinEdge"].min_edge) == (0, 2, 0)
    assert [steps[name].sigma for name in ("Highlight", "Overlay", "Blur")] == [None] * 3
    assert not steps["Highlight"].mirrored


@pytest.mark.parametrize(("step", "occurrence", "name", "p"), CHANCES)
def test_chance_of_each_step(plan, step, occurrence, name, p):
    touched = np.unique(table(plan, step, name, occurrence)["sample"])
    if p == 1:
        assert len(touched) == BATCH
    else:
        share(len(touched), BATCH, p)


def test_steps_are_chosen_independently(plan):
    gates = [np.isin(np.arange(BATCH), table(plan, s, name, n)["sample"]) for s, n, name, p in CHANCES if p < 1]
    uncorrelated(*gates)
    for g in gates:  # nor do neighbouring samples go together
        uncorrelated(g[:-1], g[1:])


# --- tone and pixel noise -------------------------------------------------------------------------------------------------


def test_tone(plan):
    brightness = np.log2(table(plan, "Brightness")["factor"])
    contrasts = [np.log(table(plan, "Contrast", occurrence=i)["factor"]) / np.log(1.5) for i in (0, 1)]
    uniform(brightness, -1, 1)
    for c in contrasts:
        uniform(c, 0, 1)
    uncorrelated(brightness, *contrasts)


def test_noise_parameters(plan):
    uniform(table(plan, "GaussianNoise")["sigma"], 0.01, 0.06)
    t = table(plan, "ImpulseNoise")
    uniform(t["white"], 0, 0.05)
    uniform(t["black"], 0, 0.05)
    uncorrelated(t["white"], t["black"])


def test_gaussian_noise_is_normal():
    images = torch.full((40, 1, 64, 64), 0.5)
    noise = (pa.GaussianNoise(sigma=(0.03, 0.03), seed=5)(images) - 0.5).numpy() / 0.03
    assert kstest(noise.ravel(), "norm").pvalue > SIGNIFICANCE
    flat = noise[:, 0]
    uncorrelated(flat[:, :, :-1].ravel(), flat[:, :, 1:].ravel())
    uncorrelated(flat[:, :-1].ravel(), flat[:, 1:].ravel())
    uncorrelated(*flat.reshape(40, -1))
    colour = (pa.GaussianNoise(sigma=(0.03, 0.03), seed=5)(torch.full((1, 3, 99, 99), 0.5)) - 0.5).numpy()
    uncorrelated(*colour.reshape(3, -1))


def test_impulse_fractions():
    step = pa.ImpulseNoise(white=(0.01, 0.3), black=(0.01, 0.3), seed=6)
    images = torch.full((60, 2, 64, 64), 0.5)
    t, out = step.draw(images.shape).steps[0]["images"], step(images, index=range(len(images))).numpy()
    assert np.array_equal(out[:, 0], out[:, 1])
    for i in range(60):
        share((out[i, 0] == 1).sum(), 64 * 64, t["white"][i])
        share((out[i, 0] == 0).sum(), 64 * 64, t["black"][i])
    assert set(np.unique(out)) == {0, 0.5, 1}
    white = pa.ImpulseNoise(white=(0.2, 0.2), seed=7)(images).numpy()[:, 0] == 1
    uncorrelated(*white[:20].reshape(20, -1))
    uncorrelated(white[:, :, 1:].ravel(), white[:, :, :-1].ravel())


def test_displacements():
    """A ramp along y shows the shift of each column; an image of one row shows that of its row."""
    n, length = 300, 97
    ramp = torch.arange(length).float() / length
    columns = pa.Displace(seed=1)(ramp.view(1, 1, -1, 1).expand(n, 1, -1, length).contiguous())
    shift = (torch.round((ramp[5] - columns[:, 0, 5]) * length)).numpy()
    equally_likely(shift.ravel(), (-1, 0, 1))
    uncorrelated(shift[:, :-1].ravel(), shift[:, 1:].ravel())
    rows = pa.Displace(seed=2, reach=2)(ramp.view(1, 1, 1, -1).expand(4 * n, -1, -1, -1).contiguous())
    equally_likely(torch.round((ramp[5] - rows[:, 0, 0, 5]) * length).numpy(), range(-2, 3))


def test_noise_depends_on_seed_epoch_index_and_step_alone():
    """Sixteen fields that differ in at least one of these are uncorrelated, and each is the same every time."""
    image, noise = torch.full((1, 1, 64, 64), 0.5), pa.GaussianNoise(sigma=(0.02, 0.02))

    def fields(seed, epoch, index):
        one = pa.Pipeline([noise, pa.Blur(p=0)], seed)(image, index=[index], epoch=epoch)
        both = pa.Pipeline([noise, noise], seed)(image, index=[index], epoch=epoch)
        return [(one - image).numpy().ravel(), (both - one).numpy().ravel()]

    keys = [(s, e, i) for s in (0, 2**40) for e in (0, 1) for i in (0, 1)]
    every = [f for k in keys for f in fields(*k)]
    uncorrelated(*every)
    assert np.array_equal(fields(*keys[3])[1], every[7])


def test_random_words():
    """Uniform, and independent across words, samples, steps, epochs and seeds."""
    streams = [s for seed in (0, 1) for e in (0, 1) for s in open_streams(seed, e, np.arange(5000), [4, 9])]
    for s in streams:
        uniform(s.words[:, :9].ravel() / 2**32, 0, 1)
    uncorrelated(*(s.words[:, i].astype(float) for s in streams for i in range(4)))
    keys = np.concatenate([s.keys[:, 0] * np.uint64(2**32) + s.keys[:, 1] for s in streams])
    assert len(np.unique(keys)) == len(keys)
    for shift in (0, 8, 16, 24):
        equally_likely((streams[0].words.ravel() >> np.uint64(shift)) & np.uint64(255), range(256))


# --- noise layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["InterferenceLayer", "PerlinLayer"])
def test_layer_parameters(plan, step):
    """N ~ U{1..10} for each of the two layers, k log-uniform in [4, diagonal], first and second uniform."""
    t = table(plan, step, "textures")
    layer = 2 * t["sample"] + t["layer"]
    number = np.bincount(layer, minlength=2 * BATCH).reshape(BATCH, 2)
    number = number[number[:, 0] > 0]
    equally_likely(number.ravel(), range(1, 11))
    uncorrelated(*number.T)
    k = np.log(t["scale"] / 4) / np.log(DIAGONAL / 4)
    uniform(k, 0, 1)
    uniform(t["first"], 0, 1)
    uniform(t["second"], 0, 1)
    uncorrelated(k, t["first"], t["second"])
    same = layer[1:] == layer[:-1]
    for column in (k, t["first"], t["second"]):
        uncorrelated(column[1:][same], column[:-1][same])
    assert len(np.unique(t["sample"] * 20 + t["item"])) == len(layer)  # every texture has its own gradients


def test_small_images_have_one_scale():
    for step in (pa.InterferenceLayer(), pa.PerlinLayer()):
        assert (step.draw((20, 1, 2, 3)).steps[0]["textures"]["scale"] == 4).all()


# --- objects and curves -----------------------------------------------------------------------------------------------------


def test_highlights(plan):
    images, t = table(plan, "Highlight"), table(plan, "Highlight", "objects")
    objects = len(images["sample"]) * OBJECTS
    filled = t["kind"] < 2
    share(filled.sum(), objects, 0.2)
    share((t["kind"] == 1).sum(), filled.sum(), 0.5)
    share((~filled).sum(), objects - filled.sum(), 0.2)
    share((~filled).sum(), objects, 0.16)
    for column in (t["offset"], t["other"]):
        grey = (column + 0.5) * 255
        np.testing.assert_allclose(grey, np.rint(grey), atol=1e-9)
        equally_likely(np.rint(grey), range(90, 166))
    uncorrelated(t["offset"], t["other"], t["width"].astype(float))
    equally_likely(t["width"][~filled], (1, 2))
    equally_likely(images["kernel"], (3, 5))
    equally_likely(t["object"], range(OBJECTS))


def test_second_highlight_moves_half_the_height_along_the_short_axis(plan):
    t = table(plan, "Highlight", "objects")
    height, theta = np.array([[7, 0.3], [9, -1.2], [60, 0], [3, 1.5], [20, -0.4]])[t["object"]].T
    across = -np.sin(theta) * t["dx"] + np.cos(theta) * t["dy"]
    np.testing.assert_allclose(np.cos(theta) * t["dx"] + np.sin(theta) * t["dy"], 0, atol=1e-9)
    np.testing.assert_allclose(np.abs(across), height / 2, atol=1e-9)
    share((across > 0).sum(), len(across), 0.5)


def test_splines(plan):
    t = table(plan, "Splines", "curves")
    number = np.bincount(t["sample"])
    equally_likely(number[number > 0], range(1, 11))
    equally_likely(t["knots"], (2, 3, 4))
    equally_likely(t["width"], (0.5, 1.0, 1.5))
    uniform(t["angle"], 0, 2 * np.pi)
    uniform(t["offset"], -1, 1)
    heights = [t[f"height{i}"] for i in range(4)]
    for i, h in enumerate(heights):
        uniform(h[t["knots"] > i], 0, SIDE)
    uncorrelated(t["angle"], t["offset"], t["width"], t["knots"].astype(float), *heights)


# --- overlay, blur, symmetries ----------------------------------------------------------------------------------------------


def test_overlay(plan):
    t = table(plan, "Overlay")
    circle = t["round"] == 1
    share(circle.sum(), len(circle), 0.5)
    equally_likely(t["kernel"], range(1, 32, 2))
    corner = [np.rint(t[c][circle] / SIDE) for c in "xy"]
    equally_likely(corner[0] * 2 + corner[1], range(4))
    jitter = [t[c][circle] / SIDE - k for c, k in zip("xy", corner)]
    radius = t["radius"][circle] / SIDE
    for j in jitter:
        uniform(j, -0.1, 0.1)
    uniform(radius, 1.14, 1.34)
    uncorrelated(*jitter, radius)
    left, right, top, bottom = (t[c][~circle] for c in ("left", "right", "top", "bottom"))
    wide, tall = left + SIDE - right, top + SIDE - bottom
    assert (((left > 0) ^ (right < SIDE)) & ((top > 0) ^ (bottom < SIDE))).all()
    equally_likely((left > 0) * 2 + (top > 0), range(4))
    equally_likely(wide, range(1, 32))
    equally_likely(tall, range(1, 32))
    uncorrelated(wide.astype(float), tall.astype(float))


def test_blur_kernels(plan):
    equally_likely(table(plan, "Blur")["kernel"], (3, 5, 7, 9))


def test_rotations_and_flips(plan):
    turn, flip = table(plan, "Rotate90")["kind"], table(plan, "Flip")["kind"]
    equally_likely(turn, range(4))
    equally_likely(flip, range(3))
    equally_likely(turn * 3 + flip, range(12))
    oblong = default_plan((1000, 1, 90, 120))
    equally_likely(table(oblong, "Rotate90")["kind"], (0, 2))
    equally_likely(table(oblong, "Flip")["kind"], range(3))


# --- textures ---------------------------------------------------------------------------------------------------------------

CELL = 12  # px
OFFSETS = np.arange(2, 22, 2)


def two_point(fields):
    """(T, H, W): autocorrelation and mean difference of equalised values, at OFFSETS px along x and y; and the variance."""
    correlation, difference = [], []
    flat = np.stack([reference.equalize(f) for f in fields])
    for r in OFFSETS:
        pairs = [(v[:, :, r:], v[:, :, :-r], v[:, r:], v[:, :-r]) for v in (fields, flat)]
        (a, b, c, d), (e, f, g, h) = pairs
        correlation.append(((a * b).mean() + (c * d).mean()) / 2 / fields.var())
        difference.append((np.abs(e - f).mean() + np.abs(g - h).mean()) / 2)
    return np.array(correlation), np.array(difference), fields.var()


def package_fields(count):
    return pa.perlin(np.full(count, float(CELL)), (96, 96), seed=4).double().numpy()


def test_perlin_noise_has_the_oracles_statistics():
    """Against gradients and offsets that NumPy drew: same variance (a mean over 10,000 cells), same two-point statistics."""
    g = np.random.default_rng(5)
    oracle = [reference.perlin(CELL, *g.random(2), 96, 96, lambda n: g.integers(0, 65536, n)) for _ in range(200)]
    mine, theirs = two_point(package_fields(200)), two_point(np.stack(oracle))
    np.testing.assert_allclose(mine[0], theirs[0], atol=0.03)
    np.testing.assert_allclose(mine[1], theirs[1], atol=0.01)
    np.testing.assert_allclose(mine[2], theirs[2], rtol=0.04)


def test_perlin_noise_has_the_noise_packages_statistics():
    """Its gradients are sixteen vectors in three dimensions, whose parts in the plane have a mean square of 20/16; ours are
    unit vectors. Random starts keep the slices independent.
    """
    if os.environ.get("CI"):
        import noise
    else:
        noise = pytest.importorskip("noise", reason="needs the compiled noise package: pip install noise")
    place, g = np.arange(96) / CELL, np.random.default_rng(6)
    starts = g.integers(0, 256, (256, 2))
    fields = np.array(
        [[[noise.pnoise3(x + a, y + b, float(z)) for x in place] for y in place] for z, (a, b) in enumerate(starts)]
    )
    mine, theirs = two_point(package_fields(256)), two_point(fields)
    np.testing.assert_allclose(mine[0], theirs[0], atol=0.03)
    np.testing.assert_allclose(mine[1], theirs[1], atol=0.01)
    np.testing.assert_allclose(mine[2] * 20 / 16, theirs[2], rtol=0.04)


def test_texture_statistics_do_not_depend_on_place():
    """With random offsets no row, column or quarter of an image differs; on lattice points the noise would vanish."""
    fields = package_fields(300)
    power = (fields**2).mean(0)
    assert power.min() > 0.6 * power.mean()
    assert power.max() < 1.5 * power.mean()
    assert np.abs(fields.mean(0)).max() < 5 * np.sqrt(power.max() / 300)
    waves = pa.interference(np.full(300, 20.0), (48, 48), seed=4).double().numpy()
    assert np.abs(waves.mean(0) - 0.5).max() < 5 * np.sqrt(0.125 / 300)


def test_waves_have_every_direction():
    """The gradient of a wave at a pixel points along its direction or against it: angles are uniform modulo pi."""
    waves = pa.interference(np.full(2000, 50.0), (8, 8), seed=9).double().numpy()
    dy, dx = waves[:, 4, 3] - waves[:, 2, 3], waves[:, 3, 4] - waves[:, 3, 2]
    clear = np.hypot(dx, dy) > 0.02
    angle = np.arctan2(dy, dx)[clear] % np.pi
    assert kstest(angle / np.pi, "uniform").pvalue > SIGNIFICANCE
    assert spearmanr(angle[1:], angle[:-1]).pvalue > SIGNIFICANCE
