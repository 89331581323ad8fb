"""Beside kornia, torchvision, albumentations and OpenCV, one thread on both sides: noise, tone, blur, symmetries.

Each library gets the images in the form it takes: a batch, or a list of single images; 8 bits where that is its home.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from conftest import imported
from contests import BATCHES, LISTS, OURS, Contest, each, run, stepped
from torch import Tensor

import pcs_augment as pa

FLOATS, BYTES = BATCHES
FLOAT_LIST, BYTE_LIST = LISTS
SIGMA, IMPULSES, FACTOR, CONTRAST, KERNEL, BLUR = 0.03, 0.05, 1.5, 1.3, 7, 2.0


def gaussian_noise(before: Tensor, after: Tensor, grey: float) -> None:
    """Its own noise for every image, of the standard deviation asked for; 8-bit libraries cut decimals off."""
    assert after.min() >= 0
    assert after.max() <= 1
    added = [(b - a)[(a > 0.2) & (a < 0.8)] for a, b in zip(before, after)]
    for noise in added:
        assert abs(noise.mean()) < 0.001 + 0.6 * grey
        assert abs(noise.std() - SIGMA) < 0.001 + 0.3 * grey
    both = torch.stack([n[: min(map(len, added[:2]))] for n in added[:2]])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.02


def impulse_noise(before: Tensor, after: Tensor, grey: float) -> None:
    """Half of the impulses white, half black, and nothing else changed."""
    changed = before != after
    assert ((after[changed] == 0) | (after[changed] == 1)).all()
    for value in (0, 1):
        share = ((after == value) & (before != value)).float().mean((1, 2, 3)) / (before != value).float().mean((1, 2, 3))
        assert (abs(share - IMPULSES / 2) < 0.004).all()


def _close(after: Tensor, exact: Tensor, tolerance: float) -> str:
    error = float((after - exact).abs().max())
    assert error <= tolerance + 1e-5
    return f"off by {max(error * 255, 0.001):.1g} grey levels at most"


def brightness(before: Tensor, after: Tensor, grey: float) -> str:
    return _close(after, (before * FACTOR).clamp(0, 1), grey)


def contrast(before: Tensor, after: Tensor, grey: float) -> str:
    mean = before.mean((2, 3), keepdim=True)
    return _close(after, (mean + (before - mean) * CONTRAST).clamp(0, 1), 1.5 * grey)


def blur(before: Tensor, after: Tensor, grey: float) -> str:
    """The Gaussian truncated to the kernel, borders mirrored without the edge pixel."""
    weights = torch.exp(-0.5 * ((torch.arange(KERNEL, dtype=torch.float64) - KERNEL // 2) / BLUR) ** 2)
    weights = weights / weights.sum()
    padded = F.pad(before[:4].double(), [KERNEL // 2] * 4, mode="reflect")
    exact = F.conv2d(padded, (weights[:, None] * weights)[None, None])
    return _close(after[:4], exact, grey)


def _symmetries(x: Tensor) -> list[Tensor]:
    return [y.rot90(k, (-2, -1)) for y in (x, x.flip(-1)) for k in range(4)]


def _kinds(before: Tensor, after: Tensor, tolerance: float) -> set[int]:
    kinds = set()
    for a, b in zip(before, after):
        errors = [float((s - b).abs().max()) for s in _symmetries(a)]
        assert min(errors) <= tolerance
        kinds.add(errors.index(min(errors)))
    return kinds


def flips(before: Tensor, after: Tensor, grey: float) -> None:
    assert len(_kinds(before, after, 0)) > 1


def symmetries(before: Tensor, after: Tensor, grey: float) -> None:
    """All quarter turns and flips occur; kornia interpolates when it turns."""
    assert len(_kinds(before, after, 1e-4)) > 3


CONTESTS = [
    noise := Contest(f"Gaussian noise, sigma {SIGMA}", gaussian_noise),
    impulses := Contest(f"impulse noise, {IMPULSES:.0%}", impulse_noise),
    bright := Contest(f"brightness x {FACTOR}", brightness),
    contrasts := Contest(f"contrast x {CONTRAST}", contrast),
    blurs := Contest(f"Gaussian blur, {KERNEL} px, sigma {BLUR:g}", blur),
    mirrors := Contest("random flips", flips),
    turned := Contest("random quarter turns and flips", symmetries),
]


# --- ours -----------------------------------------------------------------------------------------------------------

for contest, step in (
    (noise, pa.GaussianNoise(sigma=(SIGMA, SIGMA))),
    (impulses, pa.ImpulseNoise(white=(IMPULSES / 2,) * 2, black=(IMPULSES / 2,) * 2)),
    (bright, pa.Brightness(base=FACTOR, exponent=(1, 1))),
    (contrasts, pa.Contrast(base=CONTRAST, exponent=(1, 1))),
    (blurs, pa.Blur(kernels=[KERNEL], sigma=BLUR)),
    (mirrors, pa.Flip()),
    (turned, pa.Pipeline([pa.Rotate90(), pa.Flip()])),
):
    contest.entry(OURS, FLOATS)(lambda step=step: stepped(step))


# --- kornia ---------------------------------------------------------------------------------------------------------


@noise.entry("kornia", FLOATS)
def _():
    step = imported("kornia.augmentation").RandomGaussianNoise(0.0, SIGMA, p=1.0)
    return lambda x: step(x).clamp_(0, 1)


@impulses.entry("kornia", FLOATS)
def _():
    return imported("kornia.augmentation").RandomSaltAndPepperNoise((IMPULSES,) * 2, (0.5, 0.5), p=1.0)


@bright.entry("kornia", FLOATS)
def _():
    adjust = imported("kornia.enhance").adjust_brightness_accumulative
    return lambda x: adjust(x, FACTOR)


@contrasts.entry("kornia", FLOATS)
def _():
    adjust = imported("kornia.enhance").adjust_contrast_with_mean_subtraction
    return lambda x: adjust(x, CONTRAST)


@blurs.entry("kornia", FLOATS)
def _():
    filtered = imported("kornia.filters").gaussian_blur2d
    return lambda x: filtered(x, (KERNEL, KERNEL), (BLUR, BLUR))


@mirrors.entry("kornia", FLOATS)
def _():
    return imported("kornia.augmentation").RandomHorizontalFlip(p=0.5)


@turned.entry("kornia (interpolates)", FLOATS)
def _():
    k = imported("kornia.augmentation")
    steps = (k.RandomRotation90((0, 3), p=1.0), k.RandomHorizontalFlip(p=1 / 3), k.RandomVerticalFlip(p=1 / 3))
    return k.AugmentationSequential(*steps)


# --- torchvision ----------------------------------------------------------------------------------------------------


@noise.entry("torchvision", FLOATS)
def _():
    return imported("torchvision.transforms.v2").GaussianNoise(0.0, SIGMA)


@bright.entry("torchvision", FLOATS)
def _():
    adjust = imported("torchvision.transforms.v2.functional").adjust_brightness
    return lambda x: adjust(x, FACTOR)


@contrasts.entry("torchvision", FLOATS)
def _():
    adjust = imported("torchvision.transforms.v2.functional").adjust_contrast
    return lambda x: adjust(x, CONTRAST)


@blurs.entry("torchvision", FLOATS)
def _():
    filtered = imported("torchvision.transforms.v2.functional").gaussian_blur
    return lambda x: filtered(x, [KERNEL, KERNEL], [BLUR, BLUR])


@mirrors.entry("torchvision, image by image", FLOATS)
def _():
    step = imported("torchvision.transforms.v2").RandomHorizontalFlip(p=0.5)  # a batch would be flipped as a whole
    return lambda images: torch.stack([step(image) for image in images])


# --- triton-augment (CUDA alone) ------------------------------------------------------------------------------------


@bright.entry("triton-augment", FLOATS)
def _():
    adjust = imported("triton_augment").functional.adjust_brightness
    return lambda x: adjust(x, FACTOR)


@contrasts.entry("triton-augment", FLOATS)
def _():
    adjust = imported("triton_augment").functional.adjust_contrast
    return lambda x: adjust(x, CONTRAST)


@mirrors.entry("triton-augment", FLOATS)
def _():
    return imported("triton_augment").TritonRandomHorizontalFlip(p=0.5)


# --- albumentations -------------------------------------------------------------------------------------------------


def _albumentations(name: str, *args, **options):
    step = getattr(imported("albumentations"), name)(*args, **options)
    return each(lambda image: step(image=image)["image"])


for contest, data, name, options in (
    (noise, BYTE_LIST, "GaussNoise", {"std_range": (SIGMA, SIGMA), "p": 1}),
    (noise, FLOAT_LIST, "GaussNoise", {"std_range": (SIGMA, SIGMA), "p": 1}),
    (impulses, BYTE_LIST, "SaltAndPepper", {"amount": (IMPULSES,) * 2, "salt_vs_pepper": (0.5, 0.5), "p": 1}),
    (
        bright,
        BYTE_LIST,
        "ColorJitter",
        {"brightness": (FACTOR, FACTOR), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0), "p": 1},
    ),
    (
        contrasts,
        BYTE_LIST,
        "ColorJitter",
        {"brightness": (1, 1), "contrast": (CONTRAST,) * 2, "saturation": (1, 1), "hue": (0, 0), "p": 1},
    ),
    (blurs, BYTE_LIST, "GaussianBlur", {"blur_limit": (KERNEL, KERNEL), "sigma_limit": (BLUR, BLUR), "p": 1}),
    (mirrors, BYTE_LIST, "HorizontalFlip", {"p": 0.5}),
    (turned, BYTE_LIST, "D4", {"p": 1}),
):
    bits = "uint8" if data == BYTE_LIST else "float32"
    contest.entry(f"albumentations, {bits}", data)(lambda n=name, o=options: _albumentations(n, **o))


# --- OpenCV ---------------------------------------------------------------------------------------------------------


@blurs.entry("OpenCV, float32", FLOAT_LIST)
def _():
    cv2 = imported("cv2")
    return each(lambda image: cv2.GaussianBlur(image, (KERNEL, KERNEL), BLUR))


@blurs.entry("OpenCV, uint8", BYTE_LIST)
def _():
    cv2 = imported("cv2")
    return each(lambda image: cv2.GaussianBlur(image, (KERNEL, KERNEL), BLUR))


@bright.entry("OpenCV, uint8", BYTE_LIST)
def _():
    cv2 = imported("cv2")
    return each(lambda image: cv2.convertScaleAbs(image, alpha=FACTOR))


def test_images(entry, batch, clock, one_thread):
    run(entry, batch[0], clock)
