"""The pipeline for photographs of drops: what a microscope shows beside crystals and noise."""

from __future__ import annotations

from .pipeline import Pipeline
from .steps import (
    Blur,
    Brightness,
    Contrast,
    DropEdge,
    Flip,
    GaussianNoise,
    Grain,
    Highlight,
    ImpulseNoise,
    InterferenceLayer,
    Invert,
    KeepDetectable,
    MinEdge,
    PerlinLayer,
    RandomCrop,
    Rotate90,
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
) -> Pipeline:
    """A pipeline that makes rendered crystals look like photographs of drops.

    Crystals of all sizes, cut by the border; grain, the edge of the drop, the wall of the well, uneven light, contrast turned
    around; noise, layers, scratches and symmetries as in ``default_pipeline``, mostly weaker.

    Args:
        seed: of all random numbers.
        size: px of the output (see ``RandomCrop``).
        scale: output px per input px, lowest and highest; at least what fits the output into the input.
        min_edge: objects with a side below this many px after scaling are dropped.
        threshold: objects whose grey values span at most this many 8-bit levels in the end are dropped.

    Returns:
        The pipeline; its output has the size of the crop, its targets fewer objects.

    Example:
        >>> pipeline = pa.microscope_pipeline(seed=0, size=256)
        >>> images, targets = pipeline(images, targets, index=index, epoch=epoch)
    """
    return Pipeline(
        [
            RandomCrop(size, scale),
            MinEdge(min_edge),
            Highlight(p=0.3),
            Brightness(exponent=(-0.5, 0.7)),
            PerlinLayer(p=0.1, textures=(1, 4)),
            InterferenceLayer(p=0.05, textures=(1, 4)),
            Contrast(exponent=(-1.0, 1.0)),
            Grain(p=0.8),
            DropEdge(p=0.35),
            Vignette(p=0.7),
            WellWall(p=0.2),
            Splines(p=0.1, curves=(1, 4)),
            Invert(p=0.12),
            Blur(p=0.4, kernels=(3, 5, 7)),
            GaussianNoise(p=0.7, sigma=(0.004, 0.04)),
            ImpulseNoise(p=0.05, white=(0.0, 0.01), black=(0.0, 0.01)),
            Rotate90(),
            Flip(),
            KeepDetectable(threshold),
        ],
        seed=seed,
    )
