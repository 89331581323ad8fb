"""Counter-based random numbers: Philox 4x32-10 keyed by (seed, epoch, sample index, step).

A sample's numbers depend on these four alone, never on batch size, order, worker or device. Every step of a pipeline gets
a 64-bit *stream key* for each sample; words of a stream are addressed by (n, item, lane), so they can be drawn in any order
and any number. The one ``philox`` below serves NumPy (uint64 arrays, on the host) and torch (int64 tensors, any device):
both hold 32-bit words in 64-bit integers, and 64-bit products wrap alike.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import transfer
from .dispatch import on_host, operator
from .errors import InputError

MASK = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85

# lanes separate the uses of one stream
LANE_SAMPLE, LANE_OBJECT, LANE_PIXEL, LANE_LATTICE, LANE_DISPLACE, LANE_PAINT = range(6)

Words = NDArray[np.uint64]


def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Ten rounds of Philox 4x32 on 32-bit words held in 64-bit integers (NumPy uint64 or torch int64), broadcasting."""
    for _ in range(10):
        p0 = c0 * _M0
        p1 = c2 * _M1
        c0, c1, c2, c3 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0 = (k0 + _W0) & MASK
        k1 = (k1 + _W1) & MASK
    return c0, c1, c2, c3


@on_host
def host_philox(c0: Any, c1: Any, c2: int, k0: Any, k1: Any) -> Words:
    """(..., 4) words of the counters (c0, c1, c2, 0) on the host, broadcasting."""
    return np.stack(philox(c0, c1, np.uint64(c2), np.uint64(0), k0, k1), -1)


def _u64(values: Any) -> Words:
    return np.asarray(values).astype(np.uint64)


class Stream(NamedTuple):
    """The random numbers of one step for each sample of a batch."""

    keys: Words  # (B, 2) stream keys
    words: Words  # (B, n) the first n words of lane 0, drawn beforehand for all steps together

    def of(self, sample: NDArray[np.int64]) -> Stream:
        """The streams of some samples."""
        return Stream(self.keys[sample], self.words[sample])

    def uniform(self, column: int, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """Word ``column`` as (B,) floats uniform on [low, high)."""
        return scale_uniform(self._column(column), low, high)

    def integer(self, column: int, low: int, high: int) -> NDArray[np.int64]:
        """Word ``column`` as (B,) integers uniform on {low .. high}, both ends included."""
        return scale_integer(self._column(column), low, high)

    def _column(self, column: int) -> Words:
        drawn = self.words.shape[1]
        if not 0 <= column < drawn:
            raise InputError(
                f"a step asked for its random number {column}, of which it has {drawn} (from 0 on): "
                f"set its attribute words to {column + 1} or more"
            )
        return self.words[:, column]

    def item_words(self, sample: NDArray[np.int64], item: NDArray[np.int64], count: int, lane: int) -> Words:
        """(M, count) words for M (sample, item) pairs, e.g. the objects of a batch."""
        return consecutive_words(np.zeros(len(sample), np.uint64), _u64(item), self.keys[sample], -(-count // 4), lane)[
            :, :count
        ]

    def later_words(self, sample: NDArray[np.int64], first: NDArray[np.int64], count: int) -> Words:
        """(M, count) words of lane 0 from word ``first`` (M,) on, both multiples of 4, for M samples."""
        return consecutive_words(_u64(first // 4), np.zeros(len(sample), np.uint64), self.keys[sample], count // 4, LANE_SAMPLE)


@on_host
def consecutive_words(first: Words, item: Words, keys: Words, calls: int, lane: int) -> Words:
    """(M, 4 calls) words: calls ``first`` (M,) and those that follow of streams ``keys`` (M, 2)."""
    counter = first[:, None] + np.arange(calls, dtype=np.uint64)
    return host_philox(counter, item[:, None], lane, keys[:, :1], keys[:, 1:]).reshape(len(first), 4 * calls)


def scale_uniform(words: Words, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
    """32-bit words as float64 uniform on [low, high)."""
    return words.astype(np.float64) * ((high - low) * 2.0**-32) + low


def scale_integer(words: Words, low: int, high: int) -> NDArray[np.int64]:
    """32-bit words as integers uniform on {low .. high} (bias below (high - low + 1) / 2^32)."""
    return ((words * np.uint64(high - low + 1)) >> np.uint64(32)).astype(np.int64) + low


def open_streams(
    seed: int, epoch: int, index: NDArray[np.int64], words: Sequence[int], tags: Sequence[int] | None = None
) -> list[Stream]:
    """One ``Stream`` per step; ``words[s]`` is how many words of lane 0 step s reads for each sample.

    tags: a 16-bit number per step, its kind; two different steps that are used alone (both at position 0, with one seed) would
    otherwise draw the same numbers.

    Steps are numbered by their position, so two equal steps in one pipeline draw different numbers.
    """
    kind = np.zeros(len(words), np.uint64) if tags is None else _u64(tags)
    position = np.arange(len(words), dtype=np.uint64) | kind << np.uint64(16)
    calls = [-(-n // 4) for n in words]
    keys, drawn = first_words(_u64(index), np.uint64(epoch), position, np.uint64(seed), np.array(calls, np.int64))
    out, first = [], 0
    for s, n in enumerate(calls):
        out.append(Stream(keys[s], drawn[:, 4 * first : 4 * (first + n)]))
        first += n
    return out


@on_host
def first_words(
    sample: Words, epoch: np.uint64, position: Words, seed: np.uint64, calls: NDArray[np.int64]
) -> tuple[Words, Words]:
    """(S, B, 2) stream keys, and the words of the first calls of every stream, step after step, as (B, 4 calls)."""
    low, high = np.uint64(MASK), np.uint64(32)
    k = philox(sample & low, sample >> high, epoch, position[:, None], seed & low, seed >> high)
    keys = np.stack((k[0], k[1]), -1)
    step = np.repeat(np.arange(len(calls)), calls)
    call = np.arange(len(step)) - np.repeat(np.cumsum(calls) - calls, calls)
    mine = keys[step].transpose(1, 0, 2)  # (B, calls, 2)
    drawn = host_philox(_u64(call), np.uint64(0), LANE_SAMPLE, mine[..., 0], mine[..., 1])
    return keys, drawn.reshape(len(sample), -1)


def keys_in(table: dict[str, NDArray]) -> Words:
    """(A, 2) stream keys from a plan's columns."""
    return np.stack((table["key0"], table["key1"]), -1)


def check_seed(seed: object) -> int:
    """An integer in [0, 2^64)."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= int(seed) < 2**64:
        raise InputError(f"seed must be an integer in [0, 2**64), got {seed!r}")
    return int(seed)


# --- on the device ------------------------------------------------------------------------------------------------------


@operator(
    "halves(Tensor key, int lane, int count) -> Tensor",
    fake=lambda key, lane, count: key.new_empty(*key.shape[:-1], count),
)
def halves(key: Tensor, lane: int, count: int) -> Tensor:
    """(..., 2) int64 stream keys to (..., count) int64 random integers in [0, 65536), eight to a Philox call."""
    calls = -(-count // 8)
    if key.device.type == "cpu":
        host = key.numpy().astype(np.uint64)
        drawn = host_philox(np.arange(calls, dtype=np.uint64), np.uint64(0), lane, host[..., :1], host[..., 1:])
        words = tuple(torch.from_numpy(drawn.astype(np.int64)).unbind(-1))
    else:
        n = torch.arange(calls, device=key.device)
        words = philox(n, 0, lane, 0, key[..., :1], key[..., 1:])
    return split_words(words).flatten(-2)[..., :count].contiguous()  # laid out as the kernels lay it


def split_words(words: tuple[Tensor, ...]) -> Tensor:
    """Four tensors of 32-bit words to (..., 8) 16-bit integers, low half first."""
    return torch.stack([half for w in words for half in (w & 0xFFFF, w >> 16)], -1)


def _normal_quantiles() -> Tensor:
    """65,536 equally likely values: the mean of the standard normal over each 2^-16 quantile bin."""
    edges = torch.special.ndtri(torch.arange(65537, dtype=torch.float64) / 65536)
    density = torch.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    return ((density[:-1] - density[1:]) * 65536).float()


def _unit_vectors() -> Tensor:
    angle = torch.arange(65536, dtype=torch.float64) * (2 * np.pi / 65536)
    return torch.stack((torch.cos(angle), torch.sin(angle))).float()


_tables: dict[tuple[str, torch.device], Tensor] = {}


def device_table(name: str, device: torch.device) -> Tensor:
    """A table of this module on a device: "normal" (65536,) or "unit" (2, 65536)."""
    if device.type == "meta" and transfer.recording is not None:
        return transfer.recording.shared(name)
    if (name, device) not in _tables:
        made = {"normal": _normal_quantiles, "unit": _unit_vectors}[name]()
        _tables[name, device] = made.to(device)
    return _tables[name, device]


def normals(key: Tensor, count: int) -> Tensor:
    """(..., count) standard normal float32 from (..., 2) keys.

    A table of 65,536 equally likely quantile means replaces the logarithm and cosine of Box-Muller: half the random words,
    and the same bits on every device and at every batch shape (vectorised and scalar logarithms differ in the last place).
    Mean 0, variance 1 - 2e-6, largest value 4.34.
    """
    return device_table("normal", key.device).take(halves(key, LANE_PIXEL, count))


def normal_table() -> NDArray[np.float32]:
    """The table behind ``normals``, for kernels on the host."""
    return device_table("normal", torch.device("cpu")).numpy()


def unit_vectors(half: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of the angle 2 pi half / 65536, float32."""
    table = device_table("unit", half.device)
    return table[0].take(half), table[1].take(half)
