"""Image and geometric steps as kornia augmentations, for ``kornia.augmentation.AugmentationSequential``.

    steps = wrap_pipeline(pa.default_pipeline(seed=3))
    augment = AugmentationSequential(*steps, data_keys=["input", "mask", "keypoints"])
    set_batch(augment, index=index, epoch=epoch, outlines=targets)
    images, masks, points = augment(images, masks, points)

Pixels are those of the native call. kornia's own gate is always open: the step's chance ``p`` is decided by the step's stream,
keyed by (seed, epoch, index, position). ``params`` holds these four and a highlight's outlines, so that ``params=`` replays.

Images follow kornia: (B, C, H, W), (C, H, W) or (H, W) float in [0, 1], not uint8; float64 is computed as float32. Values that
an interpolation before took past [0, 1] by up to 0.01 are clipped; on a CPU others raise InputError, as in the native call,
elsewhere they are clipped, since looking at them would wait for the device. Image steps refuse
images that require gradients, geometric ones pass them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from ...base import Augmentation, Step
from ...errors import InputError
from ...steps import Flip, MinEdge, Rotate90
from .wrapped import Wrapped, WrappedImageStep, WrappedSymmetry

__all__ = ["Wrapped", "WrappedImageStep", "WrappedSymmetry", "set_batch", "wrap", "wrap_pipeline"]


def wrap(
    step: Step,
    seed: int | None = None,
    outlines: Sequence[Any] | None = None,
    position: int = 0,
    pixel_edges: bool = False,
    same_on_batch: bool = False,
    keepdim: bool = False,
) -> Wrapped:
    """A step as a kornia augmentation: ``WrappedSymmetry`` for Rotate90 and Flip, else ``WrappedImageStep``.

    seed: None takes the step's own. position: the step's place in the pipeline whose numbers it is to draw, in [0, 2^16); a
    step on its own is at 0. outlines: see ``WrappedImageStep.set_outlines``. pixel_edges: False, kornia's convention, has pixel
    centres at whole numbers, so a flip is x -> W - 1 - x; True moves keypoints and box corners in this project's, where pixel i
    spans [i, i + 1) and a flip is x -> W - x. same_on_batch: every image draws the numbers of the first. keepdim: as in kornia.
    Raises InputError, also for KeepDetectable and MinEdge, which remove objects and cannot work in kornia.
    """
    if not isinstance(step, Step):
        raise InputError(f"wrap takes a step such as pa.Blur(), got {type(step).__name__}; for a pipeline use wrap_pipeline")
    if step.filters():
        raise InputError(
            f"{type(step).__name__} removes objects, which kornia has no place for; leave it out here and "
            "call it on the images and targets instead"
        )
    if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position < 2**16:
        raise InputError(f"position must be an integer in [0, 2**16), got {position!r}")
    wrapped: Wrapped
    if isinstance(step, (Rotate90, Flip)):
        wrapped = WrappedSymmetry(step, seed, position, same_on_batch, keepdim)
        wrapped.pixel_edges = bool(pixel_edges)
    else:
        wrapped = WrappedImageStep(step, seed, position, same_on_batch, keepdim)
    if outlines is not None:
        if not isinstance(wrapped, WrappedImageStep):
            raise InputError(f"{type(step).__name__} takes no outlines; give keypoints or boxes to AugmentationSequential")
        wrapped.set_outlines(outlines)
    return wrapped


def wrap_pipeline(pipeline: Augmentation, outlines: Sequence[Any] | None = None, pixel_edges: bool = False) -> list[Wrapped]:
    """The steps of a pipeline, each with the pipeline's seed and its own position; what only filters is left out.

    ``AugmentationSequential(*wrap_pipeline(pipeline), data_keys=[...])`` gives the native pipeline's images; a highlight passes
    over the objects that a MinEdge before it drops. Raises InputError, also for steps that change pixels and cut or remove
    objects (RandomCrop, WellWall, DropEdge, CrossedPolarisers), and where a step that looks at outlines comes after a Rotate90
    or Flip, which its outlines would not have followed.
    """
    out: list[Wrapped] = []
    earlier: list[MinEdge] = []
    for position, step in enumerate(pipeline.sequence()):
        if isinstance(step, MinEdge):
            earlier.append(step)
        if step.filters() and type(step).change is Step.change:
            continue
        wrapped = wrap(step, pipeline.seed, position=position, pixel_edges=pixel_edges)
        if step.looks_at_objects and isinstance(wrapped, WrappedImageStep):
            if any(isinstance(w, WrappedSymmetry) for w in out):
                raise InputError(f"{type(step).__name__} must come before Rotate90 and Flip, which move no outlines in kornia")
            wrapped.earlier = tuple(earlier)
        out.append(wrapped)
    set_batch(out, outlines=outlines)
    return out


def set_batch(
    augmentations: nn.Module | Iterable[nn.Module], index: Any = None, epoch: int = 0, outlines: Sequence[Any] | None = None
) -> None:
    """``set_samples`` and ``set_outlines`` for every wrapped step in a kornia container or a list. Raises InputError."""
    roots = [augmentations] if isinstance(augmentations, nn.Module) else list(augmentations)
    for module in (m for root in roots for m in root.modules()):
        if isinstance(module, (WrappedImageStep, WrappedSymmetry)):
            module.set_samples(index, epoch)
        if isinstance(module, WrappedImageStep) and module.step.looks_at_objects:
            module.set_outlines(outlines)
