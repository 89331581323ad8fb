"""AugmentedLoader: same batches whatever the workers, epochs, errors, shutdown."""

import multiprocessing
import time

import pytest
import torch
from batches import SAMPLE, assert_same_targets, random_images
from torch.utils.data import DataLoader, Dataset

import pcs_augment as pa


def loader(workers=0, batch_size=4, dataset=None, **options):
    data = dataset if dataset is not None else pa.PCSDataset(SAMPLE)
    return DataLoader(data, batch_size=batch_size, num_workers=workers, collate_fn=pa.collate, **options)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_one_and_four_workers_and_no_loader_give_the_same_bits(sample):
    pipeline = pa.default_pipeline(seed=4)
    batches = {w: list(pa.AugmentedLoader(loader(w), pipeline, device="cpu")) for w in (0, 1, 4)}
    images, targets, index = sample
    want, want_targets = pipeline(images, targets, index=index)
    for got in batches.values():
        assert torch.equal(torch.cat([b[0] for b in got]), want)
        assert_same_targets([t for b in got for t in b[1]], want_targets)


def test_shuffling_and_batch_size_do_not_change_a_sample(sample):
    pipeline = pa.default_pipeline(seed=4)
    want, _ = pipeline(*sample[:2], index=sample[2])
    ids = [target["image_id"] for target in sample[1]]
    generator = torch.Generator().manual_seed(0)
    shuffled = pa.AugmentedLoader(loader(batch_size=5, shuffle=True, generator=generator), pipeline, device="cpu")
    for images, targets in shuffled:
        for image, target in zip(images, targets):
            assert torch.equal(image, want[ids.index(target["image_id"])])


def test_every_epoch_has_its_own_noise(sample):
    pipeline = pa.default_pipeline(seed=4)
    augmented = pa.AugmentedLoader(loader(batch_size=12), pipeline, device="cpu")
    assert len(augmented) == 1
    seen = []
    for epoch in (0, 1, 0):
        augmented.set_epoch(epoch)
        ((images, _),) = augmented
        assert torch.equal(images, pipeline(*sample[:2], index=sample[2], epoch=epoch)[0])
        seen.append(images)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_set_epoch_reaches_the_sampler():
    class Sampler(torch.utils.data.SequentialSampler):
        epoch = -1

        def set_epoch(self, epoch):
            self.epoch = epoch

    data = pa.PCSDataset(SAMPLE)
    sampler = Sampler(data)
    augmented = pa.AugmentedLoader(loader(dataset=data, sampler=sampler), pa.default_pipeline(), device="cpu")
    augmented.set_epoch(6)
    assert sampler.epoch == 6


class Failing(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 5:
            raise pa.DataError("image 5 is broken")
        return random_images(1, 8, 8)[0], {"boxes": torch.zeros(0, 5)}, i


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_reaches_the_loop(workers):
    augmented = pa.AugmentedLoader(loader(workers, 2, Failing()), pa.default_pipeline(), device="cpu")
    with pytest.raises(pa.DataError, match="image 5 is broken"):
        list(augmented)
    wait_for_workers()


def wait_for_workers():
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert multiprocessing.active_children() == []


def test_leaving_early_stops_the_workers():
    augmented = pa.AugmentedLoader(loader(2, 1), pa.default_pipeline(), device="cpu")
    batches = iter(augmented)
    next(batches)
    assert multiprocessing.active_children()
    batches.close()
    wait_for_workers()


def test_mappings_and_missing_targets():
    images, index = random_images(4, 8, 8), torch.arange(4)
    pipeline = pa.default_pipeline()
    batches = [{"images": images, "index": index}, (images, None, index), {"images": images, "targets": None, "index": index}]
    for out, targets in pa.AugmentedLoader(batches, pipeline, device="cpu"):
        assert targets is None
        assert torch.equal(out, pipeline(images, index=index))


@pytest.mark.parametrize("batch", [torch.zeros(1, 1, 2, 2), (torch.zeros(1, 1, 2, 2), []), {"images": 1}, None])
def test_batches_without_an_index_are_explained(batch):
    with pytest.raises(pa.InputError, match=r"collate_fn=pcs_augment\.collate"):
        list(pa.AugmentedLoader([batch], pa.default_pipeline(), device="cpu"))


def test_bad_values_and_pipelines_are_named():
    with pytest.raises(pa.InputError, match="expected floats"):
        list(pa.AugmentedLoader([(torch.full((1, 1, 2, 2), 2.0), None, [0])], pa.Blur(), device="cpu"))
    with pytest.raises(pa.InputError, match=r"pipeline must be a pa\.Pipeline"):
        pa.AugmentedLoader([], lambda x: x)


def test_augmenting_inside_worker_processes_gives_the_same_bits(sample):
    """The pipeline may also run in a collate function, in forked workers."""
    want, _ = PIPELINE(*sample[:2], index=sample[2])
    data = DataLoader(pa.PCSDataset(SAMPLE), batch_size=6, num_workers=2, collate_fn=augment_in_worker)
    assert torch.equal(torch.cat([images for images, _ in data]), want)


PIPELINE = pa.default_pipeline(seed=8)


def augment_in_worker(samples):
    images, targets, index = pa.collate(samples)
    return PIPELINE(images, targets, index=index)
