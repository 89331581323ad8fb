import pytest
import torch

import pcs_detect.training.openmmlab  # noqa: F401  # first: it makes mmrotate importable


@pytest.fixture
def one_thread():
    """Sums then come out the same everywhere; two threads are no faster with so few pixels."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
