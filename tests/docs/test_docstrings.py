"""Every public name says what it takes, and its example runs."""

from pathlib import Path

import docstrings
import pytest

import pcs_augment
import pcs_render

API = Path(__file__).resolve().parents[2] / "docs" / "api"
PACKAGES = {pcs_augment: "augment.md", pcs_render: "render.md"}
NAMES = {name: (package, value) for package, page in PACKAGES.items() for name, value in docstrings.public(API / page).items()}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples of each package begin with, in a folder of their own; with the same bits, nothing is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        patch.setenv("PCS_AUGMENT_KERNELS", "torch")
        yield {package: docstrings.prepared(package) for package in PACKAGES}


@pytest.mark.parametrize("name", NAMES)
def test_public_names_say_what_they_take(name):
    assert not docstrings.missing(NAMES[name][1])


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name, names):
    package, value = NAMES[name]
    ran, report = docstrings.run(name, value, names[package])
    assert ran
    assert not report, report
