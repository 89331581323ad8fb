"""What a type checker makes of calls: targets come back as the kind of dict that they were. Mypy checks this file too."""

from collections.abc import Iterator
from typing import Any, TypedDict, assert_type

import torch
from torch import Tensor, nn

import pcs_augment as pa
from pcs_augment.sample import sample_path


class Tracked(TypedDict):
    boxes: Tensor
    track: Tensor


def images() -> Tensor:
    return torch.rand(2, 1, 32, 32)


def boxes() -> Tensor:
    return torch.tensor([[16.0, 16.0, 8.0, 4.0, 0.1]])


def test_calls_without_targets_give_images(torch_only: None) -> None:
    assert_type(pa.Blur()(images()), Tensor)
    assert_type(pa.default_pipeline()(images(), index=[3, 4], epoch=1), Tensor)
    assert_type(pa.Blur()(images(), None), tuple[Tensor, None])


def test_targets_come_back_as_the_dicts_that_they_were() -> None:
    known: list[pa.Target] = [{"boxes": boxes(), "labels": torch.tensor([0])} for _ in range(2)]
    out, followed = assert_type(pa.Flip()(images(), known), tuple[Tensor, list[pa.Target]])
    assert out.shape == (2, 1, 32, 32)
    assert_type(followed[0]["boxes"], Tensor)
    own: list[Tracked] = [{"boxes": boxes(), "track": torch.tensor([7])} for _ in range(2)]
    pipeline = pa.Pipeline([pa.Flip()], per_object=["track"])
    _, tracked = assert_type(pipeline(images(), own), tuple[Tensor, list[Tracked]])
    assert tracked[1]["track"].tolist() == [7]
    plain: list[dict[str, Any]] = [{"boxes": boxes().numpy()}, {"boxes": [[9, 9, 4, 2, 0]]}]
    assert_type(pa.Flip()(images(), plain), tuple[Tensor, list[dict[str, Any]]])
    for perhaps in (known, None):
        assert_type(pa.Flip()(images(), perhaps), tuple[Tensor, list[pa.Target]] | tuple[Tensor, None])


def test_plans_are_applied_alike() -> None:
    known: list[pa.Target] = [{"boxes": boxes()} for _ in range(2)]
    step = pa.Rotate90()
    plan = assert_type(step.draw((2, 1, 32, 32), known), pa.Plan)
    assert_type(step.apply(images(), known, plan), tuple[Tensor, list[pa.Target]])
    assert_type(pa.Blur().apply(images(), plan=pa.Blur().draw((2, 1, 32, 32))), tuple[Tensor, None])

    def initialise(module: nn.Module) -> None:
        module.train()

    assert assert_type(step.apply(initialise), pa.Rotate90) is step


def test_data_sets_and_loaders_know_their_samples(torch_only: None) -> None:
    data = pa.PcsDataset(sample_path())
    image, target, number = assert_type(data[0], tuple[Tensor, pa.Target, int])
    batch = assert_type(pa.collate([(image, target, number)]), tuple[Tensor, list[pa.Target], Tensor])
    assert len(batch[1]) == 1
    loader = pa.AugmentedLoader([batch], pa.Flip(), device="cpu")
    assert_type(iter(loader), Iterator[tuple[Tensor, list[pa.Target] | None]])
    for _, targets in loader:
        assert targets is not None
        assert_type(targets[0]["labels"], Tensor)


def test_slips_are_seen() -> None:
    """Mypy must refuse these: where it does not, it reports that the comment is not needed."""
    slips = (
        lambda: pa.Blur()(images(), [boxes()]),  # type: ignore[type-var]
        lambda: pa.Blur()(images(), epoch="first"),  # type: ignore[call-overload]
        lambda: pa.Blur().apply(images(), None),  # type: ignore[call-overload]
    )
    for slip in slips:
        try:
            slip()
        except pa.InputError:
            continue
        raise AssertionError("it was taken")
