"""On a CPU an image goes through consecutive steps while others wait; nobody who looks at pixels can tell."""

import pytest
import torch
from batches import assert_same_targets, random_images, random_targets

import pcs_augment as pa
from pcs_augment.base import Step
from pcs_augment.turns import Turns, in_turn


class Spy(Step):
    """A step of a user's own, which knows nothing of turns."""

    def draw_tables(self, stream, shape, instances):
        return {}

    def change(self, images, tables):
        self.__dict__["seen"] = images.clone()
        return images.flip(3)


class Darker(pa.Blur):
    """A step that goes on where another one stops."""

    def change(self, images, tables):
        return super().change(images, tables).mul_(0.5)


def test_a_step_of_ones_own_sees_what_the_steps_before_it_did():
    images, targets, spy = random_images(5, 33, 40, seed=1), random_targets([3] * 5, 33, 40), Spy()
    before, after = [pa.Highlight(), pa.GaussianNoise(), pa.Contrast()], [pa.Blur(), pa.KeepDetectable(2)]
    pipeline = pa.Pipeline([*before, spy, *after], seed=4)
    out, _ = pipeline.apply(images, targets, pipeline.draw(images.shape, targets))
    half = pa.Pipeline(before, seed=4)
    expected, _ = half.apply(images, targets, half.draw(images.shape, targets))
    assert torch.equal(spy.seen, expected)
    assert not torch.equal(out, expected.flip(3))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_that_replaces_one_of_the_library(monkeypatch, threads):
    images, targets = random_images(4, 30, 31, seed=2), random_targets([2] * 4, 30, 31)
    pipeline = pa.Pipeline([pa.Brightness(), Darker(), pa.ImpulseNoise(), pa.KeepDetectable(20)], seed=1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fast = pipeline(images, targets, index=range(4))
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")
    plain = pipeline(images, targets, index=range(4))
    assert torch.equal(fast[0], plain[0])
    assert_same_targets(fast[1], plain[1])


@pytest.mark.parametrize("kernels", ["numba", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("wrong", [-0.02, 1.02, float("nan")])
def test_values_out_of_range_are_refused(monkeypatch, kernels, dtype, wrong):
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", kernels)
    images = random_images(3, 8, 9).to(dtype)
    images[2, 0, 7, 8] = wrong
    given = images.clone()
    with pytest.raises(pa.InputError, match="image values span"):
        pa.default_pipeline()(images)
    assert torch.equal(images.nan_to_num(), given.nan_to_num())


def test_all_grey_values_of_8_bits_are_taken_in_alike(monkeypatch):
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    fast = pa.Pipeline([])(images)
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")
    assert torch.equal(fast, pa.Pipeline([])(images))


def test_images_take_turns_and_what_comes_after_them_comes_last():
    done = []

    def both(number):
        turns.tasks[0].append(lambda: done.append((0, number)))
        turns.tasks[1].append(lambda: done.append((1, number)))
        turns.after.append(lambda: done.append(number))

    turns = Turns(2, lambda task, lists: [task(x) for x in lists])
    turns.call(in_turn(lambda: both(1)))
    turns.call(in_turn(lambda: both(2)))
    assert not done
    assert turns.call(lambda: list(done)) == [(0, 1), (0, 2), (1, 1), (1, 2), 1, 2]
