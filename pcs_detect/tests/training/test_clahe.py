"""CLAHE equals OpenCV's, pixel by pixel."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcs_detect.errors import InputError
from pcs_detect.training.models.clahe import clahe


def image(height, width, kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "noise":
        grey = rng.integers(0, 256, (height, width))
    elif kind == "grey":
        grey = np.clip(rng.normal(rng.uniform(0, 255), rng.uniform(0, 40), (height, width)), 0, 255)
    elif kind == "slopes":
        y, x = np.mgrid[:height, :width]
        grey = (x * rng.integers(1, 5) + y * rng.integers(1, 5)) % 256
    else:
        grey = np.full((height, width), rng.integers(256))
    return grey.astype(np.uint8)


def opencv(grey, clip_limit, tiles):
    return cv2.createCLAHE(clip_limit, tiles).apply(grey)


KINDS = ("noise", "grey", "slopes", "flat")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from(KINDS),
    st.one_of(st.sampled_from([0.0, 0.3, 1.0, 2.0, 40.0]), st.floats(0, 100)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(0, 2**32 - 1),
)
def test_equals_opencv(height, width, kind, clip_limit, tiles, seed):
    """Sizes that the tiles divide, that they do not, and smaller than there are tiles."""
    grey = image(height, width, kind, seed)
    difference = np.abs(clahe(torch.from_numpy(grey), clip_limit, tiles).numpy().astype(int) - opencv(grey, clip_limit, tiles))
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 1e-3 * grey.size + 1  # where the order of sums decides


@pytest.mark.parametrize("size", [(64, 96), (65, 96), (64, 97), (67, 95), (512, 384)])
def test_sizes_that_tiles_divide_in_one_direction_only(size):
    """OpenCV then adds a whole tile count to the other side, which one would not guess."""
    grey = image(*size, "slopes", 5)
    assert np.array_equal(clahe(torch.from_numpy(grey), 2.0, (8, 8)).numpy(), opencv(grey, 2.0, (8, 8)))


def test_images_of_a_batch_do_not_meet():
    batch = np.stack([image(50, 70, kind, k) for k, kind in enumerate(KINDS)])
    together = clahe(torch.from_numpy(batch).view(2, 2, 50, 70), 3.0, (4, 5)).view(4, 50, 70)
    for grey, out in zip(batch, together):
        assert torch.equal(out, clahe(torch.from_numpy(grey), 3.0, (4, 5)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_keep_their_type_and_mean_the_same(dtype):
    grey = torch.from_numpy(image(40, 60, "grey", 1))
    given_ = (grey.double() / 255).to(dtype)
    as_bytes = (given_.float() * 255).round().to(torch.uint8)
    out = clahe(given_)
    assert out.dtype == dtype
    assert torch.equal(out, (clahe(as_bytes).float() / 255).to(dtype))


def test_weak_contrast_grows_and_the_limit_holds_it_back():
    x = np.mgrid[:128, :128][1]
    grey = torch.from_numpy((120 + 6 * np.sin(x / 5)).round().astype(np.uint8))
    spread = [clahe(grey, limit).float().std() for limit in (1.0, 4.0, 16.0, 0.0)]
    assert grey.float().std() < spread[1] < spread[2] < spread[3]
    assert spread[0] < 1.5 * grey.float().std()  # every level counts alike: the map is the identity, nearly


def test_the_image_given_stays_and_none_is_no_mistake():
    grey = torch.from_numpy(image(30, 30, "noise", 0))
    before = grey.clone()
    clahe(grey)
    assert torch.equal(grey, before)
    assert clahe(torch.zeros(0, 1, 16, 16, dtype=torch.uint8)).shape == (0, 1, 16, 16)
    assert clahe(torch.zeros(2, 0, 16)).shape == (2, 0, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"clip_limit": -1.0}, "clip_limit of CLAHE is -1.0"),
        ({"clip_limit": float("nan")}, "clip_limit of CLAHE is nan"),
        ({"tiles": (0, 8)}, r"tiles of CLAHE are \(0, 8\)"),
        ({"tiles": (8, 2.5)}, r"tiles of CLAHE are \(8, 2.5\)"),
        ({"images": torch.zeros(4, 4, dtype=torch.int64)}, "torch.int64"),
        ({"images": torch.zeros(4)}, r"got \(4,\)"),
    ],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        clahe(**({"images": torch.zeros(4, 4)} | arguments))
