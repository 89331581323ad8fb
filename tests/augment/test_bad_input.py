"""Every bad input meets a named error that says what was given and what is allowed."""

import numpy as np
import pytest
import torch
from batches import random_images, random_targets

import pcs_augment as pa

good = random_images(2, 8, 8)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((1, 1, 4, 4)), "must be a torch.Tensor"),
        (torch.zeros(4, 4), r"must be \(B, C, H, W\)"),
        (torch.zeros(0, 1, 4, 4), "leave out empty batches"),
        (torch.zeros(1, 1, 0, 4), "at least 1"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), "float32, float16, bfloat16, float64 or uint8"),
        (torch.full((1, 1, 4, 4), 1.02), r"\[1.02, 1.02\]; expected floats in \[0, 1\]"),
        (torch.full((1, 1, 4, 4), -0.02), r"expected floats in \[0, 1\]"),
        (torch.full((1, 1, 4, 4), float("nan")), "NaN"),
        (torch.zeros(1, 1, 1, 20000), "16384"),
    ],
)
def test_images(images, words):
    with pytest.raises(pa.InputError, match=words):
        pa.default_pipeline()(images)
    with pytest.raises(pa.InputError, match=words):
        pa.Blur()(images)


def test_apply_looks_at_values_on_the_cpu():
    step = pa.Blur()
    with pytest.raises(pa.InputError, match="expected floats"):
        step.apply(good + 1, None, step.draw(good.shape))


def with_first(**changes):
    targets = random_targets([2, 1], 8, 8)
    targets[0] |= changes
    return targets


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("boxes", "must be a list"),
        (random_targets([1], 8, 8), "1 entries for 2 images"),
        ([{}, {}], r"targets\[0\] must be a dict with 'boxes'"),
        ([None, None], "must be a dict"),
        (with_first(boxes=torch.zeros(2, 4)), r"shape \(2, 4\); expected \(N, 5\)"),
        (with_first(boxes=torch.tensor([[1, 1, 2, 2, 0], [1, 1, 0, 2, 0]])), r"targets\[0\]\['boxes'\]\[1\].*w, h > 0"),
        (with_first(boxes=torch.tensor([[1, 1, float("nan"), 2, 0], [1, 1, 1, 2, 0]])), r"\['boxes'\]\[0\].*finite"),
        (with_first(boxes=torch.tensor([[float("inf"), 1, 1, 2, 0], [1, 1, 1, 2, 0]])), "finite"),
        (with_first(labels=torch.zeros(3)), "2 boxes but 3 labels"),
        (with_first(polygons=[torch.rand(3, 2)]), "2 boxes but 1 polygons"),
        (with_first(polygons=[torch.rand(3, 2), torch.rand(2, 2)]), r"\['polygons'\]\[1\] has 2 points"),
        (with_first(polygons=[torch.rand(3, 2), torch.tensor(1.0)]), r"\['polygons'\]\[1\] has shape \(\)"),
        (with_first(polygons=[torch.rand(3, 2), torch.rand(3, 3)]), r"\['polygons'\]\[1\] has shape \(3, 3\)"),
        (with_first(polygons=[torch.rand(3, 2), torch.full((3, 2), float("nan"))]), r"\['polygons'\]\[1\] has non-finite"),
    ],
)
def test_targets(targets, words):
    with pytest.raises(pa.InputError, match=words):
        pa.default_pipeline()(good, targets)


@pytest.mark.parametrize(
    "index", [[0], [0, -1], [0.5, 1], [[0, 1]], "ab", torch.tensor([0.0, 1.0]), np.array([0, 2**63], np.uint64)]
)
def test_index(index):
    with pytest.raises(pa.InputError, match="index must be 2 integers"):
        pa.Blur()(good, index=index)


@pytest.mark.parametrize("epoch", [-1, 2**32, 0.5, None, True])
def test_epoch(epoch):
    with pytest.raises(pa.InputError, match="epoch must be an integer"):
        pa.Blur()(good, epoch=epoch)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pa.Blur(p=1.5), "p must be a probability"),
        (lambda: pa.Blur(p=float("nan")), "p must be a probability"),
        (lambda: pa.Blur(kernels=(4,)), "odd integers"),
        (lambda: pa.Blur(kernels=()), "odd integers"),
        (lambda: pa.Blur(kernels=5), "odd integers"),
        (lambda: pa.Blur(sigma=0), "sigma must be above 0"),
        (lambda: pa.GaussianNoise(sigma=(0.2, 0.1)), "sigma must satisfy"),
        (lambda: pa.GaussianNoise(sigma=0.1), "sigma must be a pair"),
        (lambda: pa.ImpulseNoise(white=(0, 0.6)), "white must satisfy"),
        (lambda: pa.ImpulseNoise(black=(-0.1, 0)), "black must satisfy"),
        (lambda: pa.Brightness(base=0), "base must be above 0"),
        (lambda: pa.Contrast(exponent=(1, float("inf"))), "exponent must satisfy"),
        (lambda: pa.PerlinLayer(textures=(0, 3)), "textures must satisfy"),
        (lambda: pa.PerlinLayer(textures=(1.5, 3)), "pair of integers"),
        (lambda: pa.PerlinLayer(scale=(0.5, 8)), "scale must satisfy"),
        (lambda: pa.InterferenceLayer(c=-1), "c must be at least 0"),
        (lambda: pa.InterferenceLayer(bins=128), "bins must be None"),
        (lambda: pa.Splines(knots=(1, 4)), "knots must satisfy"),
        (lambda: pa.Splines(widths=(0,)), "widths must be"),
        (lambda: pa.Splines(curves=(3, 1)), "curves must satisfy"),
        (lambda: pa.Highlight(fill=-0.1), "fill must be a probability"),
        (lambda: pa.Highlight(grey=(90, 300)), "grey must satisfy"),
        (lambda: pa.Overlay(band=(0, 2.5)), "band must be a pair of integers"),
        (lambda: pa.Overlay(radius=(2, 1)), "radius must satisfy"),
        (lambda: pa.Displace(reach=0.5), "reach must be a whole number"),
        (lambda: pa.MinEdge(-1), "min_edge must be at least 0"),
        (lambda: pa.KeepDetectable(threshold=256), "threshold must be a whole number of grey levels"),
        (lambda: pa.KeepDetectable(1.5), "whole number of grey levels"),
        (lambda: pa.Splines(widths=1.0), "widths must be"),
        (lambda: pa.Pipeline([pa.Pipeline([])]), "splice"),
        (lambda: pa.perlin([], (4, 4)), "at least 1 px"),
        (lambda: pa.blend(torch.zeros(4, 4), np.zeros((4, 4)), 1.0), "must be tensors"),
        (lambda: pa.Pipeline([pa.Blur]), "made of steps"),
        (lambda: pa.perlin([0.5], (4, 4)), "at least 1 px"),
        (lambda: pa.interference([8], (4,)), "size must be"),
        (lambda: pa.perlin([8], (0, 4)), "size must be"),
        (lambda: pa.equalize(torch.zeros(4)), "a texture must be a tensor"),
        (lambda: pa.equalize(torch.full((2, 2), float("inf"))), "must be finite"),
        (lambda: pa.noise_layer(torch.zeros(4, 4)), r"\(N, H, W\)"),
        (lambda: pa.noise_layer(torch.zeros(1, 4, 4), bins=10), "bins must be None"),
        (lambda: pa.blend(torch.zeros(4), torch.zeros(4), torch.zeros(4)), "image must be a float tensor"),
        (lambda: pa.blend(torch.zeros(4, 4), torch.zeros(3, 3), torch.zeros(4, 4)), "do not broadcast"),
    ],
)
def test_arguments(make, words):
    with pytest.raises(pa.InputError, match=words):
        make()


def test_the_published_displacement_needs_square_images():
    with pytest.raises(pa.InputError, match="square images, got 8 x 9"):
        pa.Displace(alternate=True)(random_images(1, 8, 9))
