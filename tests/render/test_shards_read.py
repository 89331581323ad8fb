"""Reading data sets for training: random access, streams, splits, worker processes."""

from __future__ import annotations

import io
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from records import IDENTITY, data_set, record
from torch.utils.data import DataLoader

import pcs_augment as pa
from pcs_render.errors import DataError, InputError
from pcs_render.shards import PcsShards, Reader, StreamingPcsShards, Writer
from pcs_render.shards.columns import GROUP
from pcs_render.shards.manifest import Manifest, split_mask
from pcs_render.shards.reader import OPEN_FILES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """63 images in 7 shards; 5 and 40 were skipped."""
    return data_set(tmp_path_factory.mktemp("set"), 65, give_up=(5, 40))


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return data_set(tmp_path_factory.mktemp("second"), 21, seed=8, first=1000)


IDS = [i for i in range(65) if i not in (5, 40)]


def assert_is(item, image_id):
    image, target, _ = item
    made = record(image_id)
    assert target["image_id"] == image_id
    pixels = np.array(Image.open(io.BytesIO(made.png)))
    assert image.shape == (1, made.height, made.width)
    assert image.dtype == torch.float32
    assert np.array_equal((image[0] * 255).round().numpy(), pixels)
    assert np.array_equal(target["boxes"].numpy(), made.boxes)
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [0] * len(made.boxes)
    assert all(np.array_equal(p.numpy(), q) for p, q in zip(target["polygons"], made.polygons, strict=True))
    for key in ("depth", "refractive_index", "model"):
        assert np.array_equal(target[key].numpy(), getattr(made, key))


def test_items_are_the_records(folder, second):
    data = PcsShards([folder, second])
    assert len(data) == len(IDS) + 21
    for i, image_id in enumerate([*IDS, *range(1000, 1021)]):
        item = data[i]
        assert_is(item, image_id)
        assert item[2] == i
        assert torch.equal(data.target(i)["boxes"], item[1]["boxes"])
    for i in (-1, len(data)):
        with pytest.raises(IndexError):
            data[i]
    assert [a.image_id for a in data.labels()] == [*IDS, *range(1000, 1021)]
    raw = PcsShards(folder, dtype=torch.uint8)[3][0]
    assert raw.dtype == torch.uint8
    assert torch.equal(raw.float() / 255, data[3][0])


def test_random_order_gives_the_same_as_reading_in_order(tmp_path):
    """Over more files than are held open."""
    data = PcsShards(data_set(tmp_path, 2 * OPEN_FILES + 10, shard_size=2))
    for i in np.random.default_rng(0).permutation(len(data)).tolist():
        assert_is(data[i], i)
    assert len(data.readers[0]._files) <= OPEN_FILES


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes_read_alike(folder, context):
    data = PcsShards(folder)
    data[0]  # a file is open when the workers start
    loader = DataLoader(data, batch_size=10, num_workers=1, collate_fn=pa.collate, multiprocessing_context=context)
    seen = []
    for images, targets, index in loader:
        seen += index.tolist()
        for k, target in enumerate(targets):
            assert_is((images[k], target, 0), IDS[int(index[k])])
    assert seen == list(range(len(IDS)))


def test_the_augmentation_takes_the_items(folder):
    data = PcsShards(folder)
    images, targets, index = pa.collate([data[i] for i in range(8)])
    images, targets = pa.default_pipeline(seed=0)(images, targets, index=index)
    assert images.shape == (8, 1, 48, 64)
    for target in targets:
        assert {len(target[k]) for k in ("labels", "polygons", "depth", "model", "refractive_index")} == {len(target["boxes"])}


def test_data_sets_travel_between_processes_small(folder):
    data = PcsShards(folder)
    data[0]
    again = pickle.loads(pickle.dumps(data))
    assert_is(again[30], IDS[30])
    assert len(pickle.dumps(data)) < 5000
    polygons = data.target(1)["polygons"]
    assert all(torch.equal(p, q) for p, q in zip(polygons, pickle.loads(pickle.dumps(polygons)), strict=True))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stream_gives_every_image_once(folder, second, world, workers, shuffle):
    """Workers are stood in for by what they ask for: their number."""
    seen, sizes = Counter(), []
    for rank in range(world):
        stream = StreamingPcsShards([folder, second], shuffle=shuffle, seed=1, buffer=7, rank=rank, world=world)
        mine = []
        for worker in range(max(workers, 1)):
            with pytest.MonkeyPatch.context() as patch:
                info = None if not workers else type("Info", (), {"id": worker, "num_workers": workers})
                patch.setattr("pcs_render.shards.datasets.get_worker_info", lambda info=info: info)
                piece = [(i, target["image_id"]) for _, target, i in stream]
                sizes.append(len(piece))
                mine += piece
        assert len(mine) == len(stream)
        seen.update(mine)
    assert seen == Counter(enumerate([*IDS, *range(1000, 1021)]))
    assert max(sizes) - min(sizes) <= 3 * GROUP


def test_a_stream_in_real_workers_sees_the_epoch(folder):
    stream = StreamingPcsShards(folder, seed=2, buffer=5)
    loader = DataLoader(stream, batch_size=8, num_workers=2, collate_fn=pa.collate, persistent_workers=True)
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append([int(i) for _, _, index in loader for i in index])
        assert sorted(orders[-1]) == list(range(len(IDS)))
    assert orders[0] == orders[2] != orders[1]


def test_a_stream_is_shuffled_by_seed_and_epoch(folder):
    def order(seed, epoch):
        stream = StreamingPcsShards(folder, seed=seed, buffer=16)
        stream.set_epoch(epoch)
        return tuple(i for _, _, i in stream)

    assert len({order(s, e) for s in (0, 1) for e in (0, 1)}) == 4
    assert order(0, 1) == order(0, 1)
    plain = StreamingPcsShards(folder, shuffle=False)
    assert [i for _, _, i in plain] == list(range(len(IDS)))


def test_splits_part_the_data_set(folder):
    for validation in (0, 1, 10, 0.0, 0.3):
        parts = [Reader(folder, s, validation).ids.tolist() for s in ("train", "validation")]
        assert sorted(parts[0] + parts[1]) == IDS
        assert [t["image_id"] for _, t, _ in PcsShards(folder, "validation", validation)] == parts[1]
        streamed = StreamingPcsShards(folder, "train", validation)
        assert sorted(t["image_id"] for _, t, _ in streamed) == parts[0]
    with pytest.raises(InputError, match="has 65 images"):
        Reader(folder, "validation", 65)
    with pytest.raises(InputError, match="allowed are train, validation"):
        Reader(folder, "test")


@settings(max_examples=10)
@given(seed=st.integers(0, 2**63 - 1), n=st.integers(1, 19), part=st.floats(0.01, 0.9), more=st.integers(1, 40))
def test_growing_never_moves_an_image_from_training_to_validation(tmp_path_factory, seed, n, part, more):
    folder = tmp_path_factory.mktemp("set")
    splits = []
    for count in (20, 20 + more):
        with Writer.create_or_resume(folder, count=count, **{**IDENTITY, "seed": seed}) as writer:
            for todo in writer.missing():
                writer.write_shard(todo.index, [record(i, 0) for i in range(count)])
        splits.append([set(Reader(folder, "validation", v).ids.tolist()) for v in (n, part)])
        assert len(splits[-1][0]) == n
    assert splits[1][0] & set(range(20)) <= splits[0][0]
    assert splits[1][1] & set(range(20)) == splits[0][1]


def test_the_part_for_validation_is_about_as_asked():
    for seed in range(3):
        manifest = Manifest(seed, 332558, 0, 256, {}, {}, {}, "2022-01-01")
        ids = np.arange(332558)
        share = split_mask(ids, "validation", manifest, 0.03)
        assert abs(share.mean() - 0.03) < 5 * (0.03 * 0.97 / len(ids)) ** 0.5
        assert split_mask(ids, "validation", manifest, 10000).sum() == 10000
        assert abs(np.corrcoef(share[1:], share[:-1])[0, 1]) < 0.01


def test_the_stored_share_is_the_default(tmp_path):
    data_set(tmp_path, 20, validation=7)
    assert len(PcsShards(tmp_path, "validation")) == 7
    data_set(tmp_path, 20)
    assert len(PcsShards(tmp_path, "validation")) == 7
    data_set(tmp_path, 20, validation=8)
    assert len(PcsShards(tmp_path, "validation")) == 8


def test_a_growing_data_set_gives_what_is_finished(tmp_path):
    with Writer.create_or_resume(tmp_path, count=30, shard_size=10, **IDENTITY) as writer:
        assert len(PcsShards(tmp_path)) == len(StreamingPcsShards(tmp_path)) == 0
        writer.write_shard(2, map(record, range(20, 30)))
        writer.write_shard(0, map(record, range(10)))
        assert [t["image_id"] for _, t, _ in PcsShards(tmp_path)] == [*range(10), *range(20, 30)]


def test_missing_and_wrong_inputs_are_refused(tmp_path, folder):
    with pytest.raises(DataError, match="is not a data set"):
        PcsShards(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        PcsShards([])
    with pytest.raises(InputError, match="dtype"):
        PcsShards(folder, dtype=torch.float16)
    for wrong in ({"buffer": 0}, {"seed": -1}, {"rank": 0}, {"rank": 2, "world": 2}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            StreamingPcsShards(folder, **wrong)
    with pytest.raises(InputError, match="epoch"):
        StreamingPcsShards(folder).set_epoch(-1)
    data = PcsShards(data_set(tmp_path, 10))
    (tmp_path / "shards" / "00000000.parquet").unlink()
    with pytest.raises(DataError, match="is missing; run the same render command again"):
        data[0]


def test_data_sets_side_by_side_get_distinct_indices(folder):
    from torch.utils.data import ConcatDataset

    from pcs_augment.data import number_parts

    both = number_parts(ConcatDataset([PcsShards(folder), PcsShards(folder)]))
    half = len(both) // 2
    assert [both[i][2] for i in (0, half - 1, half, len(both) - 1)] == [0, half - 1, half, len(both) - 1]
