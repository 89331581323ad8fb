"""Room is used again, but never while somebody holds what is in it."""

import torch
from batches import random_images

import pcs_augment as pa
from pcs_augment import memory


def test_room_that_nobody_holds_is_used_again():
    first = memory.batch((2, 3, 5, 7))
    where = first.data_ptr()
    assert memory.batch((2, 3, 5, 7)).data_ptr() != where
    del first
    again = {memory.batch((2, 3, 5, 7)).data_ptr() for _ in range(3)}
    assert where in again
    assert memory.batch((2, 3, 5, 8)).data_ptr() not in again


def test_views_and_arrays_of_results_keep_their_values():
    pipeline = pa.default_pipeline(seed=1)
    held = []
    for epoch in range(6):
        out = pipeline(random_images(3, 20, 20, seed=epoch), index=range(3), epoch=epoch)
        for view in (out[1, :, ::2], out.numpy()[2:], out.flatten()[5:].view(-1)):
            held.append((view, view.clone() if isinstance(view, torch.Tensor) else view.copy()))
        del out, view
    for view, copy in held:
        assert (view == copy).all()


def test_no_more_than_two_batches_are_kept():
    for side in range(1, 9):
        memory.batch((1, 1, side, side))
    assert len(memory._rooms) == 2
