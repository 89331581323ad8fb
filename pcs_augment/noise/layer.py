"""Noise layers: L = mean of N equalised textures (paper Eq. 10), equalised itself by default.

``noise_layer`` is the plain definition. ``LayerSums`` is what the pipeline runs: every texture of a batch is one entry of a
list; its rank is kept as an integer number of 1/4096, so a layer is a sum of integers (exact in any order) and its own
equalisation is an exact count over at most 10 x 4096 values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..plan import Table
from ..sums import histogram
from ..transfer import send, to_device
from .equalize import equalize, equalize_8bit
from .interference import LEVELS, distances, phases, resonant, share_within, wave
from .perlin import LARGEST, Lattices

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Int32, Int64, Integer, Real

RANKS = 4096
BINS = 8192  # for Perlin values over their whole range; the error this makes is tested
SCALING = BINS / 2 / (LARGEST * 1.0001)
GPU_CHUNK_PX = 2**26  # pixels of layers in flight at once
_CHUNK_PX = 2**24  # pixels of textures in flight on a GPU


def noise_layer(
    textures: Real[Tensor, "N H W"], equalize_layer: bool = True, bins: int | None = None
) -> Float32[Tensor, "H W"]:
    """Make one layer of N textures: L = (1/N) sum of H[N_i] (paper, Eq. 10), where H equalises the histogram.

    Args:
        textures: (N, H, W) real values, N at least 1.
        equalize_layer: pass L through H once more, as the published code does.
        bins: None for fine equalisation, 256 for the published 8-bit one.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        InputError: an argument of another form.

    Examples:
        >>> layer = pa.noise_layer(pa.interference([8, 12, 30], (48, 64)))
        >>> layer.shape, round(float(layer.mean()), 3)
        (torch.Size([48, 64]), 0.5)
    """
    if not isinstance(textures, Tensor) or textures.ndim != 3 or 0 in textures.shape:
        shape = tuple(textures.shape) if isinstance(textures, Tensor) else type(textures).__name__
        raise InputError(f"textures must be (N, H, W) with N >= 1, got {shape}")
    h = chosen_equalize(bins)
    mean = h(textures).sum(0) / len(textures)
    return h(mean) if equalize_layer else mean


def chosen_equalize(bins: int | None):
    """The equalisation for ``bins``: None for the fine one, 256 for the published one. Raises InputError."""
    if bins not in (None, 256):
        raise InputError(f"bins must be None (fine equalisation) or 256 (as published), got {bins!r}")
    return equalize if bins is None else equalize_8bit


class LayerSums:
    """Layers of one kind for a batch: textures, layer by layer, become equalised layers (n, H * W)."""

    def __init__(self, kind: str, textures: Table, height: int, width: int, device: torch.device, bins: int | None) -> None:
        self.kind, self.textures, self.bins, self.device = kind, textures, bins, device
        self.height, self.width = height, width
        if kind == "perlin":
            self.lattices = Lattices(textures, height, width, device)
        else:
            self.resonant = resonant(textures, height, width)
            self.rows, self.columns = phases(textures, height, width, device)
            drop = 32 - LEVELS
            # truncating both phases lowers the sum by one bin on average: half of it is put back by rounding one of them
            self.short_rows = ((self.rows + (1 << (drop - 1))) >> drop).to(torch.int32) % (1 << LEVELS)
            self.short_columns = (self.columns >> drop).to(torch.int32)
            self.wave_tables = _wave_tables(share_within(textures, height, width, device))

    def layers(self, first: int, last: int, layer: Int64[np.ndarray, " T"], equalize_layer: bool) -> Float32[Tensor, "n HW"]:
        """Equalise and average textures first .. last - 1, whose layers (0 .. n - 1, ascending) are given: (n, H * W)."""
        n = int(layer[-1]) + 1
        pixels = self.height * self.width
        counts = np.bincount(layer, minlength=n)
        if self.bins:
            return self._published(first, last, layer, counts, equalize_layer)
        sums = torch.zeros(n, pixels, dtype=torch.int32, device=self.device)
        for a, b, ranks in self._ranks(first, last):
            if b - a == 1:
                sums[int(layer[a - first])].add_(ranks[0])
            else:
                rows = send(torch.from_numpy(layer[a - first : b - first]), self.device)
                sums.index_add_(0, rows, ranks)
        if not equalize_layer:
            scale = to_device(1.0 / (RANKS * counts), self.device)
            return sums.float().mul_(scale[:, None])
        return _equalize_counts(sums, int(counts.max()) * RANKS + 1)

    def _ranks(self, first: int, last: int):
        """Chunks of textures as (start, stop, (t, H * W) int32 ranks in 0 .. RANKS)."""
        pixels = self.height * self.width
        chunk = 1 if self.device.type == "cpu" else max(1, _CHUNK_PX // max(pixels, BINS))
        for a in range(first, last, chunk):
            b = min(a + chunk, last)
            yield a, b, (self._perlin(a, b) if self.kind == "perlin" else self._interference(a, b))

    def _perlin(self, a: int, b: int) -> Tensor:
        value = self.lattices.field(a, b).flatten(1)
        index = value.mul_(SCALING).add_(BINS / 2).to(torch.int32)
        return _look_up(_rank_table(histogram(index, BINS), value.shape[1]), index)

    def _interference(self, a: int, b: int) -> Tensor:
        counted = np.flatnonzero(self.resonant[a:b])
        if len(counted) == b - a:
            return counted_ranks(self.rows[a:b], self.columns[a:b])
        index = (self.short_rows[a:b, :, None] + self.short_columns[a:b, None, :]).flatten(1)
        out = _look_up(self.wave_tables[a:b], index)
        if len(counted):
            place = send(torch.from_numpy(counted), self.device)
            out.index_copy_(0, place, counted_ranks(self.rows[a:b][place], self.columns[a:b][place]))
        return out

    def _published(
        self, first: int, last: int, layer: NDArray[np.int64], counts: NDArray[np.int64], equalize_layer: bool
    ) -> Tensor:
        """The 8-bit way, texture after texture."""
        total = torch.zeros(len(counts), self.height * self.width, device=self.device)
        for t in range(first, last):
            if self.kind == "perlin":
                value = self.lattices.field(t, t + 1)
            else:
                value = wave(distances(self.rows[t : t + 1], self.columns[t : t + 1]))
            total[int(layer[t - first])].add_(equalize_8bit(value).flatten())
        total /= to_device(counts.astype(np.float32), self.device)[:, None]
        return equalize_8bit(total.view(-1, self.height, self.width)).flatten(1) if equalize_layer else total


def counted_ranks(rows: Int64[Tensor, "T H"], columns: Int64[Tensor, "T W"]) -> Int32[Tensor, "T H*W"]:
    """Waves that the pixel grid shapes: rank the distances themselves, by counting."""
    rank = equalize(distances(rows, columns).neg_()).flatten(1)
    return rank.mul_(RANKS).round_().to(torch.int32)


def _wave_tables(within: Float[Tensor, "T nodes"]) -> Int32[Tensor, "T bins"]:
    """Shares G(d) to ranks of 2 * 2^LEVELS phase bins, twice around so that a sum needs no modulo."""
    fraction = (torch.arange(4, device=within.device) + 0.5) / 4  # four bins between two nodes, each at its centre
    half = (within[:, :-1, None] * (1 - fraction) + within[:, 1:, None] * fraction).flatten(1)
    rank = ((1 - half) * RANKS).round_().to(torch.int32)
    return torch.cat((rank, rank.flip(1)), 1).repeat(1, 2)


def _rank_table(counts: Integer[Tensor, "R bins"], n: int) -> Int32[Tensor, "R bins"]:
    """Counts to middle ranks in 0 .. RANKS."""
    middle = 2 * counts.cumsum(1) - counts  # of 2 n
    return ((middle * RANKS + n) // (2 * n)).to(torch.int32)


def _equalize_counts(sums: Int32[Tensor, "R n"], bins: int) -> Float32[Tensor, "R n"]:
    """Values in [0, bins) to exact middle ranks."""
    counts = histogram(sums, bins)
    rank = (2 * counts.cumsum(1) - counts).float() * (0.5 / sums.shape[1])
    return _look_up(rank, sums)


def _look_up(table: Real[Tensor, "R bins"], index: Integer[Tensor, "R n"]) -> Real[Tensor, "R n"]:
    """The entries of each row's table."""
    if len(index) == 1:
        return table[0].index_select(0, index[0])[None]
    return table.gather(1, index.long())
