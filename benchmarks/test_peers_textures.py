"""Beside kornia, torchvision, albumentations, OpenCV and packages for noise, one thread on both sides: textures, their
equalisation, noise layers; and beside the pipeline as the published code works."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from conftest import cached_batch, imported, turns
from contests import BATCHES, LISTS, OURS, Contest, each, run, stepped
from torch import Tensor

import pcs_augment as pa

FLOATS, BYTES = BATCHES
FLOAT_LIST, BYTE_LIST = LISTS
SIZE, K, COUNT = 384, 32, 16  # px, px between lattice points, textures
TEXTURES = 5  # in each of the two layers
ON_DEVICE, ON_HOST = "made on the device", "made on the host"


def equal(before: Tensor, after: Tensor, grey: float) -> str:
    """Close to the exact ranks; with 256 grey values by half the heaviest of them at best."""
    exact = before.flatten(1).argsort(1).argsort(1) / before[0].numel()
    error = (after.flatten(1) - exact).abs()
    mean, largest = float(error.mean(1).max()), float(error.max())
    assert mean < 0.01
    assert largest < 0.05
    return f"ranks off by {largest:.2g} at most, {mean:.2g} on average"


def like_perlin(before: Tensor, after: Tensor, grey: float) -> None:
    """As many cells, of the same smoothness and variance as the textures of ``pa.perlin`` with another seed."""
    ours = pa.perlin([K] * len(after), (SIZE, SIZE), seed=99)
    assert after.shape == (len(ours), 1, SIZE, SIZE)
    assert abs(after.mean()) < 0.05
    assert abs(after.std() / ours.std() - 1) < 0.15
    rough, smooth = (v.diff(dim=-1).std() / v.std() for v in (after, ours))
    assert abs(rough / smooth - 1) < 0.17
    assert len(after.flatten(1).unique(dim=0)) == len(after)


def layered(before: Tensor, after: Tensor, grey: float) -> None:
    """Correlated noise: neighbours change alike, every image in its own way, more than a little."""
    added = (after - before).flatten(1)
    near = torch.corrcoef(torch.stack(((after - before)[..., 1:].flatten(), (after - before)[..., :-1].flatten())))[0, 1]
    assert after.min() >= 0
    assert after.max() <= 1
    assert (added.std(1) > 0.02).all()
    assert near > 0.5
    assert abs(torch.corrcoef(added[:2])[0, 1]) < 0.9


CONTESTS = [
    equalization := Contest("equalisation", equal, "texture"),
    perlin := Contest(f"Perlin noise, one octave, {K} px", like_perlin, "texture"),
    interference_layer := Contest(f"two layers of {TEXTURES} plane waves, blended", layered),
    perlin_layer := Contest(f"two layers of {TEXTURES} Perlin textures, blended", layered),
    one_layer := Contest("correlated noise of one texture", layered),
]


# --- equalisation ---------------------------------------------------------------------------------------------------


@equalization.entry(f"{OURS}.equalize", FLOATS)
def _():
    return pa.equalize


@equalization.entry(f"{OURS}.equalize_8bit", FLOATS)
def _():
    return pa.equalize_8bit


@equalization.entry("torch, ranks by sorting", FLOATS)
def _():
    def ranks(x: Tensor) -> Tensor:
        flat = x.flatten(1)
        rank = (torch.arange(flat.shape[1], device=x.device) + 0.5) / flat.shape[1]
        return torch.empty_like(flat).scatter_(1, flat.argsort(1), rank.expand_as(flat)).view_as(x)

    return ranks


@equalization.entry("kornia", FLOATS)
def _():
    return imported("kornia.enhance").equalize


@equalization.entry("kornia.RandomEqualize", FLOATS)
def _():
    return imported("kornia.augmentation").RandomEqualize(p=1.0)


@equalization.entry("torchvision, uint8", BYTES)
def _():
    return imported("torchvision.transforms.v2.functional").equalize


@equalization.entry("OpenCV, normalise + equalizeHist", FLOAT_LIST)
def _():
    cv2 = imported("cv2")
    # dtype by name, since OpenCV 4 and 5 number theirs differently
    return each(lambda x: cv2.equalizeHist(cv2.normalize(x, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)))


@equalization.entry("albumentations, uint8", BYTE_LIST)
def _():
    step = imported("albumentations").Equalize(p=1)
    return each(lambda image: step(image=image)["image"])


# --- Perlin textures ------------------------------------------------------------------------------------------------


@perlin.entry(f"{OURS}.perlin", ON_DEVICE)
def _(device):
    seed = itertools.count()
    return lambda _: pa.perlin([K] * COUNT, (SIZE, SIZE), seed=next(seed), device=device)


@perlin.entry("perlin-numpy", ON_HOST)
def _(device):
    make = imported("perlin_numpy").generate_perlin_noise_2d
    np.random.seed(1)  # noqa: NPY002 (it draws from there)
    # it multiplies by the root of two
    return each(lambda _: make((SIZE, SIZE), (SIZE // K, SIZE // K)) / 2**0.5)


def _starts():
    """Coordinates in cells, from another lattice point each time, as the published code does."""
    rng = np.random.default_rng(1)
    return lambda: tuple(np.arange(SIZE) / K + start for start in rng.integers(0, 1000, 2))


@perlin.entry("noise, pnoise2 for every pixel", ON_HOST)
def _(device):
    pnoise2, start = imported("noise").pnoise2, _starts()

    def texture(_):
        x, y = start()
        points = map(pnoise2, np.tile(x, SIZE).tolist(), np.repeat(y, SIZE).tolist())
        return np.fromiter(points, np.float64, SIZE * SIZE).reshape(SIZE, SIZE)

    return each(texture)


@perlin.entry("opensimplex.noise2array (simplex noise)", ON_HOST)
def _(device):
    noise2array, start = imported("opensimplex").noise2array, _starts()
    return each(lambda _: noise2array(*start()) * 0.6)  # the amplitude of Perlin noise


# --- layers ---------------------------------------------------------------------------------------------------------

interference_layer.entry(OURS, FLOATS)(lambda: stepped(pa.InterferenceLayer(textures=(TEXTURES,) * 2)))
perlin_layer.entry(OURS, FLOATS)(lambda: stepped(pa.PerlinLayer(textures=(TEXTURES,) * 2)))
one_layer.entry(f"{OURS}.PerlinLayer", FLOATS)(lambda: stepped(pa.PerlinLayer(textures=(1, 1))))


def _as_published(texture):
    reference, rng = imported("pcs_augment.reference"), np.random.default_rng(1)

    def blended(image):
        layers = [[texture(*image.shape, rng) for _ in range(TEXTURES)] for _ in range(2)]
        return reference.blend(image, *(reference.noise_layer(t, bins=256) for t in layers))

    return each(blended)


@interference_layer.entry("as published (NumPy, OpenCV)", FLOAT_LIST, most=8)
def _():
    return _as_published(imported("pcs_augment.published")._wave)


@perlin_layer.entry("as published (noise, OpenCV)", FLOAT_LIST, most=4)
def _():
    imported("noise")
    return _as_published(imported("pcs_augment.published")._perlin)


@one_layer.entry("kornia.RandomPlasmaBrightness (fractal)", FLOATS, most=8)
def _():
    return imported("kornia.augmentation").RandomPlasmaBrightness((0.5, 0.5), (0.3, 0.3), p=1.0)


def test_textures(entry, batch, device, clock, one_thread):
    if entry.contest is perlin:
        run(entry, torch.zeros(COUNT, 1, SIZE, SIZE), clock, device=device)
    elif entry.contest is equalization:
        textures = pa.perlin([K] * COUNT, (SIZE, SIZE), seed=5, device=device)[:, None]
        low, high = textures.amin((2, 3), keepdim=True), textures.amax((2, 3), keepdim=True)
        run(entry, (textures - low) / (high - low), clock)
    else:
        run(entry, batch[0], clock)


# --- the whole pipeline ---------------------------------------------------------------------------------------------


def _ours(device):
    images, targets, index = cached_batch()
    inputs, pipeline, epoch = turns(images.to(device)), pa.default_pipeline(seed=1), itertools.count()

    def work():
        plan = pipeline.draw(images.shape, targets, index=index, epoch=next(epoch))
        out, new = pipeline.apply(next(inputs), targets, plan)
        return out, [t["keep"] for t in new]

    return work


def _published(device):
    imported("noise")
    published, rng = imported("pcs_augment.published"), np.random.default_rng(1)
    images, targets, _ = cached_batch()
    host = [(i[0].numpy(), t) for i, t in zip(images, targets)]

    def work():
        out = [published.augment(image, target, rng) for image, target in host]
        return torch.from_numpy(np.stack([x for x, _ in out]))[:, None], [torch.from_numpy(t["keep"]) for _, t in out]

    return work


def _described(images: Tensor, keep: list[Tensor]) -> Tensor:
    """(64, 3): mean and standard deviation of the grey values of every image, and the share of objects that are left."""
    assert images.shape == (64, 1, 384, 384)
    kept = torch.tensor([float(k.float().mean()) for k in keep])
    return torch.stack((images.cpu().float().mean((1, 2, 3)), images.cpu().float().std((1, 2, 3)), kept), 1)


@pytest.mark.parametrize(
    ("library", "make", "data"),
    [(OURS, _ours, FLOATS), ("as published (noise, OpenCV)", _published, FLOAT_LIST)],
    ids=[OURS, "as-published"],
)
def test_pipelines(library, make, data, device, clock, one_thread):
    """Both change images alike, on average and within what chance allows."""
    work = make(device)
    one, other = (_described(*w()) for w in (_ours(device), work))
    chance = ((one.var(0) + other.var(0)) / len(one)).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() < 4 * chance + 0.005).all()
    what = "the whole default pipeline"
    clock(work, 64, "peers", f"{what}: {library}", work=what, library=library, data=data, ours=library == OURS, found="")
