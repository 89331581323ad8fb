"""Fixtures, a deterministic hypothesis profile, and Triton's interpreter where there is no GPU."""

import os

import pytest
import torch
from batches import SAMPLE
from hypothesis import HealthCheck, settings

import pcs_augment as pa

if torch.cuda.is_available():
    os.environ["PCS_AUGMENT_FALLBACK"] = "forbidden"  # else torch would be compared with torch
else:
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are imported

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session")
def sample():
    """The bundled images as one batch: (images uint8, targets, index)."""
    data = pa.PCSDataset(SAMPLE)
    return pa.collate([data[i] for i in range(len(data))])


@pytest.fixture
def torch_only(monkeypatch):
    """Run without numba."""
    monkeypatch.setenv("PCS_AUGMENT_KERNELS", "torch")
