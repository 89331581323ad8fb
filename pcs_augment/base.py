"""How steps become a pipeline: draw on the host, apply on the device.

``Augmentation`` is the calling convention that a single step and a whole pipeline share. A ``Step`` fills in what it draws and
what it does to pixels; this file owns the order, the keys, the checks, the targets and the removal of objects.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from . import dispatch, memory, placing, rooms
from . import targets as tg
from .checks import (
    FLOATS,
    Shape,
    as_float,
    check_chance,
    check_epoch,
    check_images,
    check_index,
    check_shape,
    check_values,
    in_range,
    load,
)
from .eager import eager
from .errors import InputError
from .joining import Operation, Together, then
from .keys import Labelled
from .plan import LOADABLE, Plan, Tables
from .rng import Stream, check_seed, open_streams
from .targets import AnyTarget, AnyTargets, Instances
from .transfer import send
from .turns import Turns, in_turn

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8

    Images = Float[Tensor, "B C H W"] | UInt8[Tensor, "B C H W"]
    Augmented = Float[Tensor, "B C H W"]


class _Omitted:
    def __repr__(self) -> str:
        return "<no targets>"


OMITTED = _Omitted()
torch.serialization.add_safe_globals([*LOADABLE])  # saved plans are loaded without trust
_APART = ("training", "per_object", "per_image")  # attributes that are no arguments of a step


class Augmentation(nn.Module):
    """What steps and pipelines are: callable on (images, targets), without parameters or state but settings and a counter.

    Results depend on (seed, epoch, index) alone; calls without ``index`` count: the first takes 0 .. B-1, the next B .. 2B-1.
    After ``eval()`` a call only converts types; ``draw`` and ``apply`` ignore the mode.

    Attributes:
        seed: of all random numbers.
        per_object: names of further keys of targets that belong to objects and are removed with them; see ``pa.Target``.
        per_image: names of further keys that belong to images and are left alone.

    Examples:
        >>> step = pa.Blur(p=0.5, seed=3)
        >>> isinstance(step, pa.Augmentation), isinstance(pa.default_pipeline(), pa.Augmentation)
        (True, True)
        >>> plan = step.draw(images.shape, targets, index, epoch=1)
        >>> blurred, followed = step.apply(images, targets, plan)
        >>> torch.equal(blurred, step(images, index=index, epoch=1))
        True
    """

    seed: int
    per_object: Sequence[str] = ()
    per_image: Sequence[str] = ()
    _counter: int = 0  # images of calls without index so far

    def sequence(self) -> Sequence[Step]:
        """The steps in order."""
        raise NotImplementedError

    @property
    def keys(self) -> tg.Keys:
        """Which keys of targets belong to objects and which to images. Raises InputError."""
        return tg.Keys.of(self.per_object, self.per_image)

    @eager
    def draw(
        self,
        shape: Sequence[int],
        targets: Sequence[Mapping[str, Any]] | None = None,
        index: Any = None,
        epoch: int = 0,
    ) -> Plan:
        """Draw every random number for a batch; host only, no pixels are touched.

        Args:
            shape: (B, C, H, W) of the images.
            targets: one dict per image (``pa.Target``). Those on a GPU are copied to the host, so draw before moving them.
            index: (B,) integers in [0, 2^63) that name the samples in the data set, or (B, 2) pairs of an index and the number
                of its copy; default 0 .. B-1.
            epoch: 0 .. 2^32 - 1.

        Returns:
            The plan for ``apply``.

        Raises:
            InputError: an argument is not of this form.

        Examples:
            >>> plan = pa.Brightness().draw((4, 1, 32, 32), index=[5, 6, 7, 8], epoch=2)
            >>> plan.steps[0]["images"]["factor"].shape
            (4,)
        """
        given = size = check_shape(shape)
        rows = check_index(index, size[0])
        number = check_epoch(epoch)
        steps = self.sequence()
        instances = None if targets is None else tg.flatten(_dicts(targets), size[0], self.keys, size[2:])
        counts = np.full(size[0], -1) if instances is None else instances.counts()
        streams = open_streams(
            self.seed,
            number,
            rows,
            [s.words if s.words_ahead is None else s.words_ahead for s in steps],
            [s.tag for s in steps],
        )
        drawn: list[Tables] = []
        pending: NDArray[np.float64] | None = None  # symmetries that the objects have yet to follow
        for step, stream in zip(steps, streams):
            if instances is not None and pending is not None and step.looks_at_objects:
                instances, pending = instances.moved(pending), None
            tables = step.draw_tables(stream, size, instances)
            drawn.append(tables)
            if instances is not None:
                instances = step.remaining(instances, tables)
                pending = then(pending, step.symmetry(tables, size))
            size = step.output_size(size)
        names = tuple(s.settings for s in steps)
        return Plan(given, self.seed, number, rows, counts, names, tuple(drawn), self.chances())

    @overload
    def apply(self, images: Callable[[nn.Module], None]) -> Self: ...
    @overload
    def apply(self, images: Images, targets: None = None, *, plan: Plan) -> tuple[Augmented, None]: ...
    @overload
    def apply(self, images: Images, targets: None, plan: Plan) -> tuple[Augmented, None]: ...
    @overload
    def apply(self, images: Images, targets: Sequence[Labelled], plan: Plan) -> tuple[Augmented, list[Labelled]]: ...
    @eager
    def apply(
        self,
        images: Images | Callable[[nn.Module], None],
        targets: Sequence[Mapping[str, Any]] | None = None,
        plan: Plan | None = None,
    ) -> Any:
        """Apply a plan: pure (inputs are left alone, same inputs and plan give the same result), no synchronisation.

        Called with a function alone it is ``torch.nn.Module.apply``, so that models which contain a pipeline can still
        initialise their weights.

        Args:
            images: as in a call. Values are checked only on the CPU, where looking at them costs no synchronisation.
            targets: those that the plan was drawn with, on any device; or None.
            plan: what ``draw`` returned.

        Returns:
            (images, targets), targets None if given as None. Every object comes back, with ``keep (N,)`` bool on the images'
            device: which ones the filters would keep.

        Raises:
            InputError: an argument is not of this form, or the plan is for another pipeline, size or number of objects.

        Examples:
            >>> pipeline = pa.default_pipeline()
            >>> plan = pipeline.draw(images.shape, targets)
            >>> augmented, followed = pipeline.apply(images, targets, plan)
            >>> followed[0]["keep"].shape
            torch.Size([37])
        """
        if callable(images) and not isinstance(images, Tensor) and plan is None:
            return super().apply(images)
        if plan is None:
            raise InputError("apply needs the plan that draw returned: pipeline.apply(images, targets, plan)")
        out, keep, placed, matrix = self._run(check_images(images), None if targets is None else _dicts(targets), plan)
        if placed is None:
            return out, None
        new = tg.follow(placed, matrix, keys=self.keys)
        for target, mine in zip(new, keep.split(plan.objects.tolist())):
            target["keep"] = mine
        return out, new

    def _run(
        self, images: Tensor, targets: Sequence[AnyTarget] | None, plan: Plan
    ) -> tuple[Tensor, Tensor, Sequence[AnyTarget] | None, NDArray[np.float64] | None]:
        """New images, which of all their objects to keep, the targets up to the last step that outlined objects anew, and the
        (B, 2, 3) symmetries that they are to follow since then. Values are checked on a CPU."""
        self._check_plan(images, targets, plan)
        with torch.no_grad():
            turns = Turns(len(images), dispatch.run_all() if images.device.type == "cpu" else None)
            pixels, valid = _loaded(images, turns)
            keep = torch.ones(rooms.flags(int(plan.objects.clip(0).sum())), dtype=torch.bool, device=images.device)
            first = np.cumsum(plan.objects.clip(0)) - plan.objects.clip(0)
            matrix: NDArray[np.float64] | None = None
            placed, size = targets, plan.shape
            together = Together()
            for step, tables in zip(self.sequence(), plan.steps):
                if turns.run_all is None:
                    pixels = together.change(pixels, step, tables, size)
                else:
                    pixels = turns.call(step.change, pixels, tables)
                if placed is not None:
                    if "placed" in tables and len(tables["placed"]["sample"]):
                        tg.check_places(placed, type(step).__name__)
                        moved = placed if matrix is None else tg.follow(placed, matrix, keys=self.keys)
                        placed, matrix = placing.placed(moved, tables["placed"], tables["outlines"]), None
                    matrix = then(matrix, step.symmetry(tables, size))
                    if type(step).drop is not Step.drop:
                        pixels = together.settle(pixels)
                        turns.call(step.drop, pixels, tables, keep, first)
                size = step.output_size(size)
            pixels = together.settle(pixels)
            turns.settle()
            check_values(valid is None or bool(valid.all()), images)
            objects = plan.objects.clip(0).tolist()
            for mine, target in zip(keep[: sum(objects)].split(objects), targets or ()):
                if target.get("keep") is not None:  # of a step applied before
                    mine &= send(target["keep"], mine.device)
            return pixels.to(images.dtype) if images.dtype in FLOATS else pixels, keep, placed, matrix

    @overload
    def forward(self, images: Images, *, index: Any = None, epoch: int = 0) -> Augmented: ...
    @overload
    def forward(self, images: Images, targets: None, index: Any = None, epoch: int = 0) -> tuple[Augmented, None]: ...
    @overload
    def forward(
        self, images: Images, targets: Sequence[Labelled], index: Any = None, epoch: int = 0
    ) -> tuple[Augmented, list[Labelled]]: ...
    @eager
    def forward(
        self,
        images: Images,
        targets: Sequence[Mapping[str, Any]] | _Omitted | None = OMITTED,
        index: Any = None,
        epoch: int = 0,
    ) -> Any:
        """Draw and apply; objects that a filter drops are removed with all their keys.

        On a GPU this synchronises once, to learn which objects to remove and whether the pixel values were in range (and to
        read the targets, if they are there too); ``apply`` does not, nor does ``draw`` from host targets. After ``eval()``
        only types are converted.

        Args:
            images: (B, C, H, W), float in [0, 1] or uint8; values up to 0.01 beyond are clamped.
            targets: one dict per image (``pa.Target``), or None.
            index: (B,) integers in [0, 2^63) that name the samples in the data set, or (B, 2) pairs of an index and the number
                of its copy. Without it images are numbered on from those of earlier calls; a worker process of a loader, where
                copies of this object would count alike, must give it.
            epoch: 0 .. 2^32 - 1.

        Returns:
            New images alone when called without targets, else (images, targets). float16, bfloat16 and float32 are kept, uint8
            (divided by 255) and float64 come back as float32. Boxes, outlines and all other keys come back in the type that
            they had, in memory of their own.

        Raises:
            InputError: an argument is not of this form.

        Examples:
            >>> images = pa.Flip()(images)
            >>> images, targets = pa.default_pipeline()(images, targets, index=index, epoch=0)
        """
        check_images(images)
        if not self.training:
            return self._converted(images, targets if targets is None or isinstance(targets, _Omitted) else _dicts(targets))
        counting = index is None
        if counting:
            if torch.utils.data.get_worker_info() is not None:
                raise InputError(
                    "index is needed in a DataLoader's worker process, where every worker would count from 0: pass "
                    "index=[number of the sample], or augment batches with pa.AugmentedLoader"
                )
            index = np.arange(self._counter, self._counter + len(images))
        given = None if targets is None or isinstance(targets, _Omitted) else _dicts(targets)
        valid = None if images.device.type == "cpu" else in_range(images)
        plan = self.draw(images.shape, given, index, epoch)
        out, keep, placed, matrix = self._run(images, given, plan)
        new: AnyTargets | None = None
        if placed is not None and self.filters():
            flags = keep if valid is None else torch.cat([keep, valid.reshape(1)])
            on_host = flags.cpu().numpy()
            check_values(valid is None or bool(on_host[-1]), images)
            new = tg.follow(tg.without_flags(placed), matrix, on_host[: len(keep)], keys=self.keys)
        else:
            check_values(valid is None or bool(valid), images)
            if placed is not None:
                new = tg.follow(placed, matrix, keys=self.keys)
        if counting:
            self.__dict__["_counter"] = self._counter + len(images)
        return out if isinstance(targets, _Omitted) else (out, new)

    if TYPE_CHECKING:  # torch.nn.Module says that a call takes and gives anything
        __call__ = forward

    def _converted(self, images: Tensor, targets: Sequence[AnyTarget] | _Omitted | None) -> Any:
        """What comes out in evaluation: the same pixels and objects, in the types that augmentation gives."""
        check_values(bool(in_range(images)), images)
        with torch.no_grad():
            pixels = as_float(images)
        out = pixels.to(images.dtype) if images.dtype in FLOATS else pixels
        if isinstance(targets, _Omitted):
            return out
        if targets is None:
            return out, None
        tg.check_list(targets, len(images), self.keys, images.shape[2:])
        return out, tg.follow(targets, keys=self.keys)

    def chances(self) -> tuple[float, ...]:
        """The chance ``p`` of every step."""
        return tuple(s.p for s in self.sequence())

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._counter:
            destination[f"{prefix}counter"] = torch.tensor(self._counter)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # by hand, as a checkpoint must load whether or not it has the counter
        super()._load_from_state_dict(state_dict, prefix, *rest)
        key, unexpected = f"{prefix}counter", rest[3]
        if key in state_dict:
            self.__dict__["_counter"] = int(state_dict[key])
            if key in unexpected:
                unexpected.remove(key)

    def filters(self) -> bool:
        """Whether some step may drop objects."""
        return any(type(s).drop is not Step.drop for s in self.sequence())

    def _check_plan(self, images: Tensor, targets: Sequence[AnyTarget] | None, plan: Plan) -> None:
        if not isinstance(plan, Plan):
            raise InputError(f"plan must be a Plan, as draw or Plan.load returns it, got {type(plan).__name__}")
        settings = tuple(s.settings for s in self.sequence())
        if plan.settings != settings:
            ours, theirs = (tuple(sorted(set(a) - set(b))) for a, b in ((settings, plan.settings), (plan.settings, settings)))
            raise InputError(f"the plan was drawn for the steps {theirs}, this pipeline has {ours}; draw a new plan")
        if plan.shape != tuple(images.shape):
            raise InputError(f"the plan was drawn for images {plan.shape}, got {tuple(images.shape)}; draw a new plan")
        if targets is not None:
            tg.check_list(targets, len(images), self.keys, plan.shape[2:])
            counts = [tg.length(t["boxes"]) for t in targets]
            if counts != plan.objects.tolist():
                raise InputError(
                    f"the plan was drawn for {plan.objects.tolist()} objects per image, got {counts}; "
                    "draw the plan with these targets"
                )


class Step(Augmentation):
    """One row of the pipeline's table (paper, Table S1); the base of a step of your own.

    A subclass overrides ``draw_tables``, which draws, and ``change``, which changes pixels; one that moves them about also
    ``symmetry``, one that removes objects ``remaining`` and ``drop``.

    Args:
        p: chance for an image, 0 .. 1.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Attributes:
        words: how many 32-bit random words it draws per sample.
        words_ahead: how many of them for every sample, touched or not; None for all.
        looks_at_objects: whether drawing depends on boxes or outlines.
        stream_name: the name that keys its random numbers and stands in its plans, by default that of the class: a step that is
            renamed keeps its old one here, and so its numbers.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> class Dim(pa.Step):
        ...     words = 2
        ...
        ...     def draw_tables(self, stream, shape, instances):
        ...         sample = self.chosen(stream)
        ...         return {"images": {"sample": sample, "factor": stream.uniform(1, 0.5, 1.0)[sample]}}
        ...
        ...     def change(self, images, tables):
        ...         for i, factor in zip(tables["images"]["sample"], tables["images"]["factor"]):
        ...             images[i] *= factor
        ...         return images
        >>> dimmed = Dim(p=0.5)(images)
    """

    stream_name: str = ""
    words: int = 0
    words_ahead: int | None = None
    looks_at_objects: bool = False

    def __init__(self, p: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.p = check_chance("p", p)
        self.seed = check_seed(seed)

    @property
    def tag(self) -> int:
        """A number of its kind, which keys its random stream beside its position."""
        return zlib.crc32((self.stream_name or type(self).__name__).encode()) & 0xFFFF

    @property
    def settings(self) -> str:
        """What a plan must be applied with: the kind and every argument but p and seed, which only drawing reads."""
        known = self.__dict__.get("_settings")
        if known is None:
            known = self.__dict__["_settings"] = (
                f"{self.stream_name or type(self).__name__}({self._arguments((*_APART, 'p', 'seed'))})"
            )
        return known

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__.pop("_settings", None)
        super().__setattr__(name, value)

    def _arguments(self, without: tuple[str, ...]) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_") and k not in without)

    def sequence(self) -> Sequence[Step]:
        return (self,)

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        """Draw the tables of this step; word 0 decides whether a sample is touched.

        Args:
            stream: random numbers of the batch: ``stream.uniform(k, low, high)`` is the k-th of every sample, (B,).
            shape: (B, C, H, W) of the images as this step meets them.
            instances: the objects as this step meets them; None without targets.

        Returns:
            Named tables of equally long columns, one of them ``sample``: the image of the batch that a row belongs to,
            ascending.
        """
        raise NotImplementedError

    @property
    def moves_only(self) -> bool:
        """Whether ``change`` is nothing but ``move`` by ``symmetry``, so that several steps may move pixels at once."""
        return False

    def _operation(self, tables: Tables) -> Operation | None:
        """The operator that ``change`` makes, if it is a single one that others can join."""
        return None

    def move(self, images: Float32[Tensor, "B C H W"], matrix: Float64[np.ndarray, "B 2 3"]) -> Float32[Tensor, "B C H W"]:
        """Move the pixels of ``images`` under the symmetries of a ``matrix`` each."""
        raise NotImplementedError

    @in_turn
    def change(self, images: Float32[Tensor, "B C H W"], tables: Tables) -> Float32[Tensor, "B C H2 W2"]:
        """Change pixels on the device of the images.

        Args:
            images: (B, C, H, W) float32 in [0, 1], which may be changed in place.
            tables: what ``draw_tables`` returned.

        Returns:
            (B, C, H, W) float32 in [0, 1], or of the size that ``output_size`` names.
        """
        return images

    def remaining(self, instances: Instances, tables: Tables) -> Instances:
        """Say which objects the next step meets: ``instances`` after what ``tables`` do."""
        return instances

    def symmetry(self, tables: Tables, shape: Shape) -> Float64[np.ndarray, "B 2 3"] | None:
        """Give the matrices of a step that moves pixels, which all places follow.

        Args:
            tables: what ``draw_tables`` returned.
            shape: (B, C, H, W) of the images before this step.

        Returns:
            (B, 2, 3), or None for a step that leaves pixels where they are.
        """
        return None

    def output_size(self, shape: Shape) -> Shape:
        """Name the shape that comes out of images (B, C, H, W)."""
        return shape

    @in_turn
    def drop(
        self,
        images: Float32[Tensor, "B C H W"],
        tables: Tables,
        keep: Bool[Tensor, " N"],
        first: Int64[np.ndarray, " B"],
    ) -> None:
        """Clear the flags of objects that are dropped, on the device.

        Args:
            images: (B, C, H, W) after this step.
            tables: what ``draw_tables`` returned.
            keep: flags of all objects of the batch, image after image.
            first: (B,) where the flags of an image begin.
        """

    def chosen(self, stream: Stream) -> Int64[np.ndarray, " A"]:
        """Choose the samples that this step touches, ascending, with chance ``p`` each; word 0 of ``stream`` decides."""
        return np.flatnonzero(stream.uniform(0) < self.p)

    def extra_repr(self) -> str:
        return self._arguments(_APART)


def _dicts(targets: Sequence[Mapping[str, Any]]) -> Sequence[AnyTarget]:
    """Targets as the library handles them, whose form is checked where they are read."""
    return cast(Sequence[AnyTarget], targets)


def _loaded(images: Tensor, turns: Turns) -> tuple[Tensor, Tensor | None]:
    """A contiguous float32 copy; on a CPU also, once they have had their turn, which images (B,) have all values in range."""
    if turns.run_all is None:
        return as_float(images), in_range(images) if images.device.type == "cpu" else None
    out = memory.batch(images.shape)
    valid = torch.ones(len(images), dtype=torch.bool)
    turns.call(_load, images, out, valid)
    return out, valid


@in_turn
def _load(images: Tensor, out: Tensor, valid: Tensor) -> None:
    load(images, out, valid)
