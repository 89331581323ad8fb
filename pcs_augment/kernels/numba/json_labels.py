"""numba scanner of the annotations of a COCO-layout JSON: text to columns.

Strict: what it takes, it reads as Python's json would, numbers to the last bit; before anything else it stops. ``text`` is
followed by zero bytes that do not count: no token has one, so nothing here looks for the end of the text.
"""

from __future__ import annotations

import numpy as np

from .compiling import compiled

MORE, LIST, ODD = 0, 1, 2  # how ``outside`` ends
ELEMENT, COMMA, FIRST = 0, 1, 2  # what ``scan`` expects next
ENDED = 3  # or that its list is over

QUOTE, BACKSLASH, COLON, SEPARATOR, POINT, MINUS, PLUS = (ord(c) for c in '"\\:,.-+')
OPEN_LIST, CLOSE_LIST, OPEN, CLOSE, ZERO, NINE = (ord(c) for c in "[]{}09")
SMALL_E, LARGE_E, SMALL_T, SMALL_F, SMALL_N = (ord(c) for c in "eEtfn")


def _word(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


ANNOTATIONS, SEGMENTATION, CATEGORY_ID = _word("annotations"), _word("segmentation"), _word("category_id")
LARGEST, SMALLEST = 1e7, 1e-6  # px, as in pcs_augment.data
IMAGE_ID, ISCROWD, BBOX, ID = _word("image_id"), _word("iscrowd"), _word("bbox"), _word("id")
TRUE, FALSE, NULL = _word("true"), _word("false"), _word("null")
SEEN_ID, SEEN_IMAGE, SEEN_CATEGORY, SEEN_BBOX, SEEN_CROWD, SEEN_SEGMENTATION = 1, 2, 4, 8, 16, 32
NEEDED = SEEN_IMAGE | SEEN_CATEGORY | SEEN_BBOX

# Up to 2^53 whole numbers, and up to 10^22 powers of ten, are exact in float64, so that one division or product of the two is
# the float64 nearest to the decimal number (Clinger, How to read floating point numbers accurately, 1990).
EXACT = 2**53
POWERS = np.array([float(10**i) for i in range(23)])
NO_NUMBER, INTEGER, REAL, INEXACT = 0, 1, 2, 3


@compiled
def _space(text, p):
    while text[p] == 32 or text[p] == 10 or text[p] == 13 or text[p] == 9:
        p += 1
    return p


@compiled
def _is(text, start, stop, word):
    if stop - start != word.size:
        return False
    i = 0
    while i < word.size and text[start + i] == word[i]:
        i += 1
    return i == word.size


@compiled
def _number(text, p):
    """(end, kind, value) of the number at p."""
    negative = text[p] == MINUS
    p += negative
    first, mantissa, exponent, kind = p, np.int64(0), 0, INTEGER
    while ZERO <= text[p] <= NINE:
        mantissa = mantissa * 10 + (text[p] - ZERO)
        p += 1
    digits = p - first
    if digits == 0 or (digits > 1 and text[first] == ZERO):
        return p, NO_NUMBER, 0.0
    if text[p] == POINT:
        kind = REAL
        p += 1
        first = p
        while ZERO <= text[p] <= NINE:
            mantissa = mantissa * 10 + (text[p] - ZERO)
            p += 1
        exponent = first - p
        digits -= exponent
        if exponent == 0:
            return p, NO_NUMBER, 0.0
    if text[p] == SMALL_E or text[p] == LARGE_E:
        kind = REAL
        p += 1
        sign = -1 if text[p] == MINUS else 1
        p += text[p] == MINUS or text[p] == PLUS
        first, power = p, 0
        while ZERO <= text[p] <= NINE:
            power = min(power * 10 + (text[p] - ZERO), 10000)
            p += 1
        if p == first:
            return p, NO_NUMBER, 0.0
        exponent += sign * power
    if digits > 18 or mantissa > EXACT or abs(exponent) > 22:
        return p, INEXACT, 0.0
    value = np.float64(mantissa)
    if exponent < 0:
        value /= POWERS[-exponent]
    else:
        value *= POWERS[exponent]
    return p, kind, -value if negative and not (kind == INTEGER and mantissa == 0) else value


@compiled
def _string(text, p):
    """The end of the plain string at p, after its closing quote; -1 where it has escapes or other than ASCII."""
    p += 1
    while text[p] != QUOTE:
        if text[p] < 32 or text[p] > 126 or text[p] == BACKSLASH:
            return -1
        p += 1
    return p + 1


@compiled
def _scalar(text, p):
    """(end or -1, whether it counts as true) of a number or word at p; of a plain string the end only."""
    c = text[p]
    if c == MINUS or ZERO <= c <= NINE:
        p, kind, value = _number(text, p)
        return (p if kind != NO_NUMBER else -1), value != 0
    if c == QUOTE:
        return _string(text, p), False
    if c == SMALL_T and _is(text, p, p + 4, TRUE):
        return p + 4, True
    if c == SMALL_F and _is(text, p, p + 5, FALSE):
        return p + 5, False
    if c == SMALL_N and _is(text, p, p + 4, NULL):
        return p + 4, False
    return -1, False


@compiled
def _numbers(text, p, out, most):
    """(end or -1, count) of the list of at most so many exact numbers at p."""
    if text[p] != OPEN_LIST:
        return -1, 0
    p = _space(text, p + 1)
    if text[p] == CLOSE_LIST:
        return p + 1, 0
    n = 0
    while n < most:
        p, kind, value = _number(text, p)
        if kind != INTEGER and kind != REAL:
            return -1, 0
        out[n] = value
        n += 1
        if text[p] != SEPARATOR:
            p = _space(text, p)
        if text[p] == CLOSE_LIST:
            return p + 1, n
        if text[p] != SEPARATOR:
            return -1, 0
        p = _space(text, p + 1)
    return -1, 0


@compiled
def _outline(text, p, out):
    """(end or -1, count of numbers) of a list of one list of numbers, of an empty list, or of null."""
    if text[p] == SMALL_N and _is(text, p, p + 4, NULL):
        return p + 4, 0
    if text[p] != OPEN_LIST:
        return -1, 0
    p = _space(text, p + 1)
    if text[p] == CLOSE_LIST:
        return p + 1, 0
    p, n = _numbers(text, p, out, out.size)
    if p < 0 or n < 6 or n % 2:
        return -1, 0
    p = _space(text, p)
    return (p + 1 if text[p] == CLOSE_LIST else -1), n


@compiled
def _annotation(text, p, whole, box, out):
    """(end or -1, count of outline numbers, crowd) of the object at p; whole: (3,) id, image_id, category_id."""
    seen, count, crowd = 0, 0, False
    p = _space(text, p + 1)
    while True:
        if text[p] != QUOTE:  # the empty object too: it lacks everything
            return -1, 0, False
        end = _string(text, p)
        if end < 0:
            return -1, 0, False
        start, stop = p + 1, end - 1
        p = _space(text, end)
        if text[p] != COLON:
            return -1, 0, False
        p = _space(text, p + 1)
        key = 0
        if _is(text, start, stop, SEGMENTATION):
            key = SEEN_SEGMENTATION
            p, count = _outline(text, p, out)
        elif _is(text, start, stop, BBOX):
            key = SEEN_BBOX
            p, n = _numbers(text, p, box, 5)
            if n != 5 or not (SMALLEST <= box[2] <= LARGEST and SMALLEST <= box[3] <= LARGEST):
                return -1, 0, False  # what is no box is for the slow path to judge
            if abs(box[0]) > LARGEST or abs(box[1]) > LARGEST:
                return -1, 0, False
        elif _is(text, start, stop, ISCROWD):
            key = SEEN_CROWD
            if text[p] == QUOTE:
                return -1, 0, False
            if text[p] == MINUS or ZERO <= text[p] <= NINE:
                p, kind, value = _number(text, p)
                crowd = value != 0
                if kind in (NO_NUMBER, INEXACT):
                    return -1, 0, False
            else:
                p, crowd = _scalar(text, p)
        else:
            place = -1
            if _is(text, start, stop, ID):
                key, place = SEEN_ID, 0
            elif _is(text, start, stop, IMAGE_ID):
                key, place = SEEN_IMAGE, 1
            elif _is(text, start, stop, CATEGORY_ID):
                key, place = SEEN_CATEGORY, 2
            if place >= 0:
                p, kind, value = _number(text, p)
                if kind != INTEGER:
                    return -1, 0, False
                whole[place] = np.int64(value)
            else:
                p, _ = _scalar(text, p)
        if p < 0 or seen & key:
            return -1, 0, False
        seen |= key
        p = _space(text, p)
        if text[p] == CLOSE:
            if seen & SEEN_ID == 0 or (not crowd and seen & NEEDED != NEEDED):
                return -1, 0, False
            return p + 1, count, crowd
        if text[p] != SEPARATOR:
            return -1, 0, False
        p = _space(text, p + 1)


@compiled
def scan(text, p, expected, whole, boxes, bare, corners, points):
    """Read annotations from p on: (where it stopped, what it expects there, how many, how many corners they have in all).

    It stops at the end of the text, after the list's end (expected is then ENDED), or before what it does not read. Filled are
    whole (N, 3) id, image_id, category_id; boxes (N, 5) as written; bare (N,) whether there is no outline, with room for four
    corners then; corners (N,); points (V,), two per corner. Crowds are left out. Room for one annotation per 40 and one number
    per 2 bytes of text is enough.
    """
    n, v = 0, 0
    while True:
        p = _space(text, p)
        if text[p] == CLOSE_LIST and expected != ELEMENT:
            return p + 1, ENDED, n, v // 2
        if expected == COMMA:
            if text[p] != SEPARATOR:
                return p, expected, n, v // 2
            p, expected = p + 1, ELEMENT
            continue
        if text[p] != OPEN:
            return p, expected, n, v // 2
        end, count, crowd = _annotation(text, p, whole[n], boxes[n], points[v:])
        if end < 0:
            return p, expected, n, v // 2
        p, expected = end, COMMA
        if not crowd:
            bare[n] = count == 0
            v += 8 if count == 0 else count
            corners[n] = 4 if count == 0 else count // 2
            n += 1


@compiled
def outside(text, p, end, depth):
    """Walk from p at a depth of nested lists and objects to the list of annotations: (where it stopped, depth, how).

    MORE: at the end of the text or before a string that is cut off; LIST: in the list; ODD: a key with an escape.
    """
    while p < end:
        c = text[p]
        if c != QUOTE:
            depth += (c == OPEN) + (c == OPEN_LIST) - (c == CLOSE) - (c == CLOSE_LIST)
            p += 1
            continue
        stop, escaped = p + 1, False
        while stop < end and text[stop] != QUOTE:
            escaped |= text[stop] == BACKSLASH
            stop += 2 if text[stop] == BACKSLASH else 1
        if stop >= end:
            return p, depth, MORE
        if depth == 1:
            after = _space(text, stop + 1)
            if after >= end:
                return p, depth, MORE
            if text[after] == COLON:
                if escaped:
                    return p, depth, ODD
                after = _space(text, after + 1)
                if after >= end:
                    return p, depth, MORE
                if _is(text, p + 1, stop, ANNOTATIONS):
                    return (after + 1, depth, LIST) if text[after] == OPEN_LIST else (p, depth, ODD)
        p = stop + 1
    return p, depth, MORE


@compiled
def object_end(text, p, end):
    """Where the object or list at p ends; -1 where that is not in the text."""
    depth = 0
    while p < end:
        c = text[p]
        if c == QUOTE:
            p += 1
            while p < end and text[p] != QUOTE:
                p += 2 if text[p] == BACKSLASH else 1
        depth += (c == OPEN) + (c == OPEN_LIST) - (c == CLOSE) - (c == CLOSE_LIST)
        p += 1
        if depth == 0 and p <= end:
            return p
    return -1
