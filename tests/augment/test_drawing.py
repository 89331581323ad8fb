"""Drawing ahead: in the workers of a DataLoader, with and without numba, the same plans as ever."""

import hashlib
import json

import numpy as np
import pytest
import torch
from batches import SAMPLE, assert_same_plans, assert_same_targets, random_images, random_targets
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

import pcs_augment as pa
from pcs_augment import rng


def default():
    return pa.default_pipeline(seed=4, threshold=60, min_edge=5)


PIPELINE = default()
MANY_STEPS = pa.Pipeline(
    [pa.Flip(), pa.MinEdge(4), pa.Highlight(), pa.Rotate90(p=0.6), pa.Highlight(mirrored=True), pa.KeepDetectable(), pa.Flip()],
    seed=2**63 + 1,
)
DIGEST = "e31ccac1c63842d1e5e81480073d4b0ec94f2ea9534499c909b0c163c12d5070"


def batches_of(loader, epoch, pipeline=PIPELINE):
    augmented = pa.AugmentedLoader(loader, pipeline, device="cpu")
    augmented.set_epoch(epoch)
    return list(augmented)


def loader(workers, batch_size=5, collate_fn=None, **options):
    collate_fn = pa.DrawingCollate(PIPELINE) if collate_fn is None else collate_fn
    return DataLoader(pa.PCSDataset(SAMPLE), batch_size=batch_size, num_workers=workers, collate_fn=collate_fn, **options)


def assert_same_batches(a, b):
    assert len(a) == len(b)
    for (images, targets), (other, others) in zip(a, b):
        assert torch.equal(images, other)
        assert_same_targets(targets, others)


@pytest.fixture(scope="module")
def drawn_here():
    """What the main process makes of three epochs."""
    return [batches_of(loader(0, collate_fn=pa.collate), epoch) for epoch in range(3)]


@pytest.mark.parametrize(
    ("workers", "options"),
    [
        (0, {}),
        (2, {}),
        (2, {"persistent_workers": True}),
        (1, {"persistent_workers": True, "prefetch_factor": 8}),
        (1, {"persistent_workers": True, "multiprocessing_context": "spawn"}),
    ],
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else str(v),
)
def test_plans_drawn_in_workers_are_those_of_the_main_process(workers, options, drawn_here, monkeypatch):
    here = default()
    monkeypatch.setattr(here, "draw", None)
    augmented = pa.AugmentedLoader(loader(workers, **options), here, device="cpu")
    for epoch in (0, 1, 2, 0):
        augmented.set_epoch(epoch)
        assert_same_batches(list(augmented), drawn_here[epoch])


def test_batch_size_and_order_do_not_matter_to_plans_from_workers(drawn_here):
    alone = [(image, target) for images, targets in drawn_here[1] for image, target in zip(images, targets)]
    generator = torch.Generator().manual_seed(3)
    shuffled = loader(2, 7, sampler=torch.utils.data.RandomSampler(range(12), generator=generator))
    ids = [target["image_id"] for _, target in alone]
    seen = 0
    for images, targets in batches_of(shuffled, 1):
        for image, target in zip(images, targets):
            want, labels = alone[ids.index(target["image_id"])]
            assert torch.equal(image, want)
            assert_same_targets([target], [labels])
            seen += 1
    assert seen == 12


def test_an_iteration_left_early_leaves_no_plan_behind(drawn_here):
    """Workers that live on have drawn further batches of the old epoch; a new epoch named meanwhile waits for its turn."""
    augmented = pa.AugmentedLoader(loader(1, 1, persistent_workers=True, prefetch_factor=4), PIPELINE, device="cpu")
    batches = iter(augmented)
    first = next(batches)
    augmented.set_epoch(2)
    second = next(batches)
    assert torch.equal(torch.cat((first[0], second[0])), drawn_here[0][0][0][:2])
    batches.close()
    images = torch.cat([images for images, _ in augmented])
    assert torch.equal(images, torch.cat([images for images, _ in drawn_here[2]]))


def as_mapping(samples):
    return dict(zip(("images", "targets", "index"), pa.collate(samples))) | {"name": "mapping"}


def without_targets(samples):
    images, _, index = pa.collate(samples)
    return images, None, index


def test_any_collate_function_will_do(drawn_here):
    collate = pa.DrawingCollate(PIPELINE, collate=as_mapping)
    data = loader(0, collate_fn=collate)
    assert {k: type(v).__name__ for k, v in next(iter(data)).items()}["plan"] == "Plan"
    assert next(iter(data))["name"] == "mapping"
    assert_same_batches(batches_of(data, 0), drawn_here[0])
    unlabelled = batches_of(loader(0, collate_fn=pa.DrawingCollate(PIPELINE, without_targets)), 3)
    assert_same_images(unlabelled, batches_of(loader(0, collate_fn=without_targets), 3))


def assert_same_images(a, b):
    for (images, targets), (other, _) in zip(a, b, strict=True):
        assert torch.equal(images, other)
        assert targets is None


def test_a_single_step_draws_ahead_too():
    step = pa.Flip(seed=3)
    drawn = batches_of(loader(0, collate_fn=pa.DrawingCollate(step)), 5, step)
    assert_same_batches(drawn, batches_of(loader(0, collate_fn=pa.collate), 5, step))


class NoCollate:
    """A loader around a DataLoader, which hides its collate function."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(self.data)


def test_plans_that_do_not_fit_are_refused(drawn_here):
    collate = pa.DrawingCollate(PIPELINE)
    data = loader(0, collate_fn=collate)
    hidden = NoCollate(data)
    with pytest.raises(pa.InputError, match=r"in epoch 0, this loader has seed 4 and epoch 2.*set_epoch"):
        batches_of(hidden, 2)
    collate.set_epoch(2)
    assert_same_batches(batches_of(hidden, 2), drawn_here[2])
    with pytest.raises(pa.InputError, match="drawn with seed 4 in epoch 2, this loader has seed 5"):
        batches_of(data, 2, pa.default_pipeline(seed=5, threshold=60, min_edge=5))
    with pytest.raises(pa.InputError, match="drawn for the steps"):
        batches_of(data, 2, pa.default_pipeline(seed=4, threshold=61, min_edge=5))
    images, targets, index, plan = next(iter(data))
    with pytest.raises(pa.InputError, match="drawn for index"):
        batches_of([(images, targets, index + 1, plan)], 2)
    with pytest.raises(pa.InputError, match=r"must be a Plan, as pa\.DrawingCollate"):
        batches_of([(images, targets, index, "plan")], 2)


def test_bad_arguments_are_named():
    with pytest.raises(pa.InputError, match=r"pipeline must be a pa\.Pipeline"):
        pa.DrawingCollate(pa.collate)
    for epoch in (-1, 2**32, 1.5, True):
        with pytest.raises(pa.InputError, match="epoch must be an integer"):
            pa.DrawingCollate(PIPELINE).set_epoch(epoch)
    with pytest.raises(pa.InputError, match="a batch must be"):
        pa.DrawingCollate(PIPELINE, collate=len)([1])
    with pytest.raises(pa.InputError, match="images"):
        pa.DrawingCollate(pa.Blur(), collate=lambda samples: ([1, 2], None, [0, 1]))([None])


def test_pinning_leaves_plan_and_targets_as_they_are(monkeypatch, drawn_here):
    """What DataLoader(pin_memory=True) does to a batch; memory itself is pinned only where there is a GPU."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self.clone())
    batches = list(loader(0))
    after = [pin_memory(batch) for batch in batches]
    assert len(pinned) == 2 * len(batches)  # images and index
    for (_, targets, _, plan), (_, same, _, other) in zip(batches, after):
        assert_same_plans(plan, other)
        assert_same_targets(targets, same)
        assert all(t["polygons"].whole is not None for t in same)
    assert_same_batches(batches_of(after, 0), drawn_here[0])


# --- plans ----------------------------------------------------------------------------------------------------------------


def plans_of(pipeline):
    for seed, counts in enumerate([(3, 0, 7, 2), (0, 0), (1,), (40, 30, 50)]):
        for targets in (None, random_targets(counts, 90, 90, seed), random_targets(counts, 90, 90, seed, polygons=False)):
            index = 2**40 * seed + np.arange(len(counts)) * 3
            yield pipeline.draw((len(counts), 1, 90, 90), targets, index=index, epoch=7 * seed)


@pytest.mark.parametrize("pipeline", [PIPELINE, MANY_STEPS], ids=["default", "many symmetries"])
def test_numba_draws_the_same_plans(pipeline, monkeypatch):
    fast = list(plans_of(pipeline))
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")
    for a, b in zip(fast, plans_of(pipeline), strict=True):
        assert_same_plans(a, b)


def test_plans_stay_what_they_were():
    """Whole numbers only: how exp and log round may depend on the machine."""
    digest = hashlib.sha256()
    for pipeline in (PIPELINE, MANY_STEPS):
        for plan in plans_of(pipeline):
            for tables in plan.steps:
                for name, table in tables.items():
                    for column, values in table.items():
                        if values.dtype.kind in "iu":
                            digest.update(json.dumps([name, column, values.tolist()]).encode())
    assert digest.hexdigest() == DIGEST


def test_words_drawn_late_are_those_drawn_ahead():
    index = np.array([5, 2**40, 7])
    whole = rng.open_streams(9, 3, index, [4, 40, 24])
    for stream, short in zip(whole, rng.open_streams(9, 3, index, [4, 4, 0])):
        assert np.array_equal(stream.keys, short.keys)
        rows, first = np.array([2, 0, 0, 1]), np.array([0, 4, 16, 8])
        for count in (4, 8):
            late = short.later_words(rows, first, count)
            for row, start, words in zip(rows, first, late):
                if start + count <= stream.words.shape[1]:
                    assert np.array_equal(words, stream.words[row, start : start + count])
        assert np.array_equal(stream.of(rows).uniform(0), stream.uniform(0)[rows])


def test_a_changed_setting_is_noticed():
    step = pa.Blur(kernels=(3,))
    plan = step.draw((1, 1, 8, 8))
    step.p = 0.5
    step.apply(random_images(1, 8, 8), None, plan)
    step.kernels = (5,)
    with pytest.raises(pa.InputError, match=r"drawn for the steps .*kernels=\(3,\).*this pipeline has .*kernels=\(5,\)"):
        step.apply(random_images(1, 8, 8), None, plan)
