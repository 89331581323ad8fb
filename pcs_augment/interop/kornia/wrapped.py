"""A step inside kornia's base classes: one for steps that change grey values, one for those that move pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from kornia.augmentation import GeometricAugmentationBase2D, IntensityAugmentationBase2D
from kornia.geometry.boxes import Boxes
from numpy.typing import NDArray
from torch import Tensor

from ...base import Step
from ...checks import OVERSHOOT, check_gradient, check_index, check_values
from ...eager import eager
from ...errors import InputError
from ...plan import Plan, Tables
from ...rng import check_seed, open_streams
from ...steps import MinEdge, Rotate90
from ...steps.geometry import moved
from ...targets import Instances
from ...transfer import send
from .outlines import Params, gathered, packed, unpacked


class _Drawn:
    """What both kinds share: the keys of the random numbers as kornia parameters."""

    same_on_batch: bool

    def __init__(self, step: Step, seed: int | None, position: int, same_on_batch: bool, keepdim: bool) -> None:
        super().__init__(p=1.0, same_on_batch=same_on_batch, keepdim=keepdim)  # type: ignore[call-arg]
        self._step = (step,)  # in a tuple, so that Module.to does not descend into it: it has nothing to move
        self.seed = step.seed if seed is None else check_seed(seed)
        self.position = position
        self.set_samples()

    @property
    def step(self) -> Step:
        """The wrapped step."""
        return self._step[0]

    def set_samples(self, index: Any = None, epoch: int = 0) -> None:
        """Say which samples the next batches are, until set again.

        index: (B,) integers in [0, 2^63), None for 0 .. B-1; epoch: in [0, 2^32). Raises InputError, for an index that does not
        fit the batch when that is augmented.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, (int, np.integer)) or not 0 <= epoch < 2**32:
            raise InputError(f"epoch must be an integer in [0, 2**32), got {epoch!r}")
        self._index: Any = None if index is None else check_index(index, len(index))
        self._epoch = int(epoch)

    @eager
    def generate_parameters(self, batch_shape: Sequence[int]) -> Params:
        """int64 tensors (B,): ``seed`` (modulo 2^64), ``epoch``, ``index`` and ``position``."""
        if self._index is not None and len(self._index) != batch_shape[0]:
            raise InputError(
                f"{len(self._index)} samples were named for a batch of {batch_shape[0]}; call set_batch (or set_samples) with "
                "the index of each batch, a smaller last one too"
            )
        index = torch.as_tensor(check_index(self._index, batch_shape[0]))
        if self.same_on_batch:
            index = index[:1].expand(len(index)).clone()
        signed = self.seed - (self.seed >> 63 << 64)
        constants = {"seed": signed, "epoch": self._epoch, "position": self.position}
        return {k: torch.full_like(index, v) for k, v in constants.items()} | {"index": index}

    def _plan(self, params: Params, shape: Sequence[int], instances: Instances | None = None) -> Plan:
        b, c, h, w = shape
        index = params["index"].cpu().numpy()
        if len(index) != b:
            raise InputError(f"params were drawn for {len(index)} images, got {b}; leave params out or give that batch")
        seed, epoch, position = (_one(params, k) for k in ("seed", "epoch", "position"))
        words = [0] * position + [self.step.words]
        stream = open_streams(seed % 2**64, epoch, index, words, [self.step.tag] * len(words))[position]
        tables: Tables = self.step.draw_tables(stream, (b, c, h, w), instances)
        settings = (self.step.settings,)
        return Plan((b, c, h, w), seed % 2**64, epoch, index, np.full(b, -1), settings, (tables,))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.step!r}, seed={self.seed}, position={self.position})"


def _one(params: Params, key: str) -> int:
    values = params[key].unique().tolist()
    if len(values) != 1:
        raise InputError(f"params[{key!r}] must be the same for a whole batch, got {values}; augment such images apart")
    return values[0]


class WrappedImageStep(_Drawn, IntensityAugmentationBase2D):
    """A step that changes grey values and moves nothing; masks, keypoints and boxes pass through. Made by ``wrap``."""

    earlier: tuple[MinEdge, ...] = ()
    _objects: Params | None = None

    def set_outlines(self, outlines: Sequence[Any] | None) -> None:
        """The objects of the next batches, until set again; None for none, which leaves a highlight nothing to do.

        outlines: one entry per image, either a list of (K, 2) polygons or a target dict with ``boxes`` (N, 5) and ``polygons``
        or only one of them; polygons without boxes get their minimum-area boxes. Coordinates are this project's (pixel i spans
        [i, i + 1)), of the image as it reaches this step. Raises InputError, also for a step that looks at no objects.
        """
        if not self.step.looks_at_objects:
            raise InputError(f"{type(self.step).__name__} looks at no objects and takes no outlines")
        self._objects = None if outlines is None else packed(gathered(outlines))

    @eager
    def generate_parameters(self, batch_shape: Sequence[int]) -> Params:
        """Also, for a highlight, float64 ``boxes`` (B, N, 5) and ``outlines`` (B, N, K, 2), padded with NaN."""
        params = super().generate_parameters(batch_shape)
        if self.step.looks_at_objects:
            batch = batch_shape[0]
            objects = packed(gathered([[]] * batch)) if self._objects is None else self._objects
            if len(objects["boxes"]) != batch:
                raise InputError(f"outlines were set for {len(objects['boxes'])} images, got {batch}; call set_outlines again")
            params |= {k: v.clone() for k, v in objects.items()}
        return params

    @eager
    def apply_transform(self, input: Tensor, params: Params, flags: dict[str, Any], transform: Tensor | None = None) -> Tensor:
        """The native step on (B, C, H, W) images."""
        if not len(input):
            return input
        check_gradient(input)
        images = _unit_range(input.detach())
        instances = None
        if self.step.looks_at_objects:
            instances = unpacked(params)
            for small in self.earlier:
                instances = small.remaining(instances, {})
        plan = self._plan(params, input.shape, instances)
        if images.dtype == torch.float64:
            images = images.float()
        return self.step.apply(images, None, plan)[0].to(input.dtype)


class WrappedSymmetry(_Drawn, GeometricAugmentationBase2D):
    """Rotate90 or Flip: images, masks, keypoints and boxes move, without interpolation. Made by ``wrap``.

    Images that are not square are turned by 0 or 180 degrees only. ``inverse`` is exact.
    """

    pixel_edges: bool = False

    def _kinds(self, params: Params, batch: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(B,) what happens to each image and (B, 2, 3) how its pixel edges move."""
        height, width = params["forward_input_shape"].tolist()[-2:]
        plan = self._plan(params, (batch, 1, height, width))
        kinds = np.zeros(batch, np.int64)
        drawn = plan.steps[0]["images"]
        kinds[drawn["sample"]] = drawn["kind"]
        symmetry = self.step.symmetry(plan.steps[0], plan.shape)
        assert symmetry is not None
        return kinds, symmetry

    @eager
    def compute_transformation(self, input: Tensor, params: Params, flags: dict[str, Any]) -> Tensor:
        """(B, 3, 3) in px, of pixel centres at whole numbers, or of pixel edges if ``pixel_edges``."""
        edges = self._kinds(params, len(input))[1]
        last = np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(edges), 1, 3))
        matrix = torch.from_numpy(np.concatenate((edges, last), 1)).to(input.device, input.dtype)
        return matrix if self.pixel_edges else _of_centres(matrix)

    @eager
    def apply_transform(self, input: Tensor, params: Params, flags: dict[str, Any], transform: Tensor | None = None) -> Tensor:
        """Move the pixels of (B, C, H, W) images or masks."""
        return self._moved(input, self._kinds(params, len(input))[0])

    @eager
    def inverse_transform(
        self, input: Tensor, flags: dict[str, Any], transform: Tensor | None = None, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Move the pixels back."""
        kinds = self._kinds(self._params, len(input))[0]
        return self._moved(input, -kinds % 4 if isinstance(self.step, Rotate90) else kinds)

    def apply_transform_box(
        self, input: Boxes, params: Params, flags: dict[str, Any], transform: Tensor | None = None
    ) -> Boxes:
        """Move the corners."""
        matrix = self.transform_matrix if transform is None else transform
        return super().apply_transform_box(input, params, flags, self._for_boxes(input, matrix))

    def inverse_boxes(
        self, input: Boxes, params: Params, flags: dict[str, Any], transform: Tensor | None = None, **kwargs: Any
    ) -> Boxes:
        """Move the corners back."""
        return super().inverse_boxes(input, params, flags, self._for_boxes(input, transform), **kwargs)

    def _moved(self, x: Tensor, kinds: NDArray[np.int64]) -> Tensor:
        out = x.clone()
        for kind in np.unique(kinds[kinds > 0]).tolist():
            rows = send(torch.from_numpy(np.flatnonzero(kinds == kind)), x.device)
            out = out.index_copy(0, rows, moved(x.index_select(0, rows), kind, bool(self.step.flips)))
        return out

    def _for_boxes(self, boxes: Boxes, matrix: Tensor | None) -> Tensor | None:
        # boxes given by their far edge or size are kept by kornia as the centres of their corner pixels
        inclusive = boxes.mode.endswith("_plus")
        return matrix if matrix is None or inclusive or not self.pixel_edges else _of_centres(matrix)


Wrapped = WrappedImageStep | WrappedSymmetry


def _unit_range(images: Tensor) -> Tensor:
    if images.device.type == "cpu":
        low, high = (float(v) for v in images.aminmax())
        check_values(low >= -OVERSHOOT and high <= 1 + OVERSHOOT, images)
        if low >= 0 and high <= 1:
            return images
    return images.clamp(0, 1)


def _of_centres(edges: Tensor) -> Tensor:
    """A (B, 3, 3) map of pixel edges as a map of pixel centres at whole numbers."""
    out = edges.clone()
    out[:, :2, 2] += edges[:, :2, :2].sum(-1) / 2 - 0.5
    return out
