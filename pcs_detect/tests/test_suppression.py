"""Suppression against its definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.inference.suppression import kept_ranks
from pcs_detect.overlaps import rotated_iou


def random_boxes(n, seed, span):
    rng = np.random.default_rng(seed)
    sides = rng.uniform(4, 30, (n, 2))
    return np.concatenate([rng.uniform(0, span, (n, 2)), sides, rng.uniform(-np.pi / 2, np.pi / 2, (n, 1))], 1)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 300), seed=st.integers(0, 999), threshold=st.floats(0.05, 0.9))
def test_the_definition(n, seed, threshold):
    """What is kept does not overlap, and what is not overlaps something better that is kept."""
    boxes = random_boxes(n, seed, 80.0)
    kept = kept_ranks(boxes, threshold)
    overlaps = rotated_iou(boxes, boxes)
    among = overlaps[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among <= threshold).all()
    for rank in set(range(n)) - set(kept.tolist()):
        assert (overlaps[rank, kept[kept < rank]] > threshold).any()
