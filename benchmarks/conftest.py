"""What every benchmark shares: the device, the labelled images, a clock that reports times per image, and what the machine is.

    pytest benchmarks --benchmark-only --benchmark-json results.json [--device cuda] [--seconds 1.5]

A round calls the work so often that it lasts at least 50 ms and then waits for the device, so launching and waiting weigh no
more than in a loop that trains. Inputs take turns (``turns``), so that none is in a cache because it was used just before.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pcs_augment.bench import labelled_batch, machine

try:
    import cv2
except ImportError:
    cv2 = None
try:
    import numba
except ImportError:
    numba = None

ROUND = 0.05  # s
AWAY = 2**28  # bytes of inputs that take turns: more than any cache holds
LIBRARIES = ("torch", "numpy", "numba", "triton", "kornia", "torchvision", "albumentations", "opencv-python-headless", "scipy")
SMALL = ("pyfastnoisesimd", "noise", "perlin-numpy", "opensimplex", "pytest-benchmark")
IMPORTED = {"perlin-numpy": "perlin_numpy", "opencv-python-headless": "cv2"}

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks a server for its newest version otherwise
cached_batch = functools.cache(labelled_batch)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the images are: cpu (default), cuda, cuda:1, ...")
    parser.addoption("--seconds", type=float, default=1.5, help="about so long each benchmark is timed (default: 1.5)")


def pytest_configure(config: pytest.Config) -> None:
    if torch.device(config.getoption("device")).type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: torch finds no CUDA device here; leave the option out")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["line"] = machine(config.getoption("device"))
    machine_info["threads"] = torch.get_num_threads()
    machine_info["versions"] = {name: _version(name) for name in (*LIBRARIES, *SMALL)}


def _version(package: str) -> str:
    try:
        version = importlib.metadata.version(package)
        importlib.import_module(IMPORTED.get(package, package.replace("-", "_")))
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
    except (ImportError, RuntimeError) as e:  # RuntimeError: torchvision that was built for another torch
        return f"{version} (cannot be imported: {str(e).splitlines()[0]})"
    return version


def imported(name: str) -> Any:
    """A peer's module; the benchmark is skipped where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as e:
        pytest.skip(f"{name} cannot be imported here: {e}")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("device"))


@pytest.fixture(scope="session", autouse=True)
def same_threads() -> None:
    if cv2 is not None:
        cv2.setNumThreads(torch.get_num_threads())


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch (whose count the kernels of pcs_augment follow), OpenCV and numba (where opensimplex needs it) on one thread."""
    before = torch.get_num_threads(), 1 if numba is None else numba.get_num_threads()
    for many in ((1, 1), before):
        if numba is not None:
            numba.set_num_threads(many[1])
        torch.set_num_threads(many[0])
        if cv2 is not None:
            cv2.setNumThreads(many[0])
        if many is not before:
            yield


@pytest.fixture(scope="session")
def batch(device: torch.device):
    """64 images of 384 x 384 px with 50 objects each: (images on the device, targets, index)."""
    images, targets, index = cached_batch()
    return images.to(device), targets, index


def turns(values: Tensor | Sequence[Any]) -> Iterator[Any]:
    """A tensor, or a list of arrays, and copies of it in turn."""
    size = values.nbytes if isinstance(values, Tensor) else sum(v.nbytes for v in values)
    copies = [values] + [
        values.clone() if isinstance(values, Tensor) else [v.copy() for v in values]
        for _ in range(min(512, -(-AWAY // max(size, 1))) - 1)
    ]
    return itertools.cycle(copies)


@pytest.fixture
def clock(benchmark, device: torch.device, request: pytest.FixtureRequest):
    """Time a call that handles ``items`` images (or what ``unit`` says); ``info`` lands in the report beside the times."""

    def run(call: Callable[[], Any], items: int, group: str, name: str, unit: str = "image", **info: Any) -> None:
        def work(calls: int) -> None:
            for _ in range(calls):
                call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        for _ in range(2):  # the first call compiles
            began = time.perf_counter()
            work(1)
            once = time.perf_counter() - began
        calls = min(1000, math.ceil(ROUND / once))
        rounds = round(request.config.getoption("seconds") / (once * calls))
        benchmark.group = group
        benchmark.extra_info |= {"name": name, "unit": unit, "items": items, "calls": calls, "device": device.type}
        benchmark.extra_info |= {"threads": torch.get_num_threads(), **info}
        benchmark.pedantic(work, args=(calls,), rounds=min(max(rounds, 3), 50), warmup_rounds=int(once < 1))

    return run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes an ``entry`` runs for every entry of its module's CONTESTS that can run on the device."""
    if "entry" in metafunc.fixturenames:
        on_gpu = torch.device(metafunc.config.getoption("device")).type == "cuda"
        entries = [e for c in metafunc.module.CONTESTS for e in c.entries if not on_gpu or e.data.endswith("device")]
        metafunc.parametrize("entry", entries, ids=[f"{e.contest.work}-{e.library}" for e in entries])
