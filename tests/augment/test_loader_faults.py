"""Loaders around loaders: epochs reach every sampler, nothing is silently dropped or stale, devices and samples are checked."""

import numpy as np
import pytest
import torch
from batches import random_images, random_targets
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

import pcs_augment as pa

DATA = [(x, {"boxes": torch.zeros(0, 5)}, i) for i, x in enumerate(random_images(8, 6, 7))]


def test_epochs_reach_the_sampler_inside_a_batch_sampler():
    sampler = DistributedSampler(DATA, num_replicas=2, rank=0)
    batches = BatchSampler(BatchSampler(sampler, 2, False), 1, False).sampler
    loader = pa.AugmentedLoader(DataLoader(DATA, batch_sampler=batches, collate_fn=pa.collate), pa.Flip(p=0), "cpu")
    orders = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert sampler.epoch == epoch
        orders.append(torch.cat([images for images, _ in loader]))
    assert not torch.equal(orders[0], orders[1])


def test_epochs_reach_a_loader_with_a_set_epoch_of_its_own():
    class Own(list):
        def set_epoch(self, epoch):
            self.append(epoch)

    own = Own()
    pa.AugmentedLoader(own, pa.Blur(), "cpu").set_epoch(4)
    assert own == [4]


@pytest.mark.parametrize("epoch", [-1, 1.5, "a", None, True])
def test_a_wrong_epoch_is_refused_before_anybody_hears_of_it(epoch):
    sampler = DistributedSampler(DATA, num_replicas=2, rank=0)
    loader = pa.AugmentedLoader(DataLoader(DATA, 2, sampler=sampler, collate_fn=pa.collate), pa.Blur(), "cpu")
    with pytest.raises(pa.InputError, match="epoch must be an integer"):
        loader.set_epoch(epoch)
    assert (loader.epoch, sampler.epoch) == (0, 0)


@pytest.mark.parametrize("device", ["gpu", 0.5, "mps", "xpu", "meta", "cuda:99", [], ""])
def test_devices_are_checked_at_once(device):
    with pytest.raises(pa.InputError, match="device"):
        pa.AugmentedLoader([], pa.Blur(), device)


def test_a_chance_changed_under_running_workers_raises():
    pipeline = pa.Pipeline([pa.GaussianNoise(p=0.2)])
    batches = DataLoader(DATA, 2, num_workers=1, persistent_workers=True, collate_fn=pa.DrawingCollate(pipeline))
    loader = pa.AugmentedLoader(batches, pipeline, "cpu")
    assert len(list(loader)) == 4
    pipeline.steps[0].p = 1.0
    with pytest.raises(pa.InputError, match=r"drawn with chances p = \[0.2\], the pipeline now has \[1.0\].*new loader"):
        list(loader)
    fresh = DataLoader(DATA, 2, num_workers=1, collate_fn=pa.DrawingCollate(pipeline))
    assert len(list(pa.AugmentedLoader(fresh, pipeline, "cpu"))) == 4


def test_attributes_are_those_of_the_loader():
    inner = DataLoader(DATA, 2, collate_fn=pa.collate)
    loader = pa.AugmentedLoader(inner, pa.Blur(), "cpu")
    for name in ("dataset", "sampler", "batch_sampler", "batch_size", "num_workers"):
        assert getattr(loader, name) is getattr(inner, name)
    with pytest.raises(AttributeError):
        _ = loader.nothing


def test_whole_data_sets_in_each_of_several_processes_are_warned_of(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", lambda *args, **options: None)
    plain = DataLoader(DATA, 2, collate_fn=pa.collate)
    with pytest.warns(UserWarning, match="each of the 2 processes goes through the whole data set"):
        list(pa.AugmentedLoader(plain, pa.Blur(), "cpu"))
    shared = DataLoader(DATA, 2, collate_fn=pa.collate, sampler=DistributedSampler(DATA, num_replicas=2, rank=1))
    assert len(list(pa.AugmentedLoader(shared, pa.Blur(), "cpu"))) == 2


def test_further_keys_of_a_mapping_are_named():
    batch = {"images": random_images(2, 6, 7), "index": [0, 1], "weather": "dry"}
    with pytest.warns(UserWarning, match="'weather'") as warned:
        list(pa.AugmentedLoader([batch, batch], pa.Blur(), "cpu"))
    assert len(warned) == 1


@pytest.mark.parametrize(
    "samples",
    [
        [(torch.zeros(1, 4, 4), {"boxes": torch.zeros(0, 5)})],
        [None],
        [(np.zeros((1, 4, 4)), {"boxes": []}, 0)],
        [(torch.zeros(1, 4, 4), None, 0)],
        [(torch.zeros(1, 4, 4), {"boxes": torch.zeros(0, 5)}, 0.5)],
        [(torch.zeros(1, 4, 4), {"boxes": torch.zeros(0, 5)}, i) for i in (0, (1, 2))],
    ],
)
def test_samples_that_do_not_fit_are_named(samples):
    with pytest.raises(pa.InputError, match=r"sample must be \(image, target, index\)|index of a sample"):
        pa.collate(samples)


def test_targets_of_several_types_of_keys_survive_a_trip_to_another_device():
    targets = [
        t | {"image_id": torch.tensor([i]), "masks": torch.zeros(3, 9, 9)} for i, t in enumerate(random_targets([3, 3], 9, 9))
    ]
    new = pa.targets.follow(targets, keep=np.array([True, False, True] * 2), device=torch.device("meta"))
    assert [t["masks"].shape[0] for t in new] == [2, 2]
    assert [t["image_id"].shape for t in new] == [(1,), (1,)]
