"""What a data set will cost."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcs_render.cluster import estimate, measured
from pcs_render.errors import DataError, InputError
from pcs_render.shards import Manifest, ShardSummary

counts = st.integers(1, 10**7)
times = st.floats(0.01, 1e5)
workers = st.integers(1, 10**5)


@given(counts, times, workers, st.integers(1, 64))
def test_no_second_is_lost_and_none_is_gained(count, seconds, workers, threads):
    e = estimate(count, seconds, workers, threads=threads)
    assert math.isclose(e.cpu_hours, count * seconds * threads / 3600)
    assert e.hours * workers * threads >= e.cpu_hours * (1 - 1e-9)
    assert (e.hours * 3600 - seconds) * workers <= count * seconds * (1 + 1e-9)
    assert e.gpu_hours == 0
    assert e.cost is None


@given(counts, times, workers, st.floats(0, 1e3))
def test_money_goes_with_work_whoever_does_it(count, seconds, workers, price):
    one, many = (estimate(count, seconds, w, price=price) for w in (1, workers))
    assert one.cost == many.cost
    assert math.isclose(one.cost, price * one.hours, abs_tol=1e-9)
    assert math.isclose(estimate(2 * count, seconds, workers, price=price).cost, 2 * one.cost, abs_tol=1e-9)
    with_gpus = estimate(count, seconds, workers, device="OPTIX", price=price)
    assert with_gpus.cost == one.cost
    assert math.isclose(with_gpus.gpu_hours * 2, with_gpus.cpu_hours)


def test_it_reads_like_a_sentence():
    assert (
        str(estimate(332_558, 16.24, 100, price=0.1))
        == "332,558 images at 16.24 s each on 100 workers of 2 cores: 15.0 hours, 3,000.41 core-hours, 150.02 to pay at 0.1 "
        "per worker and hour"
    )
    assert (
        str(estimate(10, 3, 1, threads=1, device="CUDA"))
        == "10 images at 3.00 s each on 1 worker of 1 core and a GPU: 0.5 minutes, 0.01 GPU-hours"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"seconds_per_image": 0.0}, "seconds_per_image is 0"),
        ({"seconds_per_image": math.nan}, "seconds_per_image is nan"),
        ({"workers": -1}, "workers is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"price": -0.1}, "price is -0.1"),
    ],
)
def test_impossible_numbers_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        estimate(**{"count": 1, "seconds_per_image": 1.0, "workers": 1, **values})


def manifest(*shards: tuple[int, float]) -> Manifest:
    summaries = {i: ShardSummary(i, images, 0, (), seconds, 1, "") for i, (images, seconds) in enumerate(shards)}
    return Manifest(0, 100, 0, 10, {}, {}, {"blender": "4.5.0"}, "2026-01-01", shards=summaries)


def test_times_are_those_of_the_finished_shards(tmp_path: Path):
    manifest((10, 20.0), (5, 25.0)).save(tmp_path)
    assert measured(tmp_path) == (15, 3.0)


def test_without_a_finished_shard_there_is_nothing_to_measure(tmp_path: Path):
    with pytest.raises(DataError, match=r"manifest\.json"):
        measured(tmp_path)
    manifest().save(tmp_path)
    with pytest.raises(InputError, match="no finished shard"):
        measured(tmp_path)
