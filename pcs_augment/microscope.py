"""The pipeline for photographs of drops: what a microscope shows beside crystals and noise."""

from __future__ import annotations

from collections.abc import Sequence

from .pipeline import Pipeline
from .steps import (
    JPEG,
    Blur,
    Brightness,
    Contrast,
    CrossedPolarisers,
    Debris,
    DropEdge,
    Flip,
    GaussianNoise,
    Grain,
    Highlight,
    ImpulseNoise,
    InterferenceLayer,
    Invert,
    KeepDetectable,
    Marks,
    MinEdge,
    PerlinLayer,
    RandomCrop,
    Rotate90,
    Saturate,
    Scratches,
    Sharpen,
    Splines,
    Vignette,
    WellWall,
)


def microscope_pipeline(
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    scale: tuple[float, float] = (0.5, 2.0),
    min_edge: float = 0.0,
    threshold: int = 0,
    per_object: Sequence[str] = (),
    per_image: Sequence[str] = (),
) -> Pipeline:
    """A pipeline that makes rendered crystals look like photographs of drops.

    Crystals of all sizes, cut by the border, with marks inside; grain, debris, scratches, the edge of the drop, the wall of the
    well, crossed polarisers, uneven light, contrast turned around, what cameras do; noise, layers, fibres and symmetries as
    in ``default_pipeline``, mostly weaker.

    Args:
        seed: of all random numbers, 0 .. 2^64 - 1.
        size: px of the output (see ``RandomCrop``).
        scale: output px per input px, lowest and highest; at least what fits the output into the input.
        min_edge: objects with a side below this many px after scaling are dropped.
        threshold: objects whose grey values span at most this many 8-bit levels in the end are dropped.
        per_object: names of further keys of targets that belong to objects.
        per_image: names of further keys that belong to images.

    Returns:
        The pipeline; its output has the size of the crop, its targets fewer objects.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> pipeline = pa.microscope_pipeline(seed=0, size=256)
        >>> drops, visible = pipeline(images, targets, index=index, epoch=0)
        >>> drops.shape
        torch.Size([4, 1, 256, 256])
    """
    return Pipeline(
        [
            RandomCrop(size, scale),
            MinEdge(min_edge),
            Highlight(p=0.3),
            Marks(p=0.4),
            Brightness(exponent=(-0.5, 0.7)),
            PerlinLayer(p=0.1, textures=(1, 4)),
            InterferenceLayer(p=0.05, textures=(1, 4)),
            Contrast(exponent=(-1.0, 1.0)),
            Grain(p=0.8),
            Debris(p=0.35),
            Scratches(p=0.15),
            DropEdge(p=0.35),
            CrossedPolarisers(p=0.15),
            Vignette(p=0.7),
            WellWall(p=0.2),
            Splines(p=0.1, curves=(1, 4)),
            Invert(p=0.06),
            Blur(p=0.4, kernels=(3, 5, 7)),
            GaussianNoise(p=0.7, sigma=(0.004, 0.04)),
            ImpulseNoise(p=0.05, white=(0.0, 0.01), black=(0.0, 0.01)),
            Sharpen(p=0.15),
            Saturate(p=0.15),
            JPEG(p=0.1),
            Rotate90(),
            Flip(),
            KeepDetectable(threshold),
        ],
        seed=seed,
        per_object=per_object,
        per_image=per_image,
    )
