"""What the tests share: the bundled sample and random labelled batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import pcs_augment as pa
from pcs_augment.boxes import le90

SAMPLE = Path(pa.__file__).parent / "sample" / "pcs_sample.json"


def random_targets(counts, height, width, seed=0, polygons=True):
    """One target per count: boxes over the image (some reaching out of it), convex and concave outlines, an extra key."""
    rng = np.random.default_rng(seed)
    targets = []
    for n in counts:
        sides = np.exp(rng.uniform(0, np.log(max(2.0, min(height, width) / 2)), (n, 2)))
        centre = rng.uniform(0, 1, (n, 2)) * [width, height]
        boxes = le90(np.concatenate((centre, sides, rng.uniform(-1.5, 1.5, (n, 1))), 1))
        outlines = []
        for cx, cy, w, h, theta in boxes:
            k = int(rng.integers(3, 8))
            angle = np.sort(rng.uniform(0, 2 * np.pi, k))
            radius = rng.uniform(0.3, 1, k)
            x, y = radius * np.cos(angle) * w / 2, radius * np.sin(angle) * h / 2
            c, s = np.cos(theta), np.sin(theta)
            outlines.append(torch.from_numpy(np.stack((cx + c * x - s * y, cy + s * x + c * y), -1)).float())
        target = {
            "boxes": torch.from_numpy(boxes).float(),
            "labels": torch.from_numpy(rng.integers(0, 3, n)),
            "scores": [f"object {i}" for i in range(n)],
        }
        if polygons:
            target["polygons"] = outlines
        targets.append(target)
    return targets


def random_images(batch, height, width, channels=1, seed=0):
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))


def assert_same_targets(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.keys() == y.keys()
        for key in x:
            if isinstance(x[key], torch.Tensor):
                assert torch.equal(x[key], y[key]), key
            elif key == "polygons":
                assert len(x[key]) == len(y[key])
                assert all(torch.equal(p, q) for p, q in zip(x[key], y[key]))
            else:
                assert x[key] == y[key], key


def assert_same_plans(a, b):
    assert (a.shape, a.seed, a.epoch, a.settings) == (b.shape, b.seed, b.epoch, b.settings)
    assert np.array_equal(a.index, b.index)
    assert np.array_equal(a.objects, b.objects)
    for x, y in zip(a.steps, b.steps, strict=True):
        assert {n: set(t) for n, t in x.items()} == {n: set(t) for n, t in y.items()}
        for name, table in x.items():
            for column, values in table.items():
                assert values.dtype == y[name][column].dtype
                assert np.array_equal(values, y[name][column]), (name, column)
