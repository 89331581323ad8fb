"""numba twins of the pixel loops: tone, noise, blur, layers, painted maps.

Same operations, same order, same float32 rounding as the torch functions they name. No kernel calls one in another file:
numba's cache would not notice when that one changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..statistics import EXP2

_jit = njit(nogil=True, cache=True, error_model="numpy")

F = np.float32
_ZERO, _UNIT, _HALF = F(0), F(1), F(0.5)
_TWO32 = F(2.0**32)
_C0, _C1, _C2, _C3, _C4, _C5 = (F(c) for c in EXP2)
_PIXEL = np.uint32(2)  # rng.LANE_PIXEL
_MASK = np.uint64(0xFFFFFFFF)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_S32 = np.uint64(32)


@_jit
def _clip(v):
    return min(max(v, _ZERO), _UNIT)


# sums of whole numbers below 2^53 are exact in float64 in any order, so these loops may be reordered to vectorise
_exact = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})
_STRIP = 2048  # pixels that stay in the first-level cache


@_exact
def _sum(strip):
    total = 0.0
    for v in strip:
        total += np.floor(np.float64(v * _TWO32))
    return np.int64(total)


@_exact
def _sum_of_squares(strip, middle):
    total = 0.0
    for v in strip:
        d = v - middle
        total += np.floor(np.float64(d * d * _TWO32))
    return np.int64(total)


@_jit
def _mean(x):
    """statistics.mean of one image."""
    flat, total = x.reshape(-1), np.int64(0)
    for start in range(0, flat.size, _STRIP):
        total += _sum(flat[start : start + _STRIP])
    return F(total) * F(1.0 / (2.0**32 * x.size))


@_jit
def _deviation(x):
    """statistics.deviation of one image."""
    middle = _mean(x)
    flat, total = x.reshape(-1), np.int64(0)
    for start in range(0, flat.size, _STRIP):
        total += _sum_of_squares(flat[start : start + _STRIP], middle)
    return F(np.sqrt(np.float64(F(total) * F(1.0 / (2.0**32 * x.size)))))


@_jit
def scale(x, factor):
    """tone.scale"""
    flat = x.reshape(-1)
    for i in range(flat.size):
        flat[i] = _clip(flat[i] * factor)


@_jit
def stretch(x, factor):
    """tone.stretch"""
    middle = _mean(x)
    flat = x.reshape(-1)
    for i in range(flat.size):
        flat[i] = _clip((flat[i] - middle) * factor + middle)


_CALLS = 64  # of Philox in flight: 32-bit words side by side vectorise


@_jit
def _block(first, key, words, halves):
    """rng.halves: the 16-bit numbers of _CALLS calls of the pixel lane, from call ``first`` on."""
    c0, c1, c2, c3 = words
    for i in range(_CALLS):
        c0[i], c1[i], c2[i], c3[i] = first + i, 0, _PIXEL, 0
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        round0, round1 = np.uint32(k0), np.uint32(k1)
        for i in range(_CALLS):
            p0, p1 = np.uint64(c0[i]) * _M0, np.uint64(c2[i]) * _M1
            c0[i], c2[i] = np.uint32(p1 >> _S32) ^ c1[i] ^ round0, np.uint32(p0 >> _S32) ^ c3[i] ^ round1
            c1[i], c3[i] = np.uint32(p1), np.uint32(p0)
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    for i in range(_CALLS):
        for j in range(4):
            halves[8 * i + 2 * j] = words[j, i] & 0xFFFF
            halves[8 * i + 2 * j + 1] = words[j, i] >> 16


@_jit
def add_noise(x, sigma, key, table):
    """pixel_noise.add_noise, with rng.normal_table()"""
    flat = x.reshape(-1)
    words, halves = np.empty((4, _CALLS), np.uint32), np.empty(8 * _CALLS, np.int64)
    for first in range(0, flat.size, 8 * _CALLS):
        _block(first // 8, key, words, halves)
        for i in range(min(8 * _CALLS, flat.size - first)):
            flat[first + i] = _clip(flat[first + i] + table[halves[i]] * sigma)


@_jit
def add_impulses(x, white, black, key):
    """pixel_noise.add_impulses"""
    pixels = x.shape[1] * x.shape[2]
    flat = x.reshape(x.shape[0], pixels)
    words, halves = np.empty((4, _CALLS), np.uint32), np.empty(8 * _CALLS, np.int64)
    for first in range(0, pixels, 8 * _CALLS):
        _block(first // 8, key, words, halves)
        for i in range(min(8 * _CALLS, pixels - first)):
            if halves[i] < white:
                flat[:, first + i] = _UNIT
            if halves[i] >= black:
                flat[:, first + i] = _ZERO


@_jit
def _mirror(i, n):
    """Index i of an axis of n pixels that is mirrored without its edge pixel."""
    if n == 1:
        return 0
    i = i % (2 * (n - 1))
    return min(i, 2 * (n - 1) - i)


@_jit
def blur(x, taps):
    """gaussian.blur"""
    reach = taps.size - 1
    channels, height, width = x.shape
    column = np.empty((height, width), F)
    padded = np.empty(width + 2 * reach, F)
    for c in range(channels):
        for y in range(height):
            for j in range(width):
                column[y, j] = x[c, y, j] * taps[0]
            for i in range(1, reach + 1):
                above, below, w = x[c, _mirror(y - i, height)], x[c, _mirror(y + i, height)], taps[i]
                for j in range(width):
                    column[y, j] += (above[j] + below[j]) * w
        for y in range(height):
            for j in range(width + 2 * reach):
                padded[j] = column[y, _mirror(j - reach, width)] if j < reach or j >= width + reach else column[y, j - reach]
            for j in range(width):
                x[c, y, j] = padded[reach + j] * taps[0]
            for i in range(1, reach + 1):
                w = taps[i]
                left, right = padded[reach - i :], padded[reach + i :]
                for j in range(width):
                    x[c, y, j] += (left[j] + right[j]) * w


@_jit
def mask(image, taps, circle, x, y, radius, left, top, right, bottom):
    """overlay.mask"""
    channels, height, width = image.shape
    visible = np.empty((1, height, width), F)
    for i in range(height):
        py = F(i) + _HALF
        for j in range(width):
            px = F(j) + _HALF
            if circle > 0:
                inside = (px - x) * (px - x) + (py - y) * (py - y) <= radius * radius
            else:
                inside = px > left and px < right and py > top and py < bottom
            visible[0, i, j] = _UNIT if inside else _ZERO
    blur(visible, taps)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                image[c, i, j] = _clip(image[c, i, j] * visible[0, i, j])


@_jit
def _layer_ranks(sums, bins):
    """layer._equalize_counts: the table from sums to equalised values."""
    counts = np.zeros(bins, np.int64)
    for s in sums:
        counts[s] += 1
    table = np.empty(bins, F)
    below, step = np.int64(0), F(0.5 / sums.size)
    for b in range(bins):
        table[b] = F(2 * below + counts[b]) * step
        below += counts[b]
    return table


@_jit
def blend(image, sums, counts, ranks, equalize_layer, c):
    """layers._NoiseLayer._blend for one image with (2, H * W) sums of ``counts`` textures."""
    strength = _deviation(image) * c
    if equalize_layer:
        bins = max(counts[0], counts[1]) * ranks + 1
        first, second = _layer_ranks(sums[0], bins), _layer_ranks(sums[1], bins)
    flat = image.reshape(image.shape[0], -1)
    scale0, scale1 = F(1.0 / (ranks * counts[0])), F(1.0 / (ranks * counts[1]))
    layer, w = np.empty(_STRIP, F), np.empty(_STRIP, F)
    for start in range(0, flat.shape[1], _STRIP):
        stop = min(start + _STRIP, flat.shape[1])
        one, two = sums[0, start:stop], sums[1, start:stop]
        # look-ups apart from arithmetic, which then vectorises
        if equalize_layer:
            for i in range(stop - start):
                layer[i], w[i] = first[one[i]], second[two[i]]
        else:
            for i in range(stop - start):
                layer[i], w[i] = F(one[i]) * scale0, F(two[i]) * scale1
        for i in range(stop - start):
            z = _HALF - layer[i]
            e = z * _C5
            e = (e + _C4) * z
            e = (e + _C3) * z
            e = (e + _C2) * z
            e = (e + _C1) * z
            e = e + _C0
            w[i] = e * e * w[i] * strength
        for k in range(flat.shape[0]):
            strip = flat[k, start:stop]
            for i in range(stop - start):
                strip[i] = _clip((w[i] * layer[i] + strip[i]) / (w[i] + _UNIT))


@_jit
def add_curves(image, segment, xs, ys, distance, thickness, offset, per_curve):
    """splines._paint for one image, added and clipped; the hits are those of raster.strokes, curve after curve."""
    channels, height, width = image.shape
    total, cover = np.zeros((height, width), F), np.zeros((height, width), F)
    begin = 0
    for curve in range(offset.size):
        end = begin
        while end < segment.size and segment[end] // per_curve == curve:
            wide = thickness[segment[end]]
            here = min(max(wide / F(2) + _HALF - distance[end], _ZERO), min(wide, _UNIT))
            x, y = xs[end], ys[end]
            cover[y, x] = max(cover[y, x], here)
            end += 1
        for i in range(begin, end):
            x, y = xs[i], ys[i]
            if cover[y, x] > 0:  # a pixel is met by several segments, but painted once
                total[y, x] = total[y, x] * (_UNIT - cover[y, x]) + cover[y, x] * offset[curve]
                cover[y, x] = _ZERO
        begin = end
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                image[c, y, x] = _clip(image[c, y, x] + total[y, x])


@_jit
def add_offsets(image, owner, offsets, taps):
    """Look up the offsets of painted numbers, blur them, add them to every channel and clip."""
    channels, height, width = image.shape
    painted = np.empty((1, height, width), F)
    for y in range(height):
        for x in range(width):
            painted[0, y, x] = offsets[owner[y, x]]
    blur(painted, taps)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                image[c, y, x] = _clip(image[c, y, x] + painted[0, y, x])
