"""Boxes and outlines under symmetries."""

from __future__ import annotations

import numpy as np

from .compiling import compiled


@compiled
def moved_points(points, matrix, counts):
    out = np.empty_like(points)
    first = 0
    for b in range(counts.size):
        m = matrix[b]
        for i in range(first, first + counts[b]):
            x, y = points[i, 0], points[i, 1]
            out[i, 0] = m[0, 0] * x + m[0, 1] * y + m[0, 2]
            out[i, 1] = m[1, 0] * x + m[1, 1] * y + m[1, 2]
        first += counts[b]
    return out


@compiled
def moved_boxes(boxes, matrix, sample):
    out = np.empty_like(boxes)
    for n in range(sample.size):
        m, x, y, theta = matrix[sample[n]], boxes[n, 0], boxes[n, 1], boxes[n, 4]
        out[n, 0] = m[0, 0] * x + m[0, 1] * y + m[0, 2]
        out[n, 1] = m[1, 0] * x + m[1, 1] * y + m[1, 2]
        out[n, 2], out[n, 3] = boxes[n, 2], boxes[n, 3]
        determinant, turn = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0], abs(m[1, 0]) * (np.pi / 2)
        if turn != 0 or determinant != 1:
            theta = (theta * determinant + turn + np.pi / 2) % np.pi - np.pi / 2
            theta -= np.pi * (theta >= np.pi / 2)
        out[n, 4] = theta
    return out
