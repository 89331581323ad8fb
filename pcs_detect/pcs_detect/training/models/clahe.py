"""Contrast limited adaptive histogram equalisation (CLAHE) of batches, on their device, as OpenCV does it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError

LEVELS = 256


def clahe(images: Tensor, clip_limit: float = 2.0, tiles: tuple[int, int] = (8, 8)) -> Tensor:
    """Images of which every part uses the whole range of grey values (2021 paper: Pre-Processing Module).

    images: (..., H, W), any number of grey images or channels, each on its own: uint8, or floating point in [0, 1], which are
    rounded to 8 bits. The result has the same shape, type and range. tiles: across and down; an image that they do not divide
    is continued at the right and bottom by reflection until they do. Each tile's histogram is cut at ``clip_limit`` times its
    mean count (never below 1), what was cut off spreads evenly over all levels, and the cumulated histogram becomes the tile's
    map of grey values; a pixel takes the four nearest maps, interpolated bilinearly. clip_limit 0: no cut.

    The same as ``cv2.createCLAHE(clip_limit, tiles).apply`` on every image, but for single pixels off by one level where
    the order of sums decides a rounding. Raises InputError.
    """
    across, down = _checked(images, clip_limit, tiles)
    height, width = images.shape[-2:]
    if not images.numel():
        return images.clone()
    grey = images if images.dtype == torch.uint8 else (images.float() * 255).round().clamp(0, 255)
    flat = grey.reshape(-1, height, width).long()
    # OpenCV adds a whole ``tiles`` px to the side that they divide where they do not divide the other
    fits = width % across == 0 and height % down == 0
    right, bottom = (0, 0) if fits else (across - width % across, down - height % down)
    rows, columns = (_reflected(n, n + more, images.device) for n, more in ((height, bottom), (width, right)))
    maps = _maps(flat[:, rows][:, :, columns], across, down, clip_limit)
    out = _interpolated(maps, flat, (width + right) // across, (height + bottom) // down, across, down).view(images.shape)
    return out.to(torch.uint8) if images.dtype == torch.uint8 else (out / 255).to(images.dtype)


def _checked(images: Tensor, clip_limit: float, tiles: tuple[int, int]) -> tuple[int, int]:
    if images.ndim < 2 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise InputError(
            f"CLAHE takes images (..., H, W) of uint8 or floating point in [0, 1], got {tuple(images.shape)} of {images.dtype}"
        )
    if not 0 <= clip_limit < math.inf:
        raise InputError(f"clip_limit of CLAHE is {clip_limit}; it takes a number of at least 0, 0 for no limit")
    if len(tiles) != 2 or not all(isinstance(n, int) and n >= 1 for n in tiles):
        raise InputError(f"tiles of CLAHE are {tiles}; they take two whole numbers of at least 1, across and down")
    return tiles[0], tiles[1]


def _reflected(size: int, wanted: int, device: torch.device) -> Tensor:
    """(wanted,) indices into ``size`` px: 0 1 2 1 0 1 ... for size 3."""
    period = max(2 * (size - 1), 1)
    index = torch.arange(wanted, device=device) % period
    return torch.minimum(index, period - index) if size > 1 else torch.zeros_like(index)


def _maps(grey: Tensor, across: int, down: int, clip_limit: float) -> Tensor:
    """(B, down * across, 256) new grey values, float32, of (B, H, W) levels whose sides the tiles divide."""
    images, height, width = grey.shape
    area = (height // down) * (width // across)
    cut = grey.view(images, down, height // down, across, width // across).transpose(2, 3).reshape(images * down * across, area)
    first = torch.arange(len(cut), device=grey.device)[:, None] * LEVELS
    counts = torch.bincount((cut + first).flatten(), minlength=len(cut) * LEVELS).view(-1, LEVELS)
    if clip_limit > 0:
        limit = max(int(clip_limit * area / LEVELS), 1)
        excess = (counts - limit).clamp(min=0).sum(1, keepdim=True)
        rest = excess % LEVELS  # one more for so many levels, as far apart as whole steps allow
        step = (LEVELS // rest.clamp(min=1)).clamp(min=1)
        level = torch.arange(LEVELS, device=grey.device)
        counts = counts.clamp(max=limit) + excess // LEVELS + ((level % step == 0) & (level // step < rest))
    scale = torch.tensor((LEVELS - 1) / area, dtype=torch.float32, device=grey.device)
    return (counts.cumsum(1).float() * scale).round().clamp(0, LEVELS - 1).view(images, down * across, LEVELS)


def _interpolated(maps: Tensor, grey: Tensor, tile_width: int, tile_height: int, across: int, down: int) -> Tensor:
    """(B, H, W) whole grey values, float32, of (B, H, W) levels under the maps of the four tiles around each pixel."""
    images, height, width = grey.shape
    left, right, x = _neighbours(width, tile_width, across, grey.device)
    upper, lower, y = _neighbours(height, tile_height, down, grey.device)
    flat = maps.view(images, -1)

    def mapped(row: Tensor, column: Tensor) -> Tensor:
        tile = row[:, None] * across + column
        return flat.gather(1, (tile * LEVELS + grey).view(images, -1)).view(grey.shape)

    y = y[:, None]
    top = mapped(upper, left) * (1 - x) + mapped(upper, right) * x
    bottom = mapped(lower, left) * (1 - x) + mapped(lower, right) * x
    return (top * (1 - y) + bottom * y).round()


def _neighbours(size: int, tile: int, tiles: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of ``size`` px: the tiles with the next centres on both sides, and how near the second is (0 .. 1)."""
    place = torch.arange(size, device=device, dtype=torch.float32) * (1 / torch.tensor(tile, dtype=torch.float32)).item() - 0.5
    before = place.floor()
    first = before.long()
    return first.clamp(min=0), (first + 1).clamp(max=tiles - 1), place - before
