"""The interference layer (row 8) and the Perlin layer (row 9): correlated noise, blended by intensity."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .. import rooms, sums
from ..base import Step
from ..checks import Shape, check_integers, check_interval, check_positive
from ..dispatch import operator
from ..joining import Operation
from ..noise.blend import blend_with
from ..noise.layer import GPU_CHUNK_PX, LayerSums, chosen_equalize
from ..noise.textures import COLUMNS, SMALLEST_SCALE, draw_textures, textures_of
from ..plan import Table, Tables
from ..raster import repeat_ranges
from ..rng import Stream, keys_in
from ..targets import Instances
from ..transfer import host_tensors, to_device
from ..turns import in_turn, settle
from .update import keys_of, per_image

_FIRST_TEXTURE, _WORDS_PER_TEXTURE = 4, 4


class _NoiseLayer(Step):
    """Shared by both: two layers of one kind, each the mean of equalised textures, are blended with the image."""

    words_ahead = _FIRST_TEXTURE
    kind = ""

    def __init__(
        self,
        p: float = 1.0,
        textures: tuple[int, int] = (1, 10),
        scale: tuple[float, float] | None = None,
        c: float = 5.0,
        equalize_layer: bool = True,
        bins: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(p, seed)
        self.textures = check_integers("textures", textures, 1, 100)
        self.scale = None if scale is None else check_interval("scale", scale, 1, 1e6)
        self.c = check_positive("c", c, zero=True)
        self.equalize_layer = bool(equalize_layer)
        chosen_equalize(bins)
        self.bins = bins
        self.words = _FIRST_TEXTURE + 2 * self.textures[1] * _WORDS_PER_TEXTURE

    def draw_tables(self, stream: Stream, shape: Shape, instances: Instances | None) -> Tables:
        sample = self.chosen(stream)
        low, high = self.scale or (SMALLEST_SCALE, max(SMALLEST_SCALE, float(np.hypot(*shape[2:]))))
        mine = stream.of(sample)
        counts = np.stack([mine.integer(c, *self.textures) for c in (1, 2)], -1)  # (A, 2)
        layer, ordinal = repeat_ranges(counts.reshape(-1))  # layer 2 a + (0 or 1) of the a-th touched sample
        owner, which = sample[layer // 2], layer % 2
        item = which * self.textures[1] + ordinal
        words = stream.later_words(owner, _FIRST_TEXTURE + item * _WORDS_PER_TEXTURE, _WORDS_PER_TEXTURE)
        names = {"sample": owner, "layer": which, "item": item}
        return {"textures": names | self._settle(draw_textures(words, low, high)) | keys_of(stream.keys, owner)}

    def _settle(self, drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return drawn

    @in_turn
    def change(self, images: Tensor, tables: Tables) -> Tensor:
        table = tables["textures"]
        if not rooms.to_do(len(table["sample"])):
            return images
        operation = self._operation(tables)
        if operation is not None:
            return operation.make(images)
        settle()
        _add_layers(images, table, self.kind, self.c, self.equalize_layer, self.bins)
        return images

    def _operation(self, tables: Tables) -> Operation | None:
        table = tables["textures"]
        if self.bins:
            return None
        columns = host_tensors(*(table[c] for c in COLUMNS), keys_in(table))
        return Operation("add_layers", columns, (self.kind, self.c, self.equalize_layer))


@operator(
    "add_layers(Tensor(a!) images, Tensor sample, Tensor layer, Tensor item, Tensor scale, Tensor first, Tensor second, "
    "Tensor keys, str kind, float c, bool equalize_layer) -> ()"
)
def add_layers(
    images: Tensor, sample: Tensor, layer: Tensor, item: Tensor, scale: Tensor, first: Tensor, second: Tensor, keys: Tensor,
    kind: str, c: float, equalize_layer: bool,
) -> None:  # fmt: skip
    """Blend images with the layers that textures make; a row per texture, ascending in (sample, layer)."""
    _add_layers(images, textures_of(sample, layer, item, scale, first, second, keys), kind, c, equalize_layer, None)


def _add_layers(images: Tensor, table: Table, kind: str, c: float, equalize_layer: bool, bins: int | None) -> None:
    height, width = images.shape[2:]
    sums = LayerSums(kind, table, height, width, images.device, bins)
    samples, first = np.unique(table["sample"], return_index=True)
    ends = np.append(first, len(table["sample"]))
    at_once = 1 if images.device.type == "cpu" else max(1, GPU_CHUNK_PX // (2 * height * width))
    for a in range(0, len(samples), at_once):
        b = min(a + at_once, len(samples))
        rows = slice(ends[a], ends[b])
        layer = 2 * np.searchsorted(samples[a:b], table["sample"][rows]) + table["layer"][rows]
        both = sums.layers(int(ends[a]), int(ends[b]), layer, equalize_layer)
        both = both.view(b - a, 2, 1, height, width)
        if at_once == 1:
            image = images[samples[a] : samples[a] + 1]
            image.copy_(_blend(image, both, c))
        else:
            index = to_device(samples[a:b], images.device)
            images.index_copy_(0, index, _blend(images.index_select(0, index), both, c))


def _blend(images: Tensor, both: Tensor, c: float) -> Tensor:
    strength = per_image(sums.deviation(images)) * c
    return blend_with(images, both[:, 0], both[:, 1], strength)


class InterferenceLayer(_NoiseLayer):
    """Blend an image with two layers l and l' of plane waves, as from thin films (paper, Eqs. 9 to 12; Table S1, row 8).

    Each layer is the mean of N equalised textures (``pa.interference``, ``pa.noise_layer``); ``pa.blend`` says how image and
    layers are blended.

    Args:
        p: chance for an image, 0 .. 1.
        textures: lowest and highest N, whole numbers in 1 .. 100; uniform in between, drawn for each layer.
        scale: lowest and highest spatial scale k, px of at least 1, log-uniform; None for (4, image diagonal), with k = 4 where
            the diagonal is shorter.
        c: strength of the blending, at least 0.
        equalize_layer: equalise the mean itself, as the published code does.
        bins: None for fine equalisation, 256 for the published 8-bit one.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> fringed = pa.InterferenceLayer(textures=(1, 2), scale=(8, 32))(images)
    """

    kind = "interference"


class PerlinLayer(_NoiseLayer):
    """Blend an image with two layers l and l' of Perlin noise, as clouds of aggregate (paper, Eqs. 10 to 12; Table S1, row 9).

    Each layer is the mean of N equalised textures (``pa.perlin``, ``pa.noise_layer``); ``pa.blend`` says how image and layers
    are blended.

    Args:
        p: chance for an image, 0 .. 1.
        textures: lowest and highest N, whole numbers in 1 .. 100; uniform in between, drawn for each layer.
        scale: lowest and highest lattice spacing k, px of at least 1, log-uniform; None for (4, image diagonal), with k = 4
            where the diagonal is shorter.
        c: strength of the blending, at least 0.
        equalize_layer: equalise the mean itself, as the published code does.
        bins: None for fine equalisation, 256 for the published 8-bit one.
        offset: start a texture anywhere in a cell of its lattice; False for always on a lattice point, as the published code.
        seed: used when the step works alone, 0 .. 2^64 - 1.

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> cloudy = pa.PerlinLayer(textures=(1, 2), scale=(8, 32))(images)
    """

    kind = "perlin"

    def __init__(
        self,
        p: float = 1.0,
        textures: tuple[int, int] = (1, 10),
        scale: tuple[float, float] | None = None,
        c: float = 5.0,
        equalize_layer: bool = True,
        bins: int | None = None,
        offset: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(p, textures, scale, c, equalize_layer, bins, seed)
        self.offset = bool(offset)

    def _settle(self, drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.offset:
            return drawn
        return drawn | {"first": np.zeros_like(drawn["first"]), "second": np.zeros_like(drawn["second"])}
