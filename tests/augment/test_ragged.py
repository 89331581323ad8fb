"""Outlines that remember the tensor they are views of are a list like any other, and so is a batch of targets."""

import copy
import pickle

import numpy as np
import pytest
import torch
from batches import SAMPLE, assert_same_plans, assert_same_targets, random_images, random_targets
from torch.utils import _pytree

import pcs_augment as pa
from pcs_augment.ragged import BatchTargets, Late, LateTarget, Outlines, fill, gathered, join

PIPELINE = pa.Pipeline([pa.Rotate90(), pa.Highlight(), pa.Flip(), pa.MinEdge(2), pa.KeepDetectable(200)], seed=5)


def batch(counts=(5, 0, 4)):
    return [gathered(t) for t in random_targets(counts, 30, 30)]


def as_plain_lists(targets):
    return [{**t, "polygons": [p.clone() for p in t["polygons"]]} for t in targets]


def assert_like_plain_lists(targets):
    images, plain = random_images(len(targets), 30, 30), as_plain_lists(targets)
    assert_same_plans(PIPELINE.draw(images.shape, targets), PIPELINE.draw(images.shape, plain))
    index = range(len(images))
    got, want = PIPELINE(images, targets, index), PIPELINE(images, plain, index)
    assert torch.equal(got[0], want[0])
    assert_same_targets(got[1], want[1])
    for t, p in zip(targets, plain):
        sent = pickle.loads(pickle.dumps(t["polygons"]))
        assert len(sent) == len(p["polygons"])
        assert all(torch.equal(a, b) for a, b in zip(sent, p["polygons"]))


EXTRA = torch.tensor([[3.0, 3], [9, 4], [5, 9]])


CHANGES = {
    "nothing": lambda p: None,
    "assignment": lambda p: p.__setitem__(2, EXTRA),
    "slice assignment": lambda p: p.__setitem__(slice(1, 3), [EXTRA]),
    "append": lambda p: p.append(EXTRA),
    "insert": lambda p: p.insert(2, EXTRA),
    "pop": lambda p: p.pop(0),
    "del": lambda p: p.__delitem__(slice(0, 3, 2)),
    "remove": lambda p: p.remove(p[0]),
    "extend": lambda p: p.extend([EXTRA, EXTRA + 1]),
    "+=": lambda p: p.__iadd__([EXTRA]),
    "*=": lambda p: p.__imul__(2),
    "sort": lambda p: p.sort(key=lambda outline: -float(outline[0, 0])),
    "reverse": lambda p: p.reverse(),
    "clear": lambda p: p.clear(),
    "one point of one outline": lambda p: p[1][0].add_(2),
    "one outline in place": lambda p: p[3].mul_(0.5),
    "one outline by augmented assignment": lambda p: p.__setitem__(3, p[3].__iadd__(1)),
    "first in place, then assignment": lambda p: (p[0].add_(1), p.__setitem__(1, EXTRA)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_outlines_give_what_plain_lists_give(change):
    targets, plain = batch(), as_plain_lists(batch())
    assert targets[0]["polygons"].whole is not None
    for t in (targets, plain):
        change(t[0]["polygons"])
        t[0] = {k: t[0][k] for k in ("boxes", "polygons")}
        n = len(t[0]["polygons"])
        t[0]["boxes"] = t[0]["boxes"].repeat(2, 1)[:n]
    assert_same_targets(targets, plain)
    assert_like_plain_lists(targets)


def test_outlines_in_other_lists_give_what_plain_lists_give():
    target = batch()[0]
    for some in (
        target["polygons"][1:4],
        target["polygons"][::-1],
        target["polygons"] + [EXTRA],
        Outlines(target["polygons"]),
        Outlines(target["polygons"][2:]),
        copy.copy(target["polygons"]),
        copy.deepcopy(target["polygons"]),
    ):
        n = min(5, len(some))
        assert_like_plain_lists([{"boxes": target["boxes"][:n], "polygons": some[:n] if len(some) > 5 else some}])


def test_a_copy_of_outlines_is_changed_alone():
    polygons = batch()[0]["polygons"]
    before = [p.clone() for p in polygons]
    other = Outlines(polygons)
    other[0] = EXTRA
    copy.deepcopy(polygons)[1].add_(1)
    assert all(torch.equal(a, b) for a, b in zip(polygons, before))
    assert torch.equal(torch.cat(polygons), polygons.whole[0])


def test_batches_with_and_without_outlines_mix():
    targets = batch((3, 4, 2, 0))
    targets[1]["polygons"] = list(targets[1]["polygons"])
    targets[2]["polygons"] = [p.double() for p in targets[2]["polygons"]]
    assert_like_plain_lists(targets)
    del targets[0]["polygons"]
    images = random_images(4, 30, 30)
    with_boxes = [{**targets[0], "polygons": list(pa.boxes.box_corners(targets[0]["boxes"].double()))}, *targets[1:]]
    assert_same_plans(PIPELINE.draw(images.shape, targets), PIPELINE.draw(images.shape, with_boxes))


def mixed_targets():
    """Every kind of value: per object or not, tensors, arrays, lists, tuples, alike in all images or not."""
    targets = batch((3, 0, 2))
    for i, t in enumerate(targets):
        n = len(t["boxes"])
        t |= {"size": torch.tensor([30, 30 + i]), "scalar": torch.tensor(i), "array": np.arange(n), "pair": tuple(range(n))}
        t |= {"masks": torch.ones(n, 2 + i, 2), "points": [torch.ones(k + 1) for k in range(n)], "nothing": None, "number": i}
    targets[0]["only here"] = torch.arange(3)
    targets[2]["labels"] = targets[2]["labels"].int()
    return targets


def assert_same(a, b):
    assert type(a) is type(b) or (isinstance(a, list) and isinstance(b, list))
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert_same(list(a.values()), list(b.values()))
    else:
        assert a == b


def test_what_is_joined_comes_apart_again():
    targets = mixed_targets()
    rest, columns = join(targets)
    assert {"boxes", "polygons", "size", "points", "only here"} <= columns.keys()
    assert columns.keys().isdisjoint({"labels", "masks", "scalar", "array", "names"})
    assert_same(fill(rest, columns), targets)


@pytest.mark.parametrize("targets", [mixed_targets(), [], batch(()), batch((0, 0)), [None, 3]], ids=len)
def test_a_batch_travels_as_it_is(targets):
    back = pickle.loads(pickle.dumps(BatchTargets(targets)))
    assert isinstance(back, BatchTargets)
    assert_same(list(back), list(targets))


def test_a_batch_travels_as_one_tensor_per_key(sample):
    _, targets, _ = sample
    assert isinstance(targets, BatchTargets)
    tensors = [column.values for column in join(targets)[1].values()]
    assert len(tensors) == 3
    assert len(pickle.dumps(targets)) < sum(v.nbytes for v in tensors) + 12 * sum(len(t["boxes"]) for t in targets) + 4000


@pytest.mark.parametrize("matrix", [True, False])
@pytest.mark.parametrize("some", [True, False])
def test_targets_follow_together_as_one_by_one(matrix, some):
    """Of a batch moved, thinned out and sent, each image's share is what it would be alone."""
    targets, rng = mixed_targets(), np.random.default_rng(2)
    counts = [len(t["boxes"]) for t in targets]
    keep = rng.random(sum(counts)) < 0.5 if some else None
    turns = pa.boxes.quarter_turns(np.array([1, 2, 3]), 30, 30) if matrix else None
    for device in (None, torch.device("cpu"), torch.device("meta")):
        together = pa.targets.follow(targets, turns, keep, device)
        ends = np.cumsum([0, *counts])
        for i, t in enumerate(targets):
            mine = None if keep is None else keep[ends[i] : ends[i + 1]]
            moved = t if turns is None else pa.targets.follow([t], turns[i : i + 1])[0]
            alone = moved if mine is None else pa.targets.select(moved, mine)
            if device is not None and device.type == "meta":
                assert all(v.is_meta for v in together[i].values() if isinstance(v, torch.Tensor))
                assert all(p.is_meta for p in together[i]["polygons"])
                assert [p.shape for p in together[i]["polygons"]] == [p.shape for p in alone["polygons"]]
            else:
                assert_same(together[i], dict(alone))


def test_collate_gathers_outlines_and_leaves_what_it_cannot_gather():
    targets = random_targets([3, 2], 20, 20)
    odd = [{**targets[0], "polygons": [*targets[0]["polygons"][:2], "no outline"]}, targets[1], {"boxes": torch.zeros(0, 5)}]
    images, got, _ = pa.collate([(torch.zeros(1, 8, 8), t, i) for i, t in enumerate([*targets, *odd])])
    assert_same(list(got), [*targets, *odd])
    assert [getattr(t.get("polygons"), "whole", None) is not None for t in got] == [True, True, False, True, False]
    with pytest.raises(pa.InputError, match=r"targets\[2\]\['polygons'\]\[2\]"):
        PIPELINE.draw(images.shape, got)


def test_the_data_set_reads_outlines_as_one_tensor():
    target = pa.PCSDataset(SAMPLE).target(3)
    points, corners = target["polygons"].whole
    assert corners.tolist() == [len(p) for p in target["polygons"]]
    assert torch.equal(points, torch.cat(target["polygons"]))
    assert_like_plain_lists([target])


def test_outlines_travel_whatever_was_put_into_them():
    points = torch.arange(12.0).view(6, 2)
    for other in (np.ones((4, 2)), points[:4].double(), None):
        outlines = Outlines.split(points, np.array([3, 3]))
        outlines[1] = other
        for again in (pickle.loads(pickle.dumps(outlines)), copy.deepcopy(outlines)):
            assert isinstance(again, Outlines)
            assert torch.equal(again[0], points[:3])
            assert type(again[1]) is type(other)
            assert other is None or (again[1].dtype == other.dtype and (again[1] == other).all())


def late_values(values):
    """Of target 0."""
    return {key: Late(lambda value=value: {0: value}) for key, value in values.items()}


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t["polygons"],
        lambda t: t.get("polygons"),
        lambda t: dict(t)["polygons"],
        lambda t: {**t}["polygons"],
        lambda t: dict(t.items())["polygons"],
        lambda t: list(t.values())[1],
        lambda t: t.pop("polygons"),
        lambda t: t.copy()["polygons"],
        lambda t: copy.copy(t)["polygons"],
        lambda t: copy.deepcopy(t)["polygons"],
        lambda t: pickle.loads(pickle.dumps(t))["polygons"],
        lambda t: (t | {"labels": 2})["polygons"],
        lambda t: ({"labels": 2} | t)["polygons"],
        lambda t: t.setdefault("polygons", None),
        lambda t: (lambda polygons, **rest: polygons)(**t),
        lambda t: _pytree.tree_map(lambda v: v, t)["polygons"],
    ],
)
def test_values_that_are_made_late_are_there_whoever_looks(use):
    points, corners = torch.arange(14.0).view(7, 2), np.array([3, 4])
    values = {"boxes": torch.ones(2, 5), "polygons": (points, corners)}
    target = LateTarget.of({"boxes": None, "polygons": None, "labels": 1}, late_values(values), 0)
    assert list(target.keys()) == ["boxes", "polygons", "labels"]
    assert len(target) == 3
    found = use(target)
    assert isinstance(found, Outlines)
    assert [p.tolist() for p in found] == [points[:3].tolist(), points[3:].tolist()]


def late(*outlines):
    points, corners = torch.cat(outlines), np.array([len(o) for o in outlines])
    return LateTarget.of({"polygons": None}, late_values({"polygons": (points, corners)}), 0)


def test_values_that_are_made_late_can_be_replaced():
    triangle, square = torch.arange(14.0).view(7, 2).split([3, 4])
    target = late(triangle, square)
    target["polygons"] = "mine"
    assert target == {"polygons": "mine"}
    target = late(triangle, square)
    del target["polygons"]
    assert target == {}
    assert repr(late(triangle)) == repr({"polygons": [triangle]})


def test_only_the_keys_that_are_asked_for_are_made():
    asked = []
    names = {"boxes": None, "labels": None}
    target = LateTarget.of(names, {key: Late(lambda key=key: asked.append(key) or {0: key}) for key in names}, 0)
    assert "labels" in target
    assert asked == []
    assert target["boxes"] == target.get("boxes") == "boxes"
    assert target.get("scores", 3) == 3
    assert asked == ["boxes"]
    assert dict(target) == {"boxes": "boxes", "labels": "labels"}
    assert asked == ["boxes", "labels"]
