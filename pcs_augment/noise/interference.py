"""Interference: plane waves in random directions (paper Eq. 9), and their equalisation in closed form.

A wave is a function of one phase, phi = x.n / k + phi_0 in turns, kept as 32-bit fixed point so that "modulo one" is free and
the same on every device. Its value falls with the distance d of phi from the nearest whole turn, so its rank is
1 - G(d), where G(d) is the share of pixels within d. Over a rectangle phi is the sum of two uniform variables, and G follows
from periodic Bernoulli polynomials: no histogram is needed. The exception are waves whose aliases on the pixel grid fall
close to zero frequency (near an axis with k near a whole number, mostly): ``resonant`` names them, and they are ranked by
counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..plan import Table
from ..rng import MASK
from ..transfer import to_device
from .textures import seeded_textures

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int64

LEVELS = 12  # bits of a phase in the fast path
NODES = 512  # where G(d) is evaluated; linear between
_SMALLEST_SPAN = 1 / 256  # turns across the image; a flatter wave than this along an axis is treated as this flat
_HARMONICS = 270  # beyond, an alias of amplitude 2 / (pi j) is too weak to matter
_RESONANCE = 0.002


def frequencies(
    textures: Table,
) -> tuple[Float64[np.ndarray, " T"], Float64[np.ndarray, " T"], Float64[np.ndarray, " T"]]:
    """Turns per px along x and y, and phase in turns."""
    angle = 2 * np.pi * textures["first"]
    return np.cos(angle) / textures["scale"], np.sin(angle) / textures["scale"], textures["second"]


def fixed_point(textures: Table) -> list[Int64[np.ndarray, " T"]]:
    """The same in units of 2^-32 turns."""
    return [np.round(v * 2.0**32).astype(np.int64) for v in frequencies(textures)]


def phases(
    textures: Table, height: int, width: int, device: torch.device
) -> tuple[Int64[Tensor, "T {height}"], Int64[Tensor, "T {width}"]]:
    """Fixed-point phases (T, H) along y and (T, W) along x, int64 in [0, 2^32); a pixel's phase is their sum modulo 2^32."""
    fx, fy, phase = (to_device(v, device)[:, None] for v in fixed_point(textures))
    along = (torch.arange(width, device=device) * fx + phase) & MASK
    return (torch.arange(height, device=device) * fy) & MASK, along


def distances(rows: Int64[Tensor, "T H"], columns: Int64[Tensor, "T W"]) -> Float32[Tensor, "T H W"]:
    """Distances of the phase from the nearest whole turn, in [0, 1/2], from the phases along y and x."""
    phase = (rows[:, :, None] + columns[:, None, :]) & MASK
    return torch.minimum(phase, (MASK + 1) - phase).to(torch.float32).mul_(2.0**-32)


def resonant(textures: Table, height: int, width: int) -> Bool[np.ndarray, " T"]:
    """Whether the pixel grid itself shapes the histogram, so that the closed form would be off by more than about 0.002.

    The j-th harmonic of "within d of a whole turn" has amplitude at most 2 / (pi j); on the pixel grid it contributes with the
    Dirichlet kernels of (j fx, j fy), which are bounded by 1 and by 1 / (2 n distance to a whole number). The closed form
    has the alias at zero right and lacks the others.
    """
    if height * width < 64 * 64:  # counting costs nothing there, and few pixels are far from a continuum
        return np.ones(len(textures["scale"]), bool)
    fx, fy, _ = (v.astype(np.float32)[:, None] for v in frequencies(textures))
    j = np.arange(1, _HARMONICS + 1, dtype=np.float32)
    bound = np.float32(2 / np.pi) / j
    aliased = False
    for f, n in ((fx, width), (fy, height)):
        turns = f * j
        whole = np.rint(turns)
        bound = bound / np.maximum(1, (2 * n) * np.abs(turns - whole))
        aliased = aliased | (whole != 0)
    return (bound * aliased).sum(1) > _RESONANCE


def corner_terms(textures: Table, height: int, width: int) -> tuple[Float64[np.ndarray, "T 4"], Float64[np.ndarray, "T 4"]]:
    """What ``share_within`` needs of a wave: phases of the image's four corners in turns, and factors."""
    fx, fy, phase = frequencies(textures)
    across_x, across_y = np.abs(fx) * width, np.abs(fy) * height
    centre = phase + fx * (width - 1) / 2 + fy * (height - 1) / 2
    across_x, across_y = np.maximum(across_x, _SMALLEST_SPAN), np.maximum(across_y, _SMALLEST_SPAN)
    signs = np.array([1, -1, -1, 1.0])
    corner = centre[:, None] + np.stack(
        [(sx * across_x + sy * across_y) / 2 for sx, sy in ((-1, -1), (1, -1), (-1, 1), (1, 1))], -1
    )
    return corner % 1, signs / (6 * across_x * across_y)[:, None]


def share_within(textures: Table, height: int, width: int, device: torch.device) -> Float[Tensor, "T nodes"]:
    """G(d) at NODES + 1 places d = 0 .. 1/2: the share of the image whose phase lies within d of a whole turn.

    The phase density is the trapezoid whose second derivative is +1, -1, -1, +1 at the phases of the four corners, over the
    product of the spans; its periodic second antiderivative is a Bernoulli polynomial B_3.
    """
    corner_t, factor = (to_device(v, device)[:, :, None] for v in corner_terms(textures, height, width))
    d = torch.arange(NODES + 1, device=device) * (0.5 / NODES)
    sides = torch.stack((d - corner_t, d + corner_t))
    x = sides - sides.floor()
    bernoulli = x * ((x - 1.5) * x + 0.5)
    both = (bernoulli[0] + bernoulli[1]) * factor
    return (2 * d - (both[:, 0] + both[:, 1] + both[:, 2] + both[:, 3])).clamp_(0, 1)


def interference(
    scale: Any, size: Sequence[int], seed: int = 0, device: torch.device | str = "cpu"
) -> Float32[Tensor, "T H W"]:
    """Make textures of plane waves, N_I(x, n, k) = (cos(2 pi x.n / k + phi) + 1) / 2 (paper, Eq. 9).

    The direction n is uniform, the phase phi ~ U[0, 2 pi). Texture t depends on (scale[t], size, seed, t) alone.

    Args:
        scale: (T,) wavelengths k, px of at least 1.
        size: (H, W), px, 1 .. 16384.
        seed: 0 .. 2^64 - 1.
        device: where the textures are made.

    Returns:
        (T, H, W) float32 in [0, 1].

    Raises:
        InputError: an argument is out of range.

    Examples:
        >>> pa.interference([8, 20.5], (48, 64)).shape
        torch.Size([2, 48, 64])
    """
    table, height, width = seeded_textures(scale, size, seed)
    rows, columns = phases(table, height, width, torch.device(device))
    return wave(distances(rows, columns))


def wave(distance: Float32[Tensor, "T H W"]) -> Float32[Tensor, "T H W"]:
    """(1 + cos(2 pi d)) / 2 = 1 - sin(pi d)^2 for d in [0, 1/2], by products and sums only (error 2e-7)."""
    square = distance * distance
    sine = square * 7.76559122e-2
    for c in (-0.598290411, 2.55007739, -5.16771008):
        sine.add_(c).mul_(square)
    return sine.add_(3.14159264).mul_(distance).square_().neg_().add_(1).clamp_(0, 1)
