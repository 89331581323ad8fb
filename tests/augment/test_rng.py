"""The counter-based generator: known answers, agreement of its three homes, and what a stream depends on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import pcs_augment as pa
from pcs_augment import rng

# Random123's known-answer tests for philox4x32-10: counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
@pytest.mark.parametrize("make", [lambda v: np.array([v], dtype=np.uint64), lambda v: torch.tensor([v])])
def test_philox_known_answers(counter, key, result, make):
    out = rng.philox(*(make(v) for v in counter), *(make(v) for v in key))
    assert tuple(int(w[0]) for w in out) == result


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**62))
def test_a_stream_depends_on_its_four_keys_and_nothing_else(seed, epoch, index):
    alone = rng.open_streams(seed, epoch, np.array([index]), [5, 9, 0])
    among = rng.open_streams(seed, epoch, np.array([7, index, 3]), [5, 13, 40, 2])
    for s, words in ((0, 5), (1, 9)):
        assert np.array_equal(alone[s].keys[0], among[s].keys[1])
        assert np.array_equal(alone[s].words[0, :words], among[s].words[1, :words])
    for other in ((seed ^ 1, epoch, index), (seed, epoch ^ 1, index), (seed, epoch, index + 1), (seed ^ 2**63, epoch, index)):
        assert not np.array_equal(rng.open_streams(*other[:2], np.array([other[2]]), [5])[0].keys, alone[0].keys)
    assert not np.array_equal(alone[0].keys, alone[1].keys)


def test_large_indices_do_not_collide():
    keys = rng.open_streams(0, 0, np.array([0, 2**32, 2**33, 5, 2**32 + 5]), [0])[0].keys
    assert len(np.unique(keys, axis=0)) == 5


def test_device_numbers_are_independent_of_batch_and_length():
    keys = torch.tensor([[1, 2], [3, 4], [2**32 - 1, 2**32 - 1]])
    all_three = rng.halves(keys, rng.LANE_PIXEL, 1001)
    for i in range(3):
        assert torch.equal(rng.halves(keys[i : i + 1], rng.LANE_PIXEL, 1001)[0], all_three[i])
        assert torch.equal(rng.halves(keys[i], rng.LANE_PIXEL, 17), all_three[i, :17])
    assert not torch.equal(rng.halves(keys, rng.LANE_LATTICE, 1001), all_three)


def test_normals_are_normal():
    z = rng.normals(torch.tensor([[12, 34]]), 2**20)[0].double().numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-4
    assert abs(z.mean()) < 5e-3
    assert abs(z.std() - 1) < 5e-3
    table = rng.normal_table().astype(np.float64)
    assert abs(table.mean()) < 1e-8
    assert abs(table.var() - 1) < 3e-6
    assert (np.diff(table) > 0).all()


def test_uniform_and_integer_words_cover_their_range():
    words = rng.open_streams(1, 2, np.arange(20000), [4])[0]
    assert stats.kstest(words.uniform(0, -1, 3), stats.uniform(-1, 4).cdf).pvalue > 1e-4
    counts = np.bincount(words.integer(1, 3, 9), minlength=10)
    assert counts[:3].sum() == 0
    assert stats.chisquare(counts[3:]).pvalue > 1e-4
    assert abs(np.corrcoef(words.uniform(0), words.uniform(1))[0, 1]) < 0.03


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "0", None, True])
def test_bad_seeds_are_named(seed):
    with pytest.raises(pa.InputError, match="seed must be an integer"):
        pa.Blur(seed=seed)


def test_a_step_that_announces_too_few_words_is_told_how_many_it_needs():
    class Two(pa.Step):
        words = 2

        def draw_tables(self, stream, shape, instances):
            return {"images": {"sample": self.chosen(stream), "shade": stream.uniform(6)}}

    with pytest.raises(pa.InputError, match="words to 7 or more"):
        Two().draw((3, 1, 8, 8))
