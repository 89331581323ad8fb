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
def add_perlin(sums, scaling, bins, ranks, gradients, columns, cell_x, x_near, x_far, cell_y, y_near, y_far):
    """Add the ranks of one Perlin texture to (H * W,) sums: perlin.Lattices.field, then layer.LayerSums._perlin."""
    height, width = cell_y.size, cell_x.size
    rows = gradients.shape[1] // columns
    across = np.empty((2, rows, width), F)
    for c in range(2):
        for j in range(rows):
            g = gradients[c, j * columns : (j + 1) * columns]
            for i in range(width):
                across[c, j, i] = g[cell_x[i]] * x_near[c, i] + g[cell_x[i] + 1] * x_far[c, i]
    index = np.empty(height * width, np.int16)
    offset = F(bins / 2)
    for y in range(height):
        j = cell_y[y]
        a0, a1, b0, b1 = across[0, j], across[1, j], across[0, j + 1], across[1, j + 1]
        n0, n1, f0, f1 = y_near[0, y], y_near[1, y], y_far[0, y], y_far[1, y]
        row = index[y * width : (y + 1) * width]
        for i in range(width):
            value = (a0[i] * n0 + b0[i] * f0) + (a1[i] * n1 + b1[i] * f1)
            row[i] = np.int16(np.int32(value * scaling + offset))
    # neighbours often share a bin: four tables keep their increments apart
    counts = np.zeros((4, bins), np.int32)
    whole = index.size // 4 * 4
    for i in range(0, whole, 4):
        counts[0, index[i]] += 1
        counts[1, index[i + 1]] += 1
        counts[2, index[i + 2]] += 1
        counts[3, index[i + 3]] += 1
    for i in range(whole, index.size):
        counts[0, index[i]] += 1
    table = np.empty(bins, np.int32)
    below, n = np.int64(0), np.int64(index.size)
    for b in range(bins):
        here = np.int64(counts[0, b] + counts[1, b] + counts[2, b] + counts[3, b])
        table[b] = ((2 * below + here) * ranks + n) // (2 * n)
        below += here
    for i in range(index.size):
        sums[i] += table[index[i]]


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _extent(x):
    low, high = x[0], x[0]
    for v in x:
        low, high = min(low, v), max(high, v)
    return low, high


@_jit
def equalize_row(x, out, parts, heavy, passes):
    """equalize.equalize_rows of one row; heavy: how many pixels a bin may hold."""
    n = np.int64(x.size)
    index, counts = np.zeros(x.size, np.int32), np.full(1, n)
    for _ in range(passes):
        bins = counts.size
        low, high = np.full(bins, F(np.inf)), np.full(bins, F(-np.inf))
        if bins == 1:
            low[0], high[0] = _extent(x)
        else:
            for i in range(x.size):
                b = index[i]
                low[b], high[b] = min(low[b], x[i]), max(high[b], x[i])
        share, first, scale = np.zeros(bins, np.int32), np.empty(bins, np.int32), np.zeros(bins, F)
        before, distinct = np.int32(0), False
        for b in range(bins):
            if counts[b] > 0:
                share[b] = (counts[b] * parts + n - 1) // n
            if high[b] > low[b]:
                scale[b] = min(F(share[b]) / (high[b] - low[b]), F(3e38))
                distinct = True
            first[b] = before
            before += share[b]
        counts = np.zeros(bins + parts, np.int64)
        if bins == 1:  # without look-ups it vectorises
            bottom, per_unit, last = low[0], scale[0], share[0] - np.int32(1)
            for i in range(x.size):
                index[i] = min(np.int32((x[i] - bottom) * per_unit), last)
        else:
            for i in range(x.size):
                b = index[i]
                index[i] = min(np.int32((x[i] - low[b]) * scale[b]), share[b] - np.int32(1)) + first[b]
        for part in index:
            counts[part] += 1
        table = np.empty(counts.size, F)
        below, most, step = np.int64(0), np.int64(0), F(0.5 / x.size)
        for b in range(counts.size):
            table[b] = F(2 * below + counts[b]) * step
            below += counts[b]
            most = max(most, counts[b])
        for i in range(x.size):
            out[i] = table[index[i]]
        if not distinct or F(most) <= F(heavy):
            break


@_jit
def add_waves(sums, tables, rows, columns):
    """Add the ranks of several plane waves to (H * W,) sums: layer.LayerSums._interference."""
    height, width = rows.shape[1], columns.shape[1]
    for y in range(height):
        out = sums[y * width : (y + 1) * width]
        for t in range(len(tables)):
            table, column, first = tables[t], columns[t], rows[t, y]
            for i in range(width):
                out[i] += table[first + column[i]]


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
