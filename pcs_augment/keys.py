"""What the keys of a target mean: by name, never by length.

Per object, one entry each, removed with their objects: ``boxes (N, 5)``, ``polygons``, ``labels``, ``masks (N, H, W)``,
``keypoints (N, K, 2)`` (or with a third column, left alone), ``xyxy (N, 4)``, ``scores``, ``keep``, and what pcs_render says
of its crystals (``depth``, ``model``, ``refractive_index``). The first two and masks,
keypoints and xyxy follow every symmetry. Per image, left alone: ``image_id``, ``orig_size``, ``index``, ``size``, strings and
scalars. A key of any other name is left alone too, but one with as many entries as there are objects is refused: whether it
belongs to the objects is said by ``per_object=`` and ``per_image=``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import InputError
from .ragged import AnyTarget, Outlines

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer

RENDERED = ("depth", "model", "refractive_index")  # what data sets of pcs_render say about each crystal besides
PER_OBJECT = ("boxes", "polygons", "labels", "masks", "keypoints", "xyxy", "scores", "keep", *RENDERED)
PER_IMAGE = ("image_id", "orig_size", "index", "size")
PLACED = ("masks", "keypoints", "xyxy")  # places beside boxes and polygons


class Target(TypedDict, total=False):
    """The labels of one image with N objects, as ``pa.PcsDataset`` gives them; only ``boxes`` must be there.

    NumPy arrays and lists of numbers are welcome in place of tensors, and come back as such; so are further keys, which
    ``per_object`` and ``per_image`` of a pipeline name. Any dict will do: it need not be made as a ``Target``.

    Attributes:
        boxes: (N, 5) cx, cy, w, h in px, theta in radians, clockwise on the screen.
        polygons: N outlines (K, 2) in px, convex or not; without them a box's corners are its outline.
        labels: (N,) classes.
        scores: (N,)
        masks: (N, H, W), follow every symmetry as the next two do.
        keypoints: (N, K, 2) px, or with a third column, which is left alone.
        xyxy: (N, 4) upright boxes, px: left, top, right, bottom.
        keep: (N,) which objects the filters would keep; ``apply`` adds it.
        depth: (N,) of rendered crystals, as the next two.
        model: (N,)
        refractive_index: (N,)
        image_id: of the image, left alone as the next three.
        orig_size: any
        size: any
        index: any

    Examples:
        >>> target: pa.Target = {"boxes": torch.tensor([[50.0, 40.0, 20.0, 10.0, 0.5]]), "labels": torch.tensor([0])}
        >>> blurred, followed = pa.Blur()(torch.rand(1, 1, 64, 96), [target])
        >>> followed[0]["boxes"].shape
        torch.Size([1, 5])
    """

    boxes: Required[Float[Tensor, "N 5"]]
    polygons: list[Float[Tensor, "K 2"]]
    labels: Integer[Tensor, " N"]
    scores: Float[Tensor, " N"]
    masks: Bool[Tensor, "N H W"] | Integer[Tensor, "N H W"]
    keypoints: Float[Tensor, "N K 2"] | Float[Tensor, "N K 3"]
    xyxy: Float[Tensor, "N 4"]
    keep: Bool[Tensor, " N"]
    depth: Float[Tensor, " N"]
    model: Integer[Tensor, " N"]
    refractive_index: Float[Tensor, " N"]
    image_id: Any
    orig_size: Any
    size: Any
    index: Any


Labelled = TypeVar("Labelled", bound=Mapping[str, Any])  # a dict of labels comes back as the kind of dict that it was


@dataclass(frozen=True)
class Keys:
    """The names of keys that belong to objects, and of those that belong to images."""

    objects: frozenset[str] = frozenset(PER_OBJECT)
    images: frozenset[str] = frozenset(PER_IMAGE)

    @staticmethod
    def of(per_object: object, per_image: object) -> Keys:
        """The standard names and further ones. Raises InputError."""
        objects, images = _names("per_object", per_object), _names("per_image", per_image)
        for name, mine, others in (("per_object", objects, (*images, *PER_IMAGE)), ("per_image", images, PER_OBJECT)):
            both = sorted(set(mine) & set(others))
            if both:
                raise InputError(f"{name} names {both}, which belong to {'images' if name == 'per_object' else 'objects'}")
        return Keys(STANDARD.objects | set(objects), STANDARD.images | set(images)) if objects or images else STANDARD


STANDARD = Keys()


def _names(argument: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise InputError(f"{argument} must be a list of keys such as ['track'], got {value!r}")
    if not all(isinstance(v, str) for v in value):
        raise InputError(f"{argument} must be a list of strings, got {value!r}")
    return tuple(value)


def check_keys(i: int, target: AnyTarget, objects: int, keys: Keys, size: Sequence[int] | None) -> None:
    """Lengths and shapes of what target i, with so many boxes, has besides them. Raises InputError."""
    for key, value in target.items():
        if key == "boxes" or value is None:
            continue
        if key in keys.objects:
            if _entries(value) != objects:
                count = _entries(value)
                what = type(value).__name__ if count is None else count
                raise InputError(f"targets[{i}] has {objects} boxes but {what} {key}; give one per box")
            if key in _SHAPES and objects:
                _check_shape(i, key, value, size)
            if key == "keep" and not _flags(value):
                raise InputError(
                    f"targets[{i}]['keep'] must be a boolean tensor, as apply returns it, got {_kind(value)}; give a key of "
                    "your own another name"
                )
        elif key not in keys.images and _entries(value) == objects:
            raise InputError(
                f"targets[{i}][{key!r}] has as many entries as there are objects ({objects}): say whether it belongs to them "
                f"or to the image, with per_object=[{key!r}] or per_image=[{key!r}] of the pipeline (or attributes of a step)"
            )


def _entries(value: Any) -> int | None:
    if isinstance(value, (Tensor, np.ndarray)):
        return value.shape[0] if value.ndim else None
    return len(value) if isinstance(value, (list, tuple)) else None


def _flags(value: Any) -> bool:
    return (isinstance(value, Tensor) and value.dtype == torch.bool) or (
        isinstance(value, np.ndarray) and value.dtype == np.bool_
    )


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else type(value).__name__


_SHAPES = {"masks": "(N, H, W) of the images' size", "keypoints": "(N, K, 2)", "xyxy": "(N, 4)"}


def _check_shape(i: int, key: str, value: Any, size: Sequence[int] | None) -> None:
    try:
        shapes = {tuple(np.shape(v)) for v in value} if isinstance(value, (list, tuple)) else {tuple(value.shape[1:])}
    except ValueError:  # nested lists of several lengths
        shapes = {()}
    for shape in shapes:
        good = {
            "masks": len(shape) == 2 and (size is None or shape == tuple(size)),
            "keypoints": len(shape) == 2 and shape[1] in (2, 3),
            "xyxy": shape == (4,),
        }[key]
        if not good:
            raise InputError(f"targets[{i}][{key!r}] must be {_SHAPES[key]}, got {shape} for one object")


def check_places(targets: Sequence[AnyTarget], step: str) -> None:
    """Refuse what a step that cuts objects cannot follow."""
    for i, target in enumerate(targets):
        for key in PLACED:
            if target.get(key) is not None:
                raise InputError(
                    f"{step} cuts boxes and polygons, not targets[{i}][{key!r}]; leave that key out, and make it of the new "
                    "outlines where it is needed"
                )


def moved_place(key: str, value: Any, matrix: NDArray[np.float64]) -> Any:
    """Masks, keypoints or upright boxes under one (2, 3) symmetry of whole pixels, in the type they come in."""
    rows = [[int(v) for v in row] for row in matrix.tolist()]
    change = {"masks": _moved_masks, "keypoints": _moved_points, "xyxy": _moved_upright}[key]
    return like(value, lambda v: change(v, rows))


def like(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A change of tensors, made of tensors, arrays, lists of either, and nested lists of numbers."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, np.ndarray):
        return change(tensor(value)).numpy()
    if any(isinstance(v, (Tensor, np.ndarray)) for v in value):
        return type(value)([like(v, change) for v in value])
    return type(value)(change(tensor(value)).tolist()) if len(value) else value


def tensor(value: Any) -> Tensor:
    """A tensor of an array (also one that runs backwards), a list of numbers or a tensor."""
    return value if isinstance(value, Tensor) else torch.as_tensor(np.ascontiguousarray(value))


def in_kind(value: Any, model: Any) -> Any:
    """A host tensor as array or list where the model is one."""
    if isinstance(model, Tensor):
        return value
    return value.numpy() if isinstance(model, np.ndarray) else type(model)(value.tolist())


def copied(value: Any) -> Any:
    """The value in memory of its own, so that changes of what comes out do not reach what went in."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Outlines) and value.whole is not None:
        points, corners = value.whole
        return Outlines.split(points.clone(), corners)
    return type(value)([copied(v) for v in value]) if type(value) in (list, tuple, Outlines) else value


def _moved_masks(masks: Tensor, matrix: list[list[int]]) -> Tensor:
    (a, b, _), (c, d, _) = matrix
    if b:  # a quarter turn: columns become rows
        masks, a, d = masks.transpose(-1, -2), b, c
    return masks.flip([axis for axis, sign in ((-1, a), (-2, d)) if sign < 0]).contiguous()


def _moved_points(points: Tensor, matrix: list[list[int]]) -> Tensor:
    if not points.is_floating_point():
        points = points.long()
    x, y = points[..., 0], points[..., 1]
    new = [a * x + b * y + c for a, b, c in matrix]
    return torch.cat((torch.stack(new, -1), points[..., 2:]), -1)


def _moved_upright(boxes: Tensor, matrix: list[list[int]]) -> Tensor:
    ends = _moved_points(boxes.unflatten(-1, (2, 2)), matrix)
    return torch.cat((ends.amin(-2), ends.amax(-2)), -1)
